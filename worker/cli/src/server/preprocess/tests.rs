//! The endpoint over a real socket on localhost.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::*;
use crate::server::{Mount, Server, Site};
use crate::testing::TestFolder;

const TEXT: &str = "The storm began on a Saturday. The quay was raised after it. Crabs are flown to Spain. Flats are expensive.";

struct Answer {
    status: u16,
    head: String,
    body: serde_json::Value,
}

impl Answer {
    fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

struct Endpoint {
    _folder: TestFolder,
    port: u16,
    _server: Server,
}

impl Endpoint {
    /// Counts words.
    fn new() -> Self {
        Self::counting(|text: &str| text.split_whitespace().count())
    }

    fn counting(counter: impl TokenCounter + Send + Sync + 'static) -> Self {
        let folder = TestFolder::new("preprocess");
        folder.write("index.html", "page");
        let mounts = vec![Mount::new("/", folder.path().to_path_buf())];
        let preprocessor = Some(Preprocessor::new(counter));
        let server = Server::start_site(0, Site { mounts, preprocessor }).unwrap();
        Self { _folder: folder, port: server.port, _server: server }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request(method, path, headers, body.len()).as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        read(stream)
    }

    fn post(&self, body: &str) -> Answer {
        self.send("POST", PATH, "Content-Type: application/json; charset=utf-8\r\n", body.as_bytes())
    }
}

fn request(method: &str, path: &str, headers: &str, length: usize) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    )
}

fn read(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a complete head");
    let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = serde_json::from_slice(&bytes[split + 4..]).unwrap_or_default();
    Answer { status, head, body }
}

#[test]
fn a_text_comes_back_shortened_with_its_numbers() {
    let endpoint = Endpoint::new();
    let body = serde_json::json!({ "text": TEXT, "maxTokens": 6, "query": "Where do the crabs go?" });
    let answer = endpoint.post(&body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.head);
    let expected = serde_json::json!({
        "text": "Crabs are flown to Spain.", "tokens": 5, "originalTokens": 20, "sentencesKept": 1, "sentencesTotal": 4,
    });
    assert_eq!(answer.body, expected);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let whole =
        endpoint.post(&serde_json::json!({ "text": TEXT, "maxTokens": 20, "query": null }).to_string());
    assert_eq!(whole.body["text"], TEXT);
}

#[test]
fn what_is_wrong_is_said_with_the_right_status() {
    let endpoint = Endpoint::new();
    let cases = [
        ("", "not {text, maxTokens, query?}"),
        ("[]", "not {text, maxTokens, query?}"),
        (r#"{"text": "a"}"#, "maxTokens"),
        (r#"{"text": "a", "maxTokens": -1}"#, "-1"),
        (r#"{"text": "a", "maxTokens": 1.5}"#, "1.5"),
        (r#"{"text": 1, "maxTokens": 1}"#, "string"),
        (r#"{"text": "a", "maxTokens": 0}"#, "maxTokens is 0"),
        ("{\"text\": \"\u{0}\", \"maxTokens\": 1}", "control character"),
    ];
    for (body, part) in cases {
        let answer = endpoint.post(body);
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.message().contains(part), "{body}: {}", answer.message());
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "pages may read what is wrong");
    }
    let answer = endpoint.send("POST", PATH, "Content-Type: text/plain\r\n", b"{}");
    assert_eq!(answer.status, 415);
    assert!(answer.message().contains("text/plain"), "{}", answer.message());
    assert_eq!(endpoint.send("POST", PATH, "", b"{}").status, 415);
    let answer = endpoint.send("GET", PATH, "", b"");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")));
}

#[test]
fn bodies_over_the_limit_are_refused_whether_they_come_or_are_only_announced() {
    let endpoint = Endpoint::new();
    let long = vec![b' '; MAX_BODY_BYTES + 1];
    let answer = endpoint.send("POST", PATH, "Content-Type: application/json\r\n", &long);
    assert_eq!(answer.status, 413);
    assert!(answer.message().contains(&MAX_BODY_BYTES.to_string()));
    let mut stream = endpoint.connect();
    let headers = "Content-Type: application/json\r\n";
    stream.write_all(request("POST", PATH, headers, MAX_DISCARDED_BYTES + 1).as_bytes()).unwrap();
    assert_eq!(read(stream).status, 413);
}

#[test]
fn browsers_are_told_that_every_origin_may_ask() {
    let endpoint = Endpoint::new();
    let headers = "Origin: https://example.com\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: \
                   content-type\r\nAccess-Control-Request-Private-Network: true\r\n";
    let answer = endpoint.send("OPTIONS", PATH, headers, b"");
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("content-type"));
    assert_eq!(answer.header("access-control-allow-private-network"), Some("true"));
}

#[test]
fn files_are_served_while_texts_are_in_work_and_work_ends_when_nobody_waits() {
    use std::sync::mpsc::channel;
    // Each count of the counter waits for leave, so that the work takes as long as the test wants.
    let (started, has_started) = channel();
    let (leave, may_go_on) = channel::<()>();
    let gate = std::sync::Mutex::new((started, may_go_on));
    let endpoint = Endpoint::counting(move |text: &str| {
        let gate = gate.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Both ends are gone once the test is over.
        let _ = gate.0.send(());
        let _ = gate.1.recv_timeout(Duration::from_secs(20));
        text.split_whitespace().count()
    });
    let body = serde_json::json!({ "text": TEXT.repeat(2_000), "maxTokens": 6 }).to_string();
    let mut stream = endpoint.connect();
    let head = request("POST", PATH, "Content-Type: application/json\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    has_started.recv_timeout(Duration::from_secs(20)).expect("the work begins");
    assert_eq!(endpoint.send("GET", "/", "", b"").status, 200);
    drop(stream);
    // Once the server has seen that the client is gone, the counter is not asked any more.
    let mut num_counts = 0;
    while leave.send(()).is_ok() && has_started.recv_timeout(Duration::from_secs(1)).is_ok() {
        num_counts += 1;
    }
    assert!(num_counts < 2_000, "the work was ended, not finished: {num_counts} counts");
}

#[test]
fn without_being_asked_for_there_is_no_endpoint() {
    let folder = TestFolder::new("plain");
    let server = Server::start(0, vec![Mount::new("/", folder.path().to_path_buf())]).unwrap();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).unwrap();
    stream.write_all(request("POST", PATH, "Content-Type: application/json\r\n", 0).as_bytes()).unwrap();
    assert_eq!(read(stream).status, 405);
}

#[test]
fn the_vocabulary_is_the_first_model_s_and_none_is_a_clear_error() {
    let folder = TestFolder::new("vocabulary");
    let missing = Preprocessor::open(&folder.path().join("none")).err().expect("there is no such folder");
    let none = Preprocessor::open(folder.path()).err().expect("the folder is empty");
    for error in [missing, none] {
        assert!(matches!(error, CliError::NoVocabulary { .. }), "{error}");
        assert!(error.to_string().contains("cargo hearth model get smollm2-135m"), "{error}");
    }
    let second = folder.write("b/model.gguf", "x");
    let first = folder.write("a/z.GGUF", "x");
    folder.write("a/deeper/a.gguf", "x");
    folder.write("0.txt", "x");
    assert_eq!(find_model(folder.path()).unwrap(), first);
    assert_eq!(find_model(second.parent().unwrap()).unwrap(), second);
    let broken = Preprocessor::open(folder.path()).err().expect("x is no model");
    assert!(matches!(&broken, CliError::Model { file, .. } if *file == first), "{broken}");
}

#[test]
fn the_vocabulary_of_the_demo_s_model_counts() {
    let vocabulary = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/fixtures/smollm2-135m");
    let preprocessor = Preprocessor::open(&vocabulary).unwrap();
    assert_eq!(preprocessor.counter.count("Hello world"), 2);
}
