//! What of a conversation a model reads: everything while it has room, and what the overflow policy keeps when it has not.
//!
//! Knows messages, the template and the tokenizer; who asks and what runs is the model's business. Keeps no state but
//! memories of work done: the same messages, options and room always make the same prompt.

mod conversation;
mod plan;
mod prompter;
mod room;
mod sizes;
mod slide;
mod summarize;
mod truncate;
mod units;

pub(super) use plan::{Asked, ContextPlan, Memories, Planner};
pub(super) use room::Room;
