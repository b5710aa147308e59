//! The same measurements in Chromium, through the service worker: e2e/bench.mjs asks, this file starts it.

use std::path::Path;

use serde::Serialize;

use super::report::Samples;
use super::{DECODE_TOKENS, PROMPT_LENGTHS, SEQUENCE_COUNTS};
use crate::error::{CliError, Result};
use crate::process::{Stream, Tool};
use crate::server::{self, Mount, Server};
use crate::setup::{browser, node};
use crate::workspace::Workspace;

/// Where the model is served.
const MOUNT: &str = "/bench-model/";

/// What e2e/bench.mjs reads on its standard input. It prints [`Samples`] as JSON on its standard output.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BenchRequest {
    url: String,
    model_url: String,
    chromium: String,
    flags: Vec<String>,
    runs: u32,
    prompt_lengths: [u32; 2],
    sequence_counts: [u32; 4],
    decode_tokens: u32,
}

/// Measures the built package; `watch` is told what is going on.
pub fn measure(
    workspace: &Workspace,
    model: &Path,
    runs: u32,
    mut watch: impl FnMut(&str),
) -> Result<Samples> {
    node::ensure_packages(workspace, &workspace.e2e())?;
    let chromium = browser::ensure(workspace)?;
    let folder = model.parent().unwrap_or(Path::new(".")).to_path_buf();
    let name = model.file_name().unwrap_or_default().to_string_lossy();
    let mut mounts = vec![Mount::new(MOUNT, folder)];
    mounts.extend(server::mounts(workspace, workspace.models()));
    let server = Server::start(0, mounts)?;
    let url = server.url();
    let request = BenchRequest {
        model_url: format!("{}{MOUNT}{name}", url.trim_end_matches('/')),
        url,
        chromium: chromium.to_string_lossy().into_owned(),
        flags: browser::flags(),
        runs,
        prompt_lengths: PROMPT_LENGTHS,
        sequence_counts: SEQUENCE_COUNTS,
        decode_tokens: DECODE_TOKENS,
    };
    let request = serde_json::to_string(&request)
        .map_err(|source| CliError::Json { what: "the request to e2e/bench.mjs".to_owned(), source })?;
    let mut answer = String::new();
    Tool::new("node").arg("bench.mjs").directory(&workspace.e2e()).stdin(request).each_line(
        |stream, line| match stream {
            Stream::Stdout => answer.push_str(line),
            Stream::Stderr => watch(&format!("Chromium: {line}")),
        },
    )?;
    serde_json::from_str(&answer)
        .map_err(|source| CliError::Json { what: "the answer of e2e/bench.mjs".to_owned(), source })
}
