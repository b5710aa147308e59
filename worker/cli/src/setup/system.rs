//! System packages through apt, as root or with sudo. Knows no package by name.

use std::fs;
use std::path::Path;

use crate::error::{CliError, Result};
use crate::process::{Tool, find_program};
use crate::terminal::Step;

/// Seconds that apt waits for another apt to end.
const LOCK_SECONDS: u32 = 300;

/// Whether this is Debian itself (not a derivative whose packages of the same names differ).
pub fn is_debian() -> bool {
    os_release_id() == Some("debian".to_owned())
}

/// Whether system packages can be installed by apt on this machine.
pub fn has_apt() -> bool {
    find_program("apt-get").is_some()
}

/// Installs packages by apt; refreshes its lists first when they do not know a package.
pub fn install(packages: &[&str]) -> Result<()> {
    if !has_apt() {
        return Err(CliError::SystemPackages {
            packages: packages.join(" "),
            remedy: "install them with this system's package manager".to_owned(),
        });
    }
    let apt = Apt::new(packages)?;
    let step = Step::start(format!("Installing {}", packages.join(", ")));
    if !packages.iter().all(|package| has_candidate(package)) {
        apt.command(&["update"]).watch(&step)?;
    }
    if apt.install(packages).watch(&step).is_err() {
        // Lists that are older than the mirror name files that are gone: refresh, then let the second error stand.
        apt.command(&["update"]).watch(&step)?;
        apt.install(packages).watch(&step)?;
    }
    step.finish();
    Ok(())
}

/// How apt-get is called on this machine.
struct Apt {
    prefix: Vec<&'static str>,
}

impl Apt {
    fn new(packages: &[&str]) -> Result<Self> {
        if is_root() {
            return Ok(Self { prefix: Vec::new() });
        }
        // -n: a password prompt hidden behind a spinner would look like a hang.
        if find_program("sudo").is_some() && Tool::new("sudo").args(["-n", "true"]).succeeds() {
            return Ok(Self { prefix: vec!["sudo", "-n", "--preserve-env=DEBIAN_FRONTEND"] });
        }
        let packages = packages.join(" ");
        let remedy = format!("run `sudo apt-get install {packages}` and try again");
        Err(CliError::SystemPackages { packages, remedy })
    }

    fn command(&self, arguments: &[&str]) -> Tool {
        let words: Vec<&str> = self.prefix.iter().copied().chain(["apt-get"]).collect();
        Tool::new(words[0])
            .args(&words[1..])
            .args(["-o", &format!("DPkg::Lock::Timeout={LOCK_SECONDS}"), "-o", "Dpkg::Use-Pty=0"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
    }

    fn install(&self, packages: &[&str]) -> Tool {
        self.command(&["install", "-y", "--no-install-recommends"]).args(packages)
    }
}

fn has_candidate(package: &str) -> bool {
    let policy =
        Tool::new("apt-cache").args(["policy", package]).env("LC_ALL", "C").capture().unwrap_or_default();
    policy.lines().any(|line| line.trim().starts_with("Candidate:") && !line.contains("(none)"))
}

fn is_root() -> bool {
    Tool::new("id").arg("-u").capture().is_ok_and(|id| id.trim() == "0")
}

fn os_release_id() -> Option<String> {
    let release = fs::read_to_string(Path::new("/etc/os-release")).ok()?;
    let id = release.lines().find_map(|line| line.strip_prefix("ID="))?;
    Some(id.trim_matches('"').to_owned())
}
