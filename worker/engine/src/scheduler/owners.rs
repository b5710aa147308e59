//! Whose turn it is: queues and turns of each owner.
//!
//! Knows sequences by id only. An owner with a hundred requests gets as much as an owner with one, as long as both have
//! something to run: each owner has two clocks, one that its prompt rows move on and one for its decode rows, divided by its
//! weight, and the one with the least goes first. (One clock for both would let a long prompt that others had to wait for
//! be paid for with pauses in its reply.) Whoever comes, or comes back, starts where the slowest of those who are active is, so
//! that nobody saves up turns; and whoever leaves finds its own clock again, so that nobody sheds a debt.
//!
//! The bound: over any time in which two owners have both rows of a kind that found no room in every step, what they get of
//! that kind, divided by their weights, differs by at most `max_rows / weight` of the one plus that of the other (1 instead of
//! `max_rows` for decode rows): a choice is never made for an owner whose clock is ahead, and one choice moves a clock by at
//! most that.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::ids::{OwnerId, SequenceId};

/// One owner's share.
#[derive(Debug, Default)]
pub(super) struct Owner {
    /// Sequences without pages, the oldest first; a preempted one is older than those that never ran.
    pub(super) waiting: BTreeSet<SequenceId>,
    /// Sequences with pages and a slot.
    pub(super) num_running: u32,
}

/// What a row is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowKind {
    /// The newest token of a sequence that has caught up.
    Decode,
    /// One of several tokens that a sequence is behind.
    Prefill,
}

/// Rows that an owner was given, by kind, divided by its weight.
type Clocks = [f64; 2];

/// All owners that have something to run.
#[derive(Debug, Default)]
pub(super) struct Owners {
    owners: BTreeMap<OwnerId, Owner>,
    weights: HashMap<OwnerId, f64>,
    /// Of every owner that may come back.
    clocks: HashMap<OwnerId, Clocks>,
}

impl Owners {
    pub(super) fn iter(&self) -> impl Iterator<Item = (OwnerId, &Owner)> {
        self.owners.iter().map(|(id, owner)| (*id, owner))
    }

    pub(super) fn get(&self, owner: OwnerId) -> Option<&Owner> {
        self.owners.get(&owner)
    }

    /// How much of the machine an owner gets relative to others; 1 by default.
    pub(super) fn set_weight(&mut self, owner: OwnerId, weight: f64) {
        if weight == 1.0 {
            self.weights.remove(&owner);
        } else {
            self.weights.insert(owner, weight);
        }
    }

    fn weight(&self, owner: OwnerId) -> f64 {
        self.weights.get(&owner).copied().unwrap_or(1.0)
    }

    pub(super) fn enqueue(&mut self, owner: OwnerId, id: SequenceId) {
        if !self.owners.contains_key(&owner) {
            for kind in [RowKind::Decode, RowKind::Prefill] {
                let slowest =
                    self.owners.keys().map(|active| self.rank(*active, kind)).fold(f64::INFINITY, f64::min);
                let clock = &mut self.clocks.entry(owner).or_default()[kind as usize];
                if slowest.is_finite() {
                    *clock = clock.max(slowest);
                }
            }
        }
        self.owners.entry(owner).or_default().waiting.insert(id);
    }

    /// The owner will never come back.
    pub(super) fn forget(&mut self, owner: OwnerId) {
        self.clocks.remove(&owner);
        self.weights.remove(&owner);
    }

    /// Takes a waiting sequence out of the queue because it ended.
    pub(super) fn dequeue(&mut self, owner: OwnerId, id: SequenceId) {
        if let Some(state) = self.owners.get_mut(&owner) {
            state.waiting.remove(&id);
        }
        self.forget_if_idle(owner);
    }

    /// A waiting sequence starts running.
    pub(super) fn start(&mut self, owner: OwnerId, id: SequenceId) {
        let state = self.owners.entry(owner).or_default();
        state.waiting.remove(&id);
        state.num_running += 1;
    }

    /// A running sequence lost its pages and waits for its turn.
    pub(super) fn preempt(&mut self, owner: OwnerId, id: SequenceId) {
        let state = self.owners.entry(owner).or_default();
        state.num_running -= 1;
        state.waiting.insert(id);
    }

    /// A running sequence ended.
    pub(super) fn end(&mut self, owner: OwnerId) {
        if let Some(state) = self.owners.get_mut(&owner) {
            state.num_running -= 1;
        }
        self.forget_if_idle(owner);
    }

    /// Smaller goes first: the share of slots that the owner has already.
    pub(super) fn admission_rank(&self, owner: OwnerId) -> f64 {
        self.get(owner).map_or(0.0, |state| f64::from(state.num_running) / self.weight(owner))
    }

    /// Smaller goes first: rows that the owner has had, divided by its weight.
    pub(super) fn rank(&self, owner: OwnerId, kind: RowKind) -> f64 {
        self.clocks.get(&owner).map_or(0.0, |clocks| clocks[kind as usize])
    }

    /// The owner was given rows.
    pub(super) fn charge(&mut self, owner: OwnerId, kind: RowKind, num_rows: u32) {
        let weight = self.weight(owner);
        self.clocks.entry(owner).or_default()[kind as usize] += f64::from(num_rows) / weight;
    }

    fn forget_if_idle(&mut self, owner: OwnerId) {
        if self.get(owner).is_some_and(|state| state.num_running == 0 && state.waiting.is_empty()) {
            self.owners.remove(&owner);
        }
    }
}
