//! The text of a turn where a screen program shows it again: in its transcript, when it writes that anew.
//!
//! Pure. Rows come from `follow`, which only wants to know whether the turn's text begins in one. It must never take an answer
//! that shares a word with the text for the text itself: a short one counts only where it is all there is in the row.

use super::{
    Input,
    fold::{FoldedRow, FoldedText, is_decoration},
};
use memchr::memmem;

/// Visible characters of a beginning that is surely the text: see rule 6 of `echo`.
const QUOTE: usize = 20;

/// What a turn has typed.
#[derive(Debug)]
pub(crate) struct TurnText {
    /// The beginning of its first line, folded.
    head: String,
    /// The head is the whole line, and short.
    alone: bool,
}

impl TurnText {
    /// Nothing for a blank text.
    pub(crate) fn new(input: &Input) -> Option<TurnText> {
        let text = FoldedText::new(&input.text);
        let head: String = text.first().chars().take(QUOTE).collect();
        let alone = head.chars().count() < QUOTE;
        (!head.is_empty()).then_some(TurnText { head, alone })
    }

    /// True when the text begins in this row.
    pub(crate) fn begins_in(&self, row: &str) -> bool {
        let row = FoldedRow::new(row);
        memmem::find_iter(row.text.as_bytes(), self.head.as_bytes()).any(|at| {
            let (before, after) = row.around(at..at + self.head.len());
            !self.alone || (before.chars().all(is_decoration) && after.chars().all(is_decoration))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_known_where_it_begins() {
        for (text, row, begins) in [
            ("go on", "> go on", true),
            ("go on", "│ ❯ go  on │", true),
            ("go on", "I will go on", false),
            ("go on", "> go onward", false),
            ("please print DONE when it is ready", "> please print DONE when it is…", true),
            ("please print DONE when it is ready", "he said: please print DONE when it is ready, so", true),
            ("please print DONE when it is ready", "DONE when it is ready", false),
            ("a\nb", "> a", true),
        ] {
            let input = Input { text: text.into(), echo: false };
            assert_eq!(TurnText::new(&input).unwrap().begins_in(row), begins, "{text:?} in {row:?}");
        }
        assert!(TurnText::new(&Input { text: " \n".into(), echo: false }).is_none());
    }
}
