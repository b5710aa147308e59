//! How much attention a tab has, and what that is worth to it. Plain data; runs natively in tests.

/// What the browser does with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attention {
    /// It has the focus.
    pub focused: bool,
    /// It can be seen.
    pub visible: bool,
    /// It is frozen: it reads nothing until it comes back.
    pub frozen: bool,
}

impl Default for Attention {
    /// Until somebody says otherwise: a page that has just been opened can be seen.
    fn default() -> Self {
        Self { focused: false, visible: true, frozen: false }
    }
}

impl Attention {
    /// Share of the steps, next to that of other tabs. Nobody starves: the smallest is a quarter of the largest.
    pub fn weight(self) -> f64 {
        match self {
            Self { focused: true, .. } => 4.0,
            Self { visible: true, .. } => 2.0,
            _ => 1.0,
        }
    }
}

/// A page's own idea of when it counts as silent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Silence {
    /// When its last request began or its last reply ended.
    pub since_ms: f64,
    /// How long it keeps its pages after that.
    pub keep_seconds: f64,
}

impl Silence {
    /// Milliseconds until the pages may go; 0 when they may now.
    pub fn remaining_ms(self, now_ms: f64) -> f64 {
        (self.since_ms + self.keep_seconds * 1000.0 - now_ms).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_looks_at_comes_first() {
        let weight = |focused, visible| Attention { focused, visible, frozen: false }.weight();
        assert_eq!((weight(true, true), weight(false, true), weight(false, false)), (4.0, 2.0, 1.0));
        // A focused window behind another one.
        assert_eq!(weight(true, false), 4.0);
        assert_eq!(Attention::default().weight(), 2.0);
    }

    #[test]
    fn silence_ends_when_its_time_is_over() {
        let silence = Silence { since_ms: 10_000.0, keep_seconds: 60.0 };
        assert_eq!(silence.remaining_ms(10_000.0), 60_000.0);
        assert_eq!(silence.remaining_ms(69_999.0), 1.0);
        assert_eq!(silence.remaining_ms(90_000.0), 0.0);
    }
}
