//! Which of the oldest units to leave out. Knows sizes only.
//!
//! The policy keeps no state: it is played over the conversation from its start, as if each turn were being asked now, so
//! that the same messages and the same room always give the same cut. A cut goes further than it must, so that the turns
//! after it extend a prompt that the cache still has.

use super::units::Unit;

/// Sizes of a conversation in tokens. They need not be exact to the token: what is kept is counted again as a whole.
pub(super) trait Sizes {
    /// What every prompt has: the system message, and what begins the reply.
    fn base(&self) -> u32;

    /// A whole unit.
    fn unit(&self, unit: usize) -> u32;

    /// A unit up to message `end`.
    fn part(&self, unit: usize, end: usize) -> u32;
}

/// Where a conversation is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cut {
    /// The first unit that is kept.
    pub(super) first_kept: usize,
    /// The unit that no longer found room when the cut was made.
    pub(super) made_at: usize,
}

/// Tokens for a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PromptRoom {
    /// Tokens that a prompt may have.
    pub(super) tokens: u32,
    /// Of these, what stands in for units that were left out.
    pub(super) summary_tokens: u32,
}

impl PromptRoom {
    /// Tokens that are left after a cut was made: half of what the base leaves is free again.
    fn goal(&self, base: u32) -> u32 {
        base + self.tokens.saturating_sub(base) / 2
    }
}

/// Plays the policy over the whole conversation.
pub(super) fn replay(units: &[Unit], sizes: &impl Sizes, room: PromptRoom) -> Cut {
    let base = sizes.base();
    let mut cut = Cut::default();
    let mut kept_before = 0_u32;
    for (index, unit) in units.iter().enumerate() {
        let limit = |cut: Cut| {
            if cut.first_kept > 0 { room.tokens.saturating_sub(room.summary_tokens) } else { room.tokens }
        };
        let is_last = index + 1 == units.len();
        let size = if is_last { 0 } else { sizes.unit(index) };
        // Where the whole unit has room, so has each part of it.
        if is_last || base.saturating_add(kept_before).saturating_add(size) > limit(cut) {
            for end in &unit.asked_at {
                let part = sizes.part(index, *end);
                let needed = |kept_before: u32| base.saturating_add(kept_before).saturating_add(part);
                if needed(kept_before) <= limit(cut) {
                    continue;
                }
                while cut.first_kept < index && needed(kept_before) > room.goal(base) {
                    kept_before -= sizes.unit(cut.first_kept);
                    cut = Cut { first_kept: cut.first_kept + 1, made_at: index };
                }
            }
        }
        kept_before = kept_before.saturating_add(size);
    }
    cut
}

/// The cut after one that turned out to be too small, at the last unit: always further than before.
pub(super) fn further(cut: Cut, num_units: usize, sizes: &impl Sizes, room: PromptRoom) -> Cut {
    let last = num_units - 1;
    let part = sizes.part(last, usize::MAX);
    let base = sizes.base();
    let mut kept: u32 = (cut.first_kept..last).map(|unit| sizes.unit(unit)).sum();
    let mut first_kept = cut.first_kept;
    while first_kept < last
        && (first_kept == cut.first_kept || base.saturating_add(kept).saturating_add(part) > room.goal(base))
    {
        kept -= sizes.unit(first_kept);
        first_kept += 1;
    }
    Cut { first_kept, made_at: last }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two messages of equal size a unit, but for the last.
    struct Even {
        base: u32,
        message: u32,
    }

    impl Sizes for Even {
        fn base(&self) -> u32 {
            self.base
        }

        fn unit(&self, _: usize) -> u32 {
            2 * self.message
        }

        fn part(&self, _: usize, _: usize) -> u32 {
            self.message
        }
    }

    fn conversation(num_units: usize) -> Vec<Unit> {
        (0..num_units)
            .map(|index| {
                let start = 2 * index;
                let end = if index + 1 == num_units { start + 1 } else { start + 2 };
                Unit { messages: start..end, asked_at: vec![start + 1] }
            })
            .collect()
    }

    fn cuts(room: PromptRoom, sizes: &Even) -> Vec<usize> {
        (1..=12).map(|num_units| replay(&conversation(num_units), sizes, room).first_kept).collect()
    }

    #[test]
    fn nothing_goes_while_there_is_room_and_then_half_at_once() {
        let room = PromptRoom { tokens: 100, summary_tokens: 0 };
        // With n units kept a prompt has 20 n tokens, and 55 is the goal.
        let cuts = cuts(room, &Even { base: 10, message: 10 });
        assert_eq!(cuts, [0, 0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8]);
    }

    #[test]
    fn each_turn_agrees_with_the_ones_before_it() {
        let room = PromptRoom { tokens: 333, summary_tokens: 40 };
        let sizes = Even { base: 17, message: 13 };
        for num_units in 1..60 {
            let now = replay(&conversation(num_units), &sizes, room);
            let next = replay(&conversation(num_units + 1), &sizes, room);
            assert!(next == now || next.made_at == num_units, "{now:?} then {next:?}");
            let needed = 17 + 26 * (num_units - 1 - now.first_kept) as u32 + 13;
            let free = if now.first_kept > 0 { 293 } else { 333 };
            assert!(needed <= free, "{needed} tokens in turn {num_units}");
        }
    }

    #[test]
    fn the_last_unit_stays_however_large() {
        let room = PromptRoom { tokens: 100, summary_tokens: 0 };
        assert_eq!(replay(&conversation(3), &Even { base: 10, message: 500 }, room).first_kept, 2);
        assert_eq!(replay(&conversation(1), &Even { base: 10, message: 500 }, room), Cut::default());
        assert_eq!(replay(&[], &Even { base: 10, message: 500 }, room), Cut::default());
    }

    #[test]
    fn a_cut_that_was_too_small_goes_further_and_never_beyond_the_last() {
        let room = PromptRoom { tokens: 100, summary_tokens: 0 };
        let sizes = Even { base: 10, message: 10 };
        let first = further(Cut::default(), 5, &sizes, room);
        assert_eq!(first, Cut { first_kept: 3, made_at: 4 });
        assert_eq!(further(first, 5, &sizes, room).first_kept, 4);
        assert_eq!(further(Cut { first_kept: 4, made_at: 4 }, 5, &sizes, room).first_kept, 4);
    }
}
