//! Chat templates against what jinja2, set up as transformers does, makes of them; and templates that mean harm.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use hearth_engine::template::{ChatTemplate, TemplateError, TemplateVariables};
use hearth_engine::tokenizer::Tokenizer;
use serde_json::{Value, json};
use support::{fixture, fixture_json, ids, open, tiny_llama};

fn template(source: &str) -> Result<ChatTemplate, TemplateError> {
    ChatTemplate::from_jinja(source, "<|begin_of_text|>", "<|eot_id|>")
}

fn render(source: &str) -> Result<String, TemplateError> {
    template(source)?.render(&[json!({"role": "user", "content": "hi"})], true, &TemplateVariables::default())
}

#[test]
fn the_golden_models_template_gives_the_golden_texts_and_ids() {
    let gguf = open(fixture("smollm2-135m/vocabulary.gguf")).unwrap();
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    let template = ChatTemplate::from_gguf(&gguf, &tokenizer).unwrap();
    for prompt in fixture_json("smollm2-135m/expected-gguf.json")["prompts"].as_array().unwrap() {
        let messages = prompt["messages"].as_array().unwrap();
        let text = template.render(messages, true, &TemplateVariables::default()).unwrap();
        assert_eq!(text, prompt["text"].as_str().unwrap());
        let encoded: Vec<u32> = tokenizer.encode(&text).unwrap().into_iter().map(|id| id.0).collect();
        assert_eq!(encoded, ids(&prompt["ids"]));
    }
}

#[test]
fn templates_of_other_models_give_what_jinja2_gives() {
    let golden = fixture_json("templates/expected.json");
    for case in golden["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let source = golden["templates"][case["template"].as_str().unwrap()].as_str().unwrap();
        let variables = TemplateVariables {
            tools: Some(case["tools"].clone()).filter(|tools| !tools.is_null()),
            now_local_s: Some(1_722_006_245),
            extra: case["extra"].as_object().unwrap().clone(),
        };
        let messages = case["messages"].as_array().unwrap();
        let prompt = case["add_generation_prompt"].as_bool().unwrap();
        let result = template(source).unwrap().render(messages, prompt, &variables);
        match &case["raised"] {
            Value::String(message) => {
                assert_eq!(result, Err(TemplateError::Raised { message: message.clone() }), "{name}")
            }
            _ => assert_eq!(result.as_deref(), Ok(case["text"].as_str().unwrap()), "{name}"),
        }
    }
}

#[test]
fn the_clock_is_seen_only_where_it_is_given() {
    let source = "{{ strftime_now('%Y') if strftime_now is defined else 'no clock' }}";
    assert_eq!(render(source).as_deref(), Ok("no clock"));
    let variables = TemplateVariables { now_local_s: Some(0), ..TemplateVariables::default() };
    assert_eq!(template(source).unwrap().render(&[json!({})], true, &variables).as_deref(), Ok("1970"));
}

#[test]
fn markers_for_training_have_no_effect() {
    let source = "{%- for m in messages -%}{% generation %}{{ m.content }}{% endgeneration %}{%- endfor -%}";
    assert_eq!(render(source).as_deref(), Ok("hi"));
}

#[test]
fn without_a_template_chatml_is_used_where_the_vocabulary_has_it() {
    let tokens = |tokens: &[&str]| {
        let writer = tiny_llama().without("tokenizer.ggml.tokens").texts("tokenizer.ggml.tokens", tokens);
        let gguf = open(writer.bytes()).unwrap();
        let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
        ChatTemplate::from_gguf(&gguf, &tokenizer)
    };
    let chatml = tokens(&["<|im_start|>", "a", "b", "ab", "Ġ", "<|im_end|>"]).unwrap();
    let messages = [json!({"role": "system", "content": "s"}), json!({"role": "user", "content": "u"})];
    let text = chatml.render(&messages, true, &TemplateVariables::default()).unwrap();
    assert_eq!(
        text,
        "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n"
    );
    assert_eq!(tokens(&["<s>", "a", "b", "ab", "Ġ", "</s>"]).unwrap_err(), TemplateError::Missing);
}

#[test]
fn what_a_template_refuses_comes_out_in_its_own_words() {
    let raised =
        render("{% if messages[0].role != 'system' %}{{ raise_exception('system \"first\"!') }}{% endif %}");
    assert_eq!(raised, Err(TemplateError::Raised { message: "system \"first\"!".to_owned() }));
}

#[test]
fn broken_templates_say_where() {
    assert!(matches!(render("a\n\n{% if %}"), Err(TemplateError::Syntax { line: 3, .. })));
    assert!(matches!(render("{{ x "), Err(TemplateError::Syntax { .. })));
    assert!(matches!(render("\n{{ messages[0].nope.deeper }}"), Err(TemplateError::Failed { line: 2, .. })));
    assert!(matches!(
        render("{{ 1 | unknown_filter }}"),
        Err(TemplateError::Failed { .. } | TemplateError::Syntax { .. })
    ));
    assert!(matches!(render("{% include 'other' %}"), Err(TemplateError::Failed { .. })));
}

#[test]
fn work_without_end_is_stopped() {
    let endless = [
        "{% for i in range(99999) %}{% for j in range(99999) %}{{ i }}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
        "{{ 'x' * 999999999 }}",
        "{{ '%999999999d' | format(1) }}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x | tojson }}",
        "{% for i in range(99999) %}{{ messages | tojson }}{{ messages | tojson }}{% endfor %}",
        "{% for i in range(99999) %}{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaa'.replace('', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb') }}{% endfor %}",
    ];
    for source in endless {
        let result = render(source).map(|text| text.len());
        assert!(
            matches!(result, Err(TemplateError::TooMuchWork { .. } | TemplateError::Failed { .. })),
            "{source}: {result:?}"
        );
    }
}

#[test]
fn depth_without_end_is_stopped() {
    let deep = [
        "{% macro f(x) %}{{ f([x]) }}{% endmacro %}{{ f(1) }}".to_owned(),
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}".to_owned(),
        "{% set ns = namespace() %}{% set ns.x = [{'a': ns}] %}{{ ns | tojson }}".to_owned(),
        "{% set ns = namespace(x=1) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}".to_owned(),
        "{% set ns = namespace(x=1) %}{% for i in range(64) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}".to_owned(),
        "{% set x = [x] %}".repeat(4000),
        format!("{{{{ {}1{} }}}}", "(".repeat(1000), ")".repeat(1000)),
        format!("{{{{ {}1 }}}}", "1+".repeat(20_000)),
        format!("{{{{ {}1 }}}}", "not ".repeat(20_000)),
        format!("{{{{ x{} }}}}", "|string".repeat(20_000)),
        format!("{}{}", "{% if 1 %}".repeat(2000), "{% endif %}".repeat(2000)),
        format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(2000)),
    ];
    for source in deep {
        assert!(render(&source).is_err(), "{}", &source[..source.len().min(80)]);
    }
}

#[test]
fn the_deepest_source_that_is_allowed_fits_the_stack_of_wasm() {
    let deepest = [
        format!("{{{{ {}1 }}}}", "1+".repeat(1020)),
        format!("{{{{ {}1 }}}}", "not ".repeat(680)),
        format!("{{{{ {}1 }}}}", "-".repeat(2000)),
        format!("{{{{ x{} }}}}", "|e".repeat(1020)),
        format!("{{{{ x{} }}}}", ".a".repeat(1020)),
        format!("{{{{ x{} }}}}", "[1]".repeat(680)),
        format!("{{{{ 1{} }}}}", " if 1 else 1".repeat(220)),
        format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(256)),
        format!("{{{{ {}1{} }}}}", "[".repeat(140), "]".repeat(140)),
    ];
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
        for source in deepest {
            // Refusal is fine too; overflow is not.
            let _ = render(&source);
        }
    });
    thread.unwrap().join().unwrap();
}
