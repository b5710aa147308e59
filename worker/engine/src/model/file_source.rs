//! A model file on a disk, for native programs.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use crate::model::slice_source::check_range;
use crate::ports::{ByteSource, LocalFuture, SourceError};

/// Reads ranges of a file; its futures are ready at once.
#[derive(Debug)]
pub struct FileSource {
    file: RefCell<File>,
    len_bytes: u64,
}

impl FileSource {
    /// Opens a file.
    ///
    /// # Errors
    /// [`SourceError::Storage`] with the system's words.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let storage = |error| SourceError::Storage { reason: format!("{}: {error}", path.display()) };
        let file = File::open(path).map_err(storage)?;
        let len_bytes = file.metadata().map_err(storage)?.len();
        Ok(Self { file: RefCell::new(file), len_bytes })
    }

    fn read_now(&self, range: Range<u64>) -> Result<Vec<u8>, SourceError> {
        check_range(&range, self.len_bytes)?;
        let mut file = self.file.borrow_mut();
        let storage = |error: std::io::Error| SourceError::Storage { reason: error.to_string() };
        file.seek(SeekFrom::Start(range.start)).map_err(storage)?;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact(&mut bytes).map_err(storage)?;
        Ok(bytes)
    }
}

impl ByteSource for FileSource {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<Result<Vec<u8>, SourceError>> {
        let bytes = self.read_now(range);
        Box::pin(async move { bytes })
    }
}
