//! Does a pattern match what a person reads in a row, echo left out?
//!
//! Pure. Conditions, a row and its masked ranges come in; the match goes to `set`. What is masked must neither make a match
//! nor prevent one: a pattern is looked for in the row twice, with a mark that is in no pattern in place of what is masked,
//! and without it, and both must match. So `^.*DONE` finds `hello DONE` after `hello`, while `\$ .+` doesn't find the echo
//! behind a prompt, and `^\$ $` doesn't find the prompt before an echo.

use super::{
    conditions::{Pattern, PatternKind},
    fold::{ceil, is_bullet, is_folded},
};
use crate::model::KIB;
use memchr::memmem;
use std::{borrow::Cow, ops::Range};

/// Stands for what is masked: no letter, no blank.
const MARK: char = '\u{FFFC}';
/// The longest match that is told, in bytes; of a longer one its end. 4 KiB: it is shown in one line.
pub(super) const MAX_TOLD: usize = 4 * KIB;

/// What matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The pattern, as given.
    pub pattern: String,
    /// What stands in the row there.
    pub matched: String,
}

/// A row with what is masked in it replaced, and removed.
#[derive(Debug)]
pub(super) struct Readable<'a> {
    row: &'a str,
    hidden: &'a [Range<usize>],
    pub(super) marked: Cow<'a, str>,
    pub(super) bare: Cow<'a, str>,
}

impl<'a> Readable<'a> {
    /// `hidden`: in order, apart from each other.
    pub(super) fn new(row: &'a str, hidden: &'a [Range<usize>]) -> Readable<'a> {
        if hidden.is_empty() {
            return Readable { row, hidden, marked: row.into(), bare: row.into() };
        }
        let (mut marked, mut bare) = (String::with_capacity(row.len()), String::with_capacity(row.len()));
        let mut from = 0;
        for range in hidden {
            marked.push_str(&row[from..range.start]);
            marked.push(MARK);
            bare.push_str(&row[from..range.start]);
            from = range.end;
        }
        marked.push_str(&row[from..]);
        bare.push_str(&row[from..]);
        Readable { row, hidden, marked: marked.into(), bare: bare.into() }
    }

    /// The place in the row of a place in `marked`; one behind a mark is where what is masked ends.
    fn place(&self, at: usize) -> usize {
        let (mut row, mut marked) = (0, 0);
        for range in self.hidden {
            let plain = range.start - row;
            if at <= marked + plain {
                break;
            }
            marked += plain + MARK.len_utf8();
            row = range.end;
        }
        (row + at.saturating_sub(marked)).min(self.row.len())
    }
}

/// The first match in the row; of several at one place, that of the first pattern.
pub(super) fn find(patterns: &[Pattern], row: &Readable<'_>) -> Option<Hit> {
    let matches = patterns.iter().filter_map(|pattern| Some((pattern, match_of(pattern, row)?)));
    let (pattern, range) = matches.min_by_key(|(_, range)| range.start)?;
    Some(Hit {
        pattern: pattern.source.clone(),
        matched: told(&row.row[row.place(range.start)..row.place(range.end)]).to_owned(),
    })
}

/// The end of a match, short enough to be shown.
pub(super) fn told(matched: &str) -> &str {
    &matched[ceil(matched, matched.len().saturating_sub(MAX_TOLD))..]
}

/// Where the pattern matches, in `marked`.
fn match_of(pattern: &Pattern, row: &Readable<'_>) -> Option<Range<usize>> {
    match &pattern.kind {
        PatternKind::Regex(regex) => {
            let found = regex.find(&row.marked)?.range();
            (row.hidden.is_empty() || regex.is_match(&row.bare)).then_some(found)
        }
        PatternKind::Literal => {
            let at = memmem::find(row.marked.as_bytes(), pattern.source.as_bytes())?;
            Some(at..at + pattern.source.len())
        }
        PatternKind::Line => line(pattern.source.trim(), &row.marked),
    }
}

/// Where `wanted` is all there is in the row, bullets, blanks and frames left out.
fn line(wanted: &str, row: &str) -> Option<Range<usize>> {
    let ends = [row.trim_end(), row.trim_end_matches(|c| is_folded(c) || c == '|')];
    let start = ends.into_iter().find_map(|row| Some(row.strip_suffix(wanted)?.len()))?;
    let clean = row[..start].chars().all(|c| is_folded(c) || is_bullet(c) || c == '|');
    clean.then(|| start..start + wanted.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stop::Conditions;

    fn found(until: &[&str], lines: &[&str], literals: &[&str], row: &str, masked: &str) -> Option<String> {
        let list = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let conditions = Conditions::parse(&list(until), &list(lines), &list(literals), None, None).unwrap();
        let hidden: Vec<_> = if masked.is_empty() {
            vec![]
        } else {
            row.match_indices(masked).map(|(at, m)| at..at + m.len()).collect()
        };
        find(&conditions.patterns, &Readable::new(row, &hidden)).map(|hit| format!("{}={}", hit.pattern, hit.matched))
    }

    #[test]
    fn what_is_masked_makes_no_match_and_prevents_none() {
        for (until, row, masked, wanted) in [
            ("DONE", "$ say DONE", "say DONE", None),
            ("DONE", "say DONE: DONE", "say DONE", Some("DONE=DONE")),
            ("^.*DONE", "hello DONE", "hello", Some("^.*DONE=hello DONE")),
            ("^.*DONE$", "$ DONE", "DONE", None),
            (r"\$ .+", "$ ls", "ls", None),
            (r"^\$ ?$", "$ ls", "ls", None),
            (r"\S+", "ls", "ls", None),
            ("b.*c", "y a y b y c y", "y", Some("b.*c=b y c")),
        ] {
            assert_eq!(found(&[until], &[], &[], row, masked).as_deref(), wanted, "{until} in {row:?}");
        }
        assert_eq!(found(&[], &[], &["DONE"], "DxONE", "x"), None);
        assert_eq!(found(&[], &["DONE"], &[], "> DONE", "DONE"), None);
    }

    #[test]
    fn a_line_is_the_row_without_bullets_and_frames() {
        for row in ["DONE", "  DONE  ", "- DONE", "• DONE", "● DONE", "> DONE", "│ * DONE   │", "| DONE |"] {
            assert_eq!(found(&[], &["DONE"], &[], row, "").as_deref(), Some("DONE=DONE"), "{row}");
        }
        for row in ["DONE.", "all DONE", "DONE DONE", "xDONE", "done", "(DONE)"] {
            assert_eq!(found(&[], &["DONE"], &[], row, ""), None, "{row}");
        }
        assert_eq!(found(&[], &["- DONE"], &[], "- DONE", "").as_deref(), Some("- DONE=- DONE"));
    }

    #[test]
    fn the_first_place_wins_then_the_order_given() {
        assert_eq!(found(&["two", "one"], &[], &[], "one two", "").as_deref(), Some("one=one"));
        assert_eq!(found(&["o", "one"], &[], &["on"], "one", "").as_deref(), Some("o=o"));
        assert_eq!(found(&["DO.E"], &[], &[], "ä x: DONE", "x").as_deref(), Some("DO.E=DONE"));
    }
}
