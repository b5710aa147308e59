//! What each speaker has going on with a model: what is running, what was said last, and how fast.
//!
//! This is why `getMessage`, `runtimeStatsText`, `resetChat` and `interruptGenerate` never touch another tab, nor another
//! branch of the same tab.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::usage::Rates;
use crate::ids::{OwnerId, SequenceId, TokenId};

/// Branches of one owner that are remembered; the one whose last reply is the oldest is forgotten for a new one.
const MAX_BRANCHES: usize = 256;

/// One conversation: a tab's own, or that of one of its branches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Speaker {
    /// The tab.
    pub owner: OwnerId,
    /// The tab's name of the branch; none for the tab itself.
    pub branch: Option<String>,
}

impl From<OwnerId> for Speaker {
    /// The tab itself.
    fn from(owner: OwnerId) -> Self {
        Self { owner, branch: None }
    }
}

/// All speakers of one model. Clones share.
#[derive(Debug, Clone, Default)]
pub(super) struct Speakers(Rc<RefCell<BTreeMap<OwnerId, Branches>>>);

type Branches = BTreeMap<Option<String>, State>;

#[derive(Debug, Clone, Default)]
struct State {
    running: Vec<SequenceId>,
    /// The reply that `getMessage` gives: the one that was started last.
    latest: Option<SequenceId>,
    latest_text: String,
    /// `None` until a reply has ended, and after a reset.
    rates: Option<Rates>,
    context_tokens: u32,
    /// The conversation as the model last read it, and what it said.
    tokens: Vec<TokenId>,
    /// The conversation has been told that its room gets short.
    is_near_limit: bool,
}

impl Speakers {
    /// A reply has begun, with the text that it goes on from.
    pub(super) fn started(&self, speaker: &Speaker, sequence: SequenceId, text: &str) {
        let mut owners = self.0.borrow_mut();
        let branches = owners.entry(speaker.owner).or_default();
        make_room(branches, speaker.branch.as_ref());
        let state = branches.entry(speaker.branch.clone()).or_default();
        state.running.push(sequence);
        state.latest = Some(sequence);
        state.latest_text.clear();
        state.latest_text.push_str(text);
    }

    pub(super) fn said(&self, speaker: &Speaker, sequence: SequenceId, text: &str, context_tokens: u32) {
        self.update_latest(speaker, sequence, |state| {
            state.latest_text.push_str(text);
            state.context_tokens = context_tokens;
        });
    }

    pub(super) fn finished(
        &self,
        speaker: &Speaker,
        sequence: SequenceId,
        rates: Rates,
        context_tokens: u32,
    ) {
        self.update_latest(speaker, sequence, |state| {
            state.rates = Some(rates);
            state.context_tokens = context_tokens;
        });
    }

    /// The reply is gone, finished or not, after these tokens. Also to be called after [`Self::finished`].
    pub(super) fn ended(
        &self,
        speaker: &Speaker,
        sequence: SequenceId,
        tokens: impl FnOnce() -> Vec<TokenId>,
    ) {
        self.update(speaker, |state| {
            let num_before = state.running.len();
            state.running.retain(|running| *running != sequence);
            if state.running.len() < num_before && state.latest == Some(sequence) {
                state.tokens = tokens();
            }
        });
    }

    /// The conversation has been read up to here, with nothing said since.
    pub(super) fn read(&self, speaker: &Speaker, tokens: Vec<TokenId>) {
        let mut owners = self.0.borrow_mut();
        let branches = owners.entry(speaker.owner).or_default();
        make_room(branches, speaker.branch.as_ref());
        let state = branches.entry(speaker.branch.clone()).or_default();
        state.context_tokens = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        state.tokens = tokens;
    }

    /// Notes whether the conversation's room is short. True when it has become so.
    pub(super) fn note_near_limit(&self, speaker: &Speaker, is_near: bool) -> bool {
        let mut became_near = false;
        self.update(speaker, |state| {
            became_near = is_near && !state.is_near_limit;
            state.is_near_limit = is_near;
        });
        became_near
    }

    pub(super) fn running(&self, speaker: &Speaker) -> Vec<SequenceId> {
        self.look(speaker, |state| state.running.clone())
    }

    /// Everything that runs for an owner, in all its branches.
    pub(super) fn running_of_owner(&self, owner: OwnerId) -> Vec<SequenceId> {
        let owners = self.0.borrow();
        let states = owners.get(&owner).into_iter().flat_map(BTreeMap::values);
        states.flat_map(|state| state.running.iter().copied()).collect()
    }

    pub(super) fn message(&self, speaker: &Speaker) -> String {
        self.look(speaker, |state| state.latest_text.clone())
    }

    pub(super) fn context_tokens(&self, speaker: &Speaker) -> u32 {
        self.look(speaker, |state| state.context_tokens)
    }

    pub(super) fn tokens(&self, speaker: &Speaker) -> Vec<TokenId> {
        self.look(speaker, |state| state.tokens.clone())
    }

    pub(super) fn stats_text(&self, speaker: &Speaker) -> String {
        let rates = self.look(speaker, |state| state.rates);
        // web-llm divides zero by zero while there is nothing to tell.
        let text = |rate: Option<f64>| rate.map_or_else(|| "NaN".to_owned(), |rate| format!("{rate:.4}"));
        format!(
            "prefill: {} tokens/sec, decoding: {} tokens/sec",
            text(rates.map(|rates| rates.prefill_tokens_per_s)),
            text(rates.map(|rates| rates.decode_tokens_per_s)),
        )
    }

    /// A new branch begins as another conversation is now. What runs there stays there.
    pub(super) fn fork(&self, from: &Speaker, branch: &str) {
        let state = self.look(from, |state| State { running: Vec::new(), latest: None, ..state.clone() });
        let mut owners = self.0.borrow_mut();
        let branches = owners.entry(from.owner).or_default();
        let name = Some(branch.to_owned());
        make_room(branches, name.as_ref());
        let running = branches.get(&name).map(|old| old.running.clone()).unwrap_or_default();
        branches.insert(name, State { running, ..state });
    }

    pub(super) fn reset(&self, speaker: &Speaker, keep_stats: bool) {
        self.update(speaker, |state| {
            state.context_tokens = 0;
            state.tokens.clear();
            state.is_near_limit = false;
            if !keep_stats {
                state.rates = None;
            }
        });
    }

    pub(super) fn close(&self, speaker: &Speaker) {
        if let Some(branches) = self.0.borrow_mut().get_mut(&speaker.owner) {
            branches.remove(&speaker.branch);
        }
    }

    pub(super) fn forget(&self, owner: OwnerId) {
        self.0.borrow_mut().remove(&owner);
    }

    fn look<T: Default>(&self, speaker: &Speaker, look: impl FnOnce(&State) -> T) -> T {
        let owners = self.0.borrow();
        owners
            .get(&speaker.owner)
            .and_then(|branches| branches.get(&speaker.branch))
            .map(look)
            .unwrap_or_default()
    }

    fn update(&self, speaker: &Speaker, update: impl FnOnce(&mut State)) {
        let mut owners = self.0.borrow_mut();
        if let Some(state) =
            owners.get_mut(&speaker.owner).and_then(|branches| branches.get_mut(&speaker.branch))
        {
            update(state);
        }
    }

    fn update_latest(&self, speaker: &Speaker, sequence: SequenceId, update: impl FnOnce(&mut State)) {
        self.update(speaker, |state| {
            if state.latest == Some(sequence) {
                update(state);
            }
        });
    }
}

/// A page may name as many branches as it likes; what is remembered of them is bounded.
fn make_room(branches: &mut Branches, newcomer: Option<&String>) {
    if branches.len() <= MAX_BRANCHES || branches.keys().any(|name| name.as_ref() == newcomer) {
        return;
    }
    let idle = branches.iter().filter(|(name, state)| name.is_some() && state.running.is_empty());
    let oldest = idle.min_by_key(|(_, state)| state.latest).map(|(name, _)| name.clone());
    if let Some(oldest) = oldest {
        branches.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates { prefill_tokens_per_s: 100.0, decode_tokens_per_s: 12.345_67 };

    fn a() -> Speaker {
        OwnerId(1).into()
    }

    fn b() -> Speaker {
        OwnerId(2).into()
    }

    fn branch(name: &str) -> Speaker {
        Speaker { branch: Some(name.into()), ..a() }
    }

    #[test]
    fn speakers_do_not_see_each_other() {
        let speakers = Speakers::default();
        for (number, speaker) in [a(), b(), branch("side")].iter().enumerate() {
            let sequence = SequenceId(number as u64);
            speakers.started(speaker, sequence, "");
            speakers.said(speaker, sequence, &format!("from {number}"), 7);
        }
        speakers.finished(&b(), SequenceId(1), RATES, 9);
        assert_eq!([a(), b(), branch("side")].map(|s| speakers.message(&s)), ["from 0", "from 1", "from 2"]);
        assert_eq!(speakers.running(&a()), [SequenceId(0)]);
        assert_eq!(speakers.running_of_owner(OwnerId(1)), [SequenceId(0), SequenceId(2)]);
        assert_eq!((speakers.context_tokens(&a()), speakers.context_tokens(&b())), (7, 9));
        speakers.close(&branch("side"));
        assert_eq!(
            (speakers.message(&branch("side")), speakers.message(&a())),
            (String::new(), "from 0".into())
        );
        speakers.forget(OwnerId(1));
        assert_eq!((speakers.message(&a()), speakers.running(&a())), (String::new(), vec![]));
        assert_eq!(speakers.message(&b()), "from 1");
    }

    #[test]
    fn the_message_is_that_of_the_latest_reply() {
        let speakers = Speakers::default();
        speakers.started(&a(), SequenceId(1), "");
        speakers.said(&a(), SequenceId(1), "old", 1);
        speakers.started(&a(), SequenceId(2), "resumed ");
        speakers.said(&a(), SequenceId(1), " tail", 2);
        speakers.said(&a(), SequenceId(2), "new", 3);
        speakers.ended(&a(), SequenceId(1), || vec![TokenId(1)]);
        assert_eq!(speakers.message(&a()), "resumed new");
        assert_eq!(speakers.running(&a()), [SequenceId(2)]);
        assert_eq!(speakers.tokens(&a()), []);
        speakers.ended(&a(), SequenceId(2), || vec![TokenId(2)]);
        assert_eq!((speakers.message(&a()), speakers.tokens(&a())), ("resumed new".into(), vec![TokenId(2)]));
    }

    #[test]
    fn a_branch_begins_as_what_it_was_forked_from_and_then_goes_its_own_way() {
        let speakers = Speakers::default();
        speakers.started(&a(), SequenceId(1), "said");
        speakers.read(&a(), vec![TokenId(5)]);
        speakers.fork(&a(), "side");
        speakers.said(&a(), SequenceId(1), " more", 2);
        let side = branch("side");
        assert_eq!((speakers.message(&side), speakers.tokens(&side)), ("said".into(), vec![TokenId(5)]));
        assert_eq!((speakers.context_tokens(&side), speakers.running(&side)), (1, vec![]));
        assert_eq!(speakers.message(&a()), "said more");
        speakers.fork(&branch("nobody"), "empty");
        assert_eq!(speakers.message(&branch("empty")), "");
    }

    #[test]
    fn however_many_branches_are_named_few_are_remembered_and_what_runs_always_is() {
        let speakers = Speakers::default();
        speakers.started(&a(), SequenceId(0), "own");
        speakers.started(&branch("running"), SequenceId(1), "kept");
        for number in 2..1000 {
            let side = branch(&number.to_string());
            speakers.started(&side, SequenceId(number), "x");
            speakers.ended(&side, SequenceId(number), Vec::new);
        }
        assert_eq!(speakers.0.borrow()[&OwnerId(1)].len(), MAX_BRANCHES + 1);
        assert_eq!(
            [a(), branch("running"), branch("999")].map(|s| speakers.message(&s)),
            ["own", "kept", "x"]
        );
        assert_eq!(speakers.message(&branch("2")), "");
    }

    #[test]
    fn short_room_is_news_once_until_there_is_room_again() {
        let speakers = Speakers::default();
        speakers.started(&a(), SequenceId(1), "");
        let news = [true, true, false, false, true].map(|near| speakers.note_near_limit(&a(), near));
        assert_eq!(news, [true, false, false, false, true]);
        speakers.reset(&a(), true);
        assert!(speakers.note_near_limit(&a(), true));
    }

    #[test]
    fn statistics_have_four_decimals_and_go_with_a_reset() {
        let speakers = Speakers::default();
        let unused = "prefill: NaN tokens/sec, decoding: NaN tokens/sec";
        assert_eq!(speakers.stats_text(&a()), unused);
        speakers.started(&a(), SequenceId(1), "");
        speakers.said(&a(), SequenceId(1), "text", 9);
        speakers.finished(&a(), SequenceId(1), RATES, 9);
        let used = "prefill: 100.0000 tokens/sec, decoding: 12.3457 tokens/sec";
        assert_eq!(speakers.stats_text(&a()), used);
        speakers.reset(&a(), true);
        assert_eq!((speakers.stats_text(&a()).as_str(), speakers.context_tokens(&a())), (used, 0));
        speakers.reset(&a(), false);
        assert_eq!((speakers.stats_text(&a()).as_str(), speakers.message(&a()).as_str()), (unused, "text"));
    }
}
