//! What the outside must supply. `gpu` and `shell` implement these traits; the engine never sees more of them.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;

use thiserror::Error;

use crate::ids::BlockId;
use crate::plan::{StepLimits, StepOutput, StepPlan};

/// A future on the one thread that everything here runs on.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// A future on that thread that borrows something.
pub type BorrowedFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Runs steps, and keeps the pages of the cache. Steps run in the order of submission; a second step may be submitted while one is in flight.
pub trait Executor {
    /// What this executor was built for.
    fn limits(&self) -> StepLimits;

    /// Starts a step and returns at once. The future resolves when the step's tokens have come back; it does not
    /// borrow the executor.
    ///
    /// # Errors
    /// [`ExecutorError::PlanTooLarge`] when the plan exceeds [`Executor::limits`]; nothing has run then.
    fn submit(
        &mut self,
        plan: &StepPlan,
    ) -> Result<LocalFuture<Result<StepOutput, ExecutorError>>, ExecutorError>;

    /// Changes the number of pages; no step is in flight. What pages below the new number hold stays. Resolves with the number
    /// that there is now: less than asked, and at least as before, where the device has no room for more.
    ///
    /// # Errors
    /// The device failed.
    fn resize(&mut self, num_blocks: u32) -> BorrowedFuture<'_, Result<u32, ExecutorError>>;

    /// What pages hold, all layers, in the cache's own format: [`Executor::block_bytes`] for each. No step is in flight.
    ///
    /// # Errors
    /// The device failed.
    fn read_blocks<'a>(
        &'a mut self,
        blocks: &[BlockId],
    ) -> BorrowedFuture<'a, Result<Vec<Vec<u8>>, ExecutorError>>;

    /// Fills a page with what [`Executor::read_blocks`] gave, of this executor or another of the same model and format, before
    /// any step that is submitted later.
    ///
    /// # Errors
    /// [`ExecutorError::WrongPageSize`]; the page is as it was.
    fn write_block(&mut self, block: BlockId, bytes: &[u8]) -> Result<(), ExecutorError>;

    /// Bytes of a page.
    fn block_bytes(&self) -> u64;
}

/// Why a step did not run or did not come back.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExecutorError {
    /// The plan is larger than the executor was built for: a broken invariant of the scheduler.
    #[error("step plan has {got} {what}, the executor was built for {limit}")]
    PlanTooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How many the plan has.
        got: u32,
        /// How many fit.
        limit: u32,
    },
    /// Bytes that are no page of this cache.
    #[error(
        "a page of the cache has {expected_bytes} bytes, got {got_bytes}: it belongs to another model or format"
    )]
    WrongPageSize {
        /// Bytes of a page.
        expected_bytes: u64,
        /// Bytes given.
        got_bytes: u64,
    },
    /// The GPU device is gone: all its buffers with it.
    #[error("the GPU device was lost: {reason}")]
    DeviceLost {
        /// The browser's or driver's words.
        reason: String,
    },
    /// The device refused work.
    #[error("the GPU failed: {reason}")]
    Device {
        /// The browser's or driver's words.
        reason: String,
    },
}

/// Time for statistics and for the size of steps; it never decides what is generated.
pub trait Clock {
    /// Milliseconds since some fixed moment; never goes back.
    fn now_ms(&self) -> f64;
}

/// A model file that is read by ranges, never as a whole.
pub trait ByteSource {
    /// Length of the file in bytes.
    fn len_bytes(&self) -> u64;

    /// Reads exactly `range`. Reads go forward through the file as far as possible, so a source may keep its last piece.
    fn read(&self, range: Range<u64>) -> LocalFuture<Result<Vec<u8>, SourceError>>;
}

/// Why bytes could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The range reaches past the end: the file is shorter than its own header says.
    #[error(
        "the model file ends at byte {len_bytes}, but bytes {start}..{end} are needed: it is truncated; download it again"
    )]
    OutOfRange {
        /// First byte asked for.
        start: u64,
        /// One past the last byte asked for.
        end: u64,
        /// Length of the file.
        len_bytes: u64,
    },
    /// The server answered with an error status.
    #[error("{url} answered {status}: check the model's URL")]
    Status {
        /// The URL asked.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The connection failed or stopped in mid-file after all retries.
    #[error(
        "download of {url} stopped after {received_bytes} bytes: {reason}; try again, what has arrived is kept"
    )]
    Network {
        /// The URL asked.
        url: String,
        /// Bytes that had arrived and are kept.
        received_bytes: u64,
        /// The browser's words.
        reason: String,
    },
    /// The server's file is no longer the one that the load began with.
    #[error("{url} changed on the server while it was being downloaded; load the model again")]
    Changed {
        /// The URL asked.
        url: String,
    },
    /// The local store or file failed.
    #[error("reading the stored model failed: {reason}")]
    Storage {
        /// The store's words.
        reason: String,
    },
    /// The load was cancelled.
    #[error("the load was cancelled")]
    Cancelled,
}
