//! Which pages of the cache are worth keeping across restarts of the worker, and which of the kept ones go first.
//!
//! Plain data and arithmetic: knows neither IndexedDB nor the engine, and runs natively in tests.

pub mod chain;
pub mod payoff;
pub mod shelf;
