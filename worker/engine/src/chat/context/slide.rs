//! Where the tail of a sliding prompt begins. Knows numbers only.

/// Tokens of a sliding prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlideRoom {
    /// Tokens of the context.
    pub(super) limit: u32,
    /// Tokens that a prompt may have.
    pub(super) prompt: u32,
    /// Tokens at the start that stay.
    pub(super) pinned: u32,
}

impl SlideRoom {
    /// At most half of the context stays, and the prompt has room for a tail of at least a quarter of the context.
    pub(super) fn new(limit: u32, prompt: u32, wanted_pinned: u32) -> Self {
        let pinned = wanted_pinned.min(limit / 2);
        let least = pinned.saturating_add(jump_tokens(limit).saturating_mul(2));
        Self { limit, prompt: prompt.max(least).min(limit).max(1), pinned }
    }

    /// Tokens to leave out after the pinned ones so that the rest of `num_tokens` has room: in jumps, so that for some
    /// turns the tail begins at the same token and is found in the cache.
    pub(super) fn dropped(&self, num_tokens: u32) -> u32 {
        let jump = jump_tokens(self.limit);
        let excess = num_tokens.saturating_sub(self.prompt);
        // Of a window of few tokens, the last one stays.
        excess.div_ceil(jump).saturating_mul(jump).min(num_tokens.saturating_sub(self.pinned + 1))
    }

    /// The next larger jump.
    pub(super) fn next(&self, dropped: u32) -> u32 {
        dropped.saturating_add(jump_tokens(self.limit))
    }
}

/// A quarter of the context.
fn jump_tokens(limit: u32) -> u32 {
    (limit / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_moves_by_quarters() {
        let room = SlideRoom::new(400, 300, 20);
        assert_eq!(room, SlideRoom { limit: 400, prompt: 300, pinned: 20 });
        let dropped: Vec<_> = [300, 301, 400, 401, 1000].map(|tokens| room.dropped(tokens)).into();
        assert_eq!(dropped, [0, 100, 100, 200, 700]);
    }

    #[test]
    fn something_of_every_prompt_is_kept() {
        for limit in 1..200 {
            for prompt in [0, limit / 3, limit] {
                for pinned in [0, 5, limit, u32::MAX] {
                    let room = SlideRoom::new(limit, prompt, pinned);
                    assert!(room.prompt <= limit && room.pinned <= limit / 2, "{room:?}");
                    for num_tokens in 1..3 * limit {
                        let kept = num_tokens - room.dropped(num_tokens);
                        assert!(
                            kept >= 1 && kept <= room.prompt.max(room.pinned + 1),
                            "{room:?} of {num_tokens}: {kept}"
                        );
                    }
                }
            }
        }
    }
}
