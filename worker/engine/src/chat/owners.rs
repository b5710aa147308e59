//! What each owner (a tab) has going on with a model: what is running, what was said last, and how fast.
//!
//! This is why `getMessage`, `runtimeStatsText`, `resetChat` and `interruptGenerate` never touch another tab.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::usage::Rates;
use crate::ids::{OwnerId, SequenceId};

/// All owners of one model. Clones share.
#[derive(Debug, Clone, Default)]
pub(super) struct Owners(Rc<RefCell<BTreeMap<OwnerId, Owner>>>);

#[derive(Debug, Default)]
struct Owner {
    running: Vec<SequenceId>,
    /// The reply that `getMessage` gives: the one that was started last.
    latest: Option<SequenceId>,
    latest_text: String,
    /// `None` until a reply has ended, and after a reset.
    rates: Option<Rates>,
    context_tokens: u32,
}

impl Owners {
    pub(super) fn started(&self, owner: OwnerId, sequence: SequenceId) {
        let mut owners = self.0.borrow_mut();
        let owner = owners.entry(owner).or_default();
        owner.running.push(sequence);
        owner.latest = Some(sequence);
        owner.latest_text.clear();
    }

    pub(super) fn said(&self, owner: OwnerId, sequence: SequenceId, text: &str) {
        if let Some(owner) = self.0.borrow_mut().get_mut(&owner)
            && owner.latest == Some(sequence)
        {
            owner.latest_text.push_str(text);
        }
    }

    pub(super) fn finished(&self, owner: OwnerId, sequence: SequenceId, rates: Rates, context_tokens: u32) {
        if let Some(owner) = self.0.borrow_mut().get_mut(&owner)
            && owner.latest == Some(sequence)
        {
            owner.rates = Some(rates);
            owner.context_tokens = context_tokens;
        }
    }

    /// The reply is gone, finished or not. Also to be called after [`Self::finished`].
    pub(super) fn ended(&self, owner: OwnerId, sequence: SequenceId) {
        if let Some(owner) = self.0.borrow_mut().get_mut(&owner) {
            owner.running.retain(|running| *running != sequence);
        }
    }

    pub(super) fn running(&self, owner: OwnerId) -> Vec<SequenceId> {
        self.0.borrow().get(&owner).map(|owner| owner.running.clone()).unwrap_or_default()
    }

    pub(super) fn message(&self, owner: OwnerId) -> String {
        self.0.borrow().get(&owner).map(|owner| owner.latest_text.clone()).unwrap_or_default()
    }

    pub(super) fn context_tokens(&self, owner: OwnerId) -> u32 {
        self.0.borrow().get(&owner).map_or(0, |owner| owner.context_tokens)
    }

    pub(super) fn stats_text(&self, owner: OwnerId) -> String {
        let rates = self.0.borrow().get(&owner).and_then(|owner| owner.rates);
        // web-llm divides zero by zero while there is nothing to tell.
        let text = |rate: Option<f64>| rate.map_or_else(|| "NaN".to_owned(), |rate| format!("{rate:.4}"));
        format!(
            "prefill: {} tokens/sec, decoding: {} tokens/sec",
            text(rates.map(|rates| rates.prefill_tokens_per_s)),
            text(rates.map(|rates| rates.decode_tokens_per_s)),
        )
    }

    pub(super) fn reset(&self, owner: OwnerId, keep_stats: bool) {
        if let Some(owner) = self.0.borrow_mut().get_mut(&owner) {
            owner.context_tokens = 0;
            if !keep_stats {
                owner.rates = None;
            }
        }
    }

    pub(super) fn forget(&self, owner: OwnerId) {
        self.0.borrow_mut().remove(&owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: OwnerId = OwnerId(1);
    const B: OwnerId = OwnerId(2);
    const RATES: Rates = Rates { prefill_tokens_per_s: 100.0, decode_tokens_per_s: 12.345_67 };

    #[test]
    fn owners_do_not_see_each_other() {
        let owners = Owners::default();
        owners.started(A, SequenceId(1));
        owners.started(B, SequenceId(2));
        owners.said(A, SequenceId(1), "from a");
        owners.said(B, SequenceId(2), "from b");
        owners.finished(B, SequenceId(2), RATES, 9);
        assert_eq!((owners.message(A), owners.message(B)), ("from a".to_owned(), "from b".to_owned()));
        assert_eq!(owners.running(A), [SequenceId(1)]);
        assert_eq!((owners.context_tokens(A), owners.context_tokens(B)), (0, 9));
        owners.forget(A);
        assert_eq!((owners.message(A), owners.running(A)), (String::new(), vec![]));
        assert_eq!(owners.message(B), "from b");
    }

    #[test]
    fn the_message_is_that_of_the_latest_reply() {
        let owners = Owners::default();
        owners.started(A, SequenceId(1));
        owners.said(A, SequenceId(1), "old");
        owners.started(A, SequenceId(2));
        owners.said(A, SequenceId(1), " tail");
        owners.said(A, SequenceId(2), "new");
        owners.ended(A, SequenceId(1));
        assert_eq!(owners.message(A), "new");
        assert_eq!(owners.running(A), [SequenceId(2)]);
        owners.ended(A, SequenceId(2));
        assert_eq!(owners.message(A), "new");
    }

    #[test]
    fn statistics_have_four_decimals_and_go_with_a_reset() {
        let owners = Owners::default();
        let unused = "prefill: NaN tokens/sec, decoding: NaN tokens/sec";
        assert_eq!(owners.stats_text(A), unused);
        owners.started(A, SequenceId(1));
        owners.said(A, SequenceId(1), "text");
        owners.finished(A, SequenceId(1), RATES, 9);
        let used = "prefill: 100.0000 tokens/sec, decoding: 12.3457 tokens/sec";
        assert_eq!(owners.stats_text(A), used);
        owners.reset(A, true);
        assert_eq!((owners.stats_text(A).as_str(), owners.context_tokens(A)), (used, 0));
        owners.reset(A, false);
        assert_eq!((owners.stats_text(A).as_str(), owners.message(A).as_str()), (unused, "text"));
    }
}
