//! Looking after clients: who is gone, and what is let go of then.
//!
//! A page of Hearth's own client holds a Web Lock while it lives, which comes free the moment it is gone. Other pages are asked
//! for twice a second while they have anything. A page's timer may be throttled; those here are the worker's.

use std::rc::Rc;

use wasm_bindgen_futures::spawn_local;

use crate::attention::Attention;
use crate::browser::{self, Glimpse};
use crate::client::Client;
use crate::worker::Worker;

/// While a client without a lock has anything, it is looked after this often.
const WATCH_INTERVAL_MS: u32 = 500;
/// Otherwise a message is the occasion, if the last one was longer ago than this.
const SWEEP_INTERVAL_MS: f64 = 10_000.0;

impl Worker {
    /// Drops the client's models and ends everything that goes on for it.
    pub async fn unload(&self, client: &Client) {
        client.cancel_all();
        client.streams.borrow_mut().clear();
        client.loaded.borrow_mut().clear();
        client.said.borrow_mut().clear();
        self.let_go(client, &[]);
        self.save_client(client).await;
    }

    /// A client has gone: nothing of it stays but its models, which the next page may want.
    pub async fn forget(&self, id: &str) {
        let Some(client) = self.clients.remove(id) else { return };
        client.is_gone.set(true);
        self.log.debug(&format!("client {id} is gone"));
        client.cancel_all();
        client.streams.borrow_mut().clear();
        for (_, model) in self.models.loaded() {
            model.dismiss(client.owner);
        }
        self.models.forget_client(id);
        self.persisted.forget_clients(&[id.to_owned()]).await;
    }

    /// The page says that it holds this Web Lock: it is gone as soon as the lock is free.
    pub fn wait_for_lock(self: &Rc<Self>, client: &Rc<Client>, name: String) {
        if !client.locks.borrow_mut().insert(name.clone()) {
            return;
        }
        let (worker, client) = (self.clone(), Rc::downgrade(client));
        spawn_local(async move {
            let is_free = browser::lock_is_free(&name).await;
            // Forgotten meanwhile; a page with the same id that has come since has locks of its own.
            let Some(client) = client.upgrade() else { return };
            client.locks.borrow_mut().remove(&name);
            let is_known = worker.clients.find(&client.id).is_some_and(|known| Rc::ptr_eq(&known, &client));
            if is_free && !client.holds_lock() && is_known {
                worker.forget(&client.id).await;
            }
        });
    }

    /// Looks after clients that have something and no lock that would tell.
    pub fn watch(self: &Rc<Self>) {
        if !browser::is_service_worker() || self.is_watching.replace(true) {
            return;
        }
        let worker = self.clone();
        spawn_local(async move {
            loop {
                let watched =
                    worker.clients.all().into_iter().filter(|client| worker.is_to_be_watched(client));
                let watched: Vec<Rc<Client>> = watched.collect();
                if watched.is_empty() {
                    break;
                }
                browser::sleep_ms(WATCH_INTERVAL_MS).await;
                worker.look_after(watched).await;
            }
            worker.is_watching.set(false);
        });
    }

    fn is_to_be_watched(&self, client: &Client) -> bool {
        let has_pages = || self.models.loaded().iter().any(|(_, model)| model.has_pages_of(client.owner));
        !client.holds_lock() && (client.is_busy() || has_pages())
    }

    /// The same for all clients at a message's occasion, rarely.
    pub async fn sweep_if_due(&self) {
        let now_ms = self.clock.now_ms();
        if browser::is_service_worker() && now_ms - self.last_sweep_ms.get() >= SWEEP_INTERVAL_MS {
            self.last_sweep_ms.set(now_ms);
            self.look_after(self.clients.all()).await;
        }
    }

    /// Pages of web-llm's own client say neither that they go nor what the browser does with them.
    pub async fn look_at_stock_clients(&self) {
        if browser::is_service_worker() {
            let all = self.clients.all().into_iter();
            self.look_after(all.filter(|client| client.hello.borrow().is_none()).collect()).await;
        }
    }

    async fn look_after(&self, clients: Vec<Rc<Client>>) {
        for client in clients {
            match browser::glimpse_client(&client.id).await {
                Glimpse::Gone => self.forget(&client.id).await,
                Glimpse::Alive(Some((focused, visible))) if client.hello.borrow().is_none() => {
                    self.set_attention(&client, Attention { focused, visible, frozen: false });
                }
                Glimpse::Alive(_) => {}
            }
        }
    }
}
