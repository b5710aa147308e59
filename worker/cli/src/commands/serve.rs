//! `cargo hearth serve`: the static server by itself.

use std::path::PathBuf;

use clap::Args;

use crate::error::{CliError, Result};
use crate::server::{self, Server};
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
    let server = Server::start(arguments.port, server::mounts(workspace, models))?;
    terminal::result(&server.url());
    server.serve_forever();
    Ok(())
}
