//! How full the context of one reply is while it is generated, and which of that is news. Knows numbers only.

use hearth_protocol::completion::ContextReport;
use hearth_protocol::config::OverflowPolicy;
use hearth_protocol::context::{ContextEvent, OverflowPhase, ReplySnapshot};

/// The context of one reply.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    /// Tokens that the context may have.
    limit: u32,
    near_limit_fraction: f64,
    prompt_tokens: u32,
    generated_tokens: u32,
    /// Tokens that have left a sliding context since the reply began.
    slid_tokens: u32,
    /// How many times the limit had left at the last slide that is news; none before the first slide.
    told_slides: Option<u32>,
    /// Tokens after which the last slide that is news is told; none when it has been.
    due_at: Option<u32>,
    block_size_tokens: u32,
    /// What was done before the reply began.
    begun: ContextReport,
}

impl Meter {
    /// A reply with the tokens of its snapshot: what those have caused is no news any more.
    pub(super) fn new(snapshot: &ReplySnapshot, block_size_tokens: u32, near_limit_fraction: f64) -> Self {
        let num = |tokens: &[u32]| u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        let mut meter = Self {
            limit: snapshot.context_tokens.max(1),
            near_limit_fraction,
            prompt_tokens: num(&snapshot.prompt),
            generated_tokens: num(&snapshot.tokens),
            slid_tokens: 0,
            told_slides: None,
            due_at: None,
            block_size_tokens,
            begun: snapshot.report.clone(),
        };
        if snapshot.pinned_tokens.is_some() {
            let excess = meter.total().saturating_sub(meter.whole_pages());
            meter.slide_to(excess.div_ceil(block_size_tokens).saturating_mul(block_size_tokens));
        }
        meter
    }

    /// Tokens that a context has when it slides for the first time.
    fn whole_pages(&self) -> u32 {
        (self.limit / self.block_size_tokens).max(1) * self.block_size_tokens
    }

    fn total(&self) -> u32 {
        self.prompt_tokens.saturating_add(self.generated_tokens)
    }

    /// Tokens of the context that are taken.
    pub(super) fn used(&self) -> u32 {
        // The last token of a full context is sampled and never fed back.
        self.total().saturating_sub(self.slid_tokens).min(self.limit)
    }

    /// Room is short; it was so before a context slides, and that makes little room.
    pub(super) fn is_near_limit(&self) -> bool {
        self.slid_tokens > 0 || f64::from(self.used()) >= self.near_limit_fraction * f64::from(self.limit)
    }

    pub(super) fn near_limit(&self) -> ContextEvent {
        let used = self.used();
        let fraction = f64::from(used) / f64::from(self.limit);
        ContextEvent::NearLimit { used, limit: self.limit, fraction }
    }

    /// Takes the number of tokens generated so far.
    pub(super) fn generated(&mut self, num_tokens: u32) {
        self.generated_tokens = num_tokens;
    }

    /// Takes the number of tokens that have left the context so far. News at the first, then once for each whole context.
    pub(super) fn slid(&mut self, dropped_tokens: u32) {
        let told = self.told_slides;
        self.slide_to(dropped_tokens);
        if self.told_slides != told {
            let before = dropped_tokens.saturating_sub(self.block_size_tokens);
            self.due_at = Some(before.saturating_add(self.whole_pages()));
        }
    }

    /// What is to be told of slides. The engine runs ahead of the text; a slide is told with the token that it makes room for, so
    /// that a reply that goes on from that token elsewhere knows what has been told.
    pub(super) fn due_slide(&mut self) -> Option<ContextEvent> {
        let total = self.total();
        self.due_at.take_if(|due_at| total > *due_at)?;
        Some(self.slide())
    }

    /// What is to be told of slides when the reply ends.
    pub(super) fn last_slide(&mut self) -> Option<ContextEvent> {
        self.due_at.take()?;
        Some(self.slide())
    }

    fn slide(&self) -> ContextEvent {
        let report = self.report();
        ContextEvent::Overflow {
            policy: OverflowPolicy::Sliding,
            phase: OverflowPhase::Decode,
            dropped_messages: report.dropped_messages.unwrap_or(0),
            dropped_tokens: report.dropped_tokens.unwrap_or(0),
            kept_tokens: report.used,
            window: report.window,
            budget: report.budget.unwrap_or(report.window),
        }
    }

    fn slide_to(&mut self, dropped_tokens: u32) {
        self.slid_tokens = dropped_tokens;
        if dropped_tokens > 0 {
            self.told_slides = self.told_slides.max(Some(dropped_tokens / self.limit));
        }
    }

    /// The room now, and all that was left out.
    pub(super) fn report(&self) -> ContextReport {
        let mut report = ContextReport { used: self.used(), ..self.begun.clone() };
        if self.slid_tokens > 0 {
            report.policy = report.policy.or(Some(OverflowPolicy::Sliding));
            report.dropped_messages = report.dropped_messages.or(Some(0));
            report.dropped_tokens = Some(report.dropped_tokens.unwrap_or(0).saturating_add(self.slid_tokens));
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(num_prompt: usize, num_tokens: usize) -> ReplySnapshot {
        ReplySnapshot {
            id: String::new(),
            created: 0,
            seed: 0,
            prompt: vec![0; num_prompt],
            tokens: vec![0; num_tokens],
            context_tokens: 100,
            pinned_tokens: Some(16),
            max_new_tokens: None,
            report: ContextReport { window: 100, used: 50, budget: Some(200), ..ContextReport::default() },
        }
    }

    fn meter(num_prompt: usize, num_tokens: usize) -> Meter {
        Meter::new(&snapshot(num_prompt, num_tokens), 16, 0.9)
    }

    #[test]
    fn room_gets_short_at_the_set_fraction() {
        let mut meter = meter(50, 0);
        meter.generated(39);
        assert!(!meter.is_near_limit());
        meter.generated(40);
        assert!(meter.is_near_limit());
        assert_eq!(meter.near_limit(), ContextEvent::NearLimit { used: 90, limit: 100, fraction: 0.9 });
        meter.generated(51);
        assert_eq!(meter.used(), 100);
    }

    #[test]
    fn slides_are_told_at_the_first_and_then_once_for_each_context_dropped() {
        let mut meter = meter(50, 0);
        let mut told = Vec::new();
        for dropped in (16..=320).step_by(16) {
            meter.generated(dropped + 40);
            meter.slid(dropped);
            if let Some(ContextEvent::Overflow { dropped_tokens, kept_tokens, policy, phase, .. }) =
                meter.due_slide()
            {
                assert_eq!((policy, phase), (OverflowPolicy::Sliding, OverflowPhase::Decode));
                told.push((dropped_tokens, kept_tokens));
            }
        }
        assert_eq!(told, [(16, 90), (112, 90), (208, 90), (304, 90)]);
        let report = meter.report();
        assert_eq!((report.policy, report.dropped_tokens), (Some(OverflowPolicy::Sliding), Some(320)));
        assert_eq!((report.dropped_messages, report.used), (Some(0), 90));
    }

    #[test]
    fn a_slide_is_told_with_the_token_that_it_makes_room_for() {
        let mut running = meter(50, 0);
        running.slid(16);
        for num_tokens in 43..=46 {
            running.generated(num_tokens);
            assert_eq!(running.due_slide(), None, "{num_tokens}");
            assert_eq!(meter(50, num_tokens as usize).report().dropped_tokens, None);
        }
        running.generated(47);
        assert!(running.due_slide().is_some() && running.due_slide().is_none());
        assert_eq!(meter(50, 47).report().dropped_tokens, Some(16));
        running.slid(112);
        assert!(running.due_slide().is_none());
        assert!(running.last_slide().is_some() && running.last_slide().is_none());
    }

    #[test]
    fn what_was_left_out_before_and_while_generating_adds_up() {
        let mut before = snapshot(50, 0);
        before.report.policy = Some(OverflowPolicy::Truncate);
        before.report.dropped_messages = Some(4);
        before.report.dropped_tokens = Some(300);
        let mut meter = Meter::new(&before, 16, 0.9);
        assert_eq!(meter.report().dropped_tokens, Some(300));
        meter.slid(32);
        let report = meter.report();
        assert_eq!((report.policy, report.dropped_messages), (Some(OverflowPolicy::Truncate), Some(4)));
        assert_eq!(report.dropped_tokens, Some(332));
    }

    #[test]
    fn what_an_earlier_run_told_is_not_told_again() {
        // 96 tokens are in pages: of 130, 48 have left.
        let mut resumed = meter(50, 80);
        assert_eq!((resumed.used(), resumed.report().dropped_tokens), (82, Some(48)));
        resumed.slid(64);
        assert_eq!(resumed.last_slide(), None);
        resumed.slid(112);
        assert!(resumed.last_slide().is_some());
        assert_eq!(meter(50, 40).report().dropped_tokens, None);
    }
}
