//! Whose turn it is: queues and turns of each owner.
//!
//! Knows sequences by id only. An owner with a hundred requests gets as much as an owner with one, as long as both have
//! something to run: each owner has two clocks, one that its prompt rows move on and one for its decode rows, divided by its
//! weight, and the one with the least goes first. (One clock for both would let a long prompt that others had to wait for
//! be paid for with pauses in its reply.)
//!
//! Nobody saves up turns, be it by wanting little, by waiting or by being paused: no clock stays behind another's by more
//! than one choice moves that, and whoever begins to run starts where all would be if rows could be divided evenly, so that
//! not even a stream of newcomers keeps others from theirs. Whoever stops running finds its own clock again, so that nobody
//! sheds a debt.
//!
//! The bound: one choice moves a clock by at most `C / weight`, where `C` is 1 for decode rows and `max_rows` for prompt rows,
//! and none is made for an owner whose clock is ahead of one that is still to be looked at. So over any time in which two
//! owners have both sequences that no row was left for in every step, their clocks are never further apart than at
//! its start or than one choice, and what they get of that kind, divided by their weights, differs by at most `C / weight` of
//! the one plus that of the other.

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
    /// Where the clocks of all who run would be if rows could be divided evenly; never behind the smallest of them.
    now: Clocks,
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
        if state.num_running == 1 {
            let clocks = self.clocks.entry(owner).or_default();
            *clocks = [0, 1].map(|kind| clocks[kind].max(self.now[kind]));
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

    /// Smaller goes first: rows that the owner has had, divided by its weight.
    pub(super) fn rank(&self, owner: OwnerId, kind: RowKind) -> f64 {
        self.clocks.get(&owner).map_or(0.0, |clocks| clocks[kind as usize])
    }

    /// The owner was given rows.
    pub(super) fn charge(&mut self, owner: OwnerId, kind: RowKind, num_rows: u32) {
        let weight = self.weight(owner);
        self.clocks.entry(owner).or_default()[kind as usize] += f64::from(num_rows) / weight;
        let running = self.owners.iter().filter(|(_, state)| state.num_running > 0);
        let all_weights: f64 = running.map(|(owner, _)| self.weight(*owner)).sum();
        self.now[kind as usize] += f64::from(num_rows) / all_weights.max(weight);
    }

    /// Moves up the clocks of those who run and are further behind than one choice moves a clock: decode rows are chosen one by
    /// one, prompt rows `max_rows` at once. To be called after each plan.
    pub(super) fn settle(&mut self, max_rows: u32) {
        for (kind, choice) in [(RowKind::Decode, 1), (RowKind::Prefill, max_rows)] {
            let running = || self.owners.iter().filter(|(_, state)| state.num_running > 0).map(|(id, _)| *id);
            let floor = running()
                .map(|owner| self.rank(owner, kind) - f64::from(choice) / self.weight(owner))
                .fold(f64::NEG_INFINITY, f64::max);
            let slowest = running().map(|owner| self.rank(owner, kind)).fold(f64::INFINITY, f64::min);
            if slowest.is_finite() {
                self.now[kind as usize] = self.now[kind as usize].max(slowest).max(floor);
            }
            for (owner, _) in self.owners.iter().filter(|(_, state)| state.num_running > 0) {
                let clock = &mut self.clocks.entry(*owner).or_default()[kind as usize];
                *clock = clock.max(floor);
            }
        }
    }

    fn forget_if_idle(&mut self, owner: OwnerId) {
        if self.get(owner).is_some_and(|state| state.num_running == 0 && state.waiting.is_empty()) {
            self.owners.remove(&owner);
        }
    }
}
