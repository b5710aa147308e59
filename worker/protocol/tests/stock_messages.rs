//! Every message that the stock client posts is understood, and nothing of it is lost that Hearth acts on.
//! How they were recorded: `stock/README.md`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use hearth_protocol::chat::StopStrings;
use hearth_protocol::logging::LogLevel;
use hearth_protocol::request::NOT_SUPPORTED_YET;
use hearth_protocol::{Envelope, Request, RequestBody};
use serde_json::{Value, json};

fn recorded() -> BTreeMap<String, Value> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/stock/requests");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let message = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), message)
        })
        .collect()
}

fn parse(name: &str) -> Request {
    let message = recorded().remove(name).unwrap_or_else(|| panic!("{name} is not recorded"));
    Request::parse(&message).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Numbers by value rather than by notation, and without keys that are `null`: JSON that means the same.
fn normal(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(normal).collect(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), normal(value)))
            .collect(),
        other => other.clone(),
    }
}

const NOT_YET: [&str; 8] = [
    "completionNonStreaming",
    "completionStreamInit",
    "embedding",
    "forwardTokensAndSample",
    "getGPUVendor",
    "getMaxStorageBufferBindingSize",
    "listResumableSessions",
    "deleteResumableSession",
];

#[test]
fn every_message_is_understood_or_named() {
    let messages = recorded();
    assert_eq!(messages.len(), 27, "{:?}", messages.keys());
    for (name, message) in &messages {
        let uuid = Envelope::read(message).unwrap_or_else(|| panic!("{name} is ignored")).uuid;
        assert_eq!(Some(uuid), message["uuid"].as_str());
        match Request::parse(message) {
            Ok(request) => assert_eq!(request.uuid, uuid),
            Err(error) => {
                assert!(NOT_YET.contains(&name.as_str()), "{name}: {error}");
                assert_eq!(error.name, NOT_SUPPORTED_YET);
                let kind = message["kind"].as_str().unwrap();
                assert_eq!(
                    error.message,
                    format!("message kind `{kind}` is not supported yet by this version of Hearth")
                );
            }
        }
    }
}

#[test]
fn understood_messages_write_back_to_the_same_json() {
    for (name, message) in recorded() {
        if NOT_YET.contains(&name.as_str()) {
            continue;
        }
        let written = serde_json::to_value(parse(&name)).unwrap();
        assert_eq!(normal(&written), normal(&message), "{name}");
    }
}

#[test]
fn configuration_is_read() {
    let RequestBody::SetAppConfig(config) = parse("setAppConfig").body else { panic!("wrong kind") };
    let model = config.find_model("tiny").unwrap();
    assert_eq!(model.model, "http://localhost:8080/models/tiny/tiny.gguf");
    assert_eq!(model.overrides.as_ref().unwrap().window_tokens(), Some(1024.0));
    assert_eq!(config.find_model("other"), None);
    assert_eq!(parse("setLogLevel").body, RequestBody::SetLogLevel(LogLevel::Info));
}

#[test]
fn a_load_is_read_with_and_without_options() {
    let RequestBody::Reload(reload) = parse("reload").body else { panic!("wrong kind") };
    assert_eq!((reload.model_id, reload.chat_opts), (vec!["tiny".to_owned()], None));
    let RequestBody::Reload(reload) = parse("reload_with_options").body else { panic!("wrong kind") };
    let options = &reload.chat_opts.unwrap()[0];
    assert_eq!((options.window_tokens(), options.temperature), (Some(512.0), Some(0.0)));
    assert_eq!(options.sliding_tokens(), Some(-1.0));
}

#[test]
fn every_option_of_a_chat_request_is_read() {
    let RequestBody::ChatCompletionStreamInit(init) = parse("chatCompletionStreamInit").body else {
        panic!("wrong kind")
    };
    assert_eq!(init.stream_key(), Some("00000000-0000-4000-8000-000000000009"));
    assert_eq!(init.selected_model_id.as_deref(), Some("tiny"));
    let request = init.request;
    assert!(request.is_streaming() && request.wants_usage_chunk());
    assert_eq!(request.messages.len(), 4);
    assert_eq!(request.messages[1].name.as_deref(), Some("ann"));
    assert_eq!(request.max_tokens, Some(64.0));
    assert_eq!(request.seed, Some(json!(42)));
    assert_eq!(request.stop, Some(StopStrings::Many(vec!["\n\n".into(), "END".into()])));
    assert_eq!(request.logit_bias.unwrap()["42"], Some(-100.0));
    assert_eq!(request.extra_body.unwrap().enable_thinking, Some(true));
}

#[test]
fn streams_are_named_by_id_or_by_model() {
    let RequestBody::CompletionStreamNextChunk(by_id) = parse("completionStreamNextChunk").body else {
        panic!("wrong kind")
    };
    assert_eq!(by_id.key(), Some("00000000-0000-4000-8000-000000000009"));
    let RequestBody::CompletionStreamNextChunk(by_model) = parse("completionStreamNextChunk_by_model").body
    else {
        panic!("wrong kind")
    };
    assert_eq!(by_model.key(), Some("tiny"));
    assert!(
        matches!(parse("completionStreamReturn").body, RequestBody::CompletionStreamReturn(stream) if stream == by_id)
    );
}

#[test]
fn short_messages_are_read() {
    assert_eq!(parse("interruptGenerate").body, RequestBody::InterruptGenerate(()));
    assert_eq!(parse("unload").body, RequestBody::Unload(()));
    assert_eq!(parse("keepAlive").body, RequestBody::KeepAlive);
    let RequestBody::ResetChat(reset) = parse("resetChat_keep_stats").body else { panic!("wrong kind") };
    assert_eq!((reset.keep_stats, reset.model_id.as_deref()), (Some(true), Some("tiny")));
    let RequestBody::GetMessage(model) = parse("getMessage").body else { panic!("wrong kind") };
    assert_eq!(model.model_id, None);
    let RequestBody::GetMessage(model) = parse("getMessage_of_model").body else { panic!("wrong kind") };
    assert_eq!(model.model_id.as_deref(), Some("tiny"));
}
