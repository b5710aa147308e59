//! A conversation as the text that the model was trained on: the model's own Jinja template, run within bounds.
//!
//! What templates written for Hugging Face transformers expect is here: its whitespace rules, `raise_exception`,
//! `strftime_now`, `tojson`, loop controls, Python's methods. Knows no tokens; messages are whatever serialises.

mod error;
mod json;
mod source;
mod time;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value};
use serde::Serialize;

use crate::model::gguf::{Gguf, quote};
use crate::tokenizer::Tokenizer;

pub use self::error::TemplateError;

/// Steps of a render whatever its input: instructions, and 64 bytes of data each. Real templates need a few thousand.
const BASE_FUEL: u64 = 400_000;

/// Further steps for each byte of the messages, over 64: a template may pass over its input sixteen times.
const PASSES_OVER_INPUT: u64 = 16;

/// Bytes of data that minijinja counts as one step.
const FUEL_BYTES: u64 = 64;

/// Depth of macros and recursive loops; each takes up to 10. Fits a stack of 1 MiB, which wasm has.
const RECURSION_LIMIT: usize = 200;

/// Most values in anything assigned to a variable.
const MAX_ASSIGNED_VALUES: u64 = 100_000;

const TEMPLATE_NAME: &str = "chat";

/// The template of models that have ChatML's tokens and no template.
const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + \
     '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// What a template may use besides the messages.
#[derive(Debug, Clone, Default)]
pub struct TemplateVariables {
    /// Tools as JSON, in OpenAI's form; templates see `tools` as none when there are none.
    pub tools: Option<serde_json::Value>,
    /// Local time in seconds from 1970-01-01, for `strftime_now`; without it the template does not see the function,
    /// and prompts do not change from day to day.
    pub now_local_s: Option<i64>,
    /// Anything else: `enable_thinking`, `documents`, ….
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// A compiled chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Compiles a template. `bos` and `eos` are what it sees as `bos_token` and `eos_token`.
    ///
    /// # Errors
    /// [`TemplateError::Syntax`], [`TemplateError::TooComplex`].
    pub fn from_jinja(source: &str, bos: &str, eos: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| syntax_error(&error))?);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_debug(false);
        environment.set_recursion_limit(RECURSION_LIMIT);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_filter("tojson", json::tojson);
        environment.add_filter(source::GUARD, guard);
        environment.add_filter(source::ATTRIBUTE_GUARD, attribute_guard);
        environment
            .add_template_owned(TEMPLATE_NAME, source::prepare(source)?)
            .map_err(|error| syntax_error(&error))?;
        Ok(Self { environment, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// The template of a GGUF file, or ChatML where the vocabulary has its tokens.
    ///
    /// # Errors
    /// Those of [`Self::from_jinja`], [`TemplateError::Unreadable`], [`TemplateError::Missing`].
    pub fn from_gguf(gguf: &Gguf, tokenizer: &Tokenizer) -> Result<Self, TemplateError> {
        let source = gguf
            .metadata()
            .find_text("tokenizer.chat_template")
            .map_err(|error| TemplateError::Unreadable { reason: error.to_string() })?;
        let source = match source {
            Some(source) => source,
            None if tokenizer.find_token("<|im_start|>").is_some() => CHATML,
            None => return Err(TemplateError::Missing),
        };
        let special = tokenizer.special_tokens();
        let text =
            |token: &Option<(String, _)>| token.as_ref().map(|(text, _)| text.clone()).unwrap_or_default();
        Self::from_jinja(source, &text(&special.bos), &text(&special.eos))
    }

    /// Writes out a conversation. With `add_generation_prompt` it ends where the model's reply begins.
    ///
    /// # Errors
    /// [`TemplateError::Raised`] when the template refuses the conversation, [`TemplateError::TooMuchWork`],
    /// [`TemplateError::Failed`].
    pub fn render<M: Serialize>(
        &self,
        messages: &[M],
        add_generation_prompt: bool,
        variables: &TemplateVariables,
    ) -> Result<String, TemplateError> {
        let mut globals: Vec<(String, Value)> =
            variables.extra.iter().map(|(name, value)| (name.clone(), Value::from(Serde(value)))).collect();
        globals.extend([
            ("messages".to_owned(), Value::from(Serde(messages))),
            ("tools".to_owned(), Value::from(Serde(&variables.tools))),
            ("add_generation_prompt".to_owned(), Value::from(add_generation_prompt)),
            ("bos_token".to_owned(), Value::from(self.bos.as_str())),
            ("eos_token".to_owned(), Value::from(self.eos.as_str())),
        ]);
        if let Some(now_local_s) = variables.now_local_s {
            let strftime_now = move |format: &str| time::strftime(now_local_s, format);
            globals.push(("strftime_now".to_owned(), Value::from_function(strftime_now)));
        }
        let input_bytes: u64 = globals.iter().map(|(_, value)| text_bytes(value, json::MAX_DEPTH)).sum();
        let fuel = BASE_FUEL + input_bytes * PASSES_OVER_INPUT / FUEL_BYTES;

        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel));
        let rendered = environment
            .get_template(TEMPLATE_NAME)
            .and_then(|template| template.render(Value::from_pairs(globals)));
        rendered.map_err(|error| render_error(&error, fuel))
    }
}

/// Text in a value, and something for each part of it.
fn text_bytes(value: &Value, depth: usize) -> u64 {
    match value.kind() {
        ValueKind::String => value.as_str().map_or(0, |text| text.len() as u64) + FUEL_BYTES,
        ValueKind::Seq if depth > 0 => {
            value.try_iter().into_iter().flatten().map(|item| text_bytes(&item, depth - 1)).sum()
        }
        ValueKind::Map if depth > 0 => {
            let items = value.try_iter().into_iter().flatten();
            items
                .map(|key| value.get_item(&key).map_or(0, |item| text_bytes(&item, depth - 1)) + FUEL_BYTES)
                .sum()
        }
        _ => FUEL_BYTES,
    }
}

/// The words that a template raised, as the source of minijinja's error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, "raised").with_source(Raised(message)))
}

/// For values assigned to names: refuses what is nested so deeply that walking or dropping it would overflow the stack.
fn guard(state: &State<'_, '_>, value: Value) -> Result<Value, Error> {
    guarded(state, value, true)
}

/// For values assigned to attributes of namespaces: these must hold no namespace, or it could come to hold itself.
fn attribute_guard(state: &State<'_, '_>, value: Value) -> Result<Value, Error> {
    guarded(state, value, false)
}

fn guarded(state: &State<'_, '_>, value: Value, may_hold_namespace: bool) -> Result<Value, Error> {
    let mut walk = Walk { num_values: 0, may_hold_namespace };
    walk.visit(&value, json::MAX_DEPTH)?;
    state.consume_fuel(walk.num_values / 2)?;
    Ok(value)
}

/// A walk over an assigned value.
struct Walk {
    num_values: u64,
    may_hold_namespace: bool,
}

impl Walk {
    fn visit(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let refuse = |reason| Err(Error::new(ErrorKind::InvalidOperation, reason));
        self.num_values += 1;
        if self.num_values > MAX_ASSIGNED_VALUES {
            return refuse("a variable is assigned too large a value");
        }
        match value.kind() {
            ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {}
            _ => return Ok(()),
        }
        if depth == 0 {
            return refuse("a variable is assigned a value that is nested too deeply");
        }
        if !self.may_hold_namespace && is_namespace(value) {
            return refuse("an attribute is assigned a value that holds a namespace");
        }
        let is_map = value.kind() == ValueKind::Map;
        for item in value.try_iter()? {
            let item = if is_map { value.get_item(&item)? } else { item };
            self.visit(&item, depth - 1)?;
        }
        Ok(())
    }
}

/// minijinja does not export the type; a test would notice if its name changed.
fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace"))
}

fn syntax_error(error: &Error) -> TemplateError {
    TemplateError::Syntax { line: error.line().unwrap_or(0), reason: reason(error) }
}

fn reason(error: &Error) -> String {
    let what = error.kind().to_string();
    match error.detail() {
        Some(detail) => quote(&format!("{what}: {detail}")),
        None => what,
    }
}

fn render_error(error: &Error, fuel: u64) -> TemplateError {
    let mut innermost = error;
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(Raised(message)) = cause.downcast_ref() {
            return TemplateError::Raised { message: message.clone() };
        }
        innermost = cause.downcast_ref().unwrap_or(innermost);
        source = cause.source();
    }
    match innermost.kind() {
        ErrorKind::OutOfFuel => TemplateError::TooMuchWork { fuel },
        _ => TemplateError::Failed { line: error.line().unwrap_or(0), reason: reason(innermost) },
    }
}
