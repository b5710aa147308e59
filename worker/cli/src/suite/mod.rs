//! The test suite as a list of parts: what each runs and how its runner's summary is read. Knows no terminal layout
//! beyond passing a runner's lines on.

mod count;
mod parts;

pub use count::Count;
pub use parts::{Part, run};
