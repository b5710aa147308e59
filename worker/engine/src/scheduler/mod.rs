//! Which rows run in the next step.
//!
//! There is no prefill phase and no decode phase: a sequence is some tokens behind, and each step lets it catch up within
//! a budget of rows. Owns sequences, pages and slots; knows neither text nor time beyond what statistics need.
//!
//! Invariants, after every call:
//! * pages free + cached + held = total, and a page's reference count is the number of tables that have it;
//! * a running sequence has pages for all its known tokens, a waiting one has none and no slot;
//! * a page that is written by a step in flight is never found by anybody else before that step: steps run in the order
//!   of their plans, and a page is registered only for rows that are planned already and whose tokens are known.
//!
//! Nobody starves: every step lets prompts advance, decode turns go round owners and their sequences, the eldest running
//! sequence is never preempted for want of pages, and admission is strictly in order.

mod admission;
mod audit;
mod budget;
mod owners;
mod pages;
mod pressure;
mod shares;
mod slide;

use std::collections::HashMap;

use crate::ids::{BlockId, OwnerId, SamplerSlot, SequenceId};
use crate::kv::KvCache;
use crate::plan::{Row, SampleRow, SequenceRows, StepLimits, StepPlan, TokenSource};
use crate::sequence::state::Sequence;
use budget::RowBudget;
use owners::{Owners, RowKind};
pub use pressure::OwnerEvent;
pub use shares::OwnerBudget;
use shares::Shares;

/// The wanted length of steps; see `EngineConfig`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepTargets {
    pub(crate) decode_ms: f64,
    pub(crate) prefill_ms: f64,
}

/// The pool that sequences share; see `EngineConfig`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolShape {
    /// Pages that there are now.
    pub(crate) num_blocks: u32,
    /// Pages that there can be at most.
    pub(crate) max_blocks: u32,
    /// Pages that the pool grows by.
    pub(crate) slab_blocks: u32,
    /// The context window.
    pub(crate) window_tokens: u32,
}

/// Sequences, pages and slots of one engine.
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: StepLimits,
    /// Counts plans, the empty ones too: what was looked at in one may be looked at again in the next.
    round: u64,
    kv: KvCache,
    sequences: HashMap<SequenceId, Sequence>,
    /// Sequences with pages and a slot.
    running: Vec<SequenceId>,
    owners: Owners,
    shares: Shares,
    owner_events: Vec<(OwnerId, OwnerEvent)>,
    /// Pages that the pool can have at most, and how many it grows by.
    max_blocks: u32,
    slab_blocks: u32,
    free_slots: Vec<SamplerSlot>,
    budget: RowBudget,
    /// The prompt whose turn it was found no room in the last step.
    prefill_goes_first: bool,
    /// Emptied page lists of old plans, for new ones.
    spare_blocks: Vec<Vec<BlockId>>,
    /// Whose row each sample of the last plan is.
    sampled: Vec<SequenceId>,
    /// Sequences that are only read, whose last row is in the last plan.
    filled: Vec<SequenceId>,
    /// What the engine has not told anybody yet.
    happened: Vec<(SequenceId, Happened)>,
}

/// What scheduling does to a sequence, besides running it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happened {
    /// Its context slid.
    Slid { dropped_tokens: u32 },
    /// It lost its pages.
    Preempted { tokens: u32 },
    /// It has caught up again.
    Restored { tokens: u32 },
}

/// What is left of the executor's limits in the plan under construction.
struct Room {
    rows: u32,
    sequences: u32,
    samples: u32,
    table_entries: u32,
    page_ops: u32,
}

/// A plan under construction.
struct Draft<'a> {
    plan: &'a mut StepPlan,
    room: Room,
    now_ms: f64,
}

impl Scheduler {
    pub(crate) fn new(limits: StepLimits, targets: StepTargets, pool: PoolShape) -> Self {
        Self {
            kv: KvCache::new(pool.num_blocks, limits.block_size_tokens),
            shares: Shares::new(pool.max_blocks * limits.block_size_tokens, pool.window_tokens),
            owner_events: Vec::new(),
            max_blocks: pool.max_blocks,
            slab_blocks: pool.slab_blocks,
            sequences: HashMap::new(),
            running: Vec::new(),
            owners: Owners::default(),
            free_slots: (0..limits.num_sampler_slots).rev().map(SamplerSlot).collect(),
            budget: RowBudget::new(
                limits.max_rows,
                limits.row_granularity,
                targets.decode_ms,
                targets.prefill_ms,
            ),
            prefill_goes_first: false,
            spare_blocks: Vec::new(),
            sampled: Vec::new(),
            filled: Vec::new(),
            happened: Vec::new(),
            round: 0,
            limits,
        }
    }

    pub(crate) fn kv(&self) -> &KvCache {
        &self.kv
    }

    pub(crate) fn kv_mut(&mut self) -> &mut KvCache {
        &mut self.kv
    }

    pub(crate) fn sequences(&self) -> impl Iterator<Item = &Sequence> {
        self.sequences.values()
    }

    pub(crate) fn get_mut(&mut self, id: SequenceId) -> Option<&mut Sequence> {
        self.sequences.get_mut(&id)
    }

    pub(crate) fn num_running(&self) -> usize {
        self.running.len()
    }

    /// Whose row each sample of the last plan is, in that order.
    pub(crate) fn sampled(&self) -> impl Iterator<Item = SequenceId> {
        self.sampled.iter().copied()
    }

    /// Sequences that are only read, whose last row is in the last plan.
    pub(crate) fn filled(&self) -> impl Iterator<Item = SequenceId> {
        self.filled.iter().copied()
    }

    /// Takes what has happened since the last call, in order.
    pub(crate) fn take_happened(&mut self) -> impl Iterator<Item = (SequenceId, Happened)> {
        self.happened.drain(..)
    }

    pub(crate) fn ms_per_granule(&self) -> Option<f64> {
        self.budget.ms_per_granule()
    }

    pub(crate) fn set_owner_weight(&mut self, owner: OwnerId, weight: f64) {
        self.owners.set_weight(owner, weight);
    }

    /// Notes how long a step took on the executor.
    pub(crate) fn observe(&mut self, num_rows: u32, elapsed_ms: f64) {
        self.budget.observe(num_rows, elapsed_ms);
    }

    /// Queues a sequence. It must fit the cache when it has it for itself: the engine has checked that.
    pub(crate) fn add(&mut self, mut sequence: Sequence) {
        sequence.waiting_since_round = self.round;
        self.add_owner(sequence.owner);
        self.owners.enqueue(sequence.owner, sequence.id);
        self.sequences.insert(sequence.id, sequence);
    }

    /// Takes out a sequence that has ended and lets go of its pages. Rows of it that are still in flight write to pages
    /// which may have a new owner in a later plan; that is harmless, since steps run in the order of their plans.
    pub(crate) fn remove(&mut self, id: SequenceId) -> Option<Sequence> {
        let mut sequence = self.sequences.remove(&id)?;
        match sequence.slot.take() {
            Some(slot) => {
                // The token that ended it is not part of what others may share: its row may not have been planned.
                let num_known = sequence.tokens.len() - usize::from(!sequence.prefill_only);
                let num_written = num_known.min(sequence.num_scheduled as usize);
                if sequence.num_dropped() == 0 {
                    self.kv.register(&mut sequence.table, &sequence.tokens[..num_written]);
                }
                self.kv.release_table(&mut sequence.table);
                self.kv.release_all(&mut sequence.originals);
                self.free_slots.push(slot);
                self.running.retain(|other| *other != id);
                self.owners.end(sequence.owner);
            }
            None => self.owners.dequeue(sequence.owner, id),
        }
        Some(sequence)
    }

    /// Fills `plan` with the next step; false, with an empty plan, when there is nothing to run before another step has
    /// been committed or a sequence added. At most one step may be in flight.
    pub(crate) fn plan(&mut self, step: u64, now_ms: f64, plan: &mut StepPlan) -> bool {
        self.clear(plan);
        plan.step = step;
        self.round += 1;
        self.admit();
        let limits = &self.limits;
        let room = Room {
            rows: limits.max_rows,
            sequences: limits.max_sequences,
            samples: limits.max_samples,
            table_entries: limits.max_table_entries,
            page_ops: limits.max_page_ops,
        };
        let mut draft = Draft { plan, room, now_ms };
        let next_prompt = self.next_prefill();
        if next_prompt.is_some() && self.prefill_goes_first {
            draft.room.rows = self.limits.row_granularity.min(self.limits.max_rows);
            self.place_prefill(&mut draft);
            draft.room.rows = self.limits.max_rows - draft.plan.rows.len() as u32;
        }
        let num_rows_before = draft.plan.rows.len();
        self.place_decodes(&mut draft);
        let num_decode_rows = (draft.plan.rows.len() - num_rows_before) as u32;
        draft.room.rows = self.budget.num_rows(num_decode_rows).saturating_sub(draft.plan.rows.len() as u32);
        while self.place_prefill(&mut draft) {}
        self.prefill_goes_first = next_prompt
            .and_then(|id| self.sequences.get(&id))
            .is_some_and(|sequence| sequence.slot.is_some() && sequence.last_round != self.round);
        self.owners.settle(self.limits.max_rows);
        self.register_planned();
        !plan.rows.is_empty()
    }

    /// Rows for sequences that are one token behind, each of which is sampled.
    fn place_decodes(&mut self, draft: &mut Draft<'_>) {
        while draft.room.rows > 0 && draft.room.sequences > 0 && draft.room.samples > 0 {
            let Some(id) = self.next_decode() else { break };
            let round = self.round;
            let num_entries = {
                let block_size = self.limits.block_size_tokens;
                let sequence = self.sequence_mut(id);
                sequence.considered_round = round;
                sequence.place_in_context(sequence.num_scheduled) / block_size + 1
            };
            if num_entries <= draft.room.table_entries && self.slide(id, draft) && self.make_room_for_row(id)
            {
                self.owners.charge(self.sequence(id).owner, RowKind::Decode, 1);
                self.place(draft, id, 1);
            }
        }
    }

    /// The owner that has had least, and within an owner turns go round its sequences.
    fn next_decode(&self) -> Option<SequenceId> {
        let candidates = self.running.iter().map(|id| self.sequence(*id)).filter(|sequence| {
            sequence.num_behind() == 1 && sequence.wants_rows() && sequence.considered_round != self.round
        });
        let rank = |sequence: &Sequence| {
            (self.owners.rank(sequence.owner, RowKind::Decode), sequence.last_round, sequence.id)
        };
        candidates
            .min_by(|a, b| rank(a).partial_cmp(&rank(b)).unwrap_or(std::cmp::Ordering::Equal))
            .map(|best| best.id)
    }

    /// Rows for one sequence that is several tokens behind; false when there is none or no room.
    fn place_prefill(&mut self, draft: &mut Draft<'_>) -> bool {
        while draft.room.rows > 0 && draft.room.sequences > 0 {
            let Some(id) = self.next_prefill() else { return false };
            let round = self.round;
            self.sequence_mut(id).considered_round = round;
            let has_room =
                self.slide(id, draft) && (self.sequence(id).num_dropped() == 0 || self.make_room_for_row(id));
            if !has_room {
                continue;
            }
            let num_rows = self.prefill_rows(id, draft);
            let sequence = self.sequence_mut(id);
            if num_rows > 0 {
                let owner = sequence.owner;
                self.owners.charge(owner, RowKind::Prefill, num_rows);
                self.place(draft, id, num_rows);
                return true;
            }
        }
        false
    }

    /// The owner that has had least, its oldest sequence.
    fn next_prefill(&self) -> Option<SequenceId> {
        let candidates = self
            .running
            .iter()
            .map(|id| self.sequence(*id))
            .filter(|sequence| sequence.num_behind() > 1 && sequence.considered_round != self.round);
        let rank = |sequence: &Sequence| (self.owners.rank(sequence.owner, RowKind::Prefill), sequence.id);
        candidates
            .min_by(|a, b| rank(a).partial_cmp(&rank(b)).unwrap_or(std::cmp::Ordering::Equal))
            .map(|best| best.id)
    }

    /// How many rows of a sequence fit into the draft, after another look into the cache.
    fn prefill_rows(&mut self, id: SequenceId, draft: &Draft<'_>) -> u32 {
        let block_size = self.limits.block_size_tokens;
        let sequence = self.sequences.get_mut(&id).expect("a running sequence exists");
        if sequence.num_dropped() == 0 {
            let before = sequence.num_scheduled;
            let most = sequence.tokens_to_admit().len();
            sequence.num_scheduled =
                self.kv.extend_hits(&mut sequence.table, &sequence.tokens[..most], before);
            sequence.note_late_hits(sequence.num_scheduled - before);
        }
        let place = sequence.place_in_context(sequence.num_scheduled);
        let by_table = (draft.room.table_entries * block_size).saturating_sub(place);
        let num_rows = sequence.num_behind().min(draft.room.rows).min(by_table);
        // The last row is sampled; without room for that it stays for another step.
        let is_last = num_rows == sequence.num_behind() && !sequence.prefill_only;
        let num_rows = num_rows - u32::from(is_last && draft.room.samples == 0);
        self.rows_until_slide(id, num_rows)
    }

    /// Puts the next `num_rows` rows of a sequence into the draft.
    fn place(&mut self, draft: &mut Draft<'_>, id: SequenceId, num_rows: u32) {
        let block_size = self.limits.block_size_tokens;
        let sequence = self.sequences.get_mut(&id).expect("a running sequence exists");
        let slot = sequence.slot.expect("a running sequence has a slot");
        let plan = &mut *draft.plan;
        if std::mem::take(&mut sequence.needs_slot_reset) {
            plan.slot_resets.push(sequence.slot_reset(slot));
        }
        let first_row = plan.rows.len() as u32;
        let num_scheduled = sequence.num_scheduled + num_rows;
        let context_len_tokens = sequence.place_in_context(num_scheduled);
        for position in sequence.num_scheduled..num_scheduled {
            let token = match sequence.tokens.get(position as usize) {
                Some(token) => TokenSource::Known(*token),
                None => TokenSource::Sampled(slot),
            };
            let sequence_index = plan.sequences.len() as u32;
            let slot = sequence.table.slot(sequence.place_in_context(position), block_size);
            plan.rows.push(Row { token, position, slot, sequence: sequence_index });
        }
        let num_blocks = context_len_tokens.div_ceil(block_size);
        let mut blocks = self.spare_blocks.pop().unwrap_or_default();
        blocks.extend_from_slice(&sequence.table.blocks()[..num_blocks as usize]);
        plan.sequences.push(SequenceRows { first_row, num_rows, context_len_tokens, blocks });
        let has_caught_up = num_scheduled == sequence.len_tokens();
        if has_caught_up && sequence.prefill_only {
            self.filled.push(id);
        } else if has_caught_up {
            let draw = sequence.rng.next_draw();
            let row = first_row + num_rows - 1;
            plan.samples.push(SampleRow { row, slot, settings: sequence.settings, draw });
            sequence.num_pending_samples += 1;
            self.sampled.push(id);
            draft.room.samples -= 1;
        }
        sequence.num_scheduled = num_scheduled;
        if has_caught_up && std::mem::take(&mut sequence.is_catching_up) {
            self.happened.push((id, Happened::Restored { tokens: context_len_tokens }));
        }
        sequence.note_scheduled(self.round, draft.now_ms);
        draft.room.rows -= num_rows;
        draft.room.sequences -= 1;
        draft.room.table_entries -= num_blocks;
    }

    /// Lets others find what this plan writes, from the next plan on. Only rows whose tokens are known.
    fn register_planned(&mut self) {
        for id in &self.running {
            let sequence = self.sequences.get_mut(id).expect("a running sequence exists");
            if sequence.last_round == self.round && sequence.num_dropped() == 0 {
                let num_written = sequence.tokens.len().min(sequence.num_scheduled as usize);
                self.kv.register(&mut sequence.table, &sequence.tokens[..num_written]);
            }
        }
    }

    fn clear(&mut self, plan: &mut StepPlan) {
        plan.rows.clear();
        plan.samples.clear();
        plan.slot_resets.clear();
        plan.page_ops.clear();
        self.sampled.clear();
        self.filled.clear();
        for mut old in plan.sequences.drain(..) {
            old.blocks.clear();
            self.spare_blocks.push(old.blocks);
        }
    }

    fn sequence(&self, id: SequenceId) -> &Sequence {
        self.sequences.get(&id).expect("running and waiting sequences exist")
    }

    fn sequence_mut(&mut self, id: SequenceId) -> &mut Sequence {
        self.sequences.get_mut(&id).expect("running and waiting sequences exist")
    }
}
