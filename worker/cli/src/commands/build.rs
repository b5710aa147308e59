//! `cargo hearth build`: the npm package in client/dist/.

use clap::Args;

use crate::error::Result;
use crate::package;
use crate::terminal;
use crate::workspace::Workspace;

/// Build the npm package into client/dist/.
#[derive(Args, Debug)]
pub struct BuildArgs {
    /// Build nothing; fail if client/src/protocol.gen.ts is not what worker/protocol generates
    #[arg(long)]
    check_types: bool,
}

/// Runs the command.
pub fn run(workspace: &Workspace, arguments: &BuildArgs) -> Result<()> {
    if arguments.check_types {
        return package::types::check(workspace);
    }
    for size in package::build(workspace)? {
        terminal::result(&size.to_string());
    }
    Ok(())
}
