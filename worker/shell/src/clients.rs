//! All clients of this worker, and the owners that the engine knows them by.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use hearth_engine::ids::OwnerId;

use crate::client::Client;

/// The registry.
#[derive(Default)]
pub struct Clients {
    by_id: RefCell<BTreeMap<String, Rc<Client>>>,
    next_owner: Cell<u64>,
}

impl Clients {
    /// The client with this id, if it is known.
    pub fn find(&self, id: &str) -> Option<Rc<Client>> {
        self.by_id.borrow().get(id).cloned()
    }

    /// The client that the engine knows as `owner`.
    pub fn find_owner(&self, owner: OwnerId) -> Option<Rc<Client>> {
        self.by_id.borrow().values().find(|client| client.owner == owner).cloned()
    }

    /// Registers a client under an owner that nobody had before.
    pub fn add(&self, id: &str) -> Rc<Client> {
        let owner = OwnerId(self.next_owner.get());
        self.next_owner.set(owner.0 + 1);
        let client = Rc::new(Client::new(id, owner));
        self.by_id.borrow_mut().insert(id.to_owned(), client.clone());
        client
    }

    /// Forgets a client.
    pub fn remove(&self, id: &str) -> Option<Rc<Client>> {
        self.by_id.borrow_mut().remove(id)
    }

    /// All of them.
    pub fn all(&self) -> Vec<Rc<Client>> {
        self.by_id.borrow().values().cloned().collect()
    }
}
