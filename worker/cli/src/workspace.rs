//! Where things are in the repository. Owns every path that more than one command uses; touches no file.

use std::path::{Path, PathBuf};

use crate::error::{CliError, Result};

/// Name of the wasm file inside the package.
pub const WASM_FILE: &str = "hearth_bg.wasm";
/// Files that a finished package has.
pub const PACKAGE_FILES: [&str; 4] = ["index.js", "index.d.ts", WASM_FILE, "hearth-sw.js"];

/// The repository that the tool works in.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace around the current directory, or the one that `cargo run` names.
    pub fn find() -> Result<Self> {
        let current = std::env::current_dir().map_err(CliError::file("find", Path::new(".")))?;
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let starts = [Some(current.clone()), manifest];
        starts
            .iter()
            .flatten()
            .flat_map(|start| start.ancestors())
            .find(|folder| {
                folder.join("worker/cli/Cargo.toml").is_file() && folder.join("Cargo.lock").is_file()
            })
            .map(|root| Self { root: root.to_path_buf() })
            .ok_or(CliError::NoWorkspace { start: current })
    }

    /// A workspace at a given place, for tests.
    #[cfg(test)]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// The repository's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The npm package's folder.
    pub fn client(&self) -> PathBuf {
        self.root.join("client")
    }

    /// The finished package.
    pub fn package(&self) -> PathBuf {
        self.root.join("client/dist")
    }

    /// The optimised wasm with its glue, input of the client's bundler.
    pub fn wasm(&self) -> PathBuf {
        self.root.join("client/wasm")
    }

    /// The demo page's files.
    pub fn demo(&self) -> PathBuf {
        self.root.join("client/demo")
    }

    /// The generated TypeScript of the wire.
    pub fn protocol_types(&self) -> PathBuf {
        self.root.join("client/src/protocol.gen.ts")
    }

    /// Browser tests.
    pub fn e2e(&self) -> PathBuf {
        self.root.join("e2e")
    }

    /// Models fetched for the demo and the benchmarks.
    pub fn models(&self) -> PathBuf {
        self.root.join("models")
    }

    /// Cargo's output folder.
    pub fn target(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| self.root.join("target"), |path| self.root.join(path))
    }

    /// Output folder of the wasm build: its own, so that it never waits for, or undoes, the native one.
    pub fn wasm_target(&self) -> PathBuf {
        self.target().join("wasm")
    }

    /// Stamps and scratch files of this tool.
    pub fn state(&self) -> PathBuf {
        self.target().join("hearth")
    }
}
