//! What a client can ask about its models without generating anything. Every answer is about that client alone, but for the
//! picture of the whole pool, which names tabs and shows no contents.

use std::collections::BTreeMap;
use std::rc::Rc;

use hearth_engine::chat::Speaker;
use hearth_engine::chat::routing::request_name;
use hearth_engine::engine;
use hearth_engine::ids::OwnerId;
use hearth_protocol::content::{ModelReference, ResetChatContent};
use hearth_protocol::context::{ContextUsage, PageReport, PageState, PoolReport};
use hearth_protocol::reply::UsageReport;

use crate::client::{Client, LoadedRecord};
use crate::error::ShellError;
use crate::loaded::LoadedModel;
use crate::message::Answers;
use crate::models::ModelKey;
use crate::tabs::room;
use crate::worker::Worker;

/// Names of Hearth's own requests in error texts.
const USAGE: &str = "usage";
const CONTEXT: &str = "contextUsage";
const POOL: &str = "pool";

impl Worker {
    /// `resetChat`; nothing where nothing is loaded, as in web-llm.
    pub fn reset_chat(&self, client: &Client, content: &ResetChatContent) {
        let Ok(loaded) = self.select(client, content.model_id.as_deref(), request_name::RESET_CHAT) else {
            return;
        };
        if let Some(model) = self.models.find(&ModelKey::of(&loaded.record)) {
            let speaker = speaker(client, content.branch.as_deref());
            model.chat.reset(&speaker, content.keep_stats.unwrap_or(false));
        }
        if content.branch.is_none()
            && let Some(said) = client.said.borrow_mut().get_mut(&loaded.record.model_id)
        {
            said.context_tokens = 0;
            client.is_unsaved.set(true);
        }
    }

    /// `getMessage`: the text of the last reply, also of one that an earlier run of the worker gave.
    ///
    /// # Errors
    /// web-llm's, when it is not clear which model is meant.
    pub async fn message(
        self: &Rc<Self>,
        client: &Client,
        content: &ModelReference,
    ) -> Result<String, ShellError> {
        self.restored().await;
        let loaded = self.select(client, content.model_id.as_deref(), request_name::GET_MESSAGE)?;
        let model = self.models.find(&ModelKey::of(&loaded.record));
        let text = model.map(|model| model.chat.message(&speaker(client, content.branch.as_deref())));
        if let Some(text) = text.filter(|text| !text.is_empty() || content.branch.is_some()) {
            return Ok(text);
        }
        let said = client.said.borrow();
        Ok(said.get(&loaded.record.model_id).map(|said| said.text.clone()).unwrap_or_default())
    }

    /// `runtimeStatsText`.
    ///
    /// # Errors
    /// web-llm's, when it is not clear which model is meant.
    pub fn runtime_stats(&self, client: &Client, content: &ModelReference) -> Result<String, ShellError> {
        let model = self.select_loaded(client, content.model_id.as_deref(), request_name::RUNTIME_STATS)?;
        Ok(model.chat.runtime_stats_text(&speaker(client, content.branch.as_deref())))
    }

    /// `hearth.usage`.
    ///
    /// # Errors
    /// web-llm's, when it is not clear which model is meant.
    pub fn usage(&self, client: &Client, content: &ModelReference) -> Result<UsageReport, ShellError> {
        let model = self.select_loaded(client, content.model_id.as_deref(), USAGE)?;
        let device = Some(model.device_usage(self.num_loads.get()));
        Ok(UsageReport { device, ..model.chat.usage(&speaker(client, content.branch.as_deref())) })
    }

    /// `hearth.context`.
    ///
    /// # Errors
    /// web-llm's, when it is not clear which model is meant; those of a load that is needed.
    pub async fn context_usage(
        self: &Rc<Self>,
        client: &Rc<Client>,
        content: &ModelReference,
        answers: &Answers,
    ) -> Result<ContextUsage, ShellError> {
        let (model, loaded) = self.ensure_selected(client, content, CONTEXT, answers).await?;
        room(client, &model, &loaded, content.branch.as_deref())
    }

    /// `hearth.pool`.
    ///
    /// # Errors
    /// As [`Self::context_usage`].
    pub async fn pool(
        self: &Rc<Self>,
        client: &Rc<Client>,
        content: &ModelReference,
        answers: &Answers,
    ) -> Result<PoolReport, ShellError> {
        let (model, _) = self.ensure_selected(client, content, POOL, answers).await?;
        let tab_ids: BTreeMap<OwnerId, String> =
            self.clients.all().iter().map(|client| (client.owner, client.tab_id())).collect();
        let report = |page: engine::PageInfo| PageReport {
            state: match page.state {
                engine::PageState::Free => PageState::Free,
                engine::PageState::Cached => PageState::Cached,
                engine::PageState::Held => PageState::Held,
            },
            tabs: page.owners.iter().filter_map(|owner| tab_ids.get(owner).cloned()).collect(),
        };
        Ok(PoolReport {
            model_id: model.chat.model_id().to_owned(),
            block_size_tokens: model.page_tokens(),
            pages_max: model.max_pages(),
            page_bytes: model.page_bytes(),
            pages: model.chat.engine().pages().into_iter().map(report).collect(),
        })
    }

    async fn ensure_selected(
        self: &Rc<Self>,
        client: &Rc<Client>,
        content: &ModelReference,
        request: &'static str,
        answers: &Answers,
    ) -> Result<(Rc<LoadedModel>, LoadedRecord), ShellError> {
        self.restored().await;
        let loaded = self.select(client, content.model_id.as_deref(), request)?;
        let model = self.ensure(client, &loaded, answers).await?.model;
        Ok((model, loaded))
    }
}

fn speaker(client: &Client, branch: Option<&str>) -> Speaker {
    Speaker { owner: client.owner, branch: branch.map(str::to_owned) }
}
