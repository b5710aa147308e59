//! Tabs as pages of Hearth's own client see them: who they are, what the browser does with them, what each has.

use std::rc::Rc;

use hearth_engine::chat::Speaker;
use hearth_engine::engine::OwnerUsage;
use hearth_protocol::content::{HelloContent, ModelReference, TabContent};
use hearth_protocol::context::{ContextUsage, TabReport, TabState};
use hearth_protocol::reply::HelloReply;
use hearth_protocol::version;

use crate::attention::Attention;
use crate::client::{Client, LoadedRecord};
use crate::error::ShellError;
use crate::loaded::LoadedModel;
use crate::message::Answers;
use crate::models::ModelKey;
use crate::worker::Worker;

/// Longer titles are cut: they are there for lists.
const MAX_TITLE_CHARS: usize = 200;
/// The Web Lock that a page holds while it lives: this, then its tab id.
const TAB_LOCK_PREFIX: &str = "hearth-tab:";

impl Worker {
    /// `hearth.hello`.
    pub fn greet(
        self: &Rc<Self>,
        client: &Rc<Client>,
        content: HelloContent,
        answers: &Answers,
    ) -> HelloReply {
        if content.holds_lock {
            self.wait_for_lock(client, format!("{TAB_LOCK_PREFIX}{}", content.tab));
        }
        *client.outlet.borrow_mut() = Some(answers.outlet());
        set_title(client, content.title.as_deref());
        *client.hello.borrow_mut() = Some(content);
        HelloReply {
            protocol: version::PROTOCOL_VERSION,
            version: version::VERSION.to_owned(),
            worker: self.run_id.clone(),
        }
    }

    /// `hearth.tab`.
    pub fn tab_changed(&self, client: &Client, content: &TabContent) {
        let TabContent { focused, visible, frozen, title } = content;
        set_title(client, title.as_deref());
        self.set_attention(client, Attention { focused: *focused, visible: *visible, frozen: *frozen });
    }

    /// What the browser does with the page decides its part of the steps; a frozen one gets none.
    pub fn set_attention(&self, client: &Client, attention: Attention) {
        if client.attention.replace(attention) == attention {
            return;
        }
        for (_, model) in self.models.loaded() {
            model.attend(client);
        }
    }

    /// `hearth.tabs`: every live tab. Its room is that of the model in question, else of the first that the tab has.
    pub async fn tabs(self: &Rc<Self>, client: &Client, content: &ModelReference) -> Vec<TabReport> {
        self.restored().await;
        self.look_at_stock_clients().await;
        let wanted = content.model_id.clone().or_else(|| client.loaded_ids().into_iter().next());
        let report = |other: Rc<Client>| self.report(&other, other.id == client.id, wanted.as_deref());
        self.clients.all().into_iter().map(report).collect()
    }

    fn report(&self, client: &Client, own: bool, wanted: Option<&str>) -> TabReport {
        let loaded = client.loaded.borrow().clone();
        let asked = loaded.iter().find(|loaded| wanted == Some(loaded.record.model_id.as_str()));
        let shown = asked.or(loaded.first());
        let model = shown.and_then(|shown| self.models.find(&ModelKey::of(&shown.record)));
        let used: Vec<OwnerUsage> =
            self.models.loaded().iter().filter_map(|(_, model)| model.usage_of(client.owner)).collect();
        let generating = used.iter().any(|used| used.running > 0);
        let attention = client.attention.get();
        let state = match () {
            () if attention.frozen => TabState::Frozen,
            () if generating => TabState::Generating,
            () if used.iter().any(|used| used.waiting > 0) => TabState::Waiting,
            () => TabState::Idle,
        };
        let idle_ms = if client.is_busy() { 0.0 } else { self.clock.now_ms() - client.active_ms.get() };
        TabReport {
            id: client.tab_id(),
            title: client.title.borrow().clone(),
            own,
            focused: attention.focused,
            visible: attention.visible,
            generating,
            state,
            idle_ms: idle_ms.max(0.0),
            budget: model.as_ref().map_or(0, |model| model.chat.engine().budget_tokens(client.owner)),
            usage: model
                .as_ref()
                .zip(shown)
                .and_then(|(model, loaded)| room(client, model, loaded, None).ok()),
            models: client.loaded_ids(),
        }
    }
}

/// The room of one of a client's conversations. What was said before a restart of the worker counts as used.
pub fn room(
    client: &Client,
    model: &LoadedModel,
    loaded: &LoadedRecord,
    branch: Option<&str>,
) -> Result<ContextUsage, ShellError> {
    let options = loaded.tab_options()?;
    let speaker = Speaker { owner: client.owner, branch: branch.map(str::to_owned) };
    let mut usage = model.chat.context(&speaker, &options);
    if usage.used == 0 && branch.is_none() {
        let said = client.said.borrow();
        usage.used = said.get(&loaded.record.model_id).map_or(0, |said| said.context_tokens);
    }
    Ok(usage)
}

fn set_title(client: &Client, title: Option<&str>) {
    if let Some(title) = title.filter(|title| !title.is_empty()) {
        *client.title.borrow_mut() = Some(title.chars().take(MAX_TITLE_CHARS).collect());
    }
}
