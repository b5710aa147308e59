//! web-llm's pull streams: the page asks for each chunk. Generation begins at the first pull and then runs on by itself;
//! what has come between two pulls is given as one chunk.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use hearth_protocol::WireError;
use hearth_protocol::completion::ChatCompletionChunk;

use crate::running::Ask;
use crate::store::Arrivals;

type Item = Result<ChatCompletionChunk, WireError>;

enum State {
    /// To be begun, or to be gone on with.
    Ready(Box<Ask>),
    /// With the way to cancel it.
    Running(Option<Box<dyn FnOnce()>>),
    Ended,
}

/// One stream.
pub struct PullStream {
    state: RefCell<State>,
    items: RefCell<VecDeque<Item>>,
    arrivals: Arrivals,
    last_pull_ms: Cell<f64>,
}

impl PullStream {
    /// A stream that begins when it is first pulled.
    pub fn new(ask: Ask) -> Self {
        Self {
            state: RefCell::new(State::Ready(Box::new(ask))),
            items: RefCell::default(),
            arrivals: Arrivals::default(),
            last_pull_ms: Cell::new(f64::NEG_INFINITY),
        }
    }

    /// The page reads.
    pub fn is_pulled(&self, now_ms: f64) {
        self.last_pull_ms.set(now_ms);
    }

    /// When the page has read last.
    pub fn last_pull_ms(&self) -> f64 {
        self.last_pull_ms.get()
    }

    /// Chunks that nobody has read.
    pub fn num_waiting(&self) -> usize {
        self.items.borrow().len()
    }

    /// At the first pull, and at the next one after [`Self::put_aside`], what is to be generated; whoever gets it must
    /// [`Self::end`] the stream or put it aside.
    pub fn take_ask(&self) -> Option<Ask> {
        let mut state = self.state.borrow_mut();
        match std::mem::replace(&mut *state, State::Running(None)) {
            State::Ready(ask) => Some(*ask),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Nobody reads: what is left to generate waits for the next pull.
    pub fn put_aside(&self, ask: Ask) {
        let mut state = self.state.borrow_mut();
        if matches!(*state, State::Running(_)) {
            *state = State::Ready(Box::new(ask));
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
