//! Contexts as pages see them: how much room each tab has, what was done to make room, and replies that go on elsewhere.

use serde::{Deserialize, Serialize};

use crate::completion::ContextReport;
use crate::config::OverflowPolicy;

/// Room of one conversation, in tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ContextUsage {
    /// Taken by the conversation: of the replies under way, otherwise of the last one.
    pub used: u32,
    /// The context window.
    pub window: u32,
    /// What the tab may hold of the pool.
    pub budget: u32,
    /// Kept free for the reply before the overflow policy acts.
    pub reserved: u32,
    /// Pages of the tab's replies under way; of a page that others hold too, its part.
    pub pages_held: f64,
    /// Of the pages that the tab holds or has cached, those that another tab has too.
    pub pages_shared: u32,
    /// Tokens that would be found in the cache if the tab asked again.
    pub cached_tokens: u32,
}

/// What a tab is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum TabState {
    /// A reply is being generated.
    Generating,
    /// A request waits for room.
    Waiting,
    /// The browser has frozen the tab; its replies wait until it comes back.
    Frozen,
    /// Nothing is asked.
    Idle,
}

/// One live tab and what it has of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
pub struct TabReport {
    /// Identity of the tab for as long as the page lives.
    pub id: String,
    /// Title of the page, where it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Whether this is the page that asks.
    pub own: bool,
    /// Whether the page has the focus.
    pub focused: bool,
    /// Whether the page can be seen.
    pub visible: bool,
    /// Whether a reply is being generated for it.
    pub generating: bool,
    /// What it is doing.
    pub state: TabState,
    /// Since its last request began or its last reply ended.
    pub idle_ms: f64,
    /// Tokens that it may hold.
    pub budget: u32,
    /// Its room; absent where it has no model loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<ContextUsage>,
    /// The models that it has loaded.
    pub models: Vec<String>,
}

/// State of one page of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum PageState {
    /// Empty.
    Free,
    /// Not in use, its content can still be found.
    Cached,
    /// In use by replies under way.
    Held,
}

/// One page of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct PageReport {
    /// Its state.
    pub state: PageState,
    /// [`TabReport::id`] of the tabs that have it.
    pub tabs: Vec<String>,
}

/// The whole pool of one model, page by page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct PoolReport {
    /// Which model.
    pub model_id: String,
    /// Tokens in a page.
    pub block_size_tokens: u32,
    /// Pages that the pool may grow to.
    pub pages_max: u32,
    /// Bytes of a page on the device, all layers.
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub page_bytes: u64,
    /// The pages that there are, by number.
    pub pages: Vec<PageReport>,
}

/// When room was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum OverflowPhase {
    /// Before the prompt was read.
    Prefill,
    /// While the reply was generated.
    Decode,
}

/// Why pages went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum EvictionReason {
    /// Another tab needed the room.
    Pressure,
    /// The tab has been silent for `idleEvictSeconds`.
    Idle,
    /// A reply gave way to an older one; it goes on when there is room.
    Preempted,
    /// The browser froze the tab.
    Frozen,
}

/// Where evicted context came back from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum RestoreSource {
    /// Computed again from its tokens.
    Recomputed,
    /// Read from IndexedDB.
    Store,
}

/// Something that was done to a tab's context. Numbers are tokens unless their names say otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum ContextEvent {
    /// A conversation outgrew its room and the policy acted.
    Overflow {
        /// What was done; never `auto`.
        policy: OverflowPolicy,
        /// When.
        phase: OverflowPhase,
        /// Messages left out in all.
        dropped_messages: u32,
        /// Tokens left out in all.
        dropped_tokens: u32,
        /// Tokens kept.
        kept_tokens: u32,
        /// The window.
        window: u32,
        /// The budget.
        budget: u32,
    },
    /// A conversation has reached the set fraction of its room.
    NearLimit {
        /// Taken.
        used: u32,
        /// The smaller of window and budget.
        limit: u32,
        /// `used / limit`.
        fraction: f64,
    },
    /// Pages of the tab have gone; its tokens are remembered.
    Evicted {
        /// How many pages.
        pages: u32,
        /// Tokens that they held.
        tokens: u32,
        /// Why.
        reason: EvictionReason,
    },
    /// What had gone is back.
    Restored {
        /// Tokens.
        tokens: u32,
        /// How.
        source: RestoreSource,
    },
    /// The tab may hold more or less than before.
    BudgetChanged {
        /// Now.
        budget: u32,
        /// Before.
        previous: u32,
        /// Live tabs that share the pool.
        tabs: u32,
    },
}

/// An event with whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct TabEvent {
    /// [`TabReport::id`].
    pub tab: String,
    /// The model.
    pub model_id: String,
    /// What was done.
    #[serde(flatten)]
    pub event: ContextEvent,
}

/// All that it takes to go on with a reply in another run of the worker, token for token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct ReplySnapshot {
    /// Of the reply's chunks.
    pub id: String,
    /// Of the reply's chunks, Unix time in seconds.
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub created: u64,
    /// Decides the draws: the request's, or one that was drawn.
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub seed: i64,
    /// Token ids of the prompt, after the overflow policy.
    pub prompt: Vec<u32>,
    /// Token ids generated so far.
    pub tokens: Vec<u32>,
    /// Tokens that the reply's context may have.
    pub context_tokens: u32,
    /// Where the context slides when it is full: tokens at the start that stay. Absent where the reply ends instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_tokens: Option<u32>,
    /// Tokens that may be generated in all, if that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_new_tokens: Option<u32>,
    /// What the overflow policy did before the reply began.
    pub report: ContextReport,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_one_flat_object() {
        let event = TabEvent {
            tab: "t".into(),
            model_id: "m".into(),
            event: ContextEvent::BudgetChanged { budget: 512, previous: 1024, tabs: 2 },
        };
        let json = json!({"tab": "t", "modelId": "m", "type": "budget-changed", "budget": 512, "previous": 1024, "tabs": 2});
        assert_eq!(serde_json::to_value(&event).unwrap(), json);
        assert_eq!(serde_json::from_value::<TabEvent>(json).unwrap(), event);
    }

    #[test]
    fn overflow_says_what_was_done_in_numbers() {
        let event = ContextEvent::Overflow {
            policy: OverflowPolicy::Truncate,
            phase: OverflowPhase::Prefill,
            dropped_messages: 4,
            dropped_tokens: 310,
            kept_tokens: 200,
            window: 512,
            budget: 2048,
        };
        assert_eq!(
            serde_json::to_value(&event).unwrap(),
            json!({"type": "overflow", "policy": "truncate", "phase": "prefill", "droppedMessages": 4,
                   "droppedTokens": 310, "keptTokens": 200, "window": 512, "budget": 2048})
        );
    }
}
