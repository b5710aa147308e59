//! What a client can ask about its models without generating anything. Every answer is about that client alone.

use hearth_engine::chat::routing::request_name;
use hearth_protocol::content::{ModelReference, ResetChatContent};
use hearth_protocol::reply::UsageReport;

use crate::client::Client;
use crate::error::ShellError;
use crate::worker::Worker;

/// The name of `hearth.usage` in error texts.
const USAGE: &str = "contextUsage";

impl Worker {
    /// `resetChat`; nothing where nothing is loaded, as in web-llm.
    pub fn reset_chat(&self, client: &Client, content: &ResetChatContent) {
        let model = self.select_loaded(client, content.model_id.as_deref(), request_name::RESET_CHAT);
        if let Ok(model) = model {
            model.chat.reset(client.owner, content.keep_stats.unwrap_or(false));
        }
    }

    /// `getMessage`.
    ///
    /// # Errors
    /// web-llm's, when it is not clear which model is meant.
    pub fn message(&self, client: &Client, content: &ModelReference) -> Result<String, ShellError> {
        let model = self.select_loaded(client, content.model_id.as_deref(), request_name::GET_MESSAGE)?;
        Ok(model.chat.message(client.owner))
    }

    /// `runtimeStatsText`.
    ///
    /// # Errors
    /// web-llm's, when it is not clear which model is meant.
    pub fn runtime_stats(&self, client: &Client, content: &ModelReference) -> Result<String, ShellError> {
        let model = self.select_loaded(client, content.model_id.as_deref(), request_name::RUNTIME_STATS)?;
        Ok(model.chat.runtime_stats_text(client.owner))
    }

    /// `hearth.usage`.
    ///
    /// # Errors
    /// web-llm's, when it is not clear which model is meant.
    pub fn usage(&self, client: &Client, content: &ModelReference) -> Result<UsageReport, ShellError> {
        let model = self.select_loaded(client, content.model_id.as_deref(), USAGE)?;
        Ok(UsageReport { device: Some(model.device_usage()), ..model.chat.usage(client.owner) })
    }
}
