//! How the next token is chosen: validated settings, the random numbers, the CPU truth, and when to stop.

pub mod reference;
pub mod rng;
pub mod settings;
pub mod stop;

pub use settings::SamplingSettings;
