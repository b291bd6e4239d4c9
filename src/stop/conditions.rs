//! What a wait waits for, checked: a pattern that can't do what its author meant is refused before anything waits for it.
//!
//! Pure. Data comes from a query's text, goes to [`super::StopSet`]. It must never accept a pattern that fires on nothing at
//! all, or on any single letter, which is what `[DONE]` means as a regex.

use crate::model::KIB;
use regex::{Regex, RegexBuilder};
use std::time::Duration;

/// The longest pattern, in bytes. 4 KiB: longer ones are files given by mistake.
pub const MAX_PATTERN: usize = 4 * KIB;
/// The most patterns of one wait. 32: each row is searched for each of them.
pub const MAX_PATTERNS: usize = 32;
/// The most memory a compiled pattern takes, in bytes. 2 MiB, so that a wait's patterns stay below 64 MiB.
const MAX_COMPILED: usize = 2048 * KIB;
/// How long a turn's first output is waited for, where nothing is said. 2 min: models think for long, but not for longer.
pub const WAIT_FIRST: Duration = Duration::from_secs(120);

/// The stop conditions of a reading; empty for plain reading.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    pub(super) patterns: Vec<Pattern>,
    pub(super) idle: Option<Idle>,
    pub(super) reply: Option<ReplyRule>,
    exit: bool,
}

/// A whole reply is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyRule {
    /// The program's prompt, or quiet, ends the wait; false where patterns were given.
    pub judges: bool,
    /// How long a silence ends it.
    pub quiet: Duration,
    /// The silence was asked for.
    pub asked: bool,
    /// How long the first output is waited for.
    pub first: Duration,
}

/// How long a silence must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Idle {
    /// After output.
    pub(super) silence: Duration,
    /// Before a turn's first output.
    pub(super) first: Duration,
}

/// One pattern, as given and as searched for.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) source: String,
    pub(super) kind: PatternKind,
}

#[derive(Clone, Debug)]
pub(super) enum PatternKind {
    Regex(Regex),
    Line,
    Literal,
}

/// Why a condition is refused: wrong usage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// No regex.
    #[error("bad pattern {pattern:?}, at character {place}: {why} (for a plain text use --until-literal)")]
    Syntax {
        /// As given.
        pattern: String,
        /// Where, from 1.
        place: usize,
        /// What is wrong there.
        why: String,
    },
    /// It would match at once.
    #[error("pattern {0:?} matches the empty string, so every row (for a plain text use --until-literal)")]
    Empty(String),
    /// `[DONE]`: any of four letters.
    #[error(
        "pattern {0:?} is a bracket class and matches any one character of it: use --until-literal {0:?} to wait for that text"
    )]
    Bracket(String),
    /// Of a pattern for the screen.
    #[error("bad pattern {pattern:?} for the screen: {why}")]
    Screen {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// An empty text.
    #[error("{0} wants a text that isn't blank")]
    Blank(&'static str),
    /// Longer than [`MAX_PATTERN`], or too large when compiled.
    #[error("a pattern is too large: at most {MAX_PATTERN} bytes, and no large repetitions such as \\w{{1000}}")]
    TooLarge,
    /// More than [`MAX_PATTERNS`].
    #[error("too many patterns: at most {MAX_PATTERNS}; alternatives can stand in one: A|B|C")]
    TooMany,
}

impl Conditions {
    /// Checks and compiles. `wait_first` counts only together with `wait_idle`, and is [`WAIT_FIRST`] where it isn't given.
    pub fn parse(
        until: &[String],
        until_line: &[String],
        until_literal: &[String],
        wait_idle: Option<Duration>,
        wait_first: Option<Duration>,
    ) -> Result<Conditions, ConditionError> {
        if until.len() + until_line.len() + until_literal.len() > MAX_PATTERNS {
            return Err(ConditionError::TooMany);
        }
        let regexes =
            until.iter().map(|p| compile(p).map(|r| Pattern { source: p.clone(), kind: PatternKind::Regex(r) }));
        let lines = until_line.iter().map(|s| plain(s, "--until-line", PatternKind::Line));
        let literals = until_literal.iter().map(|s| plain(s, "--until-literal", PatternKind::Literal));
        let patterns = regexes.chain(lines).chain(literals).collect::<Result<_, _>>()?;
        let idle = wait_idle.map(|silence| Idle { silence, first: wait_first.unwrap_or(WAIT_FIRST) });
        Ok(Conditions { patterns, idle, reply: None, exit: false })
    }

    /// The same, for a whole reply: where no pattern is given, the program's prompt or quiet ends it. `quiet`: how long a
    /// silence that is, where none was given; `first`: how long the first output is waited for.
    pub fn for_reply(self, quiet: Duration, first: Duration) -> Conditions {
        let (judges, asked) = (!self.has_patterns(), self.idle.is_some());
        let quiet = self.idle.map_or(quiet, |idle| idle.silence);
        let idle = if judges { Some(Idle { silence: quiet, first }) } else { self.idle };
        Conditions { idle, reply: Some(ReplyRule { judges, quiet, asked, first }), ..self }
    }

    /// The end of the run is waited for, too, not only an end of the waiting.
    pub fn or_exit(self, exit: bool) -> Conditions {
        Conditions { exit, ..self }
    }

    /// What a reply is waited for by, if one is.
    pub fn reply(&self) -> Option<ReplyRule> {
        self.reply
    }

    /// True when there is something to wait for.
    pub fn is_wait(&self) -> bool {
        self.has_patterns() || self.idle.is_some() || self.exit
    }

    /// True when nothing but the end of the run is waited for.
    pub fn is_exit_alone(&self) -> bool {
        self.exit && !self.has_patterns() && self.idle.is_none()
    }

    /// True when silence is looked for.
    pub fn has_idle(&self) -> bool {
        self.idle.is_some()
    }

    /// True when rows are looked at.
    pub fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }
}

fn plain(source: &str, option: &'static str, kind: PatternKind) -> Result<Pattern, ConditionError> {
    if source.trim().is_empty() {
        return Err(ConditionError::Blank(option));
    }
    if source.len() > MAX_PATTERN {
        return Err(ConditionError::TooLarge);
    }
    Ok(Pattern { source: source.to_owned(), kind })
}

/// A regex for rows, within the bounds of a pattern.
pub fn row_regex(source: &str) -> Result<Regex, ConditionError> {
    if source.len() > MAX_PATTERN {
        return Err(ConditionError::TooLarge);
    }
    RegexBuilder::new(source).size_limit(MAX_COMPILED).build().map_err(|error| refuse(source, &error))
}

pub(super) fn compile(source: &str) -> Result<Regex, ConditionError> {
    let regex = row_regex(source)?;
    if regex.is_match("") || has_no_width(source) {
        return Err(ConditionError::Empty(source.to_owned()));
    }
    if is_bracket_class(source) {
        return Err(ConditionError::Bracket(source.to_owned()));
    }
    Ok(regex)
}

/// True for `\b` and the like: nothing that could be printed as the match.
fn has_no_width(source: &str) -> bool {
    regex_automata::util::syntax::parse(source).is_ok_and(|hir| hir.properties().maximum_len() == Some(0))
}

/// True when the whole pattern is one `[…]`.
fn is_bracket_class(source: &str) -> bool {
    let mut chars = source.char_indices().peekable();
    let mut depth = 0_u32;
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '[' => {
                depth += 1;
                chars.next_if(|(_, c)| *c == '^');
                chars.next_if(|(_, c)| *c == ']'); // a bracket that comes first is a character
            }
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at > 0 && at + c.len_utf8() == source.len();
        }
    }
    false
}

/// The regex crate says where in a drawing: the pattern indented by four, a caret below it, `error: …` last.
fn refuse(source: &str, error: &regex::Error) -> ConditionError {
    let regex::Error::Syntax(drawing) = error else { return ConditionError::TooLarge };
    let caret = drawing.lines().find(|line| line.contains('^') && line.trim_matches([' ', '^']).is_empty());
    let place = caret.and_then(|line| line.find('^')).map_or(1, |column| column.saturating_sub(3));
    let why = drawing.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or("not a regex");
    ConditionError::Syntax { pattern: source.to_owned(), place: place.max(1), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(pattern: &str) -> Result<Conditions, ConditionError> {
        Conditions::parse(&[pattern.to_owned()], &[], &[], None, None)
    }

    #[test]
    fn useless_patterns_are_refused_with_a_hint() {
        for (pattern, wanted) in [
            ("", "--until-literal"),
            ("a*", "--until-literal"),
            ("^$", "--until-literal"),
            (r"\b", "--until-literal"),
            ("[DONE]", "--until-literal"),
            ("[^x]", "--until-literal"),
            (r"[]\]x]", "--until-literal"),
            ("[[:alpha:]]", "--until-literal"),
            ("DONE(", "at character 5"),
            ("a[", "at character 2"),
            ("*", "at character 1"),
            ("äö(", "at character 3"),
            (r"\w{900}{9}", "too large"),
        ] {
            let said = until(pattern).expect_err(pattern).to_string();
            assert!(said.contains(wanted), "{pattern}: {said}");
        }
        for good in ["DONE", "[D]ONE", r"\[DONE\]", "[a] [b]", "[a]|[b]", "^.*x$", r"\bx\b", "[0-9]+"] {
            assert!(until(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn numbers_and_sizes_are_bounded() {
        assert_eq!(until(&"x".repeat(MAX_PATTERN + 1)).unwrap_err(), ConditionError::TooLarge);
        let many = vec!["x".to_owned(); MAX_PATTERNS + 1];
        assert_eq!(Conditions::parse(&many, &[], &[], None, None).unwrap_err(), ConditionError::TooMany);
        let blank = Conditions::parse(&[], &[" ".into()], &[], None, None).unwrap_err();
        assert!(blank.to_string().contains("--until-line"));
    }

    #[test]
    fn waiting_for_the_first_output_alone_is_no_wait() {
        let minute = Some(Duration::from_secs(60));
        assert!(!Conditions::parse(&[], &[], &[], None, minute).unwrap().is_wait());
        let both = Conditions::parse(&[], &[], &[], minute, None).unwrap();
        assert_eq!(both.idle.unwrap().first, WAIT_FIRST);
    }
}
