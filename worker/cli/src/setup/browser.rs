//! A Chromium with WebGPU and the flags that it is started with. Knows how one is found and installed; drives none.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{CliError, Result};
use crate::process::{Tool, find_program, is_executable, npm_program};
use crate::setup::{gpu, system};
use crate::terminal::Step;
use crate::workspace::Workspace;

/// Names the browser to use, before any search.
pub const VARIABLE: &str = "HEARTH_CHROMIUM";
/// Its flags, for child processes.
const FLAGS_VARIABLE: &str = "HEARTH_CHROMIUM_FLAGS";
/// Programs on PATH that are a Chromium.
const PROGRAMS: [&str; 5] =
    ["google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "chrome"];
/// Places that are not on PATH.
const PLACES: [&str; 3] = [
    "/usr/lib/chromium/chromium-headless-shell",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
];
/// Debian's packages.
const PACKAGES: [&str; 2] = ["chromium", "chromium-headless-shell"];
/// A download that says nothing for this long has no route.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// WebGPU on any adapter, no sandbox (containers and root have none to offer), and no calls home.
const FLAGS: [&str; 4] = [
    "--enable-unsafe-webgpu",
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
];
/// Added on Linux with an NVIDIA GPU, which Chromium does not use by itself without a display.
const NVIDIA_FLAGS: [&str; 4] =
    ["--enable-features=Vulkan", "--use-angle=vulkan", "--disable-vulkan-surface", "--ignore-gpu-blocklist"];

/// The flags for this machine.
pub fn flags() -> Vec<String> {
    let nvidia: &[&str] = if gpu::has_nvidia() { &NVIDIA_FLAGS } else { &[] };
    FLAGS.iter().chain(nvidia).map(|&flag| flag.to_owned()).collect()
}

/// How child processes are told which browser to start, and how: the flags one a line, since they may hold commas.
pub fn environment(chromium: &Path) -> [(&'static str, OsString); 2] {
    [(VARIABLE, chromium.into()), (FLAGS_VARIABLE, flags().join("\n").into())]
}

/// The Chromium of this machine; installs nothing.
pub fn find(workspace: &Workspace) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(VARIABLE).map(PathBuf::from) {
        return is_executable(&named).then_some(named);
    }
    playwright_browser(workspace)
        .or_else(|| PROGRAMS.iter().find_map(|name| find_program(name)))
        .or_else(|| PLACES.iter().map(PathBuf::from).find(|place| is_executable(place)))
}

/// The Chromium of this machine, after installing one where there is none. Needs the packages of e2e/.
pub fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(found) = find(workspace) {
        return Ok(found);
    }
    if let Some(named) = std::env::var_os(VARIABLE) {
        let tried = vec![format!("{VARIABLE} names {}, which is no program", Path::new(&named).display())];
        return Err(CliError::NoChromium { tried });
    }
    let mut tried = Vec::new();
    // Debian's own package brings the system libraries along and needs no other registry; elsewhere Playwright's
    // build is the surer one (Ubuntu's package of this name is a snap, which containers cannot run).
    let ways: [fn(&Workspace) -> Result<()>; 2] =
        if system::is_debian() { [by_apt, by_playwright] } else { [by_playwright, by_apt] };
    for way in ways {
        match way(workspace) {
            Ok(()) => match find(workspace) {
                Some(found) => return Ok(found),
                None => tried.push("an installation ended well, but left no Chromium".to_owned()),
            },
            Err(error) => tried.push(error.to_string().lines().next().unwrap_or_default().to_owned()),
        }
    }
    Err(CliError::NoChromium { tried })
}

fn by_apt(_workspace: &Workspace) -> Result<()> {
    system::install(&PACKAGES)
}

fn by_playwright(workspace: &Workspace) -> Result<()> {
    let step = Step::start("Installing Playwright's Chromium");
    Tool::new(npm_program("npx"))
        .args(["--no-install", "playwright", "install", "chromium"])
        .directory(&workspace.e2e())
        .stall_limit(STALL_LIMIT)
        .watch(&step)?;
    step.finish();
    Ok(())
}

/// The Chromium that Playwright installed for its version in e2e/, if it did.
fn playwright_browser(workspace: &Workspace) -> Option<PathBuf> {
    let e2e = workspace.e2e();
    if !e2e.join("node_modules/playwright-core").is_dir() {
        return None;
    }
    let script = "console.log(require('playwright-core').chromium.executablePath())";
    let path = Tool::new("node").args(["-e", script]).directory(&e2e).capture().ok()?;
    Some(PathBuf::from(path.trim())).filter(|path| is_executable(path))
}
