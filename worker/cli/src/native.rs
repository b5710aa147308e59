//! A model on this machine's GPU, without an engine: what `eval` and `bench` start from. Knows files and the gpu crate.

use std::fs;
use std::path::{Path, PathBuf};

use hearth_engine::model::{FileSource, Gguf, ModelConfig};
use hearth_gpu::{ExecutorOptions, Gpu, GpuExecutor, GpuOptions, KvType};

use crate::error::{CliError, Result};
use crate::setup::gpu::Driver;
use crate::terminal::Step;

/// A loaded model.
pub struct NativeModel {
    /// Runs its steps.
    pub executor: GpuExecutor,
    /// Its hyper-parameters.
    pub config: ModelConfig,
    /// Its header: vocabulary, template.
    pub gguf: Gguf,
    /// The device's name.
    pub adapter: String,
    /// From opening the file to the last byte on the device.
    pub load_ms: f64,
}

/// The GGUF file that `path` means: itself, or the only one in that folder.
pub fn find_gguf(path: &Path) -> Result<PathBuf> {
    if path.is_file() {
        return Ok(path.to_path_buf());
    }
    let entries = fs::read_dir(path).map_err(CliError::file("list", path))?;
    let is_gguf = |file: &PathBuf| file.extension().is_some_and(|kind| kind.eq_ignore_ascii_case("gguf"));
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_gguf).collect();
    match (files.pop(), files.is_empty()) {
        (Some(file), true) => Ok(file),
        (found, _) => {
            let count = files.len() + usize::from(found.is_some());
            Err(CliError::NoModelFile { folder: path.to_path_buf(), count })
        }
    }
}

/// Loads a GGUF file with room for `kv_tokens` tokens in the cache.
pub async fn load(file: &Path, kv_type: KvType, kv_tokens: u32) -> Result<NativeModel> {
    Driver::ensure()?;
    let gpu = Gpu::request(GpuOptions::default()).await?;
    let started = std::time::Instant::now();
    let failed = |reason: String| CliError::Model { file: file.to_path_buf(), reason };
    let source = FileSource::open(file).map_err(|error| failed(error.to_string()))?;
    let gguf = Gguf::open(&source).await.map_err(|error| failed(error.to_string()))?;
    let (config, tensors) = gguf.read_model(&source).await.map_err(|error| failed(error.to_string()))?;
    let options = ExecutorOptions { kv_type, kv_tokens, ..ExecutorOptions::for_device(gpu.capabilities()) };
    let step = Step::bytes("Loading the model", tensors.total_bytes());
    let mut shown_bytes = 0;
    let mut progress = |progress: hearth_gpu::LoadProgress| {
        step.advance(progress.bytes_done.saturating_sub(shown_bytes));
        shown_bytes = progress.bytes_done;
    };
    let executor = hearth_gpu::load(&gpu, &config, &tensors, &source, &options, &mut progress)
        .await
        .map_err(|error| failed(error.to_string()))?;
    gpu.drain().await?;
    let load_ms = started.elapsed().as_secs_f64() * 1e3;
    step.finish();
    Ok(NativeModel { executor, config, gguf, adapter: gpu.description(), load_ms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestFolder;

    #[test]
    fn a_folder_means_its_only_gguf() {
        let folder = TestFolder::new("gguf");
        assert!(matches!(find_gguf(folder.path()), Err(CliError::NoModelFile { count: 0, .. })));
        let file = folder.write("model.GGUF", "x");
        folder.write("readme.md", "x");
        assert_eq!(find_gguf(folder.path()).unwrap(), file);
        assert_eq!(find_gguf(&file).unwrap(), file);
        folder.write("other.gguf", "x");
        assert!(matches!(find_gguf(folder.path()), Err(CliError::NoModelFile { count: 2, .. })));
        assert!(matches!(find_gguf(&folder.path().join("none")), Err(CliError::File { .. })));
    }
}
