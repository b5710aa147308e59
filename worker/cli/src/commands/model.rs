//! `cargo hearth model ...`: models on this machine.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use crate::error::{CliError, Result};
use crate::model::{PinnedModel, SMOLLM2_135M};
use crate::terminal;
use crate::workspace::Workspace;

/// Fetch models.
#[derive(Args, Debug)]
pub struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// Fetch a model (pinned by its hash) and print its folder
    Get {
        /// Which model
        id: ModelId,
        /// Folder to put it in [default: models/<id>/ in the repository]
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

/// The models that can be fetched.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModelId {
    /// SmolLM2-135M-Instruct, Q4_1, 98 MB
    #[value(name = "smollm2-135m")]
    SmolLm2,
}

impl ModelId {
    fn pinned(self) -> &'static PinnedModel {
        match self {
            Self::SmolLm2 => &SMOLLM2_135M,
        }
    }
}

/// Runs the command.
pub fn run(workspace: &Workspace, arguments: ModelArgs) -> Result<()> {
    let ModelCommand::Get { id, out } = arguments.command;
    let model = id.pinned();
    let folder = out.unwrap_or_else(|| model.default_folder(workspace));
    model.ensure(&folder)?;
    terminal::result(&absolute(&folder)?.display().to_string());
    Ok(())
}

fn absolute(folder: &Path) -> Result<PathBuf> {
    folder.canonicalize().map_err(CliError::file("find", folder))
}
