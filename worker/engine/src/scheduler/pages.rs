//! Pages for the next row, by preemption if need be.

use super::Scheduler;
use crate::ids::SequenceId;

impl Scheduler {
    /// Makes sure that a running sequence has a page for its next row. Cached pages go first, then the youngest running
    /// sequence is preempted. False when the row must wait: the sequence was itself the youngest and has been
    /// preempted, or those that could give way have rows in this step already.
    pub(super) fn make_room_for_row(&mut self, id: SequenceId) -> bool {
        loop {
            let sequence = self.sequences.get_mut(&id).expect("a running sequence exists");
            let place = sequence.place_in_context(sequence.num_scheduled);
            let needed = self.kv.blocks_for(place + 1) as usize;
            if sequence.table.blocks().len() >= needed {
                return true;
            }
            let owner = sequence.owner;
            if self.exceeds_budget(owner, 1)
                && let Some(victim) = self.find_own_victim(id)
            {
                self.preempt(victim);
                if victim == id {
                    return false;
                }
                continue;
            }
            let sequence = self.sequences.get_mut(&id).expect("a running sequence exists");
            if self.kv.grow(&mut sequence.table) {
                return true;
            }
            match self.find_victim(id) {
                Some(victim) => self.preempt(victim),
                None => return false,
            }
            if self.sequence(id).slot.is_none() {
                return false;
            }
        }
    }

    /// The youngest of an owner's several running sequences, if it has no rows in this step.
    fn find_own_victim(&self, id: SequenceId) -> Option<SequenceId> {
        let owner = self.sequence(id).owner;
        let own = || self.running.iter().copied().filter(|other| self.sequence(*other).owner == owner);
        let youngest = own().max().filter(|_| own().count() > 1)?;
        (youngest == id || self.sequence(youngest).last_round != self.round).then_some(youngest)
    }

    /// The same for `num_pages` pages at once, which stay available.
    pub(super) fn make_room_for_pages(&mut self, id: SequenceId, num_pages: u32) -> bool {
        while self.kv.num_available() < num_pages {
            let Some(victim) = self.find_victim(id) else { return false };
            self.preempt(victim);
            if victim == id {
                return false;
            }
        }
        true
    }

    /// The sequence that gives way to `id`: the youngest without rows in this step, but never one that is older than `id`,
    /// or two would take pages from each other for ever.
    fn find_victim(&self, id: SequenceId) -> Option<SequenceId> {
        let own_age = self.age(id);
        let youngest = self.running.iter().copied().max_by_key(|other| self.age(*other));
        let victim = self
            .running
            .iter()
            .copied()
            .filter(|other| {
                *other != id && self.sequence(*other).last_round != self.round && self.age(*other) > own_age
            })
            .max_by_key(|other| self.age(*other));
        // With nobody younger at all, it is its own turn to give way.
        victim.or(youngest.filter(|youngest| *youngest == id))
    }

    /// Orders running sequences from the eldest to the youngest: the first of each owner before the second of any, so that
    /// an owner's many do not push out another's only one.
    fn age(&self, id: SequenceId) -> (usize, SequenceId) {
        let owner = self.sequence(id).owner;
        let elder = |other: &&SequenceId| **other < id && self.sequence(**other).owner == owner;
        (self.running.iter().filter(elder).count(), id)
    }

    /// Takes pages and slot from a running sequence and puts it back into the queue, before all that never ran.
    /// It keeps its tokens, text and draws; a token that is being sampled still comes.
    pub(super) fn preempt(&mut self, id: SequenceId) {
        let sequence = self.sequences.get_mut(&id).expect("a running sequence exists");
        if sequence.num_dropped() == 0 {
            let num_written = sequence.tokens.len().min(sequence.num_scheduled as usize);
            self.kv.register(&mut sequence.table, &sequence.tokens[..num_written]);
        }
        self.kv.release_table(&mut sequence.table);
        self.kv.release_all(&mut sequence.originals);
        self.free_slots.extend(sequence.slot.take());
        self.happened.push((id, super::Happened::Preempted { tokens: sequence.num_scheduled }));
        sequence.note_preempted(self.round);
        let owner = sequence.owner;
        self.running.retain(|other| *other != id);
        self.owners.preempt(owner, id);
    }
}
