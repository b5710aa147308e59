//! Builds the npm package: wire types, wasm, its glue and optimisation, the client's bundle. Each step is skipped while
//! its inputs did not change. Knows the order of the steps; what each needs from the machine is set-up's.

mod bindgen;
mod optimise;
mod sizes;
pub mod types;

use std::path::{Path, PathBuf};

use crate::error::{CliError, Result};
use crate::process::{Tool, npm_program};
use crate::setup::node;
use crate::setup::wasm::{TARGET, WasmToolchain};
use crate::stamp::{Fingerprint, Stamp};
use crate::terminal::Step;
use crate::workspace::{PACKAGE_FILES, WASM_FILE, Workspace};

pub use sizes::FileSize;

/// The crate that becomes the wasm.
pub const CRATE: &str = "hearth-shell";
/// Its file name as rustc writes it.
const RUSTC_FILE: &str = "hearth_shell.wasm";
/// The cargo profile that ships.
const PROFILE: &str = "wasm";
/// Changes when a step here does something else with the same inputs.
const RECIPE: &str = "1";

/// Builds everything that changed; installs what the machine lacks for it.
pub fn build(workspace: &Workspace) -> Result<Vec<FileSize>> {
    node::ensure_packages(workspace, &workspace.client())?;
    types::write(workspace)?;
    let module = compile(workspace)?;
    make_wasm(workspace, &module)?;
    bundle(workspace)?;
    sizes::of_package(workspace)
}

/// rustc's wasm, as it comes from the linker.
fn compile(workspace: &Workspace) -> Result<PathBuf> {
    let toolchain = WasmToolchain::ensure()?;
    let step = Step::start("Compiling the wasm");
    step.message(&toolchain.describe());
    toolchain
        .cargo("build", &workspace.wasm_target())
        .args(["--locked", "--package", CRATE, "--profile", PROFILE])
        .directory(workspace.root())
        .watch(&step)?;
    step.finish();
    let module = workspace.wasm_target().join(TARGET).join(PROFILE).join(RUSTC_FILE);
    must_exist("the wasm build", module)
}

/// Glue and optimised wasm in client/wasm/.
fn make_wasm(workspace: &Workspace, module: &Path) -> Result<()> {
    let folder = workspace.wasm();
    let outputs = [folder.join(WASM_FILE), folder.join("hearth.js"), folder.join("hearth.d.ts")];
    let inputs = Fingerprint::of(&[module.to_path_buf(), workspace.client().join("package-lock.json")])?
        .and(RECIPE)
        .and(&optimise::ARGUMENTS.join(" "));
    let stamp = Stamp::new(workspace, "wasm");
    if stamp.is_current(&inputs, &outputs) {
        return Ok(());
    }
    let scratch = workspace.state().join("bindgen");
    bindgen::generate(module, &scratch)?;
    optimise::run(workspace, &scratch.join(WASM_FILE), &outputs[0])?;
    for output in &outputs[1..] {
        let made = output.file_name().map(|name| scratch.join(name)).unwrap_or_default();
        std::fs::copy(&made, output).map_err(CliError::file("copy", &made))?;
    }
    stamp.save(&inputs, &outputs)
}

/// The client's own build: bundles, type declarations, the service worker with the wasm beside it.
fn bundle(workspace: &Workspace) -> Result<()> {
    let client = workspace.client();
    let outputs = PACKAGE_FILES.map(|name| workspace.package().join(name));
    let sources = ["package.json", "package-lock.json", "tsconfig.json", "scripts", "src", "demo", "wasm"];
    let inputs: Vec<PathBuf> =
        sources.iter().map(|name| client.join(name)).filter(|path| path.exists()).collect();
    let inputs = Fingerprint::of(&inputs)?.and(RECIPE);
    let stamp = Stamp::new(workspace, "client");
    if stamp.is_current(&inputs, &outputs) {
        return Ok(());
    }
    let step = Step::start("Bundling the client");
    Tool::new(npm_program("npm")).args(["run", "--silent", "build"]).directory(&client).watch(&step)?;
    for output in &outputs {
        must_exist("the client's build", output.clone())?;
    }
    stamp.save(&inputs, &outputs)?;
    step.finish();
    Ok(())
}

fn must_exist(step: &'static str, path: PathBuf) -> Result<PathBuf> {
    if path.is_file() { Ok(path) } else { Err(CliError::OutputMissing { step, path }) }
}
