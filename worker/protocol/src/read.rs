//! Reading untrusted JSON into wire types, with errors that name the field.

use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::WireError;

/// Name of the error for a message whose fields have wrong types or are missing.
pub(crate) const INVALID_MESSAGE: &str = "InvalidMessageError";

/// Reads `value` as `T`. `what` names the message in the error.
pub(crate) fn read<T: DeserializeOwned>(what: &str, value: &Value) -> Result<T, WireError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = match error.path().to_string().as_str() {
            "." => "content".to_owned(),
            path => format!("content.{path}"),
        };
        WireError::new(INVALID_MESSAGE, format!("message `{what}`, {path}: {}", error.inner()))
            .with_detail("kind", what)
            .with_detail("path", path)
    })
}

/// Reads an absent or `null` content as an empty object: kinds whose fields are all optional may come without.
pub(crate) fn read_or_empty<T: DeserializeOwned>(what: &str, value: &Value) -> Result<T, WireError> {
    match value {
        Value::Null => read(what, &Value::Object(serde_json::Map::new())),
        other => read(what, other),
    }
}

/// What `String(value)` gives in JavaScript, for error texts that quote a caller's value.
pub fn javascript_string(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => integer.to_string(),
            None => number.as_f64().unwrap_or(f64::NAN).to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Array(items) => items
            .iter()
            .map(|item| if item.is_null() { String::new() } else { javascript_string(item) })
            .collect::<Vec<_>>()
            .join(","),
        Value::Object(_) => "[object Object]".to_owned(),
    }
}

/// One value or a list of them; always a list afterwards.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// For a list of strings that old callers send as a single string.
pub(crate) fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match OneOrMany::<String>::deserialize(deserializer)? {
        OneOrMany::One(value) => vec![value],
        OneOrMany::Many(values) => values,
    })
}

/// For a list that may hold `null` (JavaScript's `undefined` on its way through JSON) where defaults are meant.
pub(crate) fn nulls_as_default<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    let list: Option<Vec<Option<T>>> = Option::deserialize(deserializer)?;
    Ok(list.map(|items| items.into_iter().map(Option::unwrap_or_default).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quotes_values_like_javascript() {
        for (value, expected) in [
            (json!(null), "null"),
            (json!(true), "true"),
            (json!(1.5), "1.5"),
            (json!(2.0), "2"),
            (json!("a"), "a"),
            (json!([1, null, "b", {}]), "1,,b,[object Object]"),
            (json!({"a": 1}), "[object Object]"),
        ] {
            assert_eq!(javascript_string(&value), expected);
        }
    }

    #[test]
    fn errors_name_the_field() {
        #[derive(Debug, Deserialize)]
        struct Content {
            #[allow(dead_code)]
            list: Vec<u32>,
        }
        let error = read::<Content>("reload", &json!({"list": [1, "x"]})).unwrap_err();
        assert!(error.message.starts_with("message `reload`, content.list[1]: invalid type"), "{error}");
        let error = read::<Content>("reload", &json!(7)).unwrap_err();
        assert!(error.message.starts_with("message `reload`, content: invalid type"), "{error}");
    }
}
