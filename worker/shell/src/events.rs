//! What is done to contexts, told to the pages that know what that is: the tab whose context it is, and those that watch all.
//! Pages of web-llm's own client hear nothing, for they would not know the message.

use std::rc::Rc;

use futures::StreamExt;
use hearth_engine::engine::OwnerEvent;
use hearth_protocol::content::WatchContent;
use hearth_protocol::context::{ContextEvent, EvictionReason, TabEvent};
use wasm_bindgen_futures::spawn_local;

use crate::client::Client;
use crate::loaded::LoadedModel;
use crate::message::Answers;
use crate::models::ModelKey;
use crate::worker::Worker;

impl Worker {
    /// `hearth.watch`.
    pub fn set_watch(&self, client: &Client, content: WatchContent, answers: &Answers) {
        client.watches_all.set(content.all);
        *client.outlet.borrow_mut() = Some(answers.outlet());
    }

    /// Something was done to the client's context.
    pub fn tell(&self, client: &Client, model_id: &str, event: ContextEvent) {
        let event = TabEvent { tab: client.tab_id(), model_id: model_id.to_owned(), event };
        for listener in self.clients.all() {
            if listener.id != client.id && !listener.watches_all.get() {
                continue;
            }
            // What hears of it may speak at once: nothing is borrowed meanwhile.
            let outlet = listener.outlet.borrow().clone();
            if let Some(outlet) = outlet {
                outlet.send(event.clone());
            }
        }
    }

    /// Passes on what the engine does to owners, for as long as the engine is there.
    pub fn listen(self: &Rc<Self>, key: &ModelKey, model: &Rc<LoadedModel>) {
        let mut events = model.chat.engine().take_owner_events();
        let (worker, model_id) = (self.clone(), key.model_id.clone());
        spawn_local(async move {
            while let Some((owner, event)) = events.next().await {
                let Some(client) = worker.clients.find_owner(owner) else { continue };
                worker.tell(&client, &model_id, to_wire(event));
            }
        });
    }
}

fn to_wire(event: OwnerEvent) -> ContextEvent {
    match event {
        OwnerEvent::Evicted { pages, tokens } => {
            ContextEvent::Evicted { pages, tokens, reason: EvictionReason::Pressure }
        }
        OwnerEvent::BudgetChanged { budget_tokens, previous_tokens, num_owners } => {
            ContextEvent::BudgetChanged { budget: budget_tokens, previous: previous_tokens, tabs: num_owners }
        }
    }
}
