//! What earlier runs of the worker knew, and keeping what this one knows.

use std::rc::Rc;

use futures::FutureExt;

use crate::browser::{self, Glimpse};
use crate::client::Client;
use crate::persisted::{Restored, SharedRecord};
use crate::worker::Worker;

impl Worker {
    /// Waits until what earlier runs stored is known.
    pub async fn restored(self: &Rc<Self>) {
        let restoring = self
            .restoring
            .borrow_mut()
            .get_or_insert_with(|| {
                let worker = self.clone();
                async move { worker.apply(worker.persisted.restore().await).await }.boxed_local().shared()
            })
            .clone();
        restoring.await;
    }

    /// What was set in this run wins over what was stored.
    async fn apply(&self, restored: Restored) {
        let mut gone = Vec::new();
        for (id, record) in restored.clients {
            if let Some(client) = self.clients.find(&id) {
                client.remember(record);
            } else if matches!(browser::glimpse_client(&id).await, Glimpse::Gone) {
                gone.push(id);
            } else if let Some(client) = self.clients.find(&id) {
                // It has spoken for the first time meanwhile.
                client.remember(record);
            } else {
                self.restored_clients.borrow_mut().insert(id, record);
            }
        }
        self.apply_shared(restored.shared);
        self.persisted.forget_clients(&gone).await;
    }

    fn apply_shared(&self, stored: SharedRecord) {
        let mut shared = self.shared.borrow_mut();
        if shared.app_config.is_none() {
            shared.app_config = stored.app_config;
        }
        if let (None, Some(level)) = (shared.log_level, stored.log_level) {
            shared.log_level = Some(level);
            self.log.set_level(level);
        }
    }

    /// Stores what all clients share.
    pub async fn save_shared(self: &Rc<Self>) {
        // What an earlier run stored is read before it is written over.
        self.restored().await;
        let record = self.shared.borrow().clone();
        self.persisted.save_shared(record).await;
    }

    /// Stores what of a client outlives the worker.
    pub async fn save_client(&self, client: &Client) {
        client.is_unsaved.set(false);
        self.persisted.save_client(&client.id, &client.record()).await;
    }

    /// A message has been dealt with: what it changed is stored.
    pub async fn save_if_changed(&self, client: &Client) {
        // One that has gone meanwhile would never be removed again.
        if client.is_unsaved.get() && self.clients.find(&client.id).is_some() {
            self.save_client(client).await;
        }
    }
}
