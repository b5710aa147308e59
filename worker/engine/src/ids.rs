//! Newtypes for every id and index that could be mistaken for another.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// The value as an index into a slice.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// A row of the model's embedding table.
    TokenId
);
id!(
    /// One page of the KV cache: `block_size_tokens` tokens of every layer.
    BlockId
);
id!(
    /// One token's place in the KV cache: `block * block_size_tokens + offset in the block`.
    Slot
);
id!(
    /// The GPU-side state of one running sequence's sampler: last token, token counts, biases.
    SamplerSlot
);

/// One generation, unique for the life of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId(pub u64);

/// Whoever asked: a tab, or a native caller. Scheduling is fair between owners; the cache is shared by all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(pub u64);
