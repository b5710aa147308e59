//! The server over a real socket on localhost.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;
use crate::testing::TestFolder;

struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

struct Site {
    folder: TestFolder,
    server: Server,
}

impl Site {
    fn new() -> Self {
        let folder = TestFolder::new("site");
        folder.write("demo/index.html", "<p>demo</p>");
        folder.write("demo/sub/index.html", "sub");
        folder.write("demo/.hidden", "secret");
        folder.write("package/hearth_bg.wasm", "\0asm");
        folder.write("models/m/model.gguf", (0..=255).collect::<Vec<u8>>());
        folder.write("secret.txt", "secret");
        let mounts = vec![
            Mount::new("/hearth/", folder.path().join("package")),
            Mount::new("/models/", folder.path().join("models")),
            Mount::new("/", folder.path().join("demo")),
        ];
        let server = Server::start(0, mounts).unwrap();
        Self { folder, server }
    }

    fn send(&self, method: &str, path: &str, headers: &str) -> Answer {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a complete head");
        let headers = String::from_utf8(bytes[..split].to_vec()).unwrap();
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, headers, body: bytes[split + 4..].to_vec() }
    }

    fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "")
    }
}

#[test]
fn mounts_serve_their_folders_with_types_and_worker_scope() {
    let site = Site::new();
    let page = site.get("/");
    assert_eq!((page.status, page.body.as_slice()), (200, &b"<p>demo</p>"[..]));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let wasm = site.get("/hearth/hearth_bg.wasm?v=1");
    assert_eq!((wasm.status, wasm.header("content-type")), (200, Some("application/wasm")));
    assert_eq!(wasm.header("service-worker-allowed"), Some("/"));
    assert_eq!(wasm.header("cache-control"), Some("no-cache"));
    assert_eq!(site.get("/models/m/model.gguf").body.len(), 256);
    assert_eq!(site.get("/sub/").body, b"sub");
    let redirect = site.get("/sub");
    assert_eq!((redirect.status, redirect.header("location")), (301, Some("/sub/")));
}

#[test]
fn nothing_outside_the_mounts_is_served() {
    let site = Site::new();
    let paths = [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/hearth/../../secret.txt",
        "/models/%2e%2e/%2e%2e/secret.txt",
        "/models//../../secret.txt",
        "/.hidden",
        "/%2ehidden",
        "/index.html/",
        "/index.html%00",
        "/missing",
        "/models/",
        "//secret.txt",
    ];
    for path in paths {
        let answer = site.get(path);
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
        assert!(!answer.body.windows(6).any(|window| window == b"secret"), "{path}");
    }
}

#[cfg(unix)]
#[test]
fn links_are_followed_inside_a_mount_and_not_out_of_it() {
    use std::os::unix::fs::symlink;
    let site = Site::new();
    let demo = site.folder.path().join("demo");
    symlink(site.folder.path().join("secret.txt"), demo.join("out.txt")).unwrap();
    symlink(site.folder.path(), demo.join("up")).unwrap();
    symlink(demo.join("sub"), demo.join("again")).unwrap();
    assert_eq!(site.get("/out.txt").status, 404);
    assert_eq!(site.get("/up/secret.txt").status, 404);
    assert_eq!(site.get("/again/").body, b"sub");
}

#[test]
fn ranges_give_exactly_their_bytes() {
    let site = Site::new();
    let part = site.send("GET", "/models/m/model.gguf", "Range: bytes=10-13\r\n");
    assert_eq!((part.status, part.body.as_slice()), (206, &[10, 11, 12, 13][..]));
    assert_eq!(part.header("content-range"), Some("bytes 10-13/256"));
    assert_eq!(part.header("content-length"), Some("4"));
    let beyond = site.send("GET", "/models/m/model.gguf", "Range: bytes=256-\r\n");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */256")));
    assert!(beyond.body.is_empty());
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let site = Site::new();
    let head = site.send("HEAD", "/models/m/model.gguf", "");
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("256"), 0));
    assert_eq!(head.header("accept-ranges"), Some("bytes"));
}

#[test]
fn validators_answer_not_modified_and_guard_ranges() {
    let site = Site::new();
    let first = site.get("/models/m/model.gguf");
    let etag = first.header("etag").unwrap();
    let modified = first.header("last-modified").unwrap();
    let again = |headers: String| site.send("GET", "/models/m/model.gguf", &headers);
    assert_eq!(again(format!("If-None-Match: W/{etag}\r\n")).status, 304);
    assert_eq!(again("If-None-Match: \"other\"\r\n".to_owned()).status, 200);
    assert_eq!(again(format!("If-Modified-Since: {modified}\r\n")).status, 304);
    assert_eq!(again(format!("If-Range: {etag}\r\nRange: bytes=0-0\r\n")).status, 206);
    assert_eq!(again("If-Range: \"other\"\r\nRange: bytes=0-0\r\n".to_owned()).status, 200);
    site.folder.write("models/m/model.gguf", "changed");
    assert_eq!(again(format!("If-None-Match: {etag}\r\n")).body, b"changed");
}

#[test]
fn other_methods_are_refused() {
    let site = Site::new();
    let answer = site.send("POST", "/", "Content-Length: 0\r\n");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let site = Site::new();
    let error = Server::start(site.server.port, Vec::new()).err().expect("the port is taken");
    assert!(error.to_string().contains(&site.server.port.to_string()), "{error}");
}

#[test]
fn silent_connections_do_not_keep_others_out() {
    let site = Site::new();
    let silent: Vec<TcpStream> =
        (0..64).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, site.server.port)).unwrap()).collect();
    assert_eq!(site.get("/").status, 200);
    drop(silent);
}
