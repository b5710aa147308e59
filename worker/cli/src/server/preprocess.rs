//! `POST /preprocess`: shortens a text as the worker does, natively. A reference for endpoints that pages name in
//! `preprocess`. Knows HTTP, JSON and the engine's documents; which path leads here is the server's affair.
//!
//! Pages of every origin may ask: the server listens on localhost only, and the answer depends on nothing but the
//! request. Texts are neither stored nor logged.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hearth_engine::documents::{CompressOptions, Compressed, Compressor, DocumentError, TokenCounter};
use hearth_engine::model::{FileSource, Gguf};
use hearth_engine::tokenizer::Tokenizer;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes};
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::response::{self, Body};
use crate::error::{CliError, Result};

/// Where it is.
pub const PATH: &str = "/preprocess";

/// Longest body that is read.
const MAX_BODY_BYTES: usize = 8 << 20;
/// A longer body is read to its end and thrown away, so that the client gets the answer instead of a broken connection,
/// unless it is longer than this.
const MAX_DISCARDED_BYTES: usize = 64 << 20;
/// A body that has not come by then is given up.
const BODY_LIMIT: Duration = Duration::from_secs(30);
/// Texts in work at once; the threads that are left read files.
const MAX_JOBS: usize = 2;
/// How deep model folders are looked into: `DIR/*.gguf` and `DIR/*/*.gguf`.
const FOLDER_DEPTH: usize = 1;

/// The endpoint: a vocabulary to count with.
pub struct Preprocessor {
    counter: Arc<dyn TokenCounter + Send + Sync>,
    jobs: Arc<Semaphore>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ask {
    text: String,
    max_tokens: u32,
    #[serde(default)]
    query: Option<String>,
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the body is {got}, expected JSON with content-type application/json")]
    NotJson { got: String },
    #[error("the body has more than {MAX_BODY_BYTES} bytes; cut the text up before")]
    TooLong,
    #[error("the body did not come within {} s", BODY_LIMIT.as_secs())]
    TooSlow,
    #[error("the body broke off: {0}")]
    Broken(hyper::Error),
    #[error("the body is not {{text, maxTokens, query?}}: {0}")]
    Malformed(serde_json::Error),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("only POST is answered here")]
    Method,
    #[error("the work on this text was ended")]
    Ended,
}

impl Preprocessor {
    /// Counts with the vocabulary of the first GGUF file in `models` or in a folder there.
    pub fn open(models: &Path) -> Result<Self> {
        let file = find_model(models)?;
        let failed = |reason: String| CliError::Model { file: file.clone(), reason };
        let source = FileSource::open(&file).map_err(|error| failed(error.to_string()))?;
        let gguf = pollster::block_on(Gguf::open(&source)).map_err(|error| failed(error.to_string()))?;
        let tokenizer = Tokenizer::from_gguf(&gguf).map_err(|error| failed(error.to_string()))?;
        Ok(Self::new(tokenizer))
    }

    fn new(counter: impl TokenCounter + Send + Sync + 'static) -> Self {
        Self { counter: Arc::new(counter), jobs: Arc::new(Semaphore::new(MAX_JOBS)) }
    }

    /// Answers a request to [`PATH`]. Every failure is a status and a JSON object with `error`.
    pub async fn answer(&self, request: Request<hyper::body::Incoming>) -> Response<Body> {
        if *request.method() == Method::OPTIONS {
            return preflight(request.headers());
        }
        match self.shorten(request).await {
            Ok(compressed) => {
                let body = serde_json::json!({
                    "text": compressed.text,
                    "tokens": compressed.tokens,
                    "originalTokens": compressed.original_tokens,
                    "sentencesKept": compressed.sentences_kept,
                    "sentencesTotal": compressed.sentences_total,
                });
                json(StatusCode::OK, &body)
            }
            Err(refusal) => {
                let body = serde_json::json!({ "error": { "message": refusal.to_string() } });
                let mut response = json(refusal.status(), &body);
                if matches!(refusal, Refusal::Method) {
                    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
                }
                response
            }
        }
    }

    async fn shorten(
        &self,
        request: Request<hyper::body::Incoming>,
    ) -> std::result::Result<Compressed, Refusal> {
        if *request.method() != Method::POST {
            return Err(Refusal::Method);
        }
        check_content_type(request.headers())?;
        let body = tokio::time::timeout(BODY_LIMIT, read_body(request.into_body()));
        let body = body.await.map_err(|_| Refusal::TooSlow)??;
        let ask: Ask = serde_json::from_slice(&body).map_err(Refusal::Malformed)?;
        drop(body);
        // The semaphore is never closed.
        let permit = self.jobs.clone().acquire_owned().await.map_err(|_| Refusal::Ended)?;
        let counter = self.counter.clone();
        let abandoned = Abandoned::default();
        let is_abandoned = abandoned.flag.clone();
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            run(&ask, &*counter, &is_abandoned)
        });
        work.await.map_err(|_| Refusal::Ended)?
    }
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotJson { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLong | Self::Document(DocumentError::TextTooLong { .. }) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) | Self::Malformed(_) | Self::Document(_) => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Ended => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Tells the work that nobody waits for it any more: a client that goes away drops the answer in the making.
#[derive(Default)]
struct Abandoned {
    flag: Arc<AtomicBool>,
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.flag.store(true, Ordering::Relaxed);
    }
}

fn run(
    ask: &Ask,
    counter: &dyn TokenCounter,
    is_abandoned: &AtomicBool,
) -> std::result::Result<Compressed, Refusal> {
    let options = CompressOptions { max_tokens: ask.max_tokens, query: ask.query.as_deref() };
    let mut compressor = Compressor::new(&ask.text, options);
    while !is_abandoned.load(Ordering::Relaxed) {
        if let Some(outcome) = compressor.advance(counter) {
            return Ok(outcome?);
        }
    }
    Err(Refusal::Ended)
}

fn check_content_type(headers: &HeaderMap) -> std::result::Result<(), Refusal> {
    let value = headers.get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("unreadable"));
    let kind = value.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let got = if kind.is_empty() { "of no content-type".to_owned() } else { kind.escape_debug().to_string() };
    Err(Refusal::NotJson { got })
}

async fn read_body(mut body: hyper::body::Incoming) -> std::result::Result<Vec<u8>, Refusal> {
    if body.size_hint().lower() > MAX_DISCARDED_BYTES as u64 {
        return Err(Refusal::TooLong);
    }
    let mut bytes = Vec::new();
    let mut num_bytes = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Refusal::Broken)?.into_data() else { continue };
        num_bytes = num_bytes.saturating_add(data.len());
        if num_bytes <= MAX_BODY_BYTES {
            bytes.extend_from_slice(&data);
        } else if num_bytes <= MAX_DISCARDED_BYTES {
            bytes = Vec::new();
        } else {
            break;
        }
    }
    if num_bytes > MAX_BODY_BYTES { Err(Refusal::TooLong) } else { Ok(bytes) }
}

fn preflight(asked: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(response::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    allow_any_origin(headers);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    // Browsers ask this before a page from the network may reach a server on this machine.
    if asked.contains_key("access-control-request-private-network") {
        headers.insert("access-control-allow-private-network", HeaderValue::from_static("true"));
    }
    response
}

fn allow_any_origin(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(response::full(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    allow_any_origin(headers);
    response
}

/// The first GGUF file by name: of those in the folder itself, else of those in the folders in it.
fn find_model(models: &Path) -> Result<PathBuf> {
    let none = || CliError::NoVocabulary { folder: models.to_path_buf() };
    match find_gguf(models, FOLDER_DEPTH) {
        Ok(found) => found.ok_or_else(none),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Err(none()),
        Err(source) => Err(CliError::File { action: "list", path: models.to_path_buf(), source }),
    }
}

fn find_gguf(folder: &Path, depth: usize) -> io::Result<Option<PathBuf>> {
    let mut entries = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    entries.sort();
    let is_gguf = |path: &&PathBuf| {
        path.extension().is_some_and(|kind| kind.eq_ignore_ascii_case("gguf")) && path.is_file()
    };
    if let Some(file) = entries.iter().find(is_gguf) {
        return Ok(Some(file.clone()));
    }
    if depth == 0 {
        return Ok(None);
    }
    // A folder that cannot be read holds no model for us.
    let folders = entries.iter().filter(|path| path.is_dir());
    Ok(folders.filter_map(|folder| find_gguf(folder, depth - 1).ok().flatten()).next())
}

#[cfg(test)]
mod tests;
