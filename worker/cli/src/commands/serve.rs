//! `cargo hearth serve`: the static server by itself, with the reference endpoint for preprocessing if asked.

use std::path::PathBuf;

use clap::Args;

use crate::error::{CliError, Result};
use crate::server::{self, Preprocessor, Server, Site};
use crate::terminal;
use crate::workspace::Workspace;

/// Serve the demo at /, the package at /hearth/ and models at /models/<id>/.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// Port on localhost; 0 picks a free one
    #[arg(long)]
    port: u16,
    /// Folder with one folder per model [default: models/ in the repository]
    #[arg(long)]
    models: Option<PathBuf>,
    /// Also shorten texts at POST /preprocess
    ///
    /// Takes JSON {text, maxTokens, query?} of at most 8 MiB as application/json and returns {text, tokens,
    /// originalTokens, sentencesKept, sentencesTotal}: the sentences that matter most, or most to the query, in at most
    /// maxTokens. The same code as in the browser, counting with the vocabulary of the first .gguf file in the models
    /// folder. Failures are {error: {message}} with status 400, 405, 408, 413 or 415. Pages of every origin may ask:
    /// the server listens on localhost only and keeps nothing.
    #[arg(long)]
    preprocess: bool,
}

/// Runs the command.
pub fn run(workspace: &Workspace, arguments: ServeArgs) -> Result<()> {
    let script = workspace.package().join("hearth-sw.js");
    if !script.is_file() {
        terminal::note("client/dist/ is not built yet: run `cargo hearth build`, the server will see it");
    }
    let models = arguments.models.unwrap_or_else(|| workspace.models());
    if models.exists() && !models.is_dir() {
        let source = std::io::Error::from(std::io::ErrorKind::NotADirectory);
        return Err(CliError::File { action: "serve models from", path: models, source });
    }
    let preprocessor = arguments.preprocess.then(|| Preprocessor::open(&models)).transpose()?;
    let has_preprocessor = preprocessor.is_some();
    let site = Site { mounts: server::mounts(workspace, models), preprocessor };
    let server = Server::start_site(arguments.port, site)?;
    if has_preprocessor {
        terminal::note(&format!("texts are shortened at POST {}preprocess", server.url()));
    }
    terminal::result(&server.url());
    server.serve_forever();
    Ok(())
}
