//! Contexts that slide: the oldest page that is not pinned leaves, and the pinned pages follow.
//!
//! Rotary positions count on without end, and attention depends on distances only. So the recent pages stay as they are, and
//! the pinned ones are replaced by copies whose keys are rotated onward by as much as has been dropped: to the newest token
//! they are as near as if nothing had ever been between. Every slide makes the copies anew from the originals, which the
//! sequence goes on holding, so that rounding errors never add up.

use super::{Draft, Scheduler};
use crate::ids::SequenceId;
use crate::plan::PageOp;
use crate::sequence::SlidingWindow;

impl Scheduler {
    /// Rows that the sequence can run before its context has to slide once more, at most `num_rows`; 0 when it has to now.
    pub(super) fn rows_until_slide(&self, id: SequenceId, num_rows: u32) -> u32 {
        let sequence = self.sequence(id);
        let Some(window) = sequence.window() else { return num_rows };
        num_rows.min(window.rows_with(sequence.num_scheduled, sequence.num_dropped()))
    }

    /// Slides a sequence whose next row finds its context full. False when the row must wait: for pages, or because the plan
    /// has too many page operations already.
    pub(super) fn slide(&mut self, id: SequenceId, draft: &mut Draft<'_>) -> bool {
        let (num_pinned, starts) = {
            let sequence = self.sequence(id);
            let Some(window) = sequence.window() else { return true };
            if window.dropped_before(sequence.num_scheduled) == sequence.num_dropped() {
                return true;
            }
            (window.num_pinned, sequence.num_dropped() == 0)
        };
        if num_pinned > draft.room.page_ops || (starts && !self.make_room_for_pages(id, num_pinned)) {
            return false;
        }
        let sequence = self.sequences.get_mut(&id).expect("a running sequence exists");
        if starts {
            let originals = self.kv.detach(&mut sequence.table, num_pinned as usize);
            sequence.originals = originals.expect("room was made above");
        }
        self.kv.drop_page(&mut sequence.table, num_pinned as usize);
        let num_dropped = sequence.note_slid();
        for (from, to) in sequence.originals.iter().zip(sequence.table.blocks()) {
            draft.plan.page_ops.push(PageOp::Shift { from: *from, to: *to, positions: num_dropped });
        }
        draft.room.page_ops -= num_pinned;
        if let Some(total) = sequence.take_unreported_drop() {
            self.happened.push((id, super::Happened::Slid { dropped_tokens: total }));
        }
        true
    }

    /// Pages that the next row of a sequence takes at most: where it makes the context slide for the first time, the pinned
    /// pages are copied.
    pub(super) fn num_pages_for_row(&self, id: SequenceId) -> u32 {
        let sequence = self.sequence(id);
        let is_full = |window: &&SlidingWindow| window.rows_with(sequence.num_scheduled, 0) == 0;
        let starts_to_slide = sequence.window().filter(is_full).filter(|_| sequence.num_dropped() == 0);
        1 + starts_to_slide.map_or(0, |window| window.num_pinned)
    }
}
