//! The Range header: one range of bytes out of a file of known length. Knows no file.

/// What a request asks of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it: no range was asked for, or one of a kind that may be ignored.
    Whole,
    /// `length` bytes from `first`; never empty.
    Range {
        /// First byte.
        first: u64,
        /// Number of bytes.
        length: u64,
    },
    /// A well-formed range that the file does not reach.
    Unsatisfiable,
}

/// Reads a Range header for a file of `total` bytes. Several ranges, other units and malformed headers count as none,
/// which the standard allows.
pub fn parse(header: Option<&str>, total: u64) -> Part {
    let Some((unit, ranges)) = header.and_then(|header| header.split_once('=')) else { return Part::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return Part::Whole;
    }
    let Some((first, last)) = ranges.trim().split_once('-') else { return Part::Whole };
    match (number(first), number(last)) {
        // The last `suffix` bytes.
        (Bound::Open, Bound::At(suffix)) => {
            let length = suffix.min(total);
            if length == 0 { Part::Unsatisfiable } else { Part::Range { first: total - length, length } }
        }
        (Bound::At(first), Bound::Open) if first < total => Part::Range { first, length: total - first },
        (Bound::At(first), Bound::At(last)) if first <= last && first < total => {
            Part::Range { first, length: last.min(total - 1) - first + 1 }
        }
        (Bound::At(first), Bound::At(last)) if first > last => Part::Whole,
        (Bound::At(_), Bound::Open | Bound::At(_)) => Part::Unsatisfiable,
        (Bound::Open, Bound::Open) | (Bound::Malformed, _) | (_, Bound::Malformed) => Part::Whole,
    }
}

enum Bound {
    Open,
    At(u64),
    Malformed,
}

fn number(text: &str) -> Bound {
    let text = text.trim();
    if text.is_empty() {
        Bound::Open
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are beyond the end of any file.
        Bound::At(text.parse().unwrap_or(u64::MAX))
    } else {
        Bound::Malformed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, length: u64) -> Part {
        Part::Range { first, length }
    }

    #[test]
    fn single_ranges_are_cut_to_the_file() {
        assert_eq!(parse(Some("bytes=0-0"), 10), range(0, 1));
        assert_eq!(parse(Some("bytes=2-5"), 10), range(2, 4));
        assert_eq!(parse(Some("bytes=2-"), 10), range(2, 8));
        assert_eq!(parse(Some("bytes=-3"), 10), range(7, 3));
        assert_eq!(parse(Some("bytes=-30"), 10), range(0, 10));
        assert_eq!(parse(Some("bytes=9-99999999999999999999999"), 10), range(9, 1));
        assert_eq!(parse(Some("Bytes = 1-1"), 10), range(1, 1));
    }

    #[test]
    fn ranges_beyond_the_end_are_unsatisfiable() {
        assert_eq!(parse(Some("bytes=10-"), 10), Part::Unsatisfiable);
        assert_eq!(parse(Some("bytes=10-20"), 10), Part::Unsatisfiable);
        assert_eq!(parse(Some("bytes=-0"), 10), Part::Unsatisfiable);
        assert_eq!(parse(Some("bytes=0-0"), 0), Part::Unsatisfiable);
        assert_eq!(parse(Some("bytes=-5"), 0), Part::Unsatisfiable);
    }

    #[test]
    fn what_is_no_single_range_of_bytes_means_the_whole() {
        for header in
            ["bytes=0-1,4-5", "items=0-1", "bytes=5-2", "bytes=-", "bytes=a-b", "bytes=+1-2", "bytes", ""]
        {
            assert_eq!(parse(Some(header), 10), Part::Whole, "{header:?}");
        }
        assert_eq!(parse(None, 10), Part::Whole);
    }
}
