//! `cargo hearth bench`: one table, natively and in Chromium.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::bench::{self, Report};
use crate::error::{CliError, Result};
use crate::model::SMOLLM2_135M;
use crate::native;
use crate::package;
use crate::process::Tool;
use crate::terminal::{self, Step};
use crate::workspace::{WASM_FILE, Workspace};

/// Measure load, prefill and decode natively and in Chromium.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// A GGUF file, or a folder with one [default: the demo's model]
    #[arg(long)]
    model: Option<PathBuf>,
    /// Write all samples as JSON to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Runs of each measurement
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Leave Chromium out
    #[arg(long)]
    native_only: bool,
}

/// Runs the command.
pub fn run(workspace: &Workspace, arguments: &BenchArgs) -> Result<()> {
    let model = match &arguments.model {
        Some(path) => native::find_gguf(path)?,
        None => SMOLLM2_135M.ensure(&SMOLLM2_135M.default_folder(workspace))?,
    };
    let model = model.canonicalize().map_err(CliError::file("find", &model))?;
    let sizes = if arguments.native_only { Vec::new() } else { package::build(workspace)? };
    let wasm = sizes.iter().find(|size| size.name == WASM_FILE);

    let step = Step::start("Measuring");
    let measured = bench::measure_natively(&model, arguments.runs, |what| step.message(what));
    let native = pollster::block_on(measured)?;
    let browser = if arguments.native_only {
        None
    } else {
        Some(bench::measure_in_browser(workspace, &model, arguments.runs, |what| step.message(what))?)
    };
    step.finish();

    let report = Report {
        commit: commit(workspace),
        machine: machine(),
        model: model.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        native_profile: if cfg!(debug_assertions) { "dev" } else { "release" },
        runs: arguments.runs,
        wasm_bytes: wasm.map(|size| size.raw_bytes),
        wasm_gzip_bytes: wasm.map(|size| size.gzip_bytes),
        native,
        browser,
    };
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&report)
            .map_err(|source| CliError::Json { what: "the report".to_owned(), source })?;
        fs::write(path, text + "\n").map_err(CliError::file("write", path))?;
    }
    terminal::result(report.table().trim_end());
    Ok(())
}

/// The commit, marked when files differ from it; empty outside a git checkout.
fn commit(workspace: &Workspace) -> String {
    let git = |arguments: &[&str]| Tool::new("git").args(arguments).directory(workspace.root()).capture();
    let Ok(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    let is_changed = git(&["status", "--porcelain"]).is_ok_and(|changes| !changes.is_empty());
    format!("{}{}", commit.trim(), if is_changed { " with changes" } else { "" })
}

fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        model.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    let model = model.map_or("", |(_, name)| name);
    format!("{processors} processors {model} ({} {})", std::env::consts::OS, std::env::consts::ARCH)
}
