//! `cargo hearth`: set up, build, serve, test, evaluate and measure. Owns the command line; each command is in its file.

mod bench;
mod commands;
mod error;
mod evaluate;
mod model;
mod native;
mod package;
mod process;
mod server;
mod setup;
mod stamp;
mod suite;
mod terminal;
#[cfg(test)]
mod testing;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Result;
use crate::workspace::Workspace;

/// Hearth: language models in every tab, from one service worker.
#[derive(Debug, Parser)]
#[command(name = "cargo hearth", bin_name = "cargo hearth", version, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(commands::demo::DemoArgs),
    Build(commands::build::BuildArgs),
    Serve(commands::serve::ServeArgs),
    Model(commands::model::ModelArgs),
    Test(commands::test::TestArgs),
    Bench(commands::bench::BenchArgs),
    Eval(commands::eval::EvalArgs),
    /// Say what this machine has and lacks, and what mends it
    Doctor,
}

fn main() -> ExitCode {
    match run(CommandLine::parse().command) {
        Ok(code) => code,
        Err(error) => {
            terminal::note(&format!("hearth: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match command {
        Command::Demo(arguments) => commands::demo::run(&workspace, &arguments)?,
        Command::Build(arguments) => commands::build::run(&workspace, &arguments)?,
        Command::Serve(arguments) => commands::serve::run(&workspace, arguments)?,
        Command::Model(arguments) => commands::model::run(&workspace, arguments)?,
        Command::Test(arguments) => return Ok(commands::test::run(&workspace, &arguments)),
        Command::Bench(arguments) => commands::bench::run(&workspace, &arguments)?,
        Command::Eval(arguments) => commands::eval::run(&arguments)?,
        Command::Doctor => commands::doctor::run(&workspace)?,
    }
    Ok(ExitCode::SUCCESS)
}
