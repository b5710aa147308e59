//! A static file server on localhost: threads bounded, connections bounded, only the folders it was given. Knows HTTP;
//! what a path means is `files`' and what a range means is `range`'s.

mod files;
mod range;
mod response;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::error::{CliError, Result};
use crate::workspace::Workspace;

pub use files::Mount;

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

/// A running server; it stops when dropped.
pub struct Server {
    runtime: Runtime,
    port: u16,
}

impl Server {
    /// Starts serving on localhost. Port 0 picks a free one.
    pub fn start(port: u16, mounts: Vec<Mount>) -> Result<Self> {
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
        runtime.spawn(accept(listener, Arc::new(mounts)));
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

/// What `serve`, `demo` and the tests serve: the demo at `/`, the package at `/hearth/`, models at `/models/`.
pub fn mounts(workspace: &Workspace, models: PathBuf) -> Vec<Mount> {
    vec![
        Mount::new("/hearth/", workspace.package()),
        Mount::new("/models/", models),
        Mount::new("/", workspace.demo()),
    ]
}

async fn accept(listener: TcpListener, mounts: Arc<Vec<Mount>>) {
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
        let mounts = mounts.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let mounts = mounts.clone();
                async move { Ok::<_, Infallible>(response::answer(&mounts, &request).await) }
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
