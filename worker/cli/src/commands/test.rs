//! `cargo hearth test`: the suite or a part of it, closed by one line that counts the tests.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::suite::{self, Count, Part};
use crate::terminal;
use crate::workspace::Workspace;

/// Run the whole suite, installing what it needs; or a part of it.
#[derive(Args, Debug)]
pub struct TestArgs {
    /// Only this part
    part: Option<Selection>,
}

/// The parts that can be asked for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Selection {
    /// Everything that needs neither a device nor a browser
    Unit,
    /// Kernels and forward passes on a device
    Gpu,
    /// The package in Chromium
    E2e,
}

/// Runs the command. It reports failures itself: the count must be the last line.
pub fn run(workspace: &Workspace, arguments: &TestArgs) -> ExitCode {
    let parts: &[Part] = match arguments.part {
        None => &Part::ALL,
        Some(Selection::Unit) => &[Part::Unit, Part::Client],
        Some(Selection::Gpu) => &[Part::Gpu],
        Some(Selection::E2e) => &[Part::EndToEnd],
    };
    let mut count = Count::default();
    let outcome = suite::run(workspace, parts, &mut count);
    if let Err(error) = &outcome {
        terminal::note(&format!("hearth: {error}"));
    }
    terminal::result(&count.to_string());
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
