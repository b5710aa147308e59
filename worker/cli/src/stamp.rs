//! Remembers what a step was made from, so that it is skipped while nothing changed. Knows files and digests, no step.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{CliError, Result};
use crate::workspace::Workspace;

/// Folders that are never inputs: they are made from inputs.
const GENERATED: [&str; 4] = ["node_modules", "dist", "target", "test-results"];
/// Bytes read at a time.
const READ_BYTES: usize = 1 << 16;

/// The record of one step's last success.
pub struct Stamp {
    file: PathBuf,
}

impl Stamp {
    /// The stamp of the step with this name.
    pub fn new(workspace: &Workspace, name: &str) -> Self {
        Self { file: workspace.state().join(format!("{name}.stamp")) }
    }

    /// Whether the step last succeeded with exactly these inputs and its outputs are still what it wrote.
    pub fn is_current(&self, inputs: &Fingerprint, outputs: &[PathBuf]) -> bool {
        let Ok(outputs) = Fingerprint::of(outputs) else { return false };
        fs::read_to_string(&self.file).is_ok_and(|recorded| recorded == record(inputs, &outputs))
    }

    /// Records a success.
    pub fn save(&self, inputs: &Fingerprint, outputs: &[PathBuf]) -> Result<()> {
        let outputs = Fingerprint::of(outputs)?;
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder).map_err(CliError::file("create", folder))?;
        }
        fs::write(&self.file, record(inputs, &outputs)).map_err(CliError::file("write", &self.file))
    }
}

/// A digest over files (names and contents) and other facts that a step depends on.
#[derive(Clone)]
pub struct Fingerprint {
    digest: Sha256,
}

impl Fingerprint {
    /// Over these files and folders; a folder counts with everything in it that is not generated. A missing path is an error.
    pub fn of(paths: &[PathBuf]) -> Result<Self> {
        let mut fingerprint = Self { digest: Sha256::new() };
        for path in paths {
            fingerprint.add(path)?;
        }
        Ok(fingerprint)
    }

    /// Adds a fact that is no file: a flag, a version.
    pub fn and(mut self, fact: &str) -> Self {
        self.digest.update((fact.len() as u64).to_le_bytes());
        self.digest.update(fact.as_bytes());
        self
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let metadata = fs::metadata(path).map_err(CliError::file("read", path))?;
        if metadata.is_dir() {
            let mut entries = fs::read_dir(path)
                .and_then(|entries| {
                    entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
                })
                .map_err(CliError::file("list", path))?;
            entries.sort();
            let is_input = |entry: &&PathBuf| !GENERATED.iter().any(|name| entry.ends_with(name));
            return entries.iter().filter(is_input).try_for_each(|entry| self.add(entry));
        }
        let name = path.to_string_lossy();
        self.digest.update((name.len() as u64).to_le_bytes());
        self.digest.update(name.as_bytes());
        self.digest.update(metadata.len().to_le_bytes());
        update_from_file(&mut self.digest, path)
    }

    fn hex(&self) -> String {
        hex(&self.digest.clone().finalize())
    }
}

/// SHA-256 of a file, in hexadecimal.
pub fn sha256_of_file(path: &Path) -> Result<String> {
    let mut digest = Sha256::new();
    update_from_file(&mut digest, path)?;
    Ok(hex(&digest.finalize()))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn update_from_file(digest: &mut Sha256, path: &Path) -> Result<()> {
    let mut file = fs::File::open(path).map_err(CliError::file("open", path))?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let count = file.read(&mut buffer).map_err(CliError::file("read", path))?;
        if count == 0 {
            return Ok(());
        }
        digest.update(&buffer[..count]);
    }
}

fn record(inputs: &Fingerprint, outputs: &Fingerprint) -> String {
    format!("{} {}\n", inputs.hex(), outputs.hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestFolder;

    #[test]
    fn a_step_is_current_until_an_input_an_output_or_a_fact_changes() {
        let folder = TestFolder::new("stamp");
        let workspace = Workspace::at(folder.path());
        let input = folder.write("in/a.txt", "one");
        let outputs = [folder.write("out.txt", "made")];
        let inputs = || Fingerprint::of(&[folder.path().join("in")]).unwrap();
        let stamp = Stamp::new(&workspace, "step");
        assert!(!stamp.is_current(&inputs().and("-O3"), &outputs), "before the first success");

        stamp.save(&inputs().and("-O3"), &outputs).unwrap();
        assert!(stamp.is_current(&inputs().and("-O3"), &outputs));
        assert!(!stamp.is_current(&inputs().and("-O4"), &outputs), "after a fact changed");

        fs::write(&input, "two").unwrap();
        assert!(!stamp.is_current(&inputs().and("-O3"), &outputs), "after an input changed");
        stamp.save(&inputs().and("-O3"), &outputs).unwrap();
        fs::write(&outputs[0], "damaged").unwrap();
        assert!(!stamp.is_current(&inputs().and("-O3"), &outputs), "after an output changed");
        fs::remove_file(&outputs[0]).unwrap();
        assert!(!stamp.is_current(&inputs().and("-O3"), &outputs), "after an output vanished");
    }

    #[test]
    fn generated_folders_are_no_inputs() {
        let folder = TestFolder::new("generated");
        folder.write("in/a.txt", "one");
        let before = Fingerprint::of(&[folder.path().join("in")]).unwrap().hex();
        folder.write("in/node_modules/b.txt", "two");
        assert_eq!(Fingerprint::of(&[folder.path().join("in")]).unwrap().hex(), before);
        folder.write("in/c.txt", "three");
        assert_ne!(Fingerprint::of(&[folder.path().join("in")]).unwrap().hex(), before);
    }

    #[test]
    fn sha256_is_the_published_one() {
        let folder = TestFolder::new("sha");
        let file = folder.write("abc", "abc");
        assert_eq!(
            sha256_of_file(&file).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
