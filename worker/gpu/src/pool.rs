//! The pages of all layers: one arena a layer, replaced by a longer or a shorter one when the pool grows or shrinks, and read and
//! written page by page. Knows neither what pages hold nor whose they are.

use hearth_engine::ids::BlockId;
use hearth_engine::ports::ExecutorError;

use crate::device::{Capabilities, Gpu};
use crate::error::GpuError;
use crate::kv::PageShape;
use crate::readback::{ReadbackRing, executor_error, fault_error};

/// Bytes read back at a time.
const READ_BYTES: u64 = 16 << 20;
/// Bytes of replaced arenas after which the device is given time to free them.
const DRAIN_BYTES: u64 = 32 << 20;

/// Pages that an arena can have on this device.
pub(crate) fn max_pages(page: &PageShape, capabilities: &Capabilities) -> u32 {
    let bytes = capabilities.max_binding_bytes.min(capabilities.max_buffer_bytes);
    u32::try_from(bytes / page.bytes().max(1)).unwrap_or(u32::MAX)
}

/// A new arena for a layer, zeroed.
pub(crate) async fn allocate_arena(gpu: &Gpu, layer: usize, bytes: u64) -> Result<wgpu::Buffer, GpuError> {
    gpu.allocate("the KV cache", |allocator| allocator.storage(&format!("layer {layer} kv"), bytes)).await
}

/// The arenas.
#[derive(Debug)]
pub(crate) struct KvPool {
    page: PageShape,
    num_blocks: u32,
    /// By layer; never shorter than `num_blocks` pages.
    arenas: Vec<wgpu::Buffer>,
}

impl KvPool {
    pub async fn allocate(
        gpu: &Gpu,
        page: PageShape,
        num_layers: u32,
        num_blocks: u32,
    ) -> Result<Self, GpuError> {
        let bytes = u64::from(num_blocks) * page.bytes();
        let arenas = gpu
            .allocate("the KV cache", |allocator| {
                (0..num_layers).map(|layer| allocator.storage(&format!("layer {layer} kv"), bytes)).collect()
            })
            .await?;
        Ok(Self { page, num_blocks, arenas })
    }

    pub fn arenas(&self) -> &[wgpu::Buffer] {
        &self.arenas
    }

    /// Pages there are.
    pub fn num_blocks(&self) -> u32 {
        self.num_blocks
    }

    /// Bytes on the device.
    pub fn bytes(&self) -> u64 {
        self.arenas.iter().map(wgpu::Buffer::size).sum()
    }

    /// Bytes of a page, all layers.
    pub fn block_bytes(&self) -> u64 {
        self.page.bytes() * self.arenas.len() as u64
    }

    /// Replaces arena by arena, so that no more than one layer's is there twice, and says how many pages there are then.
    /// Where `allocate` finds no room, a pool that was to grow stays as it was, and one that was to shrink has lost its
    /// last pages although not all of their memory is free. `replaced` is told of each arena, whose old buffer is gone.
    ///
    /// Dropped before its end, this leaves a pool that works: longer arenas only hold memory that nobody uses.
    pub async fn resize(
        &mut self,
        gpu: &Gpu,
        num_blocks: u32,
        allocate: impl AsyncFn(usize, u64) -> Result<wgpu::Buffer, GpuError>,
        mut replaced: impl FnMut(usize, &wgpu::Buffer),
    ) -> Result<u32, ExecutorError> {
        let grows = num_blocks > self.num_blocks;
        self.num_blocks = self.num_blocks.min(num_blocks);
        let mut undrained = 0;
        for layer in 0..self.arenas.len() {
            match self.replace(gpu, layer, num_blocks, &allocate, &mut replaced).await {
                Ok(freed) => undrained += freed,
                Err(GpuError::OutOfMemory { .. }) if grows => {
                    gpu.drain().await.map_err(executor_error)?;
                    self.shorten(gpu, layer, &allocate, &mut replaced).await?;
                    return Ok(self.num_blocks);
                }
                Err(GpuError::OutOfMemory { .. }) => break,
                Err(error) => return Err(executor_error(error)),
            }
            if undrained >= DRAIN_BYTES {
                undrained = 0;
                gpu.drain().await.map_err(executor_error)?;
            }
        }
        gpu.drain().await.map_err(executor_error)?;
        self.num_blocks = num_blocks;
        Ok(num_blocks)
    }

    /// Gives back what the first `num_layers` arenas grew by. One that there is no room to copy stays long.
    async fn shorten(
        &mut self,
        gpu: &Gpu,
        num_layers: usize,
        allocate: &impl AsyncFn(usize, u64) -> Result<wgpu::Buffer, GpuError>,
        replaced: &mut impl FnMut(usize, &wgpu::Buffer),
    ) -> Result<(), ExecutorError> {
        for layer in 0..num_layers {
            match self.replace(gpu, layer, self.num_blocks, allocate, replaced).await {
                Ok(_) => gpu.drain().await.map_err(executor_error)?,
                Err(GpuError::OutOfMemory { .. }) => {}
                Err(error) => return Err(executor_error(error)),
            }
        }
        Ok(())
    }

    /// Gives a layer an arena of this many pages with the content of the old one; the bytes that this frees.
    async fn replace(
        &mut self,
        gpu: &Gpu,
        layer: usize,
        num_blocks: u32,
        allocate: &impl AsyncFn(usize, u64) -> Result<wgpu::Buffer, GpuError>,
        replaced: &mut impl FnMut(usize, &wgpu::Buffer),
    ) -> Result<u64, GpuError> {
        let bytes = u64::from(num_blocks) * self.page.bytes();
        if self.arenas[layer].size() == bytes {
            return Ok(0);
        }
        let arena = allocate(layer, bytes).await?;
        let old = std::mem::replace(&mut self.arenas[layer], arena);
        let arena = &self.arenas[layer];
        let kept_bytes = u64::from(self.num_blocks) * self.page.bytes();
        let mut encoder =
            gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("resize") });
        encoder.copy_buffer_to_buffer(&old, 0, arena, 0, kept_bytes);
        gpu.queue.submit([encoder.finish()]);
        replaced(layer, arena);
        // Not left to a browser's garbage collection. What was submitted still runs.
        old.destroy();
        Ok(old.size())
    }

    /// Bytes of these pages, layer by layer.
    pub async fn read(&self, gpu: &Gpu, blocks: &[BlockId]) -> Result<Vec<Vec<u8>>, ExecutorError> {
        for block in blocks {
            self.check(*block)?;
        }
        let (num_layers, page_bytes) = (self.arenas.len(), self.page.bytes());
        let parts: Vec<(usize, usize)> =
            (0..blocks.len() * num_layers).map(|part| (part / num_layers, part % num_layers)).collect();
        let parts_at_once = ((READ_BYTES / page_bytes) as usize).clamp(1, parts.len().max(1));
        let ring = ReadbackRing::new(gpu, parts_at_once as u64 * page_bytes, 1);
        let mut pages = vec![Vec::with_capacity(self.block_bytes() as usize); blocks.len()];
        for parts in parts.chunks(parts_at_once) {
            let readback = ring.take(gpu);
            let mut encoder = gpu
                .device
                .create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("read pages") });
            for (at, &(page, layer)) in (0..).zip(parts) {
                let from = u64::from(blocks[page].0) * page_bytes;
                let to = readback.buffer();
                encoder.copy_buffer_to_buffer(&self.arenas[layer], from, to, at * page_bytes, page_bytes);
            }
            let submission = gpu.queue.submit([encoder.finish()]);
            let data = readback.map(gpu, submission, parts.len() as u64 * page_bytes).await?;
            for (bytes, &(page, _)) in data.chunks_exact(page_bytes as usize).zip(parts) {
                pages[page].extend_from_slice(bytes);
            }
        }
        fault_error(gpu).map_or(Ok(pages), Err)
    }

    /// Writes what [`Self::read`] gave into a page.
    pub fn write(&self, gpu: &Gpu, block: BlockId, bytes: &[u8]) -> Result<(), ExecutorError> {
        self.check(block)?;
        if bytes.len() as u64 != self.block_bytes() {
            return Err(ExecutorError::WrongPageSize {
                expected_bytes: self.block_bytes(),
                got_bytes: bytes.len() as u64,
            });
        }
        let offset = u64::from(block.0) * self.page.bytes();
        for (arena, part) in self.arenas.iter().zip(bytes.chunks_exact(self.page.bytes() as usize)) {
            gpu.queue.write_buffer(arena, offset, part);
        }
        fault_error(gpu).map_or(Ok(()), Err)
    }

    fn check(&self, block: BlockId) -> Result<(), ExecutorError> {
        if block.0 < self.num_blocks {
            return Ok(());
        }
        let got = block.0.saturating_add(1);
        Err(ExecutorError::PlanTooLarge { what: "pages", got, limit: self.num_blocks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::GpuOptions;
    use crate::kv::KvType;

    const PAGE: PageShape = PageShape { kv_type: KvType::F16, num_kv_heads: 1, head_dim: 4 };
    const NUM_LAYERS: usize = 3;

    /// A pool of 4 pages with content, and that content.
    fn pool() -> (Gpu, KvPool, Vec<Vec<u8>>) {
        pollster::block_on(async {
            let gpu = Gpu::request(GpuOptions::default()).await.expect("the GPU tests need an adapter");
            let pool = KvPool::allocate(&gpu, PAGE, NUM_LAYERS as u32, 4).await.expect("there is room");
            let pages: Vec<Vec<u8>> =
                (0..4u8).map(|page| vec![page + 1; pool.block_bytes() as usize]).collect();
            for (block, page) in (0..).map(BlockId).zip(&pages) {
                pool.write(&gpu, block, page).expect("the page fits");
            }
            (gpu, pool, pages)
        })
    }

    /// Resizes with room for `room` arenas, then for none; the pages there are, and the layers that got another arena.
    fn resize(gpu: &Gpu, pool: &mut KvPool, num_blocks: u32, room: usize) -> (u32, Vec<usize>) {
        let calls = std::cell::Cell::new(0);
        let allocate = async |layer, bytes| {
            calls.set(calls.get() + 1);
            if calls.get() == room + 1 {
                return Err(GpuError::OutOfMemory { what: "a test".to_owned(), bytes });
            }
            allocate_arena(gpu, layer, bytes).await
        };
        let mut replaced = Vec::new();
        let resized = pool.resize(gpu, num_blocks, allocate, |layer, _| replaced.push(layer));
        (pollster::block_on(resized).expect("the device is there"), replaced)
    }

    fn read(gpu: &Gpu, pool: &KvPool, num_blocks: u32) -> Vec<Vec<u8>> {
        let blocks: Vec<_> = (0..num_blocks).map(BlockId).collect();
        pollster::block_on(pool.read(gpu, &blocks)).expect("the pages are there")
    }

    #[test]
    fn a_pool_without_room_to_grow_stays_as_it_was() {
        let (gpu, mut pool, pages) = pool();
        let before = pool.bytes();
        // Two layers have grown when the third finds no room: they are shortened again.
        assert_eq!(resize(&gpu, &mut pool, 9, 2), (4, vec![0, 1, 0, 1]));
        assert_eq!((pool.num_blocks(), pool.bytes()), (4, before));
        assert_eq!(read(&gpu, &pool, 4), pages);
        assert_eq!(resize(&gpu, &mut pool, 9, 9), (9, vec![0, 1, 2]));
        assert_eq!(read(&gpu, &pool, 4), pages);
    }

    #[test]
    fn a_pool_without_room_to_shrink_is_smaller_all_the_same() {
        let (gpu, mut pool, pages) = pool();
        assert_eq!(resize(&gpu, &mut pool, 2, 1), (2, vec![0]));
        assert_eq!(pool.bytes(), PAGE.bytes() * (2 + 4 + 4));
        assert_eq!(read(&gpu, &pool, 2), pages[..2]);
        // The next time, what is too long is shortened.
        assert_eq!(resize(&gpu, &mut pool, 2, 9), (2, vec![1, 2]));
        assert_eq!(pool.bytes(), PAGE.bytes() * 2 * 3);
        assert_eq!(read(&gpu, &pool, 2), pages[..2]);
    }
}
