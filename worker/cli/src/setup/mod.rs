//! Makes a machine ready: each step finds what is there, installs what is not, and is quiet and fast when nothing is
//! to do. Knows the machine and its package managers; knows no command that uses the result.

pub mod browser;
pub mod gpu;
pub mod node;
pub mod probe;
pub mod system;
pub mod wasm;
