//! Is the program ready for the next text: does its prompt stand again, or is it quiet?
//!
//! Pure: what stands on the cursor's row, modes, log time in; a verdict out. Data comes from `follow`, which shows it the log
//! from before the turn on, so that a prompt is known also where something stands before it. It must never take a silence
//! for an answer where a prompt is known, nor a prompt that asks for more of the same text for the one that stood before.
//!
//! What counts, in this order:
//! 1. **The line editor reads again**: bracketed paste was on, went off with Enter, is on again. The answer ends exactly
//!    there, whatever the prompt says now (`cd` changes it), unless it is one that asks for more (`> `, `   ...> `).
//! 2. **The prompt's row stands again**, alone, for [`STANDS`]; behind a row without a line feed, for [`DOUBTFUL`].
//! 3. **Quiet**, where no prompt is known, or the program paints its screen and shows its prompt all the time.

use super::ReplyRule;
use crate::model::{Cursor, Event, LogTime, Step};
use crate::terminal::SETTLE;
use crate::terminal::modes::Modes;
use std::time::Duration;

/// A prompt alone on its row is believed after so long. 300 ms: models that stream pause for less within a row.
pub const STANDS: Duration = Duration::from_millis(300);
/// A prompt behind other text on its row is believed after so long. 1 s: `costs $ ` may go on.
pub const DOUBTFUL: Duration = Duration::from_secs(1);
/// A row that looks like a question and isn't the prompt ends the wait after so long. 15 s: it may be half an answer.
pub const ASKS: Duration = Duration::from_secs(15);
/// How many prompts of earlier turns are kept. 16: as many as turns are looked at for echo.
const PROMPTS: usize = 16;
/// The longest row that is taken for a prompt, in bytes. 1 KiB: a path and a branch in it.
const PROMPT_MAX: usize = 1024;

/// What stands on the screen while nothing comes.
#[derive(Clone, Copy, Debug)]
pub struct Open<'a> {
    /// The row of the cursor, blanks up to the cursor kept.
    pub text: &'a str,
    /// The program moves the cursor over its screen.
    pub paints: bool,
    /// There was output that isn't echo.
    pub answered: bool,
}

/// Why a reply is taken for whole, or not waited for any longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The program's prompt stands again: so much at the end of the cursor's row.
    Prompt(String),
    /// No output for long enough. `whole`: nothing better was to be expected.
    Quiet {
        /// See above.
        whole: bool,
    },
}

/// Looks for the end of an answer.
#[derive(Debug)]
pub struct Prompt {
    rule: ReplyRule,
    modes: Modes,
    /// What stood on the row when the line editor began to read last.
    before: String,
    /// Prompts that earlier texts were typed at, oldest first.
    seen: Vec<String>,
    /// The prompt that is waited for; empty: none is known.
    known: String,
    /// The line editor was reading at the start.
    editing: bool,
    /// It says so behind its prompt.
    late: bool,
    /// Where it left off with Enter: what stands before is echo.
    left: Option<Cursor>,
    /// Where it began to read since Enter.
    again: Option<Cursor>,
    /// Line feeds since it began to read, and how many there were in the prompt that is known.
    height: usize,
    known_height: usize,
    stage: Stage,
    /// When the first output is late; nothing once that was looked at.
    first_until: Option<LogTime>,
    last_output: LogTime,
    /// Silences up to this have been looked at.
    looked: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Before the start.
    Before,
    /// Enter wasn't pressed yet.
    Typing,
    /// It was, and nothing came since.
    Entered,
    /// Something came.
    Answering,
}

impl Prompt {
    /// Before anything was read.
    pub fn new(rule: ReplyRule) -> Prompt {
        Prompt {
            rule,
            modes: Modes::default(),
            before: String::new(),
            seen: Vec::new(),
            known: String::new(),
            editing: false,
            late: false,
            left: None,
            again: None,
            height: 0,
            known_height: 0,
            stage: Stage::Before,
            first_until: None,
            last_output: LogTime::default(),
            looked: Duration::ZERO,
        }
    }

    /// How many of the next bytes of output are to be shown to the screen before [`Prompt::read_on`] is called.
    pub fn part(&mut self, bytes: &[u8]) -> usize {
        self.modes.scan_to_paste(bytes)
    }

    /// The next bytes, up to `at`, were shown to the screen; `open`: the row of the cursor there.
    pub fn read_on(&mut self, bytes: &[u8], at: Cursor, was_on: bool, open: impl FnOnce() -> String) {
        match (was_on, self.pastes()) {
            (false, true) => {
                self.height = 0;
                match self.stage {
                    Stage::Before => self.before = open(),
                    Stage::Answering => self.again = Some(at),
                    Stage::Typing | Stage::Entered => {}
                }
            }
            (true, false) => {
                self.again = None;
                if self.stage == Stage::Answering && self.editing {
                    self.left.get_or_insert(at);
                }
            }
            (true, true) => self.height += memchr::memchr_iter(b'\n', bytes).count(),
            (false, false) => {}
        }
    }

    /// Where the answer begins, if the line editor said so.
    pub fn begins(&self) -> Option<Cursor> {
        self.left
    }

    /// Where the line editor began to read again, if it said so before its prompt.
    pub fn ends(&self) -> Option<Cursor> {
        self.again.filter(|_| !self.late)
    }

    /// The line editor says that it reads.
    pub fn pastes(&self) -> bool {
        self.modes.bracketed_paste()
    }

    /// Another text was typed before the start, at what stood on the row.
    pub fn typed_before(&mut self, open: &str) {
        if !open.trim().is_empty() && open.len() <= PROMPT_MAX {
            self.seen.retain(|seen| seen != open);
            self.seen.push(open.to_owned());
            self.seen.drain(..self.seen.len().saturating_sub(PROMPTS));
        }
    }

    /// A run begins: another program.
    pub fn new_run(&mut self) {
        *self = Prompt::new(self.rule);
    }

    /// The turn begins; `standing`: the row of the cursor.
    pub fn begin(&mut self, standing: &str, now: LogTime) {
        let before = if self.height == 0 { self.before.as_str() } else { "" }; // a row above, else
        let own = standing.strip_prefix(before).filter(|own| self.pastes() && !own.trim().is_empty());
        let shorter = self.seen.iter().filter(|seen| standing.ends_with(seen.as_str()));
        let whole = own.unwrap_or(standing);
        let known = match shorter.min_by_key(|seen| seen.len()) {
            Some(seen) if seen.len() < whole.len() => seen.clone(),
            _ if whole.trim().is_empty() => self.seen.last().cloned().unwrap_or_default(),
            _ => whole.to_owned(),
        };
        self.known = if known.len() <= PROMPT_MAX { known } else { String::new() };
        self.editing = self.pastes();
        self.known_height = self.height;
        self.late = self.editing && own.is_none() && !standing.trim().is_empty();
        self.stage = Stage::Typing;
        self.last_output = now;
        self.first_until = (self.rule.asked || !self.expected()).then(|| now.after(self.rule.first));
    }

    /// The prompt that stood before; empty when none is known.
    pub fn known(&self) -> &str {
        &self.known
    }

    /// The program has one that shows when it waits: its line editor says so, or a row that came back or looks like one.
    pub fn is_sure(&self) -> bool {
        self.editing || self.seen.contains(&self.known) || looks_like_a_question(&self.known)
    }

    /// Something other than output.
    pub fn event(&mut self, event: &Event) {
        if let (Stage::Typing, Event::Typed { step: Step::Enter | Step::EnterDone, .. }) = (self.stage, event) {
            self.stage = Stage::Entered;
        }
    }

    /// Output is about to be read.
    pub fn output(&mut self, now: LogTime) {
        if self.stage == Stage::Entered {
            self.stage = Stage::Answering;
        }
        self.last_output = now;
        self.looked = Duration::ZERO;
    }

    /// When to [`Prompt::look`], if nothing else comes.
    pub fn deadline(&self) -> Option<LogTime> {
        if !self.rule.judges || self.stage == Stage::Before {
            return None;
        }
        let silences = [SETTLE, STANDS, DOUBTFUL, self.rule.quiet, ASKS.max(self.rule.quiet)];
        let next = silences.into_iter().filter(|s| self.stage == Stage::Answering && *s > self.looked).min();
        next.map(|silence| self.last_output.after(silence)).into_iter().chain(self.first_until).min()
    }

    /// Nothing has come up to `now`, which is a [`Prompt::deadline`].
    pub fn look(&mut self, now: LogTime, open: &Open<'_>) -> Option<Answer> {
        let silence = now.since(self.last_output);
        self.looked = silence;
        let late = self.first_until.take_if(|until| *until <= now).is_some() && !open.answered;
        let said = if self.stage == Stage::Answering { self.judge(silence, open) } else { None };
        said.or_else(|| late.then_some(Answer::Quiet { whole: false }))
    }

    fn judge(&self, silence: Duration, open: &Open<'_>) -> Option<Answer> {
        let quiet = silence >= self.rule.quiet;
        let long = |least: Duration| silence >= least.min(self.rule.quiet);
        if self.pastes() && self.again.is_some() {
            let again = self.again(open.text) && long(if self.editing { SETTLE } else { STANDS });
            let prompt = again.then(|| Answer::Prompt(self.prompt_of(open.text)));
            return prompt.or_else(|| quiet.then_some(Answer::Quiet { whole: false }));
        }
        let busy = self.editing && !self.pastes();
        let stands = match self.stands(open.text).filter(|_| !busy) {
            Some(Match::Exactly) if open.paints => quiet,
            Some(Match::Exactly) => long(STANDS),
            Some(Match::Behind) => !open.paints && long(DOUBTFUL),
            Some(Match::Like) => !open.paints && quiet,
            None => false,
        };
        if stands {
            return Some(Answer::Prompt(self.prompt_of(open.text)));
        }
        let whole = open.answered && !busy && (open.paints || !self.expected());
        let asks = self.expected() && silence >= ASKS.max(self.rule.quiet) && looks_like_a_question(open.text);
        (quiet && (whole || self.rule.asked && open.answered) || asks).then_some(Answer::Quiet { whole })
    }

    /// Something better than a silence is to come.
    fn expected(&self) -> bool {
        !self.known.is_empty() || self.editing
    }

    /// True when the row is the prompt of the next text, and doesn't ask for more of this one: only a prompt of one row does.
    fn again(&self, text: &str) -> bool {
        let visible = !text.trim().is_empty();
        match (self.known_height > 0, self.height > 0) {
            (true, false) => false,
            (_, true) => visible,
            (false, false) => visible && (self.known.is_empty() || self.stands(text).is_some()),
        }
    }

    fn prompt_of(&self, text: &str) -> String {
        match self.stands(text) {
            Some(Match::Behind) => self.known.clone(),
            _ => text.to_owned(),
        }
    }

    fn stands(&self, text: &str) -> Option<Match> {
        if self.known.is_empty() || text.trim().is_empty() {
            return None;
        }
        let first = self.seen.first().is_some_and(|first| first == text);
        if first || counted(text).eq(counted(&self.known)) {
            return Some(Match::Exactly);
        }
        if text.ends_with(&self.known) {
            return Some(Match::Behind);
        }
        (text.len() <= PROMPT_MAX && sign(text) == sign(&self.known) && has_words(text) && has_words(&self.known))
            .then_some(Match::Like)
    }
}

/// How a row is the prompt that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Match {
    /// It is, numbers aside.
    Exactly,
    /// It stands at the end of the row.
    Behind,
    /// It has the same sign and other words.
    Like,
}

/// A text whose numbers are all the same: `In [2]:` is `In [1]:`.
fn counted(text: &str) -> impl Iterator<Item = char> {
    let mut digits = false;
    text.chars().filter_map(move |c| {
        let again = digits && c.is_ascii_digit();
        digits = c.is_ascii_digit();
        (!again).then_some(if digits { '0' } else { c })
    })
}

/// The sign at the end of a prompt: its last two characters where they are neither words nor parts of a path, and whether
/// blanks follow. `=>` isn't `->`: one of them asks for more.
fn sign(prompt: &str) -> (String, bool) {
    let bare = prompt.trim_end();
    let signs = bare.chars().rev().take(2).take_while(|c| !is_path(*c) && !c.is_whitespace());
    (signs.collect(), bare.len() < prompt.len())
}

fn has_words(prompt: &str) -> bool {
    prompt.chars().any(is_path)
}

fn is_path(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '/' | '~' | '_')
}

fn looks_like_a_question(row: &str) -> bool {
    let bare = row.trim_end();
    !bare.is_empty() && (bare.len() < row.len() || bare.ends_with(['?', ':', '>', '$', '#']))
}

#[cfg(test)]
mod tests;
