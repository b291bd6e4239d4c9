//! Conditions about the screen as it stands: what is on it, what isn't, and for how long nothing has changed.
//!
//! Pure: screens and log time in, a verdict out; `follow` gives both in the order of the log. All conditions must hold on the
//! same screen. It must never judge a screen that is just being drawn: one is judged when it has stood for [`SETTLE`], and
//! one that never stands (an animation) each [`LONGEST`].

use super::conditions::{ConditionError, MAX_PATTERNS, compile};
use crate::model::LogTime;
use regex::Regex;
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

/// A screen is judged when it has stood so long. 50 ms: programs write a frame within a few, spinners draw each 80 or more.
pub const SETTLE: Duration = Duration::from_millis(50);
/// A screen that never stands is judged so often all the same. 500 ms: a person's glance.
pub const LONGEST: Duration = Duration::from_millis(500);

/// What a screen must be like.
#[derive(Clone, Debug, Default)]
pub struct ScreenConditions {
    wanted: Vec<Regex>,
    unwanted: Vec<Regex>,
    stable: Option<Duration>,
}

/// A screen, as far as it is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// All rows, trailing blanks removed.
    pub rows: Vec<String>,
    /// The cursor's column and row, from 0.
    pub cursor: (u16, u16),
    /// The cursor is shown.
    pub visible: bool,
}

/// What was found: the first pattern that was wanted, and its match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// As given; nothing where none was wanted.
    pub pattern: Option<String>,
    /// What matched it.
    pub matched: Option<String>,
}

impl ScreenConditions {
    /// Checks and compiles.
    pub fn parse(
        screen: &[String],
        no_screen: &[String],
        stable: Option<Duration>,
    ) -> Result<ScreenConditions, ConditionError> {
        if screen.len() + no_screen.len() > MAX_PATTERNS {
            return Err(ConditionError::TooMany);
        }
        let regexes = |sources: &[String]| sources.iter().map(|source| regex(source)).collect::<Result<Vec<_>, _>>();
        Ok(ScreenConditions { wanted: regexes(screen)?, unwanted: regexes(no_screen)?, stable })
    }

    fn find(&self, sight: &Sight) -> Option<Seen> {
        if self.unwanted.iter().any(|regex| sight.find(regex).is_some()) {
            return None;
        }
        let found: Option<Vec<String>> = self.wanted.iter().map(|regex| sight.find(regex)).collect();
        let pattern = self.wanted.first().map(|regex| regex.as_str().to_owned());
        found.map(|found| Seen { pattern, matched: found.into_iter().next() })
    }
}

impl Sight {
    /// In the first row that matches. The blanks before the cursor may be meant or not: `^> $` and `^>$` are the same prompt.
    fn find(&self, regex: &Regex) -> Option<String> {
        self.rows.iter().enumerate().find_map(|(y, row)| {
            let found = regex.find(row).map(|found| found.as_str().to_owned());
            found.or_else(|| {
                let (column, line) = self.cursor;
                let blanks =
                    usize::from(column).checked_sub(row.width()).filter(|n| *n > 0 && usize::from(line) == y)?;
                let padded = format!("{row}{:blanks$}", "");
                regex.find(&padded).map(|found| found.as_str().to_owned())
            })
        })
    }
}

fn regex(source: &str) -> Result<Regex, ConditionError> {
    let refuse = |why: String| ConditionError::Screen { pattern: source.to_owned(), why };
    compile(source).map_err(|error| match error {
        ConditionError::Syntax { place, why, .. } => refuse(format!("at character {place}: {why}")),
        ConditionError::Empty(_) => refuse("it matches the empty string, so every row".to_owned()),
        ConditionError::Bracket(_) => refuse(format!(
            "a bracket class matches any one character of it (for the text write {})",
            regex::escape(source)
        )),
        other => other,
    })
}

/// The conditions of one wait, at work.
#[derive(Debug)]
pub struct ScreenSet {
    conditions: ScreenConditions,
    sight: Sight,
    /// When it became what it is, or before.
    since: LogTime,
    /// When the first change came that wasn't judged; nothing when all is judged.
    unjudged: Option<LogTime>,
}

impl ScreenSet {
    /// Begins with a screen that has stood since `since`.
    pub fn new(conditions: ScreenConditions, sight: Sight, since: LogTime) -> ScreenSet {
        ScreenSet { conditions, sight, since, unjudged: Some(since) }
    }

    /// The screen after output at `now`. Everything that time brings before is to be asked for first, by [`ScreenSet::time`].
    pub fn look(&mut self, sight: Sight, now: LogTime) -> Option<Seen> {
        if sight != self.sight {
            self.sight = sight;
            self.since = now;
            self.unjudged.get_or_insert(now);
        }
        match self.unjudged.is_some_and(|first| first.after(LONGEST) <= now) {
            true => self.judge(now),
            false => None,
        }
    }

    /// What has come by `now`, if nothing was written before.
    pub fn time(&mut self, now: LogTime) -> Option<Seen> {
        if self.deadline().is_none_or(|deadline| deadline > now) { None } else { self.judge(now) }
    }

    /// The screen is the last one of its run.
    pub fn finish(&mut self, now: LogTime) -> Option<Seen> {
        self.judge(now)
    }

    /// When [`ScreenSet::time`] has something to say, if nothing is written before.
    pub fn deadline(&self) -> Option<LogTime> {
        let stands = self.since.after(self.conditions.stable.unwrap_or_default().max(SETTLE));
        self.unjudged.map(|_| stands)
    }

    fn judge(&mut self, now: LogTime) -> Option<Seen> {
        let stable = self.conditions.stable.is_none_or(|stable| self.since.after(stable) <= now);
        // one that may still become stable is judged again
        self.unjudged = if stable { None } else { Some(now) };
        self.conditions.find(&self.sight).filter(|_| stable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(screen: &[&str], no_screen: &[&str], stable: Option<u64>) -> ScreenSet {
        let texts = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let stable = stable.map(Duration::from_millis);
        let conditions = ScreenConditions::parse(&texts(screen), &texts(no_screen), stable).unwrap();
        ScreenSet::new(conditions, Sight::default(), LogTime(0))
    }

    fn sight(rows: &str) -> Sight {
        let rows: Vec<String> = rows.lines().map(str::to_owned).collect();
        let cursor = (rows.last().map_or(0, |row| row.width() as u16 + 1), rows.len().saturating_sub(1) as u16);
        Sight { rows, cursor, visible: true }
    }

    fn ms(n: u64) -> LogTime {
        LogTime::default().after(Duration::from_millis(n))
    }

    /// Plays screens at their times; the time of the verdict in ms, and the match.
    fn play(mut set: ScreenSet, screens: &[(u64, &str)], until: u64) -> Option<(u64, Option<String>)> {
        let mut screens = screens.iter().peekable();
        for now in 0..=until {
            let look = screens.next_if(|(at, _)| *at == now).and_then(|(_, rows)| set.look(sight(rows), ms(now)));
            if let Some(seen) = look.or_else(|| set.time(ms(now))) {
                return Some((now, seen.matched));
            }
        }
        None
    }

    #[test]
    fn a_screen_is_judged_when_it_stands() {
        let found = |at: u64, text: &str| Some((at, Some(text.to_owned())));
        assert_eq!(play(set(&["b+"], &[], None), &[(10, "a"), (20, "a\nbb")], 100), found(70, "bb"));
        // half a frame isn't a screen
        let halves = [(10, "working"), (100, ""), (110, "working"), (200, "done")];
        assert_eq!(play(set(&[], &["working"], None), &halves, 400), Some((250, None)));
        // an animation is judged all the same
        let frames: Vec<(u64, String)> = (1..100).map(|n| (n * 20, format!("Ready {n}"))).collect();
        let frames: Vec<(u64, &str)> = frames.iter().map(|(at, text)| (*at, text.as_str())).collect();
        assert_eq!(play(set(&["Ready"], &[], None), &frames, 2000).map(|(at, _)| at), Some(500));
    }

    #[test]
    fn all_conditions_hold_together() {
        let screens = [(10, "> "), (200, "> \nesc to interrupt"), (400, ">")];
        let verdict = play(set(&["^> ?$"], &["esc"], Some(300)), &screens, 2000);
        assert_eq!(verdict, Some((700, Some(">".to_owned()))));
        assert_eq!(play(set(&[], &[], Some(150)), &screens, 2000), Some((150 + 10, None)));
        assert_eq!(play(set(&["never"], &[], Some(150)), &screens, 2000), None);
    }

    #[test]
    fn blanks_before_the_cursor_may_be_meant() {
        for pattern in ["^>$", "^> $"] {
            assert!(play(set(&[pattern], &[], None), &[(1, "x\n>")], 100).is_some(), "{pattern}");
        }
        assert!(play(set(&["^x $"], &[], None), &[(1, "x\n>")], 100).is_none());
    }

    #[test]
    fn useless_patterns_are_refused() {
        for (pattern, says) in [("a*", "empty string"), ("[DONE]", r"write \[DONE\]"), ("a(", "at character 2")] {
            let error = ScreenConditions::parse(&[], &[pattern.to_owned()], None).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("for the screen"), "{error}");
        }
    }

    proptest! {
        /// Being asked more often changes nothing.
        #[test]
        fn the_verdict_doesnt_depend_on_looks(
            changes in proptest::collection::vec((1_u64..200, "[ab]{1,2}"), 1..8),
            stable in proptest::option::of(1_u64..300),
        ) {
            let mut at = 0;
            let screens: Vec<(u64, &str)> =
                changes.iter().map(|(gap, text)| { at += gap; (at, text.as_str()) }).collect();
            let often = play(set(&["aa"], &["b"], stable), &screens, at + 1000);
            let mut set = set(&["aa"], &["b"], stable);
            let mut seldom = None;
            for (at, rows) in &screens {
                seldom = set.deadline().filter(|due| *due < ms(*at)).and_then(|due| set.time(due).map(|_| due));
                seldom = seldom.or_else(|| set.look(sight(rows), ms(*at)).map(|_| ms(*at)));
                if seldom.is_some() { break; }
            }
            let seldom = seldom.or_else(|| set.deadline().and_then(|due| set.time(due).map(|_| due)));
            prop_assert_eq!(seldom, often.map(|(at, _)| ms(at)));
        }
    }
}
