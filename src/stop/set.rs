//! The stop conditions of one wait, at work.
//!
//! Pure. `follow` gives rows, events and log time in the order of the log; a verdict comes out, once. Conditions that fall
//! together: pattern, exit, idle (in that order `follow` gives what belongs to one moment). It must never look at a clock,
//! believe a row that stood before the start, or forget that an open row may be half an echo.

use super::{
    Answer, Conditions, Hit, Input,
    cut::CutRow,
    echo::{Masked, Masks},
    find::{Readable, find},
    fold::{floor, is_decoration, is_folded},
    inputs::MAX_MASK,
};
use crate::{
    model::{Event, LogTime, Status},
    terminal::Row,
};
use std::{ops::Range, time::Duration};

/// An open row whose end may be half an echo is believed when it has stood so for this long, in log time, after the text was
/// typed. 5 s: a line editor that takes longer to show a text that is all there has not been seen.
pub const HALF_TYPED: Duration = Duration::from_secs(5);

/// What ended a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fired {
    /// A pattern matched.
    Pattern {
        /// Which, and what.
        hit: Hit,
        /// In which row.
        row: Row,
    },
    /// The run the wait started in has ended.
    Exit(Status),
    /// No output for long enough.
    Idle,
    /// The program has answered, or will say no more.
    Answer(Answer),
}

/// Looks at a log, row by row, until something that is waited for comes.
#[derive(Debug)]
pub struct StopSet {
    conditions: Conditions,
    masks: Masks,
    run: u32,
    standing: Standing,
    last_output: LogTime,
    /// When silence before the first output is too long; nothing once there was output, or where it isn't asked.
    first_until: Option<LogTime>,
    cut: Option<Cut>,
    doubt: Option<Doubt>,
}

/// What stood on the row of the cursor at the start: old.
#[derive(Debug)]
struct Standing {
    text: String,
    row: Option<u64>,
}

/// A row that comes in parts.
#[derive(Debug)]
struct Cut {
    search: CutRow,
    /// Not searched yet: an echo may go on in the next part.
    kept: String,
}

/// A match that needs what may be half an echo.
#[derive(Debug)]
struct Doubt {
    hit: Hit,
    row: Row,
    until: LogTime,
}

impl StopSet {
    /// A wait that starts at log time `start`. `before`: the inputs before it; `standing`: what stood on the row of the cursor.
    pub fn new(
        conditions: Conditions,
        run: u32,
        from_turn: bool,
        before: &[Input],
        standing: &str,
        start: LogTime,
    ) -> StopSet {
        let first_until = conditions.idle.filter(|_| from_turn).map(|idle| start.after(idle.first));
        StopSet {
            masks: Masks::new(before),
            run,
            standing: Standing { text: standing.to_owned(), row: None },
            last_output: start,
            first_until,
            cut: None,
            doubt: None,
            conditions,
        }
    }

    /// True while rows are of interest.
    pub fn wants_rows(&self) -> bool {
        self.conditions.has_patterns() || self.first_until.is_some()
    }

    /// Output was read.
    pub fn output(&mut self, now: LogTime) {
        self.last_output = now;
    }

    /// Rows are numbered afresh: a run has ended, or begins.
    pub fn new_rows(&mut self) {
        self.masks.new_rows();
        self.standing = Standing { text: String::new(), row: None };
        self.cut = None;
        self.doubt = None;
    }

    /// The program gets what was typed; `standing`: what stands on the row of the cursor, which is old.
    pub fn enter(&mut self, standing: &str) {
        self.standing = Standing { text: standing.to_owned(), row: None };
    }

    /// Something other than output happened.
    pub fn event(&mut self, event: &Event, now: LogTime) -> Option<Fired> {
        self.masks.event(event, now);
        match event {
            Event::Exited { run, status, .. } if *run >= self.run => Some(Fired::Exit(*status)),
            Event::Starting { run, .. } if *run > self.run => Some(Fired::Exit(Status::Unknown)),
            _ => None,
        }
    }

    /// A row that is no answer, as the program has nothing yet of what is being typed. The echo may have begun in it.
    pub fn echo(&mut self, row: &Row, is_final: bool, now: LogTime) {
        if self.wants_rows() {
            self.masks.row(row.id, row.above, &row.text, !is_final, now);
        }
    }

    /// A row as it stands, or as it stays (`is_final`).
    pub fn row(&mut self, row: &Row, is_final: bool, now: LogTime) -> Option<Fired> {
        if !self.wants_rows() {
            return None;
        }
        let old = self.standing.of(row)?;
        if row.more || self.cut.is_some() {
            return self.part(row, is_final, old, now);
        }
        let Masked { mut hidden, held } = self.masks.row(row.id, row.above, &row.text, !is_final, now);
        hide(&mut hidden, old);
        let sure = held.clone().map(|held| {
            let mut sure = hidden.clone();
            hide(&mut sure, held);
            sure
        });
        self.is_output(&row.text, sure.as_ref().unwrap_or(&hidden));
        if let Some(hit) = self.find(row, sure.as_ref().unwrap_or(&hidden)) {
            return Some(Fired::Pattern { hit, row: row.clone() });
        }
        let doubtful = sure.and_then(|_| self.find(row, &hidden));
        self.doubt(row, doubtful, now);
        None
    }

    /// What happened by `now`, which is a [`StopSet::deadline`], or before it.
    pub fn time(&mut self, now: LogTime) -> Option<Fired> {
        let idle = self.idle_at().filter(|at| *at <= now);
        if let Some(doubt) = self.doubt.take_if(|doubt| doubt.until <= now && idle.is_none_or(|at| doubt.until <= at)) {
            if !self.masks.is_busy(now) {
                return Some(Fired::Pattern { hit: doubt.hit, row: doubt.row });
            }
            self.doubt = Some(Doubt { until: now.after(HALF_TYPED), ..doubt });
        }
        idle.map(|_| Fired::Idle)
    }

    /// When [`StopSet::time`] has something to say, if nothing else comes.
    pub fn deadline(&self) -> Option<LogTime> {
        let doubt = self.doubt.as_ref().map(|doubt| doubt.until);
        [self.idle_at(), doubt].into_iter().flatten().min()
    }

    /// There was output that isn't echo.
    pub fn answered(&self) -> bool {
        self.first_until.is_none()
    }

    fn idle_at(&self) -> Option<LogTime> {
        if self.conditions.reply.is_some_and(|rule| rule.judges) {
            return None; // `prompt` knows when a silence counts
        }
        let idle = self.conditions.idle?;
        Some(self.first_until.unwrap_or_else(|| self.last_output.after(idle.silence)))
    }

    /// A person waits for `$ ` as well as for `$`: the blanks before the cursor may stand there or not, but for those that
    /// were typed.
    fn find(&self, row: &Row, hidden: &[Range<usize>]) -> Option<Hit> {
        let patterns = &self.conditions.patterns;
        find(patterns, &Readable::new(&row.text, hidden)).or_else(|| {
            let typed = hidden.last().is_some_and(|range| range.end == row.text.len());
            let text = (row.blanks > 0 && !typed).then(|| format!("{}{:2$}", row.text, "", row.blanks))?;
            find(patterns, &Readable::new(&text, hidden))
        })
    }

    /// Notes the first output of a turn that isn't echo: a visible character outside masks. Where a part of the row is
    /// echo, a prompt or a frame around it is none either.
    fn is_output(&mut self, text: &str, hidden: &[Range<usize>]) {
        if self.first_until.is_none() {
            return;
        }
        let nothing = if hidden.is_empty() { is_folded } else { is_decoration };
        if !Readable::new(text, hidden).bare.chars().all(nothing) {
            self.first_until = None;
        }
    }

    fn doubt(&mut self, row: &Row, doubtful: Option<Hit>, now: LogTime) {
        let same = self.doubt.as_ref().is_some_and(|doubt| doubt.row.id == row.id);
        if same && doubtful.is_some() && self.doubt.as_ref().is_some_and(|doubt| doubt.row.text == row.text) {
            return;
        }
        if same {
            self.doubt = None;
        }
        if let (Some(hit), None) = (doubtful, &self.doubt) {
            self.doubt = Some(Doubt { hit, row: row.clone(), until: now.after(HALF_TYPED) });
        }
    }

    /// A part of a row that is too long to be held. An open one is looked at and forgotten.
    fn part(&mut self, row: &Row, is_final: bool, old: Range<usize>, now: LogTime) -> Option<Fired> {
        let cut = self.cut.take();
        if !is_final && cut.is_none() {
            return None;
        }
        let mut cut =
            cut.unwrap_or_else(|| Cut { search: CutRow::new(&self.conditions.patterns), kept: String::new() });
        let text = format!("{}{}", cut.kept, row.text);
        let mut hidden = self.masks.row(row.id, row.above, &text, row.more || !is_final, now).hidden;
        hide(&mut hidden, old);
        self.is_output(&text, &hidden);
        let upto = if row.more { self.safe_cut(&text, &hidden) } else { text.len() };
        hidden.retain(|range| range.end <= upto);
        let part = Readable::new(&text[..upto], &hidden);
        let hit = if is_final {
            let hit = cut.search.part(&part, !row.more);
            cut.search.forget();
            cut.kept = text[upto..].to_owned();
            self.cut = row.more.then_some(cut);
            hit
        } else {
            let hit = cut.search.clone().part(&part, true);
            self.cut = Some(cut);
            hit
        };
        hit.map(|hit| Fired::Pattern { hit, row: row.clone() })
    }

    /// Up to where a part can be searched: no echo that goes on in the next part begins before.
    fn safe_cut(&self, text: &str, hidden: &[Range<usize>]) -> usize {
        if self.masks.is_empty() {
            return text.len();
        }
        let upto = floor(text, text.len().saturating_sub(MAX_MASK));
        hidden.iter().find(|range| range.contains(&upto)).map_or(upto, |range| range.start)
    }
}

impl Standing {
    /// What of the row stood there at the start; nothing when that is all there is.
    fn of(&mut self, row: &Row) -> Option<Range<usize>> {
        let standing = self.text.trim_end();
        if standing.is_empty() || self.row.is_some_and(|id| id != row.id) {
            return Some(0..0);
        }
        if !row.text.starts_with(standing) {
            self.row.get_or_insert(row.id);
            return Some(0..0);
        }
        self.row = Some(row.id);
        let length = if row.text.starts_with(&self.text) { self.text.len() } else { standing.len() };
        (row.text.len() > standing.len()).then_some(0..length)
    }
}

fn hide(hidden: &mut Vec<Range<usize>>, range: Range<usize>) {
    if range.is_empty() {
        return;
    }
    let (apart, joined): (Vec<_>, Vec<_>) =
        hidden.drain(..).partition(|other| other.end < range.start || range.end < other.start);
    let start = joined.iter().map(|other| other.start).fold(range.start, usize::min);
    let end = joined.iter().map(|other| other.end).fold(range.end, usize::max);
    *hidden = apart;
    hidden.insert(hidden.partition_point(|other| other.end < start), start..end);
}
