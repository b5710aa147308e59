//! A million random things that tabs, browsers and devices do: after each of them every page is accounted for, and at the end
//! none is held.

mod common;

use common::{Harness, request, roomy_limits};
use futures::FutureExt;
use hearth_engine::engine::{ContextLimits, EngineError, OwnerBudget, SequenceRequest, WhenFull};
use hearth_engine::ids::{OwnerId, SequenceId, TokenId};
use hearth_engine::plan::StepLimits;
use hearth_engine::ports::Executor;

const NUM_OPERATIONS: u32 = 1_000_000;
const SEED: u64 = 20_261_124;
const WINDOW: u32 = 48;
const NUM_OWNERS: u64 = 6;

/// xorshift64*: the same numbers everywhere.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

fn limits() -> StepLimits {
    StepLimits {
        num_blocks: 8,
        max_blocks: 20,
        max_rows: 16,
        max_sequences: 3,
        max_samples: 3,
        num_sampler_slots: 4,
        ..roomy_limits()
    }
}

/// A sequence that has not ended.
struct Live {
    id: SequenceId,
    request: SequenceRequest,
}

struct Simulation {
    harness: Harness,
    numbers: Numbers,
    live: Vec<Live>,
    /// Pages that there are, and that the device has room for.
    num_pages: u32,
    room: u32,
    /// Pages that were saved, and the tokens that they are of.
    saved: (Vec<TokenId>, Vec<Vec<u8>>),
    num_sequences: u64,
    num_resumed: u64,
    num_imported: u64,
}

impl Simulation {
    fn new() -> Self {
        Self {
            harness: Harness::new(limits(), WINDOW),
            numbers: Numbers(SEED),
            live: Vec::new(),
            num_pages: limits().num_blocks,
            room: limits().max_blocks,
            saved: Default::default(),
            num_sequences: 0,
            num_resumed: 0,
            num_imported: 0,
        }
    }

    fn owner(&mut self) -> OwnerId {
        OwnerId(self.numbers.below(NUM_OWNERS))
    }

    /// The beginning of one of two texts, of which all conversations are: pages are shared.
    fn text(&mut self) -> impl Iterator<Item = u32> + use<> {
        let (text, len) = (self.numbers.below(2) as u32, 1 + self.numbers.below(30) as u32);
        (0..len).map(move |index| (index * 7 + text) % 32)
    }

    fn ask(&mut self) {
        let owner = self.owner();
        let tail = self.numbers.below(8) as u32;
        let prompt = self.text().chain([tail]);
        let max_tokens = 1 + self.numbers.below(40) as u32;
        let pinned_tokens = self.numbers.below(12) as u32;
        let context = match self.numbers.below(3) {
            0 => ContextLimits {
                max_tokens: 8 + self.numbers.below(40) as u32,
                when_full: WhenFull::Slide { pinned_tokens },
            },
            _ => ContextLimits::default(),
        };
        let prefill_only = self.numbers.below(8) == 0;
        let request = SequenceRequest { context, prefill_only, ..request(owner.0, prompt, max_tokens) };
        let id = self.harness.add(request.clone());
        self.num_sequences += 1;
        self.live.push(Live { id, request });
    }

    /// The worker is killed; another one begins, on a device with other room, and goes on with what was being said.
    fn kill(&mut self) {
        self.room = limits().num_blocks + self.numbers.below(13) as u32;
        let old = std::mem::replace(&mut self.harness, Harness::new(limits(), WINDOW));
        self.num_pages = limits().num_blocks;
        for live in &mut self.live {
            live.request.generated.extend(&old.outcomes[&live.id].tokens);
            live.id = self.harness.add(live.request.clone());
            self.num_resumed += 1;
        }
    }

    fn save(&mut self) {
        let tokens: Vec<_> = self.text().map(TokenId).collect();
        if self.harness.in_flight.is_empty() {
            let blocks = self.harness.engine.prefix_blocks(&tokens, 0);
            let read = self.harness.executor.read_blocks(&blocks).now_or_never();
            self.saved = (tokens, read.expect("a fake does not wait").expect("nor fail"));
        }
    }

    fn restore(&mut self) {
        let owner = self.owner();
        if self.harness.in_flight.is_empty() {
            let (tokens, pages) = &self.saved;
            let known = self.harness.engine.cached_tokens(tokens) / limits().block_size_tokens;
            let tokens = &tokens[..pages.len() * limits().block_size_tokens as usize];
            let blocks = self.harness.engine.adopt_blocks(owner, tokens, known);
            for (block, page) in blocks.iter().zip(pages.iter().skip(known as usize)) {
                self.harness.executor.write_block(*block, page).expect("of the right size");
                self.num_imported += 1;
            }
        }
    }

    fn step(&mut self, number: u32) {
        match self.numbers.below(100) {
            0..12 => self.ask(),
            12..15 => {
                if let Some(index) =
                    (!self.live.is_empty()).then(|| self.numbers.below(self.live.len() as u64))
                {
                    self.harness.cancel(self.live[index as usize].id);
                }
            }
            15 => {
                let owner = self.owner();
                self.harness.engine.remove_owner(owner, self.harness.now_ms);
                self.harness.settle();
            }
            16 => {
                let owner = self.owner();
                self.harness.engine.add_owner(owner);
            }
            17 => {
                let (owner, is_paused) = (self.owner(), self.numbers.below(2) == 0);
                self.harness.engine.pause_owner(owner, is_paused);
            }
            18 => {
                let owner = self.owner();
                self.harness.engine.evict_owner(owner);
            }
            19 => {
                let (owner, tokens) = (self.owner(), self.numbers.below(80) as u32);
                let budget = if tokens < 20 { OwnerBudget::Fair } else { OwnerBudget::Tokens(tokens) };
                self.harness.engine.set_owner_budget(owner, budget);
            }
            20 => {
                let (owner, weight) = (self.owner(), 1.0 + self.numbers.below(4) as f64);
                self.harness.engine.set_owner_weight(owner, weight);
            }
            21 => self.resize(false),
            22 => self.save(),
            23 => self.restore(),
            24 if number.is_multiple_of(5) => self.kill(),
            24 if number.is_multiple_of(17) => {
                // The device is lost: everybody is told, and a new life begins on what is left of the pool.
                self.harness.engine.fail_all(&EngineError::Stopped, self.harness.now_ms);
                self.harness.in_flight.clear();
                self.harness.settle();
            }
            24..60 => {
                self.resize(true);
                if self.harness.in_flight.len() < 2 {
                    self.harness.plan();
                }
            }
            _ => {
                self.harness.commit();
            }
        }
        let outcomes = &self.harness.outcomes;
        self.live.retain(|live| outcomes[&live.id].end.is_none());
        if self.live.is_empty() && self.harness.in_flight.is_empty() {
            self.harness.outcomes.clear();
        }
    }

    /// What the driver does between steps.
    fn resize(&mut self, grow: bool) {
        if !self.harness.in_flight.is_empty() {
            return;
        }
        let asked = match grow {
            true => self.harness.engine.wanted_blocks(),
            false => Some(self.harness.engine.min_blocks()),
        };
        if let Some(asked) = asked {
            let resized = self.harness.executor.resize(asked.min(self.room)).now_or_never();
            self.num_pages = resized.expect("a fake does not wait").expect("nor fail");
            self.harness.engine.set_num_blocks(self.num_pages, asked, self.harness.now_ms);
            self.harness.settle();
        }
    }

    fn check(&self, number: u32) {
        let broken = self.harness.engine.audit();
        assert!(broken.is_empty(), "seed {SEED}, operation {number}: {broken:?}");
        let faults = self.harness.executor.faults();
        assert!(faults.is_empty(), "seed {SEED}, operation {number}: {faults:?}");
    }
}

#[test]
fn a_million_operations_lose_no_page() {
    let mut simulation = Simulation::new();
    for number in 0..NUM_OPERATIONS {
        simulation.step(number);
        simulation.check(number);
    }
    for owner in 0..NUM_OWNERS {
        simulation.harness.engine.pause_owner(OwnerId(owner), false);
        simulation.harness.engine.set_owner_budget(OwnerId(owner), OwnerBudget::Fair);
    }
    simulation.harness.run();
    let usage = simulation.harness.engine.usage();
    assert_eq!((usage.running, usage.waiting, usage.pages.held), (0, 0, 0));
    assert_eq!(usage.pages.free + usage.pages.cached, simulation.num_pages);
    assert!(simulation.num_sequences > 50_000, "{} sequences ran", simulation.num_sequences);
    assert!(simulation.num_resumed > 1_000, "{} sequences went on after a kill", simulation.num_resumed);
    assert!(simulation.num_imported > 1_000, "{} pages were restored", simulation.num_imported);
    for owner in 0..NUM_OWNERS {
        simulation.harness.engine.remove_owner(OwnerId(owner), 0.0);
    }
    assert!(simulation.harness.engine.pages().iter().all(|page| page.owners.is_empty()));
}
