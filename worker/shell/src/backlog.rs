//! When a stream that nobody reads stops generating: its page may have forgotten it. Runs natively in tests.

/// Chunks that wait for a page that pulls them.
const MAX_WAITING_CHUNKS: usize = 512;
/// A page that reads at all reads more often than this.
const MAX_SILENCE_MS: f64 = 30_000.0;

/// True when a stream with so many waiting chunks, last asked for at `last_pull_ms`, generates for nobody.
pub fn is_abandoned(waiting_chunks: usize, last_pull_ms: f64, now_ms: f64) -> bool {
    waiting_chunks > MAX_WAITING_CHUNKS && now_ms - last_pull_ms > MAX_SILENCE_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_many_chunks_and_a_long_silence_together_count() {
        assert!(is_abandoned(513, 0.0, 30_001.0));
        assert!(!is_abandoned(512, 0.0, 90_000.0));
        assert!(!is_abandoned(5_000, 0.0, 30_000.0));
    }
}
