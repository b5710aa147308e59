//! How many rows a step may have, from how long steps have taken.
//!
//! The same rule serves an adapter that does 15 rows a second and one that does 40,000: a step is as large as fits the
//! target time, in whole granules of the kernels' tile, and never smaller than one granule.

/// How much of the past is kept at each observation: large steps weigh by their size, old ones fade in a few steps.
const KEEP: f64 = 0.7;
/// A single step may not claim to be slower than this many times the estimate: a sleeping laptop is not a slow GPU.
const MAX_SLOWDOWN: f64 = 4.0;

/// Chooses the number of rows of each step.
#[derive(Debug, Clone)]
pub(crate) struct RowBudget {
    max_rows: u32,
    granule_rows: u32,
    /// Wanted length of a step while somebody is waiting for the next token.
    decode_target_ms: f64,
    /// Wanted length of a step that only reads prompts.
    prefill_target_ms: f64,
    /// Fading sums of measured times and of the granules they were measured on.
    sum_ms: f64,
    sum_granules: f64,
}

impl RowBudget {
    pub(crate) fn new(
        max_rows: u32,
        granule_rows: u32,
        decode_target_ms: f64,
        prefill_target_ms: f64,
    ) -> Self {
        Self { max_rows, granule_rows, decode_target_ms, prefill_target_ms, sum_ms: 0.0, sum_granules: 0.0 }
    }

    /// Takes the time that a step took on the executor.
    pub(crate) fn observe(&mut self, num_rows: u32, elapsed_ms: f64) {
        let granules = f64::from(num_rows.div_ceil(self.granule_rows));
        if granules == 0.0 || !elapsed_ms.is_finite() {
            return;
        }
        let mut ms = elapsed_ms.max(0.0);
        if let Some(estimate) = self.ms_per_granule() {
            // Below a millisecond clocks are too coarse to compare with.
            ms = ms.min((estimate * granules).max(1.0) * MAX_SLOWDOWN);
        }
        self.sum_ms = self.sum_ms * KEEP + ms;
        self.sum_granules = self.sum_granules * KEEP + granules;
    }

    /// The estimate: milliseconds for one granule of rows.
    pub(crate) fn ms_per_granule(&self) -> Option<f64> {
        (self.sum_granules > 0.0).then(|| self.sum_ms / self.sum_granules)
    }

    /// Rows that the step may have in all, of which `num_decode_rows` are taken already. There is always room for at
    /// least one more where the executor's limit allows, so that prompts advance whatever is being decoded.
    pub(crate) fn num_rows(&self, num_decode_rows: u32) -> u32 {
        let target_ms = if num_decode_rows > 0 { self.decode_target_ms } else { self.prefill_target_ms };
        let affordable = match self.ms_per_granule() {
            // Nothing is known yet: the first step is the measurement.
            None => 1,
            Some(ms) if ms > 0.0 => (target_ms / ms).min(f64::from(self.max_rows)) as u32,
            Some(_) => self.max_rows,
        };
        // The granule that the next row would be in is never refused.
        let granules = affordable.max(num_decode_rows / self.granule_rows + 1);
        granules.saturating_mul(self.granule_rows).min(self.max_rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> RowBudget {
        RowBudget::new(512, 8, 250.0, 1000.0)
    }

    /// Lets steps of the size that the budget wants run on an adapter of a given speed.
    fn settle(budget: &mut RowBudget, num_decode_rows: u32, step_ms: impl Fn(u32) -> f64) -> u32 {
        for _ in 0..30 {
            let rows = budget.num_rows(num_decode_rows);
            budget.observe(rows, step_ms(rows));
        }
        budget.num_rows(num_decode_rows)
    }

    #[test]
    fn the_first_step_is_one_granule() {
        assert_eq!(budget().num_rows(0), 8);
        assert_eq!(budget().num_rows(3), 8);
    }

    #[test]
    fn a_slow_adapter_gets_granules_within_the_target() {
        let slow = |rows: u32| f64::from(rows) * 1000.0 / 15.0;
        assert_eq!(settle(&mut budget(), 1, slow), 8, "one granule takes longer than the target already");
        assert_eq!(settle(&mut budget(), 0, slow), 8);
        let twice = |rows: u32| f64::from(rows) * 1000.0 / 40.0;
        assert_eq!(settle(&mut budget(), 1, twice), 8);
        assert_eq!(settle(&mut budget(), 0, twice), 40);
    }

    #[test]
    fn a_gpu_gets_the_largest_step() {
        assert_eq!(settle(&mut budget(), 1, |rows| 4.0 + f64::from(rows) / 40.0), 512);
    }

    #[test]
    fn no_step_on_the_way_is_far_beyond_the_target() {
        let mut budget = budget();
        for _ in 0..30 {
            let rows = budget.num_rows(1);
            let ms = 20.0 + f64::from(rows) * 2.0;
            assert!(ms < 300.0, "{rows} rows took {ms} ms");
            budget.observe(rows, ms);
        }
    }

    #[test]
    fn a_prompt_advances_even_when_decoding_fills_whole_granules() {
        let mut budget = budget();
        settle(&mut budget, 8, |rows| f64::from(rows) * 100.0);
        assert_eq!(budget.num_rows(8), 16);
        assert_eq!(budget.num_rows(7), 8);
    }

    #[test]
    fn a_pause_of_the_machine_is_forgotten_in_a_few_steps() {
        let mut budget = budget();
        settle(&mut budget, 1, |rows| 4.0 + f64::from(rows) / 40.0);
        budget.observe(8, 60_000.0);
        for _ in 0..6 {
            budget.observe(8, 4.2);
        }
        assert!(budget.num_rows(1) >= 256, "{} rows", budget.num_rows(1));
    }

    #[test]
    fn a_clock_that_stands_still_or_jumps_back_does_no_harm() {
        let mut budget = budget();
        budget.observe(8, 0.0);
        budget.observe(8, -5.0);
        budget.observe(8, f64::NAN);
        assert_eq!(budget.num_rows(1), 512);
    }
}
