//! A static file server on localhost: threads bounded, connections bounded, only the folders it was given. Knows HTTP;
//! what a path means is `files`' and what a range means is `range`'s. The one path that is no file is `preprocess`'s.

mod files;
mod preprocess;
mod range;
mod response;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::error::{CliError, Result};
use crate::workspace::Workspace;

use response::Body;

pub use files::Mount;
pub use preprocess::Preprocessor;

/// Threads that run connections.
const NUM_WORKERS: usize = 2;
/// Threads that read files.
const NUM_READERS: usize = 8;
/// Connections open at once; more wait in the system's queue.
const MAX_CONNECTIONS: usize = 256;
/// A client that has not sent its request line and headers by then is dropped.
const HEADER_LIMIT: Duration = Duration::from_secs(30);
/// Pause after a failed accept (out of file descriptors, for example), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is served.
pub struct Site {
    /// Folders.
    pub mounts: Vec<Mount>,
    /// Shortens texts where it is wanted.
    pub preprocessor: Option<Preprocessor>,
}

/// A running server; it stops when dropped.
pub struct Server {
    runtime: Runtime,
    port: u16,
}

impl Server {
    /// Starts serving files on localhost. Port 0 picks a free one.
    pub fn start(port: u16, mounts: Vec<Mount>) -> Result<Self> {
        Self::start_site(port, Site { mounts, preprocessor: None })
    }

    /// Starts serving files and what else the site has.
    pub fn start_site(port: u16, site: Site) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(NUM_WORKERS)
            .max_blocking_threads(NUM_READERS)
            .thread_name("hearth-serve")
            .enable_all()
            .build()
            .map_err(|source| CliError::Runtime { source })?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = runtime
            .block_on(TcpListener::bind(address))
            .map_err(|source| CliError::Listen { port, source })?;
        let port = listener.local_addr().map_err(|source| CliError::Listen { port, source })?.port();
        runtime.spawn(accept(listener, Arc::new(site)));
        Ok(Self { runtime, port })
    }

    /// The address to open. By name: browsers treat localhost as a secure context, which WebGPU and service workers need.
    pub fn url(&self) -> String {
        format!("http://localhost:{}/", self.port)
    }

    /// Serves until the process ends.
    pub fn serve_forever(self) {
        self.runtime.block_on(std::future::pending())
    }
}

impl Site {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        match &self.preprocessor {
            Some(preprocessor) if request.uri().path() == preprocess::PATH => {
                preprocessor.answer(request).await
            }
            Some(_) | None => response::answer(&self.mounts, &request).await,
        }
    }
}

/// What `serve`, `demo` and the tests serve: the demo at `/`, the package at `/hearth/`, models at `/models/`.
pub fn mounts(workspace: &Workspace, models: PathBuf) -> Vec<Mount> {
    vec![
        Mount::new("/hearth/", workspace.package()),
        Mount::new("/models/", models),
        Mount::new("/", workspace.demo()),
    ]
}

async fn accept(listener: TcpListener, site: Arc<Site>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let site = site.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let site = site.clone();
                async move { Ok::<_, Infallible>(site.answer(request).await) }
            });
            // A connection that breaks is the client's affair.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_LIMIT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            drop(permit);
        });
    }
}

#[cfg(test)]
mod tests;
