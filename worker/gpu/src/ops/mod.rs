//! One file per operation: its shape, its kernel's variants, the size of its grid.

pub mod attention;
pub mod embed;
pub mod matmul;
pub mod norm;
pub mod quantize;
pub mod sample;
pub mod shift;
