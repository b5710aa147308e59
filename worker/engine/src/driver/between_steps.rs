//! What the executor does while no step is in flight: the pool changes its size, and pages are read and written.

use futures::channel::oneshot;

use super::Shared;
use crate::engine::EngineError;
use crate::ids::{OwnerId, TokenId};
use crate::ports::{Executor, ExecutorError};

/// Work on the executor besides steps, and where its result goes.
pub(super) enum Command {
    /// Read pages of a prefix.
    Export {
        tokens: Vec<TokenId>,
        first_block: u32,
        done: oneshot::Sender<Result<Vec<Vec<u8>>, EngineError>>,
    },
    /// Write pages of a prefix.
    Import(Import),
    /// Make the pool as small as it can be.
    Shrink { done: oneshot::Sender<Result<u32, EngineError>> },
}

/// Pages for the cache.
pub(super) struct Import {
    pub(super) owner: OwnerId,
    pub(super) tokens: Vec<TokenId>,
    pub(super) first_block: u32,
    pub(super) pages: Vec<Vec<u8>>,
    pub(super) done: oneshot::Sender<Result<u32, EngineError>>,
}

/// What is to be done while no step is in flight.
pub(super) async fn work_between_steps(
    shared: &Shared,
    executor: &mut dyn Executor,
) -> Result<(), EngineError> {
    let wanted = shared.engine.borrow_mut().wanted_blocks();
    if let Some(asked) = wanted {
        let num_blocks = executor.resize(asked).await?;
        let now_ms = shared.clock.now_ms();
        shared.engine.borrow_mut().set_num_blocks(num_blocks, asked, now_ms);
        shared.deliver();
    }
    loop {
        let Some(command) = shared.commands.borrow_mut().pop_front() else { return Ok(()) };
        match command {
            Command::Export { tokens, first_block, done } => {
                let blocks = shared.engine.borrow().prefix_blocks(&tokens, first_block);
                let _ = done.send(executor.read_blocks(&blocks).await.map_err(EngineError::from));
            }
            Command::Import(import) => {
                let outcome = write_pages(shared, executor, &import);
                let _ = import.done.send(outcome);
            }
            Command::Shrink { done } => {
                let asked = shared.engine.borrow().min_blocks();
                let num_blocks = executor.resize(asked).await?;
                let now_ms = shared.clock.now_ms();
                shared.engine.borrow_mut().set_num_blocks(num_blocks, num_blocks, now_ms);
                let _ = done.send(Ok(num_blocks));
            }
        }
    }
}

fn write_pages(shared: &Shared, executor: &mut dyn Executor, import: &Import) -> Result<u32, EngineError> {
    let expected_bytes = executor.block_bytes();
    // Looked at before anything is changed: a page that is registered must hold what it says.
    if let Some(wrong) = import.pages.iter().find(|page| page.len() as u64 != expected_bytes) {
        return Err(ExecutorError::WrongPageSize { expected_bytes, got_bytes: wrong.len() as u64 }.into());
    }
    let mut engine = shared.engine.borrow_mut();
    let block_size = engine.usage().block_size_tokens as usize;
    let num_tokens = (import.first_block as usize + import.pages.len()) * block_size;
    let tokens = &import.tokens[..import.tokens.len().min(num_tokens)];
    let blocks = engine.adopt_blocks(import.owner, tokens, import.first_block);
    for (block, page) in blocks.iter().zip(&import.pages) {
        if let Err(error) = executor.write_block(*block, page) {
            engine.discard_blocks(&blocks);
            return Err(error.into());
        }
    }
    Ok(engine.cached_tokens(tokens))
}
