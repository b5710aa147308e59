//! Node.js, npm and the packages of a folder's lock file. Knows nothing of what the packages do.

use std::path::Path;
use std::time::Duration;

use crate::error::{CliError, Result};
use crate::process::{Tool, find_program, npm_program};
use crate::setup::system;
use crate::stamp::{Fingerprint, Stamp};
use crate::terminal::Step;
use crate::workspace::Workspace;

/// Oldest Node.js that the build scripts and Playwright run on.
const MIN_MAJOR_VERSION: u32 = 20;
/// npm without a word for this long has no route to its registry.
const STALL_LIMIT: Duration = Duration::from_secs(240);

/// Major version of the Node.js on PATH.
pub fn version() -> Option<u32> {
    let text = Tool::new("node").arg("--version").capture().ok()?;
    text.trim().trim_start_matches('v').split('.').next()?.parse().ok()
}

/// Makes sure of a new enough Node.js with npm.
pub fn ensure() -> Result<()> {
    if is_usable() {
        return Ok(());
    }
    if find_program("node").is_none() && system::has_apt() {
        system::install(&["nodejs", "npm"])?;
    }
    if is_usable() { Ok(()) } else { Err(missing()) }
}

/// Whether Node.js and npm are here and new enough.
pub fn is_usable() -> bool {
    version().is_some_and(|major| major >= MIN_MAJOR_VERSION) && find_npm().is_some()
}

/// Installs the packages of `folder` exactly as its lock file says, unless that is already done.
pub fn ensure_packages(workspace: &Workspace, folder: &Path) -> Result<()> {
    let lock = folder.join("package-lock.json");
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let inputs = Fingerprint::of(&[folder.join("package.json"), lock])?;
    let stamp = Stamp::new(workspace, &format!("npm-{name}"));
    // npm's own record of what it installed: it is there only after a complete installation.
    let outputs = [folder.join("node_modules/.package-lock.json")];
    if stamp.is_current(&inputs, &outputs) {
        return Ok(());
    }
    ensure()?;
    let step = Step::start(format!("Installing npm packages of {name}"));
    Tool::new(npm_program("npm"))
        .args(["ci", "--no-audit", "--no-fund", "--loglevel=http"])
        .directory(folder)
        .stall_limit(STALL_LIMIT)
        .watch(&step)?;
    stamp.save(&inputs, &outputs)?;
    step.finish();
    Ok(())
}

fn find_npm() -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(npm_program("npm"))).find(|file| file.is_file())
}

fn missing() -> CliError {
    let found =
        version().map_or_else(|| "none was found".to_owned(), |major| format!("found version {major}"));
    CliError::ProgramMissing {
        program: "Node.js with npm",
        remedy: format!("install version {MIN_MAJOR_VERSION} or newer ({found})"),
    }
}
