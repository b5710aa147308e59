//! How large the package's files are, as stored and as sent. Only measures.

use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::error::{CliError, Result};
use crate::terminal::human_bytes;
use crate::workspace::{PACKAGE_FILES, Workspace};

/// One file of the package.
pub struct FileSize {
    /// Its name in client/dist/.
    pub name: &'static str,
    /// Bytes on disk.
    pub raw_bytes: u64,
    /// Bytes after gzip at its best level, about what a web server sends.
    pub gzip_bytes: u64,
}

impl std::fmt::Display for FileSize {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (raw, gzip) = (human_bytes(self.raw_bytes), human_bytes(self.gzip_bytes));
        write!(formatter, "{:<14} {raw:>10}   gzip {gzip:>10}", self.name)
    }
}

/// Every file of the finished package.
pub fn of_package(workspace: &Workspace) -> Result<Vec<FileSize>> {
    let folder = workspace.package();
    let measure = |name: &'static str| {
        let path = folder.join(name);
        let bytes = fs::read(&path).map_err(CliError::file("read", &path))?;
        let gzip_bytes = gzip_size(&bytes).map_err(CliError::file("compress", &path))?;
        Ok(FileSize { name, raw_bytes: bytes.len() as u64, gzip_bytes })
    };
    PACKAGE_FILES.into_iter().map(measure).collect()
}

fn gzip_size(bytes: &[u8]) -> std::io::Result<u64> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::gzip_size;

    #[test]
    fn gzip_shrinks_what_repeats_and_not_what_does_not() {
        assert!(gzip_size(&[7; 10_000]).unwrap() < 100);
        let noise: Vec<u8> =
            (0..10_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 17) as u8).collect();
        assert!(gzip_size(&noise).unwrap() > 1_000);
    }
}
