//! Whether reading pages back is sooner done than computing them again, by what both have taken so far.

/// Until a page has been written or read, those of models are kept that take longer than this to read a token of a prompt.
const SLOW_PREFILL_MS_PER_TOKEN: f64 = 2.0;
/// Prompts shorter than this are dominated by what is not reading.
const MIN_MEASURED_TOKENS: u32 = 32;
/// How much the newest measurement counts: disks and browsers have moods.
const NEWEST_WEIGHT: f64 = 0.3;

/// What the store has taken so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Payoff {
    read_ms_per_byte: Option<f64>,
    write_ms_per_byte: Option<f64>,
}

/// A page as far as its worth goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PageWorth {
    /// Its size in the store.
    pub bytes: u64,
    /// Its tokens.
    pub tokens: u32,
    /// What the model takes to read one token of a prompt; unknown before its first step.
    pub prefill_ms_per_token: Option<f64>,
}

impl Payoff {
    /// Reading took so long, from the request to the checked bytes.
    pub fn has_read(&mut self, bytes: u64, elapsed_ms: f64) {
        self.read_ms_per_byte = blend(self.read_ms_per_byte, bytes, elapsed_ms);
    }

    /// Writing took so long.
    pub fn has_written(&mut self, bytes: u64, elapsed_ms: f64) {
        self.write_ms_per_byte = blend(self.write_ms_per_byte, bytes, elapsed_ms);
    }

    /// Whether a page is worth writing.
    pub fn is_writing_worth(&self, page: PageWorth) -> bool {
        page.prefill_ms_per_token.is_some_and(|prefill_ms| self.is_reading_sooner(page, prefill_ms))
    }

    /// Whether a page that is stored is worth reading. A model that has not run yet has only pages that an earlier run
    /// found worth writing.
    pub fn is_reading_worth(&self, page: PageWorth) -> bool {
        page.prefill_ms_per_token.is_none_or(|prefill_ms| self.is_reading_sooner(page, prefill_ms))
    }

    fn is_reading_sooner(&self, page: PageWorth, prefill_ms_per_token: f64) -> bool {
        // Writing is no faster than reading: a cautious guess until something has been read.
        match self.read_ms_per_byte.or(self.write_ms_per_byte) {
            None => prefill_ms_per_token > SLOW_PREFILL_MS_PER_TOKEN,
            Some(ms_per_byte) => {
                ms_per_byte * (page.bytes as f64) < prefill_ms_per_token * f64::from(page.tokens)
            }
        }
    }
}

/// How fast a model reads prompts, as its tabs have it: with all that goes on besides.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ReadingSpeed {
    ms_per_token: Option<f64>,
}

impl ReadingSpeed {
    /// So many tokens that were not in the cache took so long, up to the first token of the reply.
    pub fn has_read(&mut self, num_tokens: u32, elapsed_ms: f64) {
        if num_tokens >= MIN_MEASURED_TOKENS {
            self.ms_per_token = blend(self.ms_per_token, u64::from(num_tokens), elapsed_ms);
        }
    }

    /// Milliseconds for a token; none before a prompt of some length has been read.
    pub fn ms_per_token(&self) -> Option<f64> {
        self.ms_per_token
    }
}

fn blend(known: Option<f64>, amount: u64, elapsed_ms: f64) -> Option<f64> {
    let measured = elapsed_ms / amount as f64;
    if amount == 0 || !measured.is_finite() || measured < 0.0 {
        return known;
    }
    Some(match known {
        None => measured,
        Some(known) => known + (measured - known) * NEWEST_WEIGHT,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;

    fn page(prefill_ms_per_token: Option<f64>) -> PageWorth {
        PageWorth { bytes: 360 * KIB, tokens: 16, prefill_ms_per_token }
    }

    #[test]
    fn unmeasured_only_slow_models_are_kept() {
        let payoff = Payoff::default();
        assert!(payoff.is_writing_worth(page(Some(2.1))));
        assert!(!payoff.is_writing_worth(page(Some(1.9))));
        assert!(!payoff.is_writing_worth(page(None)));
        assert!(payoff.is_reading_worth(page(None)));
    }

    #[test]
    fn what_was_measured_decides() {
        let mut payoff = Payoff::default();
        // 10 ms a page: as long as 16 tokens at 0.625 ms.
        payoff.has_read(360 * KIB, 10.0);
        assert!(payoff.is_reading_worth(page(Some(0.7))));
        assert!(!payoff.is_reading_worth(page(Some(0.6))));
        assert!(!payoff.is_writing_worth(page(Some(0.6))));
    }

    #[test]
    fn writes_stand_in_for_reads_until_there_are_any() {
        let mut payoff = Payoff::default();
        payoff.has_written(360 * KIB, 32.0);
        assert!(!payoff.is_writing_worth(page(Some(1.9))));
        payoff.has_read(360 * KIB, 10.0);
        assert!(payoff.is_writing_worth(page(Some(1.9))));
    }

    #[test]
    fn short_prompts_say_nothing_about_speed() {
        let mut speed = ReadingSpeed::default();
        speed.has_read(31, 1_000.0);
        assert_eq!(speed.ms_per_token(), None);
        speed.has_read(100, 6_000.0);
        assert_eq!(speed.ms_per_token(), Some(60.0));
        speed.has_read(100, 5_000.0);
        assert!(speed.ms_per_token().is_some_and(|ms| ms > 50.0 && ms < 60.0));
    }

    #[test]
    fn measurements_follow_the_machine_and_nonsense_is_ignored() {
        let mut payoff = Payoff::default();
        payoff.has_read(0, 5.0);
        payoff.has_read(100, f64::NAN);
        payoff.has_read(100, -1.0);
        assert_eq!(payoff, Payoff::default());
        payoff.has_read(100, 100.0);
        for _ in 0..20 {
            payoff.has_read(100, 10.0);
        }
        let ms_per_byte = payoff.read_ms_per_byte.unwrap_or(f64::NAN);
        assert!((ms_per_byte - 0.1).abs() < 0.01, "{ms_per_byte}");
    }
}
