//! Whatever a page posts, it is ignored, understood, or answered by an error that says what is wrong.
#![allow(clippy::unwrap_used, missing_docs)]

use hearth_protocol::{Envelope, Request, RequestBody};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn error_of(message: Value) -> String {
    Request::parse(&message).expect_err("must not be understood").to_string()
}

#[test]
fn messages_of_other_libraries_are_ignored() {
    for message in [
        json!(null),
        json!("SKIP_WAITING"),
        json!(7),
        json!([]),
        json!({"type": "SKIP_WAITING"}),
        json!({"kind": 7, "content": {}}),
        json!({"kind": "somebody-else"}),
        json!({"kind": "somebody-else", "uuid": "u", "content": null}),
    ] {
        assert_eq!(Envelope::read(&message), None, "{message}");
    }
}

#[test]
fn an_unknown_kind_with_content_gets_web_llms_words() {
    let message = json!({"kind": "explode", "uuid": "u", "content": {"a": 1}});
    assert_eq!(
        error_of(message),
        "UnknownMessageKindError: Unknown message kind, msg: [explode] [object Object]"
    );
    let message = json!({"kind": "explode", "uuid": "u", "content": "now"});
    assert_eq!(error_of(message), "UnknownMessageKindError: Unknown message kind, msg: [explode] now");
}

#[test]
fn errors_name_the_kind_and_the_field() {
    let chat = |request: Value| {
        json!({"kind": "chatCompletionNonStreaming", "uuid": "u",
                                       "content": {"request": request, "modelId": ["m"]}})
    };
    let user = json!({"role": "user", "content": "hi"});
    for (message, expected) in [
        (json!({"kind": "reload", "uuid": "u"}), "message `reload`, content: "),
        (
            json!({"kind": "reload", "uuid": "u", "content": {}}),
            "message `reload`, content: missing field `modelId`",
        ),
        (
            json!({"kind": "reload", "uuid": "u", "content": {"modelId": ["m"], "chatOpts": {"temperature": 1}}}),
            "message `reload`, content.chatOpts: invalid type: map, expected a sequence",
        ),
        (
            json!({"kind": "reload", "uuid": "u", "content": {"modelId": ["m"], "chatOpts": [{"temperature": "hot"}]}}),
            "message `reload`, content.chatOpts[0].temperature: invalid type: string \"hot\"",
        ),
        (chat(json!({})), "content.request: missing field `messages`"),
        (chat(json!({"messages": "hi"})), "content.request.messages: invalid type: string \"hi\""),
        (chat(json!({"messages": [{"content": "hi"}]})), "content.request.messages[0]: missing field `role`"),
        (
            chat(json!({"messages": [{"role": "user", "content": 7}]})),
            "content.request.messages[0].content: invalid type: integer `7`, expected text or a list of content parts",
        ),
        (chat(json!({"messages": [user], "max_tokens": "all"})), "content.request.max_tokens: invalid type"),
        (
            chat(json!({"messages": [user], "stop": 7})),
            "content.request.stop: invalid type: integer `7`, expected a string or",
        ),
        (
            chat(json!({"messages": [user], "stop": ["a", 7]})),
            "content.request.stop[1]: invalid type: integer `7`",
        ),
        (
            chat(json!({"messages": [user], "logit_bias": {"1": "much"}})),
            "content.request.logit_bias.1: invalid type",
        ),
        (
            json!({"kind": "completionStreamNextChunk", "uuid": "u", "content": {}}),
            "content: expected `streamId` (or `selectedModelId`), got neither",
        ),
        (
            json!({"kind": "completionStreamReturn", "uuid": "u", "content": null}),
            "`completionStreamReturn`, content",
        ),
        (json!({"kind": "setLogLevel", "uuid": "u", "content": "LOUD"}), "unknown variant `LOUD`"),
        (
            json!({"kind": "setAppConfig", "uuid": "u", "content": {"model_list": [{}]}}),
            "content.model_list[0]: missing field `model`",
        ),
        (
            json!({"kind": "hearth.hello", "uuid": "u", "content": {"protocol": -1, "tab": "t"}}),
            "content.protocol",
        ),
        (json!({"kind": "hearth.cancel", "uuid": "u", "content": {}}), "missing field `uuid`"),
    ] {
        let error = error_of(message);
        assert!(error.starts_with("InvalidMessageError: message `"), "{error}");
        assert!(error.contains(expected), "{error}\nshould contain\n{expected}");
    }
}

#[test]
fn fields_that_nobody_knows_are_ignored() {
    let message = json!({"kind": "reload", "uuid": "u", "extra": 1,
                         "content": {"modelId": ["m"], "also": [], "chatOpts": [{"conv_template": {"x": 1}}, null]}});
    let RequestBody::Reload(reload) = Request::parse(&message).unwrap().body else { panic!("wrong kind") };
    assert_eq!(reload.chat_opts.unwrap().len(), 2);
}

#[test]
fn a_lone_model_id_is_a_list_of_one() {
    let message = json!({"kind": "reload", "uuid": "u", "content": {"modelId": "m"}});
    let RequestBody::Reload(reload) = Request::parse(&message).unwrap().body else { panic!("wrong kind") };
    assert_eq!(reload.model_id, ["m"]);
}

/// Keys and words that lead deep into the parser, and some that do not.
fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "kind",
        "uuid",
        "content",
        "reload",
        "chatCompletionNonStreaming",
        "chatCompletionStreamInit",
        "completionStreamNextChunk",
        "completionStreamReturn",
        "resetChat",
        "getMessage",
        "setAppConfig",
        "setLogLevel",
        "hearth.hello",
        "hearth.stream",
        "hearth.cancel",
        "hearth.usage",
        "embedding",
        "modelId",
        "request",
        "messages",
        "role",
        "user",
        "chatOpts",
        "hearth",
        "kvCacheTokens",
        "auto",
        "type",
        "text",
        "image_url",
        "stop",
        "seed",
        "logit_bias",
        "model_list",
        "model",
        "model_id",
        "streamId",
        "response_format",
        "extra_body",
        "",
        "\u{0}",
        "é",
    ])
    .prop_map(str::to_owned)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((word(), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_makes_the_parser_panic(message in any_json(), kind in word(), content in any_json()) {
        let _ = Request::parse(&message);
        let enveloped = json!({"kind": kind, "uuid": "u", "content": content});
        if let Err(error) = Request::parse(&enveloped) {
            prop_assert!(!error.name.is_empty() && !error.message.is_empty());
        }
        let chat = json!({"kind": "hearth.stream", "uuid": "u", "content": {"request": content, "modelId": []}});
        let _ = Request::parse(&chat);
    }
}
