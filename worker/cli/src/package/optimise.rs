//! wasm-opt from the npm package binaryen. Owns the optimisation flags.

use std::fs;
use std::path::Path;

use crate::error::{CliError, Result};
use crate::process::Tool;
use crate::terminal::Step;
use crate::workspace::Workspace;

/// The level, and the wasm features that rustc uses for this target: without them wasm-opt refuses the input, and more
/// would let it write what browsers with WebGPU may not read.
pub const ARGUMENTS: [&str; 9] = [
    "-O3",
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--enable-multivalue",
    "--strip-producers",
];

/// Writes the optimised form of `input` to `output`.
pub fn run(workspace: &Workspace, input: &Path, output: &Path) -> Result<()> {
    let step = Step::start("Optimising the wasm");
    if let Some(folder) = output.parent() {
        fs::create_dir_all(folder).map_err(CliError::file("create", folder))?;
    }
    // Through node, not through .bin: that is a shell script on one system and a .cmd file on another.
    Tool::new("node")
        .arg(workspace.client().join("node_modules/binaryen/bin/wasm-opt"))
        .arg(input)
        .arg("-o")
        .arg(output)
        .args(ARGUMENTS)
        .watch(&step)?;
    step.finish();
    Ok(())
}
