//! Counts everything again and compares with the books, for tests after every step.

use std::collections::{HashMap, HashSet};

use super::Scheduler;
use crate::ids::BlockId;

impl Scheduler {
    /// Every broken invariant, in words; empty when all is well.
    pub(crate) fn audit(&self) -> Vec<String> {
        let mut broken = self.kv.audit();
        let mut expect = |holds: bool, what: &str| {
            if !holds {
                broken.push(what.to_owned());
            }
        };
        let mut holders: HashMap<BlockId, u32> = HashMap::new();
        for sequence in self.sequences.values() {
            for block in sequence.table.blocks().iter().chain(&sequence.originals) {
                *holders.entry(*block).or_insert(0) += 1;
            }
        }
        let counts = self.kv.counts();
        expect(counts.held as usize == holders.len(), "held pages are those in tables");
        for block in (0..counts.total).map(BlockId) {
            let num_tables = holders.get(&block).copied().unwrap_or(0);
            let has_content = num_tables > 0 || self.kv.is_cached(block);
            expect(has_content || self.kv.owners_of(block).is_empty(), "an empty page is nobody's");
            expect(
                self.kv.ref_count(block) == num_tables,
                "a page's reference count is its number of tables",
            );
        }
        for sequence in self.sequences.values() {
            let known = self.owners().any(|owner| owner == sequence.owner);
            expect(known, "who has a sequence is a live owner");
            for block in sequence.table.blocks().iter().chain(&sequence.originals) {
                expect(self.kv.owners_of(*block).contains(&sequence.owner), "a page in use is its user's");
            }
        }
        let mut slots: HashSet<_> = self.free_slots.iter().copied().collect();
        expect(slots.len() == self.free_slots.len(), "a slot is free once");
        for sequence in self.sequences.values() {
            let is_running = self.running.contains(&sequence.id);
            let is_waiting =
                self.owners.get(sequence.owner).is_some_and(|owner| owner.waiting.contains(&sequence.id));
            expect(is_running != is_waiting, "a sequence is either running or waiting");
            expect(is_running == sequence.slot.is_some(), "running sequences are those with a slot");
            if let Some(slot) = sequence.slot {
                expect(slots.insert(slot), "a slot belongs to one sequence");
            } else {
                expect(sequence.table.blocks().is_empty(), "a waiting sequence has no pages");
                expect(sequence.originals.is_empty(), "a waiting sequence has no pinned pages");
                expect(sequence.num_scheduled == 0, "a waiting sequence has nothing scheduled");
            }
            expect(sequence.num_scheduled <= sequence.len_tokens(), "rows are of tokens that exist");
            let blocks = sequence.table.blocks();
            // Once it has slid, the copies and the newest page are written; those between may have been shared before.
            let private = match sequence.originals.len() {
                0 if sequence.num_dropped() == 0 => &blocks[sequence.table.num_registered()..],
                num_pinned => &blocks[..num_pinned],
            };
            let num_places = blocks.len() as u32 * self.limits.block_size_tokens;
            let has_room = num_places > sequence.place_in_context(sequence.num_scheduled);
            let is_sliding = sequence.num_dropped() > 0 && has_room;
            let newest = if is_sliding { &blocks[blocks.len() - 1..] } else { &[] };
            let exclusive = private.iter().chain(newest).all(|block| self.kv.ref_count(*block) == 1);
            expect(exclusive, "a page that may be written has one owner");
            let num_shared_tokens = sequence.table.num_registered() as u32 * self.limits.block_size_tokens;
            expect(num_shared_tokens <= sequence.num_scheduled, "no row is written to a shared page");
        }
        expect(slots.len() == self.limits.num_sampler_slots as usize, "every slot is free or in use");
        let num_running: u32 = self.owners.iter().map(|(_, owner)| owner.num_running).sum();
        expect(num_running as usize == self.running.len(), "owners' running sequences add up");
        let num_waiting: usize = self.owners.iter().map(|(_, owner)| owner.waiting.len()).sum();
        expect(num_running as usize + num_waiting == self.sequences.len(), "owners know every sequence");
        broken
    }
}
