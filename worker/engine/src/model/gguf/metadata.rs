//! The key-value part of a header. Text and arrays stay in the header's bytes and are decoded when asked for.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::model::gguf::cursor::{Cursor, Stop};
use crate::model::gguf::error::{GgufError, quote};

/// Longest key: the format's own limit.
const MAX_KEY_BYTES: u64 = 65_535;

/// Type of a value in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    Array,
    U64,
    I64,
    F64,
}

impl ValueType {
    fn from_id(id: u32) -> Option<Self> {
        Some(match id {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            8 => Self::Text,
            9 => Self::Array,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    /// Bytes of a value; none for those of varying length.
    fn size_bytes(self) -> Option<u64> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Text | Self::Array => None,
        }
    }
}

/// A value, or where it is in the header.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(Range<usize>),
    Array { element: ValueType, count: usize, bytes: Range<usize> },
}

impl Value {
    fn describe(&self) -> &'static str {
        match self {
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Bool(_) => "a boolean",
            Self::Text(_) => "text",
            Self::Array { element: ValueType::Text, .. } => "an array of texts",
            Self::Array { .. } => "an array",
        }
    }
}

/// One key and its value, as parsed.
pub(super) struct Entry {
    key: String,
    value: Value,
}

impl Entry {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        let key_len = cursor.u64()?;
        if key_len > MAX_KEY_BYTES {
            return Err(
                GgufError::TooMany { what: "bytes of a key", got: key_len, limit: MAX_KEY_BYTES }.into()
            );
        }
        let key = cursor.take(key_len)?;
        let key = std::str::from_utf8(key)
            .map_err(|_| GgufError::InvalidUtf8 { what: "a key".to_owned() })?
            .to_owned();
        let value = parse_value(cursor, &key)?;
        Ok(Self { key, value })
    }
}

fn parse_type(cursor: &mut Cursor<'_>, key: &str) -> Result<ValueType, Stop> {
    let id = cursor.u32()?;
    ValueType::from_id(id).ok_or_else(|| GgufError::UnknownValueType { key: quote(key), got: id }.into())
}

fn parse_value(cursor: &mut Cursor<'_>, key: &str) -> Result<Value, Stop> {
    match parse_type(cursor, key)? {
        ValueType::Text => {
            let bytes = cursor.text_bytes()?;
            Ok(Value::Text(cursor.position() - bytes.len()..cursor.position()))
        }
        ValueType::Array => parse_array(cursor, key),
        scalar => parse_scalar(cursor, scalar, key),
    }
}

fn parse_scalar(cursor: &mut Cursor<'_>, kind: ValueType, key: &str) -> Result<Value, Stop> {
    Ok(match kind {
        ValueType::U8 => Value::Integer(u8::from_le_bytes(cursor.array()?).into()),
        ValueType::I8 => Value::Integer(i8::from_le_bytes(cursor.array()?).into()),
        ValueType::U16 => Value::Integer(u16::from_le_bytes(cursor.array()?).into()),
        ValueType::I16 => Value::Integer(i16::from_le_bytes(cursor.array()?).into()),
        ValueType::U32 => Value::Integer(u32::from_le_bytes(cursor.array()?).into()),
        ValueType::I32 => Value::Integer(i32::from_le_bytes(cursor.array()?).into()),
        ValueType::U64 => Value::Integer(u64::from_le_bytes(cursor.array()?).into()),
        ValueType::I64 => Value::Integer(i64::from_le_bytes(cursor.array()?).into()),
        ValueType::F32 => Value::Float(f32::from_le_bytes(cursor.array()?).into()),
        ValueType::F64 => Value::Float(f64::from_le_bytes(cursor.array()?)),
        ValueType::Bool => match cursor.array::<1>()?[0] {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            got => return Err(GgufError::InvalidBool { key: quote(key), got }.into()),
        },
        ValueType::Text | ValueType::Array => return Err(GgufError::NestedArray { key: quote(key) }.into()),
    })
}

fn parse_array(cursor: &mut Cursor<'_>, key: &str) -> Result<Value, Stop> {
    let element = parse_type(cursor, key)?;
    let count = cursor.u64()?;
    if element == ValueType::Array {
        return Err(GgufError::NestedArray { key: quote(key) }.into());
    }
    // A text takes 8 bytes at least; so no claimed count outlives the bytes that are there.
    let limit = cursor.remaining_bytes() / element.size_bytes().unwrap_or(8);
    if count > limit {
        return Err(GgufError::TooMany { what: "elements of an array", got: count, limit }.into());
    }
    let start = cursor.position();
    match element.size_bytes() {
        Some(size) => {
            cursor.take(count * size)?;
        }
        None => {
            for _ in 0..count {
                cursor.text_bytes()?;
            }
        }
    }
    Ok(Value::Array { element, count: count as usize, bytes: start..cursor.position() })
}

/// All keys of a file.
#[derive(Debug, Clone)]
pub struct Metadata {
    header: Vec<u8>,
    entries: BTreeMap<String, Value>,
}

impl Metadata {
    pub(super) fn new() -> Self {
        Self { header: Vec::new(), entries: BTreeMap::new() }
    }

    pub(super) fn insert(&mut self, entry: Entry) -> Result<(), GgufError> {
        let key = entry.key.clone();
        match self.entries.insert(entry.key, entry.value) {
            None => Ok(()),
            Some(_) => Err(GgufError::DuplicateKey { key: quote(&key) }),
        }
    }

    /// Gives the entries the bytes that their ranges point into.
    pub(super) fn set_header(&mut self, header: Vec<u8>) {
        self.header = header;
    }

    /// True when the file has this key.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Text under a key.
    ///
    /// # Errors
    /// [`GgufError::WrongType`], [`GgufError::InvalidUtf8`].
    pub fn find_text(&self, key: &str) -> Result<Option<&str>, GgufError> {
        match self.entries.get(key) {
            None => Ok(None),
            Some(Value::Text(range)) => match std::str::from_utf8(&self.header[range.clone()]) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(GgufError::InvalidUtf8 { what: format!("the value of `{}`", quote(key)) }),
            },
            Some(other) => Err(wrong_type(key, "text", other)),
        }
    }

    /// An integer of any width that fits.
    ///
    /// # Errors
    /// [`GgufError::WrongType`], [`GgufError::InvalidValue`].
    pub fn find_u32(&self, key: &str) -> Result<Option<u32>, GgufError> {
        match self.entries.get(key) {
            None => Ok(None),
            Some(Value::Integer(value)) => match u32::try_from(*value) {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(GgufError::InvalidValue {
                    key: quote(key),
                    got: value.to_string(),
                    expected: "an integer from 0 to 4294967295",
                }),
            },
            Some(other) => Err(wrong_type(key, "an integer", other)),
        }
    }

    /// A floating-point number.
    ///
    /// # Errors
    /// [`GgufError::WrongType`].
    pub fn find_f32(&self, key: &str) -> Result<Option<f32>, GgufError> {
        match self.entries.get(key) {
            None => Ok(None),
            Some(Value::Float(value)) => Ok(Some(*value as f32)),
            Some(other) => Err(wrong_type(key, "a floating-point number", other)),
        }
    }

    /// A boolean.
    ///
    /// # Errors
    /// [`GgufError::WrongType`].
    pub fn find_bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        match self.entries.get(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => Err(wrong_type(key, "a boolean", other)),
        }
    }

    /// An array of texts.
    ///
    /// # Errors
    /// [`GgufError::WrongType`].
    pub fn find_texts(&self, key: &str) -> Result<Option<TextArray<'_>>, GgufError> {
        match self.entries.get(key) {
            None => Ok(None),
            Some(Value::Array { element: ValueType::Text, count, bytes }) => {
                Ok(Some(TextArray { key: quote(key), bytes: &self.header[bytes.clone()], count: *count }))
            }
            Some(other) => Err(wrong_type(key, "an array of texts", other)),
        }
    }

    /// An array of 32-bit integers; those outside are an error.
    ///
    /// # Errors
    /// [`GgufError::WrongType`], [`GgufError::InvalidValue`].
    pub fn find_i32s(&self, key: &str) -> Result<Option<Vec<i32>>, GgufError> {
        let expected = "an array of 32-bit integers";
        match self.entries.get(key) {
            None => Ok(None),
            Some(value @ Value::Array { element, bytes, .. }) => {
                let words = self.header[bytes.clone()].chunks_exact(4).map(|word| {
                    let mut bytes = [0; 4];
                    bytes.copy_from_slice(word);
                    bytes
                });
                match element {
                    ValueType::I32 => Ok(Some(words.map(i32::from_le_bytes).collect())),
                    ValueType::U32 => {
                        let words = words.map(|word| i32::try_from(u32::from_le_bytes(word)));
                        words.collect::<Result<_, _>>().map(Some).map_err(|_| GgufError::InvalidValue {
                            key: quote(key),
                            got: "beyond 31 bits".to_owned(),
                            expected,
                        })
                    }
                    _ => Err(wrong_type(key, expected, value)),
                }
            }
            Some(other) => Err(wrong_type(key, expected, other)),
        }
    }

    /// [`Self::find_text`] of a key that must be there.
    ///
    /// # Errors
    /// Its errors, and [`GgufError::MissingKey`].
    pub fn text(&self, key: &str) -> Result<&str, GgufError> {
        self.find_text(key)?.ok_or_else(|| missing(key))
    }

    /// [`Self::find_u32`] of a key that must be there.
    ///
    /// # Errors
    /// Its errors, and [`GgufError::MissingKey`].
    pub fn u32(&self, key: &str) -> Result<u32, GgufError> {
        self.find_u32(key)?.ok_or_else(|| missing(key))
    }

    /// [`Self::find_f32`] of a key that must be there.
    ///
    /// # Errors
    /// Its errors, and [`GgufError::MissingKey`].
    pub fn f32(&self, key: &str) -> Result<f32, GgufError> {
        self.find_f32(key)?.ok_or_else(|| missing(key))
    }

    /// [`Self::find_texts`] of a key that must be there.
    ///
    /// # Errors
    /// Its errors, and [`GgufError::MissingKey`].
    pub fn texts(&self, key: &str) -> Result<TextArray<'_>, GgufError> {
        self.find_texts(key)?.ok_or_else(|| missing(key))
    }
}

fn missing(key: &str) -> GgufError {
    GgufError::MissingKey { key: quote(key) }
}

fn wrong_type(key: &str, expected: &'static str, got: &Value) -> GgufError {
    GgufError::WrongType { key: quote(key), expected, got: got.describe() }
}

/// Texts that lie one after another in the header.
#[derive(Debug, Clone)]
pub struct TextArray<'m> {
    key: String,
    bytes: &'m [u8],
    count: usize,
}

impl<'m> TextArray<'m> {
    /// Number of texts.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each text in order, or why it is not text.
    pub fn iter(&self) -> impl Iterator<Item = Result<&'m str, GgufError>> + '_ {
        let mut cursor = Cursor::over(self.bytes);
        (0..self.count).map(move |index| {
            let invalid = || GgufError::InvalidUtf8 { what: format!("element {index} of `{}`", self.key) };
            let bytes = cursor.text_bytes().map_err(|_| invalid())?;
            std::str::from_utf8(bytes).map_err(|_| invalid())
        })
    }
}
