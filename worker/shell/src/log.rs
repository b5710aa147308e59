//! The worker's own words in the browser's console, by web-llm's levels. Nothing here is called per token.

use std::cell::Cell;
use std::rc::Rc;

use hearth_protocol::logging::LogLevel;
use wasm_bindgen::JsValue;

/// Writes to the console. Clones share the level.
#[derive(Clone)]
pub struct Logger {
    level: Rc<Cell<LogLevel>>,
}

impl Logger {
    /// Logs warnings and errors, as web-llm does until told otherwise.
    pub fn new() -> Self {
        Self { level: Rc::new(Cell::new(LogLevel::Warn)) }
    }

    /// Changes the level of all clones.
    pub fn set_level(&self, level: LogLevel) {
        self.level.set(level);
    }

    /// For developers of Hearth.
    pub fn debug(&self, text: &str) {
        self.write(LogLevel::Debug, text, web_sys::console::debug_1);
    }

    /// What happens.
    pub fn info(&self, text: &str) {
        self.write(LogLevel::Info, text, web_sys::console::info_1);
    }

    /// What is probably not meant.
    pub fn warn(&self, text: &str) {
        self.write(LogLevel::Warn, text, web_sys::console::warn_1);
    }

    /// What failed.
    pub fn error(&self, text: &str) {
        self.write(LogLevel::Error, text, web_sys::console::error_1);
    }

    fn write(&self, level: LogLevel, text: &str, to_console: fn(&JsValue)) {
        if level >= self.level.get() && self.level.get() != LogLevel::Silent {
            to_console(&JsValue::from_str(&format!("[hearth] {text}")));
        }
    }
}
