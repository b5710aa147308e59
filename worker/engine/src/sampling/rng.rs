//! The random numbers of one sequence: web-llm's generator, so that a seed gives the same draws here as there.
//!
//! Knows neither logits nor tokens. The whole state is one number, so it survives preemption by being kept.

/// The Mersenne prime `2^31 - 1`.
const MODULUS: u64 = 2_147_483_647;
/// web-llm's multiplier; the increment is 0.
const MULTIPLIER: u64 = 48_271;
/// The largest `f32` below 1: `(MODULUS - 1) / MODULUS` would round up to 1, which is outside the range of a draw.
const LARGEST_DRAW: f32 = 1.0 - f32::EPSILON / 2.0;

/// A linear congruential generator with modulus `2^31 - 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// Starts from a caller's seed, as web-llm does: `seed mod modulus`, and 1 in place of 0. Negative seeds take the
    /// mathematical remainder, so every seed gives a valid state.
    pub fn from_seed(seed: i64) -> Self {
        let state = seed.rem_euclid(MODULUS as i64) as u64;
        Self { state: state.max(1) }
    }

    /// Starts from entropy that the caller supplies and a number that differs for each sequence.
    pub fn from_entropy(entropy: u64, stream: u64) -> Self {
        // splitmix64's finaliser: neighbouring streams must not start with neighbouring states.
        let mut mixed = entropy ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        Self { state: 1 + mixed % (MODULUS - 1) }
    }

    /// Passes over draws that an earlier run of the same sequence has used up.
    pub fn skip(&mut self, num_draws: usize) {
        for _ in 0..num_draws {
            self.advance();
        }
    }

    /// The next number in `[0, 1)`. Exactly one is taken for every sampled token, whatever the temperature.
    pub fn next_draw(&mut self) -> f32 {
        self.advance();
        ((self.state as f64 / MODULUS as f64) as f32).min(LARGEST_DRAW)
    }

    fn advance(&mut self) {
        self.state = self.state * MULTIPLIER % MODULUS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(seed: i64) -> [f32; 3] {
        let mut rng = Rng::from_seed(seed);
        [rng.next_draw(), rng.next_draw(), rng.next_draw()]
    }

    #[test]
    fn seed_42_begins_with_web_llms_draws() {
        for (got, expected) in draws(42).into_iter().zip([0.000_944_073, 0.571_362_864, 0.256_809_423]) {
            assert!((f64::from(got) - expected).abs() < 1e-7, "got {got}, web-llm draws {expected}");
        }
    }

    #[test]
    fn zero_and_the_modulus_start_from_one() {
        assert_eq!(draws(0), draws(1));
        assert_eq!(draws(MODULUS as i64), draws(1));
    }

    #[test]
    fn negative_seeds_are_as_good_as_any() {
        assert_eq!(draws(-1), draws(MODULUS as i64 - 1));
        assert!(draws(i64::MIN).into_iter().all(|draw| draw > 0.0 && draw < 1.0));
    }

    #[test]
    fn a_draw_is_never_one() {
        // The state whose successor is modulus - 1, the largest there is.
        let mut rng = Rng { state: (MODULUS - 1) * modular_inverse(MULTIPLIER) % MODULUS };
        let draw = rng.next_draw();
        assert!(draw > 0.999_999 && draw < 1.0, "draw {draw}");
    }

    fn modular_inverse(value: u64) -> u64 {
        // Fermat: value^(modulus - 2).
        let (mut base, mut exponent, mut result) = (value, MODULUS - 2, 1);
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = result * base % MODULUS;
            }
            base = base * base % MODULUS;
            exponent >>= 1;
        }
        result
    }

    #[test]
    fn skipped_draws_are_those_that_would_have_come() {
        let (mut drawn, mut skipped) = (Rng::from_seed(42), Rng::from_seed(42));
        (0..5).for_each(|_| _ = drawn.next_draw());
        skipped.skip(5);
        assert_eq!(skipped, drawn);
    }

    #[test]
    fn entropy_streams_differ_and_repeat() {
        let first = Rng::from_entropy(7, 1).next_draw();
        assert_eq!(first, Rng::from_entropy(7, 1).next_draw());
        assert_ne!(first, Rng::from_entropy(7, 2).next_draw());
        assert_ne!(first, Rng::from_entropy(8, 1).next_draw());
    }
}
