//! The commands, one file each: what the arguments mean and in which order the parts are called.

pub mod bench;
pub mod build;
pub mod demo;
pub mod doctor;
pub mod eval;
pub mod model;
pub mod serve;
pub mod test;
