//! Reads how many tests a runner ran from the summary lines that it prints.

/// Tests that ran, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Succeeded.
    pub passed: u64,
    /// Did not.
    pub failed: u64,
    /// Were not run.
    pub skipped: u64,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(formatter, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// Whose summary to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// One line for each test binary.
    Cargo,
    /// Node's own, as TAP (`# pass 3`) or for people (`ℹ pass 3`).
    Node,
    /// `3 passed (4.2s)`, `1 failed`.
    Playwright,
}

impl Runner {
    /// What one line of output adds to the count.
    pub fn read(self, line: &str) -> Count {
        match self {
            Self::Cargo => cargo(line),
            Self::Node => node(line),
            Self::Playwright => playwright(line),
        }
    }
}

fn cargo(line: &str) -> Count {
    let Some(summary) = line.strip_prefix("test result: ") else { return Count::default() };
    let fields = summary.split([';', '.']).map(str::trim);
    fields.fold(Count::default(), |count, field| {
        match field.split_once(' ').map(|(n, word)| (n.parse(), word)) {
            Some((Ok(passed), "passed")) => Count { passed, ..count },
            Some((Ok(failed), "failed")) => Count { failed, ..count },
            Some((Ok(skipped), "ignored")) => Count { skipped, ..count },
            _ => count,
        }
    })
}

fn node(line: &str) -> Count {
    let mut words = line.split_whitespace();
    let (Some("#" | "\u{2139}"), Some(word), Some(number), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Count::default();
    };
    let number = number.parse().unwrap_or(0);
    match word {
        "pass" => Count { passed: number, ..Count::default() },
        "fail" | "cancelled" => Count { failed: number, ..Count::default() },
        "skipped" | "todo" => Count { skipped: number, ..Count::default() },
        _ => Count::default(),
    }
}

fn playwright(line: &str) -> Count {
    let mut words = line.split_whitespace();
    let Some(Ok(number)) = words.next().map(str::parse) else { return Count::default() };
    let rest: Vec<&str> = words.collect();
    match rest.as_slice() {
        ["passed"] => Count { passed: number, ..Count::default() },
        ["passed", time] if time.starts_with('(') => Count { passed: number, ..Count::default() },
        // A test that passes only when it is tried again is not one to rely on.
        ["failed" | "flaky" | "interrupted"] => Count { failed: number, ..Count::default() },
        ["skipped"] | ["did", "not", "run"] => Count { skipped: number, ..Count::default() },
        _ => Count::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(runner: Runner, output: &str) -> Count {
        let mut count = Count::default();
        output.lines().for_each(|line| count += runner.read(line));
        count
    }

    #[test]
    fn cargo_summaries_of_all_binaries_are_added() {
        let output = "test a ... ok\n\
            test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.20s\n";
        assert_eq!(total(Runner::Cargo, output), Count { passed: 15, failed: 2, skipped: 1 });
    }

    #[test]
    fn node_summaries_are_read_in_both_styles() {
        let tap = "# tests 5\n# suites 1\n# pass 4\n# fail 1\n# cancelled 0\n# skipped 0\n# todo 0\n";
        assert_eq!(total(Runner::Node, tap), Count { passed: 4, failed: 1, skipped: 0 });
        let people = "\u{2139} tests 2\n\u{2139} pass 2\n\u{2139} fail 0\n\u{2139} duration_ms 81.2\n";
        assert_eq!(total(Runner::Node, people), Count { passed: 2, failed: 0, skipped: 0 });
        assert_eq!(total(Runner::Node, "# pass the salt please\n"), Count::default());
    }

    #[test]
    fn playwright_summaries_are_read_with_and_without_failures() {
        let output = "Running 7 tests using 1 worker\n  1 failed\n    [chromium] a.spec.ts\n  2 skipped\n  4 passed (12.3s)\n";
        assert_eq!(total(Runner::Playwright, output), Count { passed: 4, failed: 1, skipped: 2 });
        assert_eq!(total(Runner::Playwright, "  1 flaky\n"), Count { failed: 1, ..Count::default() });
        assert_eq!(total(Runner::Playwright, "4 passed out of the house\n"), Count::default());
    }

    #[test]
    fn the_closing_line_is_the_plain_one() {
        assert_eq!(Count { passed: 3, failed: 0, skipped: 0 }.to_string(), "3 passed, 0 failed");
        assert_eq!(Count { passed: 3, failed: 1, skipped: 2 }.to_string(), "3 passed, 1 failed, 2 skipped");
    }
}
