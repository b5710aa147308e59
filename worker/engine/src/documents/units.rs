//! The parts that pieces are put together from, and how well a piece can end before each.

use super::blocks::BlockKind;

/// What a piece is cut at, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Boundary {
    /// Between a heading and what it is the heading of.
    AfterHeading,
    Character,
    Word,
    #[default]
    Sentence,
    ListItem,
    Paragraph,
    /// Before a heading; an outer one is better, so this is 6 for the innermost and 11 for the outermost level.
    Heading {
        rank: u8,
    },
}

impl Boundary {
    /// What stands before a block of that kind.
    pub fn before(kind: BlockKind) -> Self {
        match kind {
            BlockKind::Heading { level } => Self::Heading { rank: 12 - level.clamp(1, 6) },
            BlockKind::ListItem => Self::ListItem,
            BlockKind::Paragraph | BlockKind::Code | BlockKind::Table => Self::Paragraph,
        }
    }

    /// How full a piece must be to end here although more would fit.
    pub fn least_fill(self) -> f64 {
        match self {
            Self::Heading { .. } | Self::Sentence => 0.5,
            Self::Paragraph => 0.65,
            Self::ListItem => 0.75,
            Self::Word => 0.25,
            Self::Character | Self::AfterHeading => 0.0,
        }
    }
}

/// A part of the text that is not cut further; it begins where the one before it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Unit {
    /// Where it ends.
    pub end: usize,
    /// Its tokens, counted by itself.
    pub tokens: u32,
    /// What stands before it.
    pub boundary: Boundary,
    /// False for the rest of a sentence that was too long.
    pub begins_sentence: bool,
    /// Whether it is a heading or part of one.
    pub is_heading: bool,
    /// The heading that it stands under, or is.
    pub section: Option<u32>,
}
