//! What a kernel is: WGSL parts in order, constants before them, and the bindings that they declare. Pure data; making
//! pipelines of it is [`crate::pipelines`]' business. `tests/shader_contract.rs` holds every variant to its WGSL.

use std::fmt::Write as _;

/// WGSL's name for subgroup operations.
pub const SUBGROUPS: &str = "subgroups";

/// A file under `shaders/`.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// Path below `shaders/`.
    pub path: &'static str,
    /// Its text.
    pub source: &'static str,
}

macro_rules! parts {
    ($($(#[$doc:meta])* $name:ident = $path:literal;)*) => {
        $($(#[$doc])* pub static $name: $crate::kernel::Part = $crate::kernel::Part {
            path: $path,
            source: include_str!(concat!("../../../shaders/", $path)),
        };)*
        /// Every part, for the contract test.
        pub static ALL_PARTS: &[&$crate::kernel::Part] = &[$(&$name),*];
    };
}
pub(crate) use parts;

/// How a kernel uses a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    ReadWrite,
    /// `var<uniform>` of this many bytes.
    Uniform(u32),
}

/// One binding of group 0; its number is its place in [`Kernel::bindings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The WGSL variable.
    pub name: &'static str,
    /// How it is used.
    pub access: Access,
}

/// A read-only storage binding.
pub const fn read(name: &'static str) -> Binding {
    Binding { name, access: Access::Read }
}

/// A writable storage binding.
pub const fn write(name: &'static str) -> Binding {
    Binding { name, access: Access::ReadWrite }
}

/// A WGSL constant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// `u32`.
    U32(u32),
    /// `f32`, written with all its digits.
    F32(f32),
    /// `bool`.
    Bool(bool),
}

/// One variant of a kernel, ready to be compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    /// Name in labels, errors and profiles.
    pub label: String,
    /// WGSL features to `enable`.
    pub enables: Vec<&'static str>,
    /// Written before the parts.
    pub constants: Vec<(&'static str, Value)>,
    /// In order; the last one holds `main`.
    pub parts: Vec<&'static Part>,
    /// Bindings of group 0, numbered from 0.
    pub bindings: &'static [Binding],
}

/// Who reads the WGSL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// A browser: features must be enabled by directives.
    Browser,
    /// naga 30, which has subgroup operations but refuses `enable subgroups;`.
    Naga,
}

impl Dialect {
    /// That of the platform that this is compiled for.
    pub const NATIVE: Self = if cfg!(target_arch = "wasm32") { Self::Browser } else { Self::Naga };
}

impl Kernel {
    /// The WGSL text.
    pub fn source(&self, dialect: Dialect) -> String {
        let mut text = String::new();
        for enable in &self.enables {
            if dialect == Dialect::Browser || *enable != SUBGROUPS {
                // Writing to a String cannot fail, here and below.
                let _ = writeln!(text, "enable {enable};");
            }
        }
        for (name, value) in &self.constants {
            let _ = match value {
                Value::U32(v) => writeln!(text, "const {name}: u32 = {v}u;"),
                Value::F32(v) => writeln!(text, "const {name}: f32 = {v:e}f;"),
                Value::Bool(v) => writeln!(text, "const {name}: bool = {v};"),
            };
        }
        for part in &self.parts {
            let _ = writeln!(text, "// {}", part.path);
            text.push_str(part.source);
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static PART: Part = Part { path: "x.wgsl", source: "fn main() {}" };

    #[test]
    fn source_is_enables_then_constants_then_parts() {
        let kernel = Kernel {
            label: "x".to_owned(),
            enables: vec!["subgroups"],
            constants: vec![
                ("A", Value::U32(3)),
                ("B", Value::F32(1e-5)),
                ("C", Value::Bool(true)),
                ("D", Value::F32(0.125)),
            ],
            parts: vec![&PART],
            bindings: &[],
        };
        assert_eq!(
            kernel.source(Dialect::Naga),
            "const A: u32 = 3u;\nconst B: f32 = 1e-5f;\nconst C: bool = true;\n\
             const D: f32 = 1.25e-1f;\n// x.wgsl\nfn main() {}\n"
        );
        assert!(kernel.source(Dialect::Browser).starts_with("enable subgroups;\nconst A"));
    }
}
