//! How often a reply is begun again after its device was lost: as long as it gets anywhere in between. Runs natively in tests.

/// Attempts without a single new token.
const MAX_FRUITLESS: u32 = 3;

/// The attempts of one reply.
#[derive(Debug, Default)]
pub struct Retries {
    num_fruitless: u32,
    /// Tokens that the reply had at the last attempt.
    last_tokens: usize,
}

impl Retries {
    /// The reply has failed with so many tokens generated: whether it may be begun again.
    pub fn take(&mut self, num_tokens: usize) -> bool {
        if num_tokens > self.last_tokens {
            self.num_fruitless = 0;
        }
        self.last_tokens = num_tokens;
        self.num_fruitless += 1;
        self.num_fruitless <= MAX_FRUITLESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_attempts_without_a_token_are_enough() {
        let mut retries = Retries::default();
        let taken: Vec<bool> = (0..4).map(|_| retries.take(5)).collect();
        assert_eq!(taken, [true, true, true, false]);
    }

    #[test]
    fn a_reply_that_gets_on_may_fail_for_ever() {
        let mut retries = Retries::default();
        assert!((0..100).all(|num_tokens| retries.take(num_tokens)));
    }

    #[test]
    fn progress_starts_the_count_again() {
        let mut retries = Retries::default();
        assert!(retries.take(0) && retries.take(0) && retries.take(7) && retries.take(7) && retries.take(7));
        assert!(!retries.take(7));
    }
}
