//! The parts of the suite in their order, cheapest first.

use std::path::PathBuf;

use crate::error::{CliError, Result};
use crate::model::SMOLLM2_135M;
use crate::package;
use crate::process::{Stream, Tool, npm_program};
use crate::server::{self, Server};
use crate::setup::gpu::Driver;
use crate::setup::wasm::WasmToolchain;
use crate::setup::{browser, node};
use crate::terminal;
use crate::workspace::Workspace;

use super::count::{Count, Runner};

/// Crates without hardware.
const UNIT_CRATES: [&str; 3] = ["hearth-protocol", "hearth-engine", "hearth-cli"];
/// The crate that needs a device.
const GPU_CRATE: &str = "hearth-gpu";

/// One part of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Formatting, generated types, clippy.
    Lint,
    /// Crates without hardware.
    Unit,
    /// The npm package as it ships.
    Build,
    /// The client's types and unit tests.
    Client,
    /// Kernels and forward passes on a device.
    Gpu,
    /// Everything together in Chromium.
    EndToEnd,
}

impl Part {
    /// The whole suite.
    pub const ALL: [Self; 6] = [Self::Lint, Self::Unit, Self::Build, Self::Client, Self::Gpu, Self::EndToEnd];

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::Unit => "unit",
            Self::Build => "build",
            Self::Client => "client",
            Self::Gpu => "gpu",
            Self::EndToEnd => "e2e",
        }
    }

    fn run_in(self, workspace: &Workspace, count: &mut Count) -> Result<()> {
        match self {
            Self::Lint => lint(workspace),
            Self::Unit => unit(workspace, count),
            Self::Build => build(workspace),
            Self::Client => client(workspace, count),
            Self::Gpu => gpu(workspace, count),
            Self::EndToEnd => end_to_end(workspace, count),
        }
    }
}

/// Runs these parts until one fails; `count` has what ran by then, the failed part included.
pub fn run(workspace: &Workspace, parts: &[Part], count: &mut Count) -> Result<()> {
    for &part in parts {
        terminal::note(&format!("== {}", part.name()));
        let started = std::time::Instant::now();
        let mut ran = Count::default();
        let outcome = part.run_in(workspace, &mut ran);
        if outcome.is_err() && ran.failed == 0 {
            // A compiler's or runner's own failure is one too.
            ran.failed = 1;
        }
        *count += ran;
        outcome.map_err(|source| CliError::TestPart { part: part.name(), source: Box::new(source) })?;
        terminal::note(&format!("== {} passed in {:.0} s", part.name(), started.elapsed().as_secs_f64()));
    }
    Ok(())
}

fn lint(workspace: &Workspace) -> Result<()> {
    in_workspace(Tool::new("cargo"), workspace).args(["fmt", "--all", "--check"]).each_line(pass_on)?;
    package::types::check(workspace)?;
    let crates = UNIT_CRATES.iter().chain(&[GPU_CRATE]).flat_map(|name| ["--package", name]);
    in_workspace(Tool::new("cargo"), workspace)
        .args(["clippy", "--locked", "--all-targets"])
        .args(crates)
        .args(["--", "--deny", "warnings"])
        .each_line(pass_on)?;
    // The distribution's compiler for wasm comes without clippy; its build denies the same rustc lints.
    let toolchain = WasmToolchain::ensure()?;
    if toolchain == WasmToolchain::Ordinary {
        in_workspace(toolchain.cargo("clippy", &workspace.wasm_target()), workspace)
            .args(["--locked", "--package", package::CRATE, "--", "--deny", "warnings"])
            .each_line(pass_on)?;
    }
    Ok(())
}

fn unit(workspace: &Workspace, count: &mut Count) -> Result<()> {
    let crates = UNIT_CRATES.iter().flat_map(|name| ["--package", name]);
    let tool =
        in_workspace(Tool::new("cargo"), workspace).args(["test", "--locked", "--no-fail-fast"]).args(crates);
    counted(tool, Part::Unit, Runner::Cargo, count)
}

fn build(workspace: &Workspace) -> Result<()> {
    for size in package::build(workspace)? {
        terminal::note(&format!("  {size}"));
    }
    Ok(())
}

fn client(workspace: &Workspace, count: &mut Count) -> Result<()> {
    let client = workspace.client();
    node::ensure_packages(workspace, &client)?;
    let npm = || Tool::new(npm_program("npm")).directory(&client).arg("--silent");
    npm().args(["run", "typecheck"]).each_line(pass_on)?;
    counted(npm().arg("test"), Part::Client, Runner::Node, count)
}

fn gpu(workspace: &Workspace, count: &mut Count) -> Result<()> {
    let driver = Driver::ensure()?;
    SMOLLM2_135M.ensure(&SMOLLM2_135M.default_folder(workspace))?;
    terminal::note(&format!("Vulkan driver: {}", driver.describe()));
    let tool = in_workspace(Tool::new("cargo"), workspace)
        .args(["test", "--locked", "--no-fail-fast", "--package", GPU_CRATE])
        .envs(driver.environment());
    counted(tool, Part::Gpu, Runner::Cargo, count)
}

fn end_to_end(workspace: &Workspace, count: &mut Count) -> Result<()> {
    let e2e = workspace.e2e();
    build(workspace)?;
    node::ensure_packages(workspace, &e2e)?;
    let chromium = browser::ensure(workspace)?;
    SMOLLM2_135M.ensure(&SMOLLM2_135M.default_folder(workspace))?;
    let kernels = write_kernels(workspace)?;
    let server = Server::start(0, server::mounts(workspace, workspace.models()))?;
    let tool = Tool::new(npm_program("npx"))
        .args(["--no-install", "playwright", "test"])
        .directory(&e2e)
        .envs(browser::environment(&chromium))
        .env("HEARTH_URL", server.url())
        .env("HEARTH_MODELS", workspace.models())
        .env("HEARTH_KERNELS", kernels);
    counted(tool, Part::EndToEnd, Runner::Playwright, count)
}

/// Writes every kernel variant to a file for the browser's own compiler to check.
fn write_kernels(workspace: &Workspace) -> Result<PathBuf> {
    let file = workspace.root().join("target/kernels.json");
    in_workspace(Tool::new("cargo"), workspace)
        .args(["run", "--quiet", "--locked", "--package", GPU_CRATE, "--example", "kernels", "--"])
        .arg(&file)
        .each_line(pass_on)?;
    Ok(file)
}

fn counted(tool: Tool, part: Part, runner: Runner, count: &mut Count) -> Result<()> {
    tool.each_line(|stream, line| {
        *count += runner.read(line);
        pass_on(stream, line);
    })?;
    if count.passed == 0 { Err(CliError::NoTests { part: part.name() }) } else { Ok(()) }
}

fn in_workspace(tool: Tool, workspace: &Workspace) -> Tool {
    tool.directory(workspace.root()).env("CARGO_TERM_COLOR", "never")
}

fn pass_on(stream: Stream, line: &str) {
    match stream {
        Stream::Stdout => terminal::result(line),
        Stream::Stderr => terminal::note(line),
    }
}
