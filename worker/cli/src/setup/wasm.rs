//! A Rust toolchain that builds for wasm32-unknown-unknown: the one that is there, else rustup's target, else the
//! distribution's compiler with the standard library built from source. Owns the compiler flags of the wasm.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{CliError, Result};
use crate::process::{Tool, find_program};
use crate::setup::system;
use crate::terminal::Step;

/// The target that browsers run.
pub const TARGET: &str = "wasm32-unknown-unknown";
/// Debian's and Ubuntu's packages that build for it without any download of a toolchain.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-19"];
/// Its linker.
const LINKER: &str = "wasm-ld-19";
/// Where these packages put their programs; a rustup on PATH must not be taken for them.
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";
const SYSTEM_CARGO: &str = "/usr/bin/cargo";
/// rustup prints nothing while it downloads: this much time is allowed for all of it.
const RUSTUP_LIMIT: Duration = Duration::from_secs(90);
/// The flags in .cargo/config.toml; flags from the environment replace those, so they are repeated here.
const FLAGS: [&str; 4] = ["--cfg", "getrandom_backend=\"wasm_js\"", "--cfg", "web_sys_unstable_apis"];

/// A way to build the wasm on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WasmToolchain {
    /// cargo as the user runs it, with an installed standard library for the target.
    Ordinary,
    /// The distribution's compiler; the standard library is built from its source package.
    SystemSource,
}

impl WasmToolchain {
    /// What this machine has now; installs nothing.
    pub fn find() -> Option<Self> {
        if has_target() {
            Some(Self::Ordinary)
        } else if has_system_source() {
            Some(Self::SystemSource)
        } else {
            None
        }
    }

    /// What this machine has, after installing it where it has none.
    pub fn ensure() -> Result<Self> {
        if let Some(toolchain) = Self::find() {
            return Ok(toolchain);
        }
        let mut tried = Vec::new();
        if find_program("rustup").is_some() {
            match add_rustup_target() {
                Ok(()) if has_target() => return Ok(Self::Ordinary),
                Ok(()) => tried.push(
                    "rustup target add: ended well, but this rustc still has no such target".to_owned(),
                ),
                Err(error) => tried.push(format!("rustup target add: {}", first_line(&error))),
            }
        }
        match system::install(&PACKAGES) {
            Ok(()) if has_system_source() => return Ok(Self::SystemSource),
            Ok(()) => {
                tried.push(format!("apt-get install: ended well, but {SYSTEM_RUSTC} or {LINKER} is missing"))
            }
            Err(error) => {
                tried.push(format!("apt-get install {}: {}", PACKAGES.join(" "), first_line(&error)))
            }
        }
        Err(CliError::NoWasmToolchain { tried })
    }

    /// `cargo SUBCOMMAND` for the wasm target, in its own target folder.
    pub fn cargo(&self, subcommand: &str, target_folder: &Path) -> Tool {
        let tool = match self {
            Self::Ordinary => Tool::new("cargo").arg(subcommand),
            Self::SystemSource => Tool::new(SYSTEM_CARGO)
                .args([subcommand, "-Zbuild-std=std,panic_abort"])
                .env("RUSTC", SYSTEM_RUSTC)
                .env("RUSTC_BOOTSTRAP", "1"),
        };
        tool.args(["--target", TARGET, "--target-dir"])
            .arg(target_folder)
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags().join("\u{1f}"))
            .env("CARGO_TERM_PROGRESS_WHEN", "never")
    }

    /// What distinguishes builds by this toolchain, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Ordinary => format!("rustc with {TARGET}"),
            Self::SystemSource => format!("{SYSTEM_RUSTC} with the standard library built from source"),
        }
    }

    fn flags(&self) -> Vec<String> {
        let mut flags: Vec<String> = FLAGS.iter().map(|&flag| flag.to_owned()).collect();
        if *self == Self::SystemSource {
            flags.extend([format!("-Clinker={LINKER}"), "-Clinker-flavor=wasm-ld".to_owned()]);
        }
        flags
    }
}

fn has_target() -> bool {
    let query = Tool::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).capture();
    query.is_ok_and(|folder| PathBuf::from(folder.trim()).is_dir())
}

fn has_system_source() -> bool {
    find_program(LINKER).is_some()
        && Path::new(SYSTEM_RUSTC).is_file()
        && Path::new(SYSTEM_CARGO).is_file()
        && Tool::new(SYSTEM_RUSTC)
            .args(["--print", "sysroot"])
            .capture()
            .is_ok_and(|root| Path::new(root.trim()).join("lib/rustlib/src/rust/library/std").is_dir())
}

fn add_rustup_target() -> Result<()> {
    let step = Step::start(format!("Adding the Rust target {TARGET}"));
    // One try: where there is no route the next way is already waiting.
    let add = Tool::new("rustup")
        .args(["target", "add", TARGET])
        .env("RUSTUP_MAX_RETRIES", "0")
        .env("RUST_BACKTRACE", "0");
    add.stall_limit(RUSTUP_LIMIT).watch(&step)?;
    step.finish();
    Ok(())
}

/// The message without the program's own output, but with the line in which it names its error.
fn first_line(error: &CliError) -> String {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim);
    let first = lines.next().unwrap_or_default().to_owned();
    match lines.find(|line| line.starts_with("error") || line.starts_with("E:")) {
        Some(reason) => format!("{first}: {reason}"),
        None => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_repeat_those_of_the_cargo_configuration() {
        let config =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cargo/config.toml"))
                .unwrap();
        let quoted: Vec<String> = FLAGS.iter().map(|flag| format!("{flag:?}")).collect();
        assert!(config.contains(&format!("rustflags = [{}]", quoted.join(", "))), "{config}");
    }

    #[test]
    fn a_reason_is_taken_from_the_programs_output() {
        let error = CliError::NoWasmToolchain { tried: vec!["info: x".into(), "error: no route".into()] };
        assert!(first_line(&error).ends_with("error: no route"), "{}", first_line(&error));
    }
}
