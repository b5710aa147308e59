//! Version of the wire and of the software that speaks it.

/// Raised when a page and a worker of different versions could misunderstand each other.
pub const PROTOCOL_VERSION: u32 = 2;

/// Version of this build of Hearth.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
