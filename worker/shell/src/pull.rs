//! web-llm's pull streams: the page asks for each chunk. Generation begins at the first pull and then runs on by itself;
//! what has come between two pulls is given as one chunk.

use std::cell::RefCell;
use std::collections::VecDeque;

use hearth_protocol::WireError;
use hearth_protocol::chat::ChatCompletionRequest;
use hearth_protocol::completion::ChatCompletionChunk;

use crate::client::LoadedRecord;
use crate::store::Arrivals;

type Item = Result<ChatCompletionChunk, WireError>;

/// A request that has been checked and not begun.
pub struct Unbegun {
    /// The model that is to answer.
    pub loaded: LoadedRecord,
    /// What is asked.
    pub request: ChatCompletionRequest,
}

enum State {
    Ready(Box<Unbegun>),
    Running(Option<Box<dyn FnOnce()>>),
    Ended,
}

/// One stream.
pub struct PullStream {
    state: RefCell<State>,
    items: RefCell<VecDeque<Item>>,
    arrivals: Arrivals,
}

impl PullStream {
    /// A stream that begins when it is first pulled.
    pub fn new(unbegun: Unbegun) -> Self {
        Self {
            state: RefCell::new(State::Ready(Box::new(unbegun))),
            items: RefCell::default(),
            arrivals: Arrivals::default(),
        }
    }

    /// At the first pull, what is to be begun; whoever gets it must [`Self::end`] the stream.
    pub fn take_unbegun(&self) -> Option<Unbegun> {
        let mut state = self.state.borrow_mut();
        match std::mem::replace(&mut *state, State::Running(None)) {
            State::Ready(unbegun) => Some(*unbegun),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Says how the generation is cancelled. It is at once if the page has closed the stream meanwhile.
    pub fn on_close(&self, cancel: impl FnOnce() + 'static) {
        let mut state = self.state.borrow_mut();
        match &mut *state {
            State::Running(slot) => *slot = Some(Box::new(cancel)),
            State::Ready(_) | State::Ended => {
                drop(state);
                cancel();
            }
        }
    }

    /// The page does not want the rest.
    pub fn close(&self) {
        let state = self.state.replace(State::Ended);
        self.items.borrow_mut().clear();
        self.arrivals.announce();
        if let State::Running(Some(cancel)) = state {
            cancel();
        }
    }

    /// Something was generated. After [`Self::close`] nobody is there to hear of it.
    pub fn push(&self, item: Item) {
        if !matches!(*self.state.borrow(), State::Ended) {
            self.items.borrow_mut().push_back(item);
            self.arrivals.announce();
        }
    }

    /// Nothing more will come.
    pub fn end(&self) {
        *self.state.borrow_mut() = State::Ended;
        self.arrivals.announce();
    }

    /// All that has come since the last time, as one chunk; waits while there is nothing. `None` at the end.
    pub async fn next(&self) -> Option<Item> {
        loop {
            let arrival = self.arrivals.next();
            if let Some(item) = take_merged(&mut self.items.borrow_mut()) {
                return Some(item);
            }
            if matches!(*self.state.borrow(), State::Ended) {
                return None;
            }
            let _ = arrival.await;
        }
    }
}

/// Takes the first item and what can be said in the same chunk: text upon text, with its log probabilities. The chunk with
/// the finish reason and the one with the usage stay by themselves, as web-llm sends them.
fn take_merged(items: &mut VecDeque<Item>) -> Option<Item> {
    let mut first = match items.pop_front()? {
        Ok(chunk) => chunk,
        Err(error) => return Some(Err(error)),
    };
    while let Some(Ok(next)) = items.front() {
        if !append(&mut first, next) {
            break;
        }
        items.pop_front();
    }
    Some(Ok(first))
}

/// Appends `next`'s text to `chunk`; false, and nothing done, when either is more than text.
fn append(chunk: &mut ChatCompletionChunk, next: &ChatCompletionChunk) -> bool {
    let ([into], [from]) = (chunk.choices.as_mut_slice(), next.choices.as_slice()) else { return false };
    let is_text = into.index == from.index && into.finish_reason.is_none() && from.finish_reason.is_none();
    if !is_text || chunk.usage.is_some() || next.usage.is_some() {
        return false;
    }
    let (Some(text), Some(more)) = (&mut into.delta.content, &from.delta.content) else { return false };
    text.push_str(more);
    match (&mut into.logprobs, &from.logprobs) {
        (Some(Some(into)), Some(Some(from))) => into.content.extend(from.content.iter().cloned()),
        (into @ (None | Some(None)), from @ Some(Some(_))) => into.clone_from(from),
        (_, None | Some(None)) => {}
    }
    true
}
