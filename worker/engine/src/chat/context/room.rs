//! How many tokens a conversation may have, and how many of them its prompt. Knows numbers only.

/// Tokens kept free for a reply of unknown length.
const DEFAULT_RESERVE_TOKENS: u32 = 512;

/// Part of the limit that is kept free at most when nobody says how much.
const DEFAULT_RESERVE_DIVISOR: u32 = 4;

/// Room of a conversation, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) struct Room {
    /// The window.
    pub(in crate::chat) window: u32,
    /// What the tab may hold.
    pub(in crate::chat) budget: u32,
    /// Kept free for the reply.
    pub(in crate::chat) reserve: u32,
}

impl Room {
    /// The reserve is as wished, or a part of the limit and no more than the reply may have.
    pub(in crate::chat) fn new(
        window: u32,
        budget: u32,
        reserve: Option<u32>,
        max_tokens: Option<u32>,
    ) -> Self {
        let default = (window.min(budget) / DEFAULT_RESERVE_DIVISOR)
            .min(DEFAULT_RESERVE_TOKENS)
            .min(max_tokens.unwrap_or(u32::MAX));
        Self { window, budget, reserve: reserve.unwrap_or(default) }
    }

    /// Tokens of the context.
    pub(in crate::chat) fn limit(&self) -> u32 {
        self.window.min(self.budget).max(1)
    }

    /// Tokens of a prompt before the overflow policy acts.
    pub(super) fn for_prompt(&self) -> u32 {
        self.limit().saturating_sub(self.reserve)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_is_kept_for_the_reply_and_no_more_than_it_may_have() {
        let room = |window, budget, reserve, max_tokens| {
            let room = Room::new(window, budget, reserve, max_tokens);
            (room.limit(), room.reserve, room.for_prompt())
        };
        assert_eq!(room(1000, 4000, None, None), (1000, 250, 750));
        assert_eq!(room(4000, 1000, None, None), (1000, 250, 750));
        assert_eq!(room(8000, 8000, None, None), (8000, 512, 7488));
        assert_eq!(room(1000, 4000, None, Some(8)), (1000, 8, 992));
        assert_eq!(room(1000, 4000, Some(400), Some(8)), (1000, 400, 600));
        assert_eq!(room(1000, 4000, Some(2000), None), (1000, 2000, 0));
        assert_eq!(room(0, 0, None, None).0, 1);
    }
}
