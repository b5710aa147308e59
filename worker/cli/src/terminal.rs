//! What the user sees: results on stdout, progress on stderr. The only place that prints; knows nothing of what runs.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Redraw interval of a spinner.
const TICK: Duration = Duration::from_millis(120);

/// Prints one line of the command's result on stdout. A closed pipe is not an error of ours.
pub fn result(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Prints one line of progress or advice on stderr.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// One long piece of work: a spinner (or a bar) on a terminal, a line at each end elsewhere.
pub struct Step {
    label: String,
    started: Instant,
    bar: ProgressBar,
    is_terminal: bool,
}

impl Step {
    /// Work of unknown length.
    pub fn start(label: impl Into<String>) -> Self {
        let step = Self::with_bar(label.into(), ProgressBar::new_spinner());
        step.bar.set_style(template("{spinner} {prefix} {elapsed:.dim} {wide_msg:.dim}"));
        step.bar.enable_steady_tick(TICK);
        step
    }

    /// Work over a known number of bytes.
    pub fn bytes(label: impl Into<String>, total_bytes: u64) -> Self {
        let step = Self::with_bar(label.into(), ProgressBar::new(total_bytes));
        step.bar
            .set_style(template("{prefix} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}"));
        step
    }

    /// Says what is going on inside the step.
    pub fn message(&self, text: &str) {
        self.bar.set_message(text.trim().to_owned());
    }

    /// Moves a byte bar forward.
    pub fn advance(&self, num_bytes: u64) {
        self.bar.inc(num_bytes);
    }

    /// The step ended well: says so with its time.
    pub fn finish(self) {
        self.bar.finish_and_clear();
        note(&format!("{} ... done in {:.1} s", self.label, self.started.elapsed().as_secs_f64()));
    }

    fn with_bar(label: String, bar: ProgressBar) -> Self {
        let is_terminal = io::stderr().is_terminal();
        if !is_terminal {
            note(&format!("{label} ..."));
        }
        bar.set_prefix(label.clone());
        Self { label, started: Instant::now(), bar, is_terminal }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.bar.is_finished() {
            self.bar.finish_and_clear();
            if self.is_terminal {
                note(&format!("{} ... stopped", self.label));
            }
        }
    }
}

/// Bytes for people: `3.1 MB`.
pub fn human_bytes(num_bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut value = num_bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if unit == "B" { format!("{num_bytes} B") } else { format!("{value:.2} {unit}") }
}

fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::human_bytes;

    #[test]
    fn bytes_are_printed_with_the_largest_unit_below_them() {
        assert_eq!(human_bytes(999), "999 B");
        assert_eq!(human_bytes(1_000), "1.00 kB");
        assert_eq!(human_bytes(98_362_432), "98.36 MB");
        assert_eq!(human_bytes(5_000_000_000_000_000), "5000.00 TB");
    }
}
