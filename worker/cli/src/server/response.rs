//! One request in, one response out: methods, validators, ranges, headers, and a body read in bounded pieces.

use std::io::{self, SeekFrom};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::files::{self, Mount, Target};
use super::range::{self, Part};

/// A response's body: nothing, a short text, or a file in pieces.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Bytes read from a file at a time; what one connection holds in memory.
const PIECE_BYTES: u64 = 256 * 1024;

/// Answers a request. Every failure is a status.
pub async fn answer<B>(mounts: &[Mount], request: &Request<B>) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = short(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let path = request.uri().path();
    match files::find(mounts, path).await {
        Target::File(file) => file_response(&file, request).await,
        Target::Folder => match HeaderValue::try_from(format!("{path}/")) {
            Ok(location) if !path.starts_with("//") => {
                let mut response = short(StatusCode::MOVED_PERMANENTLY, "");
                response.headers_mut().insert(header::LOCATION, location);
                response
            }
            Ok(_) | Err(_) => short(StatusCode::NOT_FOUND, "not found\n"),
        },
        Target::Missing => short(StatusCode::NOT_FOUND, "not found\n"),
    }
}

async fn file_response<B>(path: &Path, request: &Request<B>) -> Response<Body> {
    let opened = async {
        let file = File::open(path).await?;
        let metadata = file.metadata().await?;
        io::Result::Ok((file, metadata.len(), metadata.modified().unwrap_or(UNIX_EPOCH)))
    };
    let Ok((file, total, modified)) = opened.await else {
        return short(StatusCode::NOT_FOUND, "cannot be read\n");
    };
    let version = Version::new(total, modified);
    if version.is_known_to(request) {
        return with_headers(Response::new(empty()), StatusCode::NOT_MODIFIED, path, &version);
    }
    let asked = header_text(request, header::RANGE).filter(|_| version.permits_range(request));
    let (status, first, length) = match range::parse(asked, total) {
        Part::Whole => (StatusCode::OK, 0, total),
        Part::Range { first, length } => (StatusCode::PARTIAL_CONTENT, first, length),
        Part::Unsatisfiable => {
            let mut response =
                with_headers(Response::new(empty()), StatusCode::RANGE_NOT_SATISFIABLE, path, &version);
            set(&mut response, header::CONTENT_RANGE, format!("bytes */{total}"));
            return response;
        }
    };
    let body = if *request.method() == Method::HEAD {
        empty()
    } else {
        match read_part(file, first, length).await {
            Ok(body) => body,
            Err(_) => return short(StatusCode::INTERNAL_SERVER_ERROR, "cannot be read\n"),
        }
    };
    let mut response = with_headers(Response::new(body), status, path, &version);
    set(&mut response, header::CONTENT_LENGTH, length.to_string());
    if status == StatusCode::PARTIAL_CONTENT {
        set(&mut response, header::CONTENT_RANGE, format!("bytes {first}-{}/{total}", first + length - 1));
    }
    response
}

/// What identifies one state of a file to caches.
struct Version {
    etag: String,
    modified: String,
}

impl Version {
    fn new(total: u64, modified: SystemTime) -> Self {
        let nanos = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Self { etag: format!("\"{total:x}-{nanos:x}\""), modified: httpdate::fmt_http_date(modified) }
    }

    /// Whether the client already has this state. If-None-Match decides alone where both are sent.
    fn is_known_to<B>(&self, request: &Request<B>) -> bool {
        match header_text(request, header::IF_NONE_MATCH) {
            Some(tags) => tags
                .split(',')
                .map(str::trim)
                .any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.etag),
            None => {
                let date = |text: &str| httpdate::parse_http_date(text).ok();
                let since = header_text(request, header::IF_MODIFIED_SINCE).and_then(date);
                since.is_some_and(|since| date(&self.modified).is_some_and(|modified| modified <= since))
            }
        }
    }

    /// Whether a range may be answered: without If-Range, or when it names exactly this state.
    fn permits_range<B>(&self, request: &Request<B>) -> bool {
        header_text(request, header::IF_RANGE)
            .is_none_or(|state| state == self.etag || state == self.modified)
    }
}

async fn read_part(mut file: File, first: u64, length: u64) -> io::Result<Body> {
    file.seek(SeekFrom::Start(first)).await?;
    let pieces = stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut piece = Vec::with_capacity(left.min(PIECE_BYTES) as usize);
        let count = (&mut file).take(left.min(PIECE_BYTES)).read_to_end(&mut piece).await? as u64;
        if count == 0 {
            // The length was promised: breaking the connection is the only honest end.
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(Some((Frame::data(Bytes::from(piece)), (file, left - count))))
    });
    Ok(UnsyncBoxBody::new(StreamBody::new(pieces)))
}

fn with_headers(
    mut response: Response<Body>,
    status: StatusCode,
    path: &Path,
    version: &Version,
) -> Response<Body> {
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, files::content_type(path).to_owned());
    set(&mut response, header::ETAG, version.etag.clone());
    set(&mut response, header::LAST_MODIFIED, version.modified.clone());
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    common_headers(headers);
    response
}

fn common_headers(headers: &mut hyper::HeaderMap) {
    // Always asked again: a rebuilt worker must never run beside a cached page.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The worker's script lies in /hearth/ and controls the whole origin.
    headers.insert("service-worker-allowed", HeaderValue::from_static("/"));
}

fn short(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(full(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    common_headers(response.headers_mut());
    response
}

/// A body that is there already.
pub fn full(bytes: Bytes) -> Body {
    UnsyncBoxBody::new(Full::new(bytes).map_err(|never| match never {}))
}

/// No body.
pub fn empty() -> Body {
    UnsyncBoxBody::new(Empty::new().map_err(|never| match never {}))
}

fn set(response: &mut Response<Body>, name: header::HeaderName, value: String) {
    // All our values are digits, dates and fixed texts.
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}

fn header_text<B>(request: &Request<B>, name: header::HeaderName) -> Option<&str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}
