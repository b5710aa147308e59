//! `cargo hearth doctor`: what this machine has and lacks, and the command that mends it. Changes nothing.

use crate::error::{CliError, Result};
use crate::process::{Tool, find_program, is_executable};
use crate::setup::gpu::Driver;
use crate::setup::wasm::WasmToolchain;
use crate::setup::{browser, node, probe};
use crate::terminal::{self, Step};
use crate::workspace::Workspace;

/// Room that all builds, packages and the demo model take, with some to spare.
const MIN_FREE_KILOBYTES: u64 = 12_000_000;

/// One finding.
struct Check {
    name: &'static str,
    found: std::result::Result<String, Lack>,
}

/// What is missing and what mends it.
struct Lack {
    what: String,
    remedy: &'static str,
}

/// Runs the command.
pub fn run(workspace: &Workspace) -> Result<()> {
    let step = Step::start("Looking at this machine");
    let checks =
        [
            check("Rust", "install Rust from your distribution or with rustup", || {
                Tool::new("rustc")
                    .arg("--version")
                    .capture()
                    .map(|text| text.trim().to_owned())
                    .map_err(|_| "no rustc".into())
            }),
            check(
                "wasm toolchain",
                "any of build, demo and test installs it (rustup target add, or apt-get)",
                || {
                    WasmToolchain::find()
                        .map(|found| found.describe())
                        .ok_or_else(|| "nothing builds for wasm32-unknown-unknown".into())
                },
            ),
            check("Node.js and npm", "install Node.js 20 or newer with npm", || match node::version() {
                Some(major) if node::is_usable() => Ok(format!("version {major}")),
                Some(major) => Err(format!("version {major} is too old, or has no npm")),
                None => Err("no node on PATH".into()),
            }),
            check("pip", "apt-get install python3-pip", || {
                let has_pip = Tool::new("python3").args(["-m", "pip", "--version"]).succeeds();
                if has_pip || find_program("pip").is_some() || find_program("uv").is_some() {
                    Ok("found; fetches the demo model".into())
                } else {
                    Err("neither pip nor uv".into())
                }
            }),
            check("Vulkan driver", "apt-get install libvulkan1 mesa-vulkan-drivers", || {
                Driver::find()
                    .map(|driver| driver.describe())
                    .ok_or_else(|| "no driver for the native GPU tests".into())
            }),
            check(
                "Chromium",
                "test and demo --headless install it; or set HEARTH_CHROMIUM to a Chrome's program",
                || match std::env::var_os(browser::VARIABLE) {
                    Some(named) if !is_executable(named.as_ref()) => {
                        Err(format!("{} names no program", browser::VARIABLE))
                    }
                    Some(_) | None => {
                        let found = browser::find(workspace).map(|path| path.display().to_string());
                        found.ok_or_else(|| "none found".into())
                    }
                },
            ),
            check("WebGPU in it", "update Chromium (113 or newer), or its graphics driver", || {
                match browser::find(workspace) {
                    Some(chromium) => probe::webgpu(&chromium),
                    None => Err("no Chromium to ask".into()),
                }
            }),
            check("disk", "free some space", || match free_kilobytes(workspace) {
                Some(free) if free < MIN_FREE_KILOBYTES => {
                    Err(format!("{:.1} GB free, 12 are needed", free as f64 / 1e6))
                }
                Some(free) => Ok(format!("{:.1} GB free", free as f64 / 1e6)),
                None => Ok("unknown".into()),
            }),
        ];
    drop(step);
    for check in &checks {
        match &check.found {
            Ok(found) => terminal::result(&format!("ok       {:<16} {found}", check.name)),
            Err(lack) => {
                terminal::result(&format!("MISSING  {:<16} {}", check.name, lack.what));
                terminal::result(&format!("         {:<16} -> {}", "", lack.remedy));
            }
        }
    }
    let lacking = checks.iter().filter(|check| check.found.is_err()).count();
    if lacking == 0 { Ok(()) } else { Err(CliError::Lacking { lacking, checked: checks.len() }) }
}

fn check(
    name: &'static str,
    remedy: &'static str,
    look: impl FnOnce() -> std::result::Result<String, String>,
) -> Check {
    Check { name, found: look().map_err(|what| Lack { what, remedy }) }
}

fn free_kilobytes(workspace: &Workspace) -> Option<u64> {
    let table = Tool::new("df").args(["-Pk"]).arg(workspace.root()).capture().ok()?;
    table.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}
