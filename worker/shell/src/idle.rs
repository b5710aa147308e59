//! Silent tabs: after `idleEvictSeconds` without a request their pages go back to the pool. Their tokens are in the page, and the
//! next request reads them again.

use std::rc::Rc;

use hearth_protocol::context::{ContextEvent, EvictionReason};
use wasm_bindgen_futures::spawn_local;

use crate::attention::Silence;
use crate::browser;
use crate::client::Client;
use crate::models::ModelKey;
use crate::worker::Worker;

/// The timer looks again at least this often: tabs come, go and change their minds.
const LONGEST_SLEEP_MS: f64 = 10_000.0;

impl Worker {
    /// Something was asked by the client, or has been answered.
    pub fn stir(self: &Rc<Self>, client: &Client) {
        client.active_ms.set(self.clock.now_ms());
        client.is_put_to_rest.set(false);
        if !self.is_waiting_for_silence.get() && silence_of(client).is_some() {
            self.is_waiting_for_silence.set(true);
            spawn_local(self.clone().wait_for_silence());
        }
    }

    /// Runs only while there is a tab whose silence counts.
    async fn wait_for_silence(self: Rc<Self>) {
        loop {
            let mut next_ms: Option<f64> = None;
            for client in self.clients.all() {
                let Some(silence) = silence_of(&client) else { continue };
                let remaining_ms = silence.remaining_ms(self.clock.now_ms());
                if remaining_ms > 0.0 || client.is_busy() {
                    let again_ms = remaining_ms.clamp(1_000.0, LONGEST_SLEEP_MS);
                    next_ms = Some(next_ms.map_or(again_ms, |next_ms| next_ms.min(again_ms)));
                } else {
                    self.put_to_rest(&client);
                }
            }
            let Some(next_ms) = next_ms else { break };
            browser::sleep_ms(next_ms as u32).await;
        }
        self.is_waiting_for_silence.set(false);
    }

    fn put_to_rest(&self, client: &Client) {
        client.is_put_to_rest.set(true);
        for (ModelKey { model_id, .. }, model) in self.models.loaded() {
            let pages = model.chat.engine().evict_owner(client.owner);
            if pages > 0 {
                let tokens = pages.saturating_mul(model.page_tokens());
                let event = ContextEvent::Evicted { pages, tokens, reason: EvictionReason::Idle };
                self.tell(client, &model_id, event);
            }
        }
    }
}

/// The client's silence, if it has asked that its pages go and they have not gone yet.
fn silence_of(client: &Client) -> Option<Silence> {
    if client.is_put_to_rest.get() {
        return None;
    }
    let loaded = client.loaded.borrow();
    let seconds = loaded.iter().filter_map(|loaded| loaded.tab_options().ok()?.idle_evict_seconds);
    let keep_seconds = seconds.reduce(f64::min)?;
    Some(Silence { since_ms: client.active_ms.get(), keep_seconds })
}
