//! `cargo hearth demo`: from a fresh machine to a chat page, or to one reply on stdout.

use std::io::Write;

use clap::Args;
use serde::Serialize;

use crate::error::{CliError, Result};
use crate::model::SMOLLM2_135M;
use crate::package;
use crate::process::{Stream, Tool};
use crate::server::{self, Server};
use crate::setup::{browser, node};
use crate::terminal::{self, Step};
use crate::workspace::Workspace;

/// Set up, build and serve everything; print the URL, or with --headless the reply to one prompt.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Drive a headless Chromium through the service worker and print only the reply
    #[arg(long, requires = "prompt")]
    headless: bool,
    /// The user's message
    #[arg(long, requires = "headless")]
    prompt: Option<String>,
    /// A system message before it
    #[arg(long, requires = "headless")]
    system: Option<String>,
    /// Longest reply
    #[arg(long, requires = "headless", value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,
    /// Randomness of the reply; 0 always picks the likeliest token
    #[arg(long, requires = "headless", value_parser = temperature)]
    temperature: Option<f64>,
    /// Port on localhost; 0 picks a free one [default: 8017, or a free one with --headless]
    #[arg(long)]
    port: Option<u16>,
}

/// Port of the demo when a person opens it: fixed, so that the browser finds the model it has stored for the origin.
const PORT: u16 = 8017;

/// What e2e/headless.mjs reads on its standard input.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeadlessRequest<'a> {
    url: String,
    chromium: String,
    flags: Vec<String>,
    prompt: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
}

/// Runs the command.
pub fn run(workspace: &Workspace, arguments: &DemoArgs) -> Result<()> {
    for size in package::build(workspace)? {
        terminal::note(&format!("  {size}"));
    }
    SMOLLM2_135M.ensure(&SMOLLM2_135M.default_folder(workspace))?;
    match &arguments.prompt {
        Some(prompt) => headless(workspace, arguments, prompt),
        None => {
            let server = start_server(workspace, arguments.port.unwrap_or(PORT))?;
            terminal::note(
                "Open this in a browser with WebGPU, in several tabs if you like; Ctrl-C ends it.",
            );
            terminal::result(&server.url());
            server.serve_forever();
            Ok(())
        }
    }
}

fn headless(workspace: &Workspace, arguments: &DemoArgs, prompt: &str) -> Result<()> {
    node::ensure_packages(workspace, &workspace.e2e())?;
    let chromium = browser::ensure(workspace)?;
    let server = start_server(workspace, arguments.port.unwrap_or(0))?;
    let request = HeadlessRequest {
        url: server.url(),
        chromium: chromium.to_string_lossy().into_owned(),
        flags: browser::flags(),
        prompt,
        system: arguments.system.as_deref(),
        max_tokens: arguments.max_tokens,
        temperature: arguments.temperature,
    };
    let request = serde_json::to_string(&request)
        .map_err(|source| CliError::Json { what: "the request to e2e/headless.mjs".to_owned(), source })?;

    let step = Step::start("Asking the model in Chromium");
    let mut reply = Vec::new();
    Tool::new("node").arg("headless.mjs").directory(&workspace.e2e()).stdin(request).each_line(
        |stream, line| match stream {
            Stream::Stdout => reply.push(line.to_owned()),
            Stream::Stderr => step.message(line),
        },
    )?;
    step.finish();
    let _ = std::io::stderr().flush();
    terminal::result(&reply.join("\n"));
    Ok(())
}

fn start_server(workspace: &Workspace, port: u16) -> Result<Server> {
    Server::start(port, server::mounts(workspace, workspace.models()))
}

fn temperature(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=2.0).contains(&value) => Ok(value),
        Ok(_) | Err(_) => Err("a number from 0 to 2 is expected".to_owned()),
    }
}
