//! Which waiting sequence gets pages and a slot next, and who makes room for an owner that has nothing running.

use super::Scheduler;
use crate::ids::{OwnerId, SequenceId};

/// Tokens that a sequence may generate before it gives way to an owner that has nothing running. Long enough for the
/// price of coming back to be small.
const TURN_TOKENS: u32 = 64;

impl Scheduler {
    /// Lets waiting sequences start, strictly in order: when the next one does not fit, those behind it wait too, or a
    /// long prompt would never find room among short ones.
    pub(super) fn admit(&mut self) {
        while let Some(id) = self.next_admission() {
            if self.waits_for_growth(id) {
                return;
            }
            if self.shortage(id).is_some() && !self.make_room_for_owner(id) {
                return;
            }
            if !self.start(id) {
                return;
            }
        }
    }

    /// The owner with the smallest share of slots, its oldest sequence; among equals whoever has waited longest.
    pub(super) fn next_admission(&self) -> Option<SequenceId> {
        let heads = self.owners.iter().filter_map(|(owner, state)| {
            if self.is_paused(owner) {
                return None;
            }
            // A preempted sequence whose last token is still in flight cannot be resumed before it is known.
            let ready = |id: &&SequenceId| self.sequence(**id).num_pending_samples == 0;
            let head = *state.waiting.iter().find(ready)?;
            // Its own others have what it may have: when one of them ends it is its turn.
            let num_pages = self.kv.num_needed(self.sequence(head).tokens_to_admit());
            if self.exceeds_budget(owner, num_pages) {
                return None;
            }
            Some((self.owners.admission_rank(owner), self.sequence(head).waiting_since_round, head))
        });
        heads.min_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal)).map(|(_, _, id)| id)
    }

    /// What is missing for a sequence to start.
    fn shortage(&self, id: SequenceId) -> Option<Shortage> {
        let needed = self.kv.num_needed(self.sequence(id).tokens_to_admit());
        // One page for the next row of each that is running: whoever starts should not be preempted at once.
        let wanted = needed + self.running.len() as u32;
        let no_slot = self.free_slots.is_empty();
        let num_pages = wanted.saturating_sub(self.kv.num_available());
        (no_slot || num_pages > 0).then_some(Shortage { no_slot, num_pages })
    }

    fn start(&mut self, id: SequenceId) -> bool {
        let owner = self.sequence(id).owner;
        let sequence = self.sequences.get_mut(&id).expect("a waiting sequence exists");
        let Some(slot) = self.free_slots.pop() else { return false };
        let most = sequence.tokens_to_admit().len();
        let tokens = &sequence.tokens[..most];
        let Some(num_cached) = self.kv.allocate(&mut sequence.table, tokens) else {
            self.free_slots.push(slot);
            return false;
        };
        sequence.slot = Some(slot);
        sequence.needs_slot_reset = true;
        sequence.num_scheduled = num_cached;
        sequence.num_generated_at_admission = sequence.num_generated();
        sequence.note_cached(num_cached);
        self.running.push(id);
        self.owners.start(owner, id);
        true
    }

    /// Makes room for a sequence whose owner has nothing running, where others can be asked to give way. Nobody is
    /// preempted unless that is enough.
    fn make_room_for_owner(&mut self, id: SequenceId) -> bool {
        let owner = self.sequence(id).owner;
        if self.owners.get(owner).is_some_and(|state| state.num_running > 0) {
            return false;
        }
        let victims = self.find_fair_victims(id);
        for victim in &victims {
            self.preempt(*victim);
        }
        !victims.is_empty() && self.shortage(id).is_none()
    }

    /// First the youngest of whoever has the most running, down to one each; then sequences that have had a turn.
    fn find_fair_victims(&self, id: SequenceId) -> Vec<SequenceId> {
        let Some(mut shortage) = self.shortage(id) else { return Vec::new() };
        let mut left = self.running.clone();
        let mut victims = Vec::new();
        while shortage.no_slot || shortage.num_pages > 0 {
            let Some(victim) = self.find_surplus(&left).or_else(|| self.find_turn_over(&left, &shortage))
            else {
                return Vec::new();
            };
            let num_freed =
                self.kv.num_freed_for(self.sequence(id).tokens_to_admit(), &self.sequence(victim).table);
            left.retain(|other| *other != victim);
            victims.push(victim);
            // Its pages, and the one that was reserved for its next row.
            shortage.num_pages = shortage.num_pages.saturating_sub(num_freed + 1);
            shortage.no_slot = false;
        }
        victims
    }

    fn find_surplus(&self, running: &[SequenceId]) -> Option<SequenceId> {
        let num_of = |owner: OwnerId| running.iter().filter(|id| self.sequence(**id).owner == owner).count();
        let with_share = running.iter().map(|id| (num_of(self.sequence(*id).owner), *id));
        with_share.filter(|(share, _)| *share > 1).max().map(|(_, id)| id)
    }

    fn find_turn_over(&self, running: &[SequenceId], shortage: &Shortage) -> Option<SequenceId> {
        let turn = |id: SequenceId| {
            let sequence = self.sequence(id);
            let had = sequence.num_generated() - sequence.num_generated_at_admission;
            // Where pages are short, coming back means computing everything again.
            let price = if shortage.num_pages > 0 { sequence.len_tokens() } else { 0 };
            (had >= TURN_TOKENS.max(price)).then_some((had, id))
        };
        running.iter().filter_map(|id| turn(*id)).max().map(|(_, id)| id)
    }
}

/// What is missing for a sequence to start.
struct Shortage {
    no_slot: bool,
    num_pages: u32,
}
