//! Asks a Chromium for a WebGPU adapter, on a page of its own. Knows nothing of Hearth's pages.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::setup::browser;

/// A browser that has not answered by then will not.
const LIMIT: Duration = Duration::from_secs(40);
/// Pause between two looks at the socket.
const POLL: Duration = Duration::from_millis(50);
/// The page: the adapter's description, or why there is none, goes into the path of a second request.
const PAGE: &str = "<!doctype html><script type=module>
const tell = (text) => fetch('/answer/' + encodeURIComponent(text));
try {
  const adapter = await navigator.gpu?.requestAdapter();
  const i = adapter?.info;
  await tell(adapter ? 'ok ' + [i.vendor, i.architecture, i.description].filter(Boolean).join(' ') : 'no adapter');
} catch (error) { await tell(String(error)); }
</script>";

/// The adapter that pages get in this browser, or why they get none.
pub fn webgpu(chromium: &Path) -> Result<String, String> {
    let refused = |error: std::io::Error| error.to_string();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let port = listener.local_addr().map_err(refused)?.port();
    let profile = std::env::temp_dir().join(format!("hearth-probe-{}", std::process::id()));
    let browser = Command::new(chromium)
        .args(["--headless", "--no-first-run"])
        .args(browser::flags())
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("http://localhost:{port}/"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{} does not start: {error}", chromium.display()))?;
    let _running = Running { browser, profile };
    let answer = wait_for_answer(&listener)?;
    answer.strip_prefix("ok").map(|adapter| adapter.trim().to_owned()).ok_or(answer)
}

fn wait_for_answer(listener: &TcpListener) -> Result<String, String> {
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Some(answer) = serve(stream) {
                    return Ok(answer);
                }
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
    Err(format!("the browser did not answer within {} s", LIMIT.as_secs()))
}

/// Serves the page, or returns the answer that came in a request's path. Broken connections are ignored.
fn serve(mut stream: TcpStream) -> Option<String> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let mut request = String::new();
    BufReader::new(&stream).read_line(&mut request).ok()?;
    let path = request.split(' ').nth(1)?;
    let answer = path.strip_prefix("/answer/").map(|text| text.replace("%20", " ").replace("%3A", ":"));
    let (status, body) = if path == "/" { ("200 OK", PAGE) } else { ("404 Not Found", "") };
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\n", body.len());
    let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes());
    answer
}

/// Ends the browser and removes its profile on every path.
struct Running {
    browser: Child,
    profile: std::path::PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.browser.kill();
        let _ = self.browser.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}
