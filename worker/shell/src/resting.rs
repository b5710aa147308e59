//! What is done once a tab's conversation has come to rest: its pages are stored, so that a worker that is stopped does not have to
//! read it again.

use std::rc::Rc;

use wasm_bindgen_futures::spawn_local;

use crate::browser;
use crate::client::Client;
use crate::models::ModelKey;
use crate::worker::Worker;

/// A tab that has been silent for this long is not about to go on at once.
const QUIET_MS: u32 = 1_000;

impl Worker {
    /// The client's work has ended: stores its pages once it has been quiet for a while and nobody's reply would be slowed down.
    pub fn keep_pages_when_quiet(self: &Rc<Self>, client: &Rc<Client>) {
        let has_news = client.conversations.borrow().values().any(|conversation| !conversation.is_kept);
        if !has_news || client.is_resting.replace(true) {
            return;
        }
        let (worker, client) = (self.clone(), client.clone());
        spawn_local(async move {
            while let Some(key) = next_unkept(&client) {
                let active_ms = client.active_ms.get();
                browser::sleep_ms(QUIET_MS).await;
                let is_known =
                    worker.clients.find(&client.id).is_some_and(|known| Rc::ptr_eq(&known, &client));
                if !is_known {
                    break;
                }
                if client.active_ms.get() == active_ms && !client.is_busy() {
                    worker.keep_pages(&client, &key).await;
                }
            }
            client.is_resting.set(false);
        });
    }

    async fn keep_pages(&self, client: &Client, key: &ModelKey) {
        let tokens = client.conversations.borrow().get(key).map(|conversation| conversation.tokens.clone());
        let (Some(model), Some(tokens)) = (self.models.find(key), tokens) else {
            client.conversations.borrow_mut().remove(key);
            return;
        };
        let is_complete = self.pages.keep(&model, &tokens, || !model.is_busy()).await;
        // Another reply may have taken its place meanwhile.
        if let Some(conversation) = client.conversations.borrow_mut().get_mut(key)
            && is_complete
            && conversation.tokens == tokens
        {
            conversation.is_kept = true;
        }
    }
}

fn next_unkept(client: &Client) -> Option<ModelKey> {
    let conversations = client.conversations.borrow();
    conversations.iter().find(|(_, conversation)| !conversation.is_kept).map(|(key, _)| key.clone())
}
