//! Patterns over a row too long to be held: it comes in parts, and each byte is looked at once.
//!
//! Pure. Parts come from `set`, a match goes back. It must never match at a cut what matches only at a row's bounds, and
//! never keep more of the row than [`KEPT`]. A regex is a lazy DFA whose state is carried from part to part. One that can't
//! be (Unicode `\b`) is searched for in the part and the end of those before, so a match longer than that is missed; so is
//! `--until-line`, as nobody waits for a row of a megabyte.

use super::{
    conditions::{Pattern, PatternKind},
    find::{Hit, Readable, told},
    fold::{ceil, floor},
};
use crate::model::KIB;
use memchr::memmem;
use regex::Regex;
use regex_automata::{
    Anchored,
    hybrid::{
        LazyStateID,
        dfa::{Cache, DFA},
    },
    util::start::Config,
};

/// How much of the parts before is kept, in bytes. 64 KiB: no marker is longer.
const KEPT: usize = 64 * KIB;

/// The search in one row that comes in parts.
#[derive(Clone, Debug)]
pub(super) struct CutRow {
    searches: Vec<Search>,
    tail: String,
    /// `tail` begins where the row does.
    whole: bool,
}

/// One pattern: the row with marks, and without what they stand for. See `find`.
#[derive(Clone, Debug)]
struct Search {
    pattern: Pattern,
    marked: Option<Automaton>,
    bare: Option<Automaton>,
    /// What stands where the pattern matched in the row with marks, once it did.
    seen: Option<String>,
}

#[derive(Clone, Debug)]
struct Automaton {
    dfa: DFA,
    cache: Cache,
    state: LazyStateID,
    matched: bool,
}

impl CutRow {
    pub(super) fn new(patterns: &[Pattern]) -> CutRow {
        let searches = patterns.iter().map(|pattern| Search {
            pattern: pattern.clone(),
            marked: Automaton::new(pattern),
            bare: Automaton::new(pattern),
            seen: None,
        });
        CutRow { searches: searches.collect(), tail: String::new(), whole: true }
    }

    /// The next part; `last` when the row ends with it.
    pub(super) fn part(&mut self, part: &Readable<'_>, last: bool) -> Option<Hit> {
        let before = self.tail.len();
        self.tail.push_str(&part.marked);
        let whole = self.whole;
        let hits = self.searches.iter_mut().filter_map(|search| search.part(part, &self.tail, before, whole, last));
        let (_, hit) = hits.min_by_key(|(end, _)| *end)?;
        Some(hit)
    }

    /// Forgets what no match can need any more. To be called after each part.
    pub(super) fn forget(&mut self) {
        let from = floor(&self.tail, self.tail.len().saturating_sub(KEPT));
        self.whole &= from == 0;
        self.tail.drain(..from);
    }
}

impl Search {
    /// The match, and where in the part it ended.
    fn part(
        &mut self,
        part: &Readable<'_>,
        tail: &str,
        before: usize,
        whole: bool,
        last: bool,
    ) -> Option<(usize, Hit)> {
        let hit = |matched: &str| Hit { pattern: self.pattern.source.clone(), matched: told(matched).to_owned() };
        match &self.pattern.kind {
            PatternKind::Line => None,
            PatternKind::Literal => {
                let from = floor(tail, before.saturating_sub(self.pattern.source.len()));
                let at = from + memmem::find(&tail.as_bytes()[from..], self.pattern.source.as_bytes())?;
                Some((at, hit(&self.pattern.source)))
            }
            PatternKind::Regex(regex) => {
                let (Some(marked), Some(bare)) = (&mut self.marked, &mut self.bare) else {
                    let found = windowed(regex, tail, whole, last)?;
                    return Some((found.end, hit(&tail[found])));
                };
                let end = marked.part(&part.marked, last);
                if let (Some(end), None) = (end, &self.seen) {
                    self.seen = Some(ending_at(regex, &tail[..before + end]).to_owned());
                }
                bare.part(&part.bare, last);
                let seen = self.seen.as_deref().filter(|_| bare.matched)?;
                Some((before + end.unwrap_or(0), hit(seen)))
            }
        }
    }
}

/// A match in the window; the row's bounds lie at its ends only if it holds the row's first and last part.
fn windowed(regex: &Regex, tail: &str, whole: bool, last: bool) -> Option<std::ops::Range<usize>> {
    let from = if whole { 0 } else { ceil(tail, 1) };
    let to = if last { tail.len() } else { floor(tail, tail.len().saturating_sub(1)) };
    let found = regex.find_at(tail, from)?;
    (found.end() <= to).then(|| found.range())
}

/// What matched, as far back as is known.
fn ending_at<'a>(regex: &Regex, text: &'a str) -> &'a str {
    let found = regex.find_iter(text).filter(|found| found.end() == text.len()).last();
    found.map_or_else(|| told(text), |found| found.as_str())
}

impl Automaton {
    fn new(pattern: &Pattern) -> Option<Automaton> {
        let PatternKind::Regex(_) = pattern.kind else { return None };
        let dfa = DFA::builder().build(&pattern.source).ok()?;
        let mut cache = dfa.create_cache();
        let state = dfa.start_state(&mut cache, &Config::new().anchored(Anchored::No)).ok()?;
        Some(Automaton { dfa, cache, state, matched: false })
    }

    /// Where the match ended, if it did so in this part and hadn't before.
    fn part(&mut self, text: &str, last: bool) -> Option<usize> {
        if self.matched {
            return None;
        }
        for (at, byte) in text.bytes().enumerate() {
            // The cache is cleared when it is full, never given up: no limit is set. A dead state stays one.
            self.state = self.dfa.next_state(&mut self.cache, self.state, byte).ok()?;
            if self.state.is_match() {
                self.matched = true; // a match is told one byte late
                return Some(floor(text, at));
            }
            if self.state.is_dead() {
                return None;
            }
        }
        if last {
            self.state = self.dfa.next_eoi_state(&mut self.cache, self.state).ok()?;
            self.matched = self.state.is_match();
        }
        (last && self.matched).then_some(text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stop::Conditions;

    fn parts(until: &str, literal: bool, parts: &[&str]) -> Option<String> {
        let list = vec![until.to_owned()];
        let (regexes, literals) = if literal { (vec![], list) } else { (list, vec![]) };
        let conditions = Conditions::parse(&regexes, &[], &literals, None, None).unwrap();
        let mut row = CutRow::new(&conditions.patterns);
        parts.iter().enumerate().find_map(|(at, part)| {
            let hit = row.part(&Readable::new(part, &[]), at + 1 == parts.len());
            row.forget();
            hit.map(|hit| format!("{at}:{}", hit.matched))
        })
    }

    #[test]
    fn matches_go_over_cuts_and_bounds_do_not() {
        let long = "x".repeat(2 * KEPT);
        for (until, row, wanted) in [
            ("DONE", vec!["..DO", "NE.."], Some("1:DONE")),
            (r"\bDONE\b", vec!["..DO", "NE.."], Some("1:DONE")),
            ("DONE$", vec!["DONE", "x"], None),
            (r"\bDONE$", vec!["DONE", "x"], None),
            ("^DONE", vec!["x", "DONE"], None),
            (r"^DONE\b", vec!["x", "DONE"], None),
            ("DONE$", vec!["DO", "NE"], Some("1:DONE")),
            (r"\bDONE$", vec!["DO", "NE"], Some("1:DONE")),
            ("^a.*DONE$", vec!["a", &long, "DONE"], Some("2:")),
            ("ö", vec!["ä", "ö", "ü"], Some("2:ö")),
        ] {
            let found = parts(until, false, &row);
            assert!(
                found.as_deref().unwrap_or("none").starts_with(wanted.unwrap_or("none")),
                "{until}: {:?}",
                found.map(|f| f.chars().take(20).collect::<String>())
            );
        }
        assert_eq!(parts("DONE", true, &["DO", "N", "E"]).as_deref(), Some("2:DONE"));
    }
}
