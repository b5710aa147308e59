//! Samples, their medians with spread, and the table for people.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::terminal::human_bytes;

/// Everything measured in one place. Lists hold one sample for each run; what a place cannot tell is absent.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Samples {
    /// The device.
    pub adapter: String,
    /// From opening the model to ready, in milliseconds; in the browser: with nothing stored.
    pub load_ms: Vec<f64>,
    /// The same with the weights in IndexedDB.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cached_load_ms: Vec<f64>,
    /// Reading prompts.
    pub prefill: Vec<Prefill>,
    /// Generating.
    pub decode: Vec<Decode>,
    /// Kernels in a step of one sequence.
    pub dispatches_per_step: Option<f64>,
    /// Bytes uploaded for a step of one sequence.
    pub bytes_uploaded_per_step: Option<f64>,
    /// Size of the wasm's linear memory after the runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wasm_memory_bytes: Option<u64>,
    /// Buffers on the device: weights, cache, activations.
    pub gpu_memory_bytes: Option<u64>,
}

/// Reading prompts of one length.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Prefill {
    /// Length of the prompt.
    pub tokens: u32,
    /// Rate of each run.
    pub tokens_per_s: Vec<f64>,
}

/// Generating with a number of sequences at once.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Decode {
    /// How many.
    pub sequences: u32,
    /// Rate of all of them together, each run.
    pub tokens_per_s: Vec<f64>,
}

/// A benchmark with what makes it a number: where, what and when.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Commit, with a mark where the tree was changed.
    pub commit: String,
    /// Processors and system.
    pub machine: String,
    /// The model's file.
    pub model: String,
    /// How the native program was compiled.
    pub native_profile: &'static str,
    /// Runs of each measurement.
    pub runs: u32,
    /// The wasm file as shipped.
    pub wasm_bytes: Option<u64>,
    /// The same after gzip.
    pub wasm_gzip_bytes: Option<u64>,
    /// On this machine's own driver.
    pub native: Samples,
    /// In Chromium.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub browser: Option<Samples>,
}

impl Report {
    /// The table.
    pub fn table(&self) -> String {
        let mut text =
            format!("commit   {}\nmachine  {}\nmodel    {}\n", self.commit, self.machine, self.model);
        let places: Vec<(&str, &Samples)> =
            [("native", Some(&self.native)), ("Chromium", self.browser.as_ref())]
                .into_iter()
                .filter_map(|(name, samples)| samples.map(|samples| (name, samples)))
                .collect();
        for (name, samples) in &places {
            let _ = writeln!(text, "{name:<8} {}", samples.adapter);
        }
        let _ = writeln!(text, "median of {} runs (smallest - largest)\n", self.runs);
        let mut line = |label: &str, value: &dyn Fn(&Samples) -> String| {
            let _ = write!(text, "{label:<24}");
            for (_, samples) in &places {
                let _ = write!(text, "{:<34}", value(samples));
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        };
        line("", &|samples| {
            places
                .iter()
                .find(|(_, other)| std::ptr::eq(*other, samples))
                .map_or("", |(name, _)| name)
                .to_owned()
        });
        line("load", &|samples| spread(&samples.load_ms, "ms", 0));
        line("load, weights stored", &|samples| spread(&samples.cached_load_ms, "ms", 0));
        for tokens in super::PROMPT_LENGTHS {
            let find = |samples: &Samples| {
                samples.prefill.iter().find(|row| row.tokens == tokens).map(|row| row.tokens_per_s.clone())
            };
            line(&format!("prefill {tokens}"), &|samples| {
                spread(&find(samples).unwrap_or_default(), "tok/s", 1)
            });
        }
        for count in super::SEQUENCE_COUNTS {
            let find = |samples: &Samples| {
                samples.decode.iter().find(|row| row.sequences == count).map(|row| row.tokens_per_s.clone())
            };
            line(&format!("decode, {count} at once"), &|samples| {
                spread(&find(samples).unwrap_or_default(), "tok/s", 2)
            });
        }
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"));
        let bytes = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), human_bytes);
        line("dispatches a step", &|samples| number(samples.dispatches_per_step));
        line("bytes uploaded a step", &|samples| number(samples.bytes_uploaded_per_step));
        line("GPU memory", &|samples| bytes(samples.gpu_memory_bytes));
        line("wasm memory", &|samples| bytes(samples.wasm_memory_bytes));
        if let (Some(raw), Some(gzip)) = (self.wasm_bytes, self.wasm_gzip_bytes) {
            let _ = writeln!(text, "{:<24}{} ({} gzip)", "wasm file", human_bytes(raw), human_bytes(gzip));
        }
        text
    }
}

/// Median with the smallest and the largest, or a dash.
fn spread(samples: &[f64], unit: &str, digits: usize) -> String {
    let Some(median) = median(samples) else { return "-".to_owned() };
    let smallest = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{median:.digits$} {unit} ({smallest:.digits$} - {largest:.digits$})")
}

/// The middle one; of an even number, the mean of the two.
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_ignore_order_and_outliers() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 100.0, 1.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(spread(&[2.0, 1.0, 4.0], "ms", 1), "2.0 ms (1.0 - 4.0)");
        assert_eq!(spread(&[], "ms", 1), "-");
    }

    #[test]
    fn the_table_shows_both_places_and_dashes_for_what_is_unknown() {
        let samples = |adapter: &str, rate: f64| Samples {
            adapter: adapter.to_owned(),
            load_ms: vec![100.0],
            decode: vec![Decode { sequences: 8, tokens_per_s: vec![rate] }],
            ..Samples::default()
        };
        let report = Report {
            commit: "abc".to_owned(),
            machine: "2 processors".to_owned(),
            model: "m.gguf".to_owned(),
            native_profile: "dev",
            runs: 1,
            wasm_bytes: Some(3_000_000),
            wasm_gzip_bytes: Some(1_000_000),
            native: samples("first", 11.5),
            browser: Some(samples("second", 22.5)),
        };
        let table = report.table();
        let row = table.lines().find(|line| line.starts_with("decode, 8 at once")).unwrap();
        assert!(row.contains("11.50 tok/s") && row.contains("22.50 tok/s"), "{table}");
        let unknown = table.lines().find(|line| line.starts_with("prefill 512")).unwrap();
        assert_eq!(unknown.split_whitespace().filter(|word| *word == "-").count(), 2, "{table}");
        assert!(table.contains("wasm file               3.00 MB (1.00 MB gzip)"), "{table}");
    }

    #[test]
    fn the_browsers_samples_are_read_with_fields_left_out() {
        let samples: Samples =
            serde_json::from_str(r#"{"adapter":"a","decode":[{"sequences":1,"tokens_per_s":[4.5]}]}"#)
                .unwrap();
        assert_eq!(samples.decode[0].tokens_per_s, [4.5]);
        assert!(samples.load_ms.is_empty() && samples.gpu_memory_bytes.is_none());
    }
}
