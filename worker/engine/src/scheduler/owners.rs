//! Whose turn it is: queues and turns of each owner.
//!
//! Knows sequences by id only. An owner with a hundred requests gets as much as an owner with one, as long as both have
//! something to run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::ids::{OwnerId, SequenceId};

/// One owner's share.
#[derive(Debug, Default)]
pub(super) struct Owner {
    /// Sequences without pages, the oldest first; a preempted one is older than those that never ran.
    pub(super) waiting: BTreeSet<SequenceId>,
    /// Sequences with pages and a slot.
    pub(super) num_running: u32,
    /// Prompt rows that it was given, divided by its weight.
    prefill_clock: f64,
    /// The last plan in which it had a decode row, and how many in that one.
    last_decode_round: u64,
    num_decodes_in_round: u32,
}

/// All owners that have something to run.
#[derive(Debug, Default)]
pub(super) struct Owners {
    owners: BTreeMap<OwnerId, Owner>,
    weights: HashMap<OwnerId, f64>,
    /// Clock of the owner that was given prompt rows last: newcomers start here, so that nobody saves up turns.
    prefill_now: f64,
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
        self.owners.entry(owner).or_default().waiting.insert(id);
    }

    /// Takes a waiting sequence out of the queue because it ended.
    pub(super) fn dequeue(&mut self, owner: OwnerId, id: SequenceId) {
        if let Some(state) = self.owners.get_mut(&owner) {
            state.waiting.remove(&id);
        }
        self.forget_if_idle(owner);
    }

    /// A waiting sequence starts running. `is_prefilling`: the owner has another one that is reading its prompt.
    pub(super) fn start(&mut self, owner: OwnerId, id: SequenceId, is_prefilling: bool) {
        let now = self.prefill_now;
        let state = self.owners.entry(owner).or_default();
        state.waiting.remove(&id);
        state.num_running += 1;
        if !is_prefilling {
            state.prefill_clock = state.prefill_clock.max(now);
        }
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

    /// Smaller goes first: what the owner had in this plan, then how long ago it had anything.
    pub(super) fn decode_rank(&self, owner: OwnerId, round: u64) -> (f64, u64) {
        self.get(owner).map_or((0.0, 0), |state| {
            let now = state.last_decode_round == round;
            let share = if now { f64::from(state.num_decodes_in_round) / self.weight(owner) } else { 0.0 };
            (share, state.last_decode_round)
        })
    }

    pub(super) fn charge_decode(&mut self, owner: OwnerId, round: u64) {
        if let Some(state) = self.owners.get_mut(&owner) {
            if state.last_decode_round != round {
                (state.last_decode_round, state.num_decodes_in_round) = (round, 0);
            }
            state.num_decodes_in_round += 1;
        }
    }

    /// Smaller goes first: prompt rows had so far.
    pub(super) fn prefill_rank(&self, owner: OwnerId) -> f64 {
        self.get(owner).map_or(0.0, |state| state.prefill_clock)
    }

    pub(super) fn charge_prefill(&mut self, owner: OwnerId, num_rows: u32) {
        let weight = self.weight(owner);
        if let Some(state) = self.owners.get_mut(&owner) {
            self.prefill_now = self.prefill_now.max(state.prefill_clock);
            state.prefill_clock += f64::from(num_rows) / weight;
        }
    }

    fn forget_if_idle(&mut self, owner: OwnerId) {
        if self.get(owner).is_some_and(|state| state.num_running == 0 && state.waiting.is_empty()) {
            self.owners.remove(&owner);
        }
    }
}
