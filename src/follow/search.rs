//! Looking for a pattern in one session's log: records in, hits out.
//!
//! Pure. Rows are those that a reader of the log sees, nothing is masked; of inputs, the lines of what was typed, where it was
//! shown. Every row is looked at once, when it is final or when the end of the search finds it on the screen. It must never
//! hold more than a row, its neighbours, and the hits that wait for the rows after them.

use crate::{
    model::{Cursor, Event, InputText, Kind, Record, Size, Wall},
    stop::{ConditionError, row_regex},
    terminal::{RowEvent, Rows},
};
use memchr::{memchr, memchr2, memmem::Finder};
use regex::Regex;
use regex_syntax::hir::{Hir, HirKind};
use std::{collections::VecDeque, sync::Arc};

/// The most rows before and after a hit: more is reading, and `logs --since @SEQ` does that.
pub const MAX_CONTEXT: usize = 100;
/// The most bytes of rows before a hit, and after it: a row may have a megabyte.
const CONTEXT_BYTES: usize = 64 * crate::model::KIB;
/// An input has at most so many bytes; more of its parts are passed over.
const INPUT_BYTES: usize = 4 * crate::model::MIB;

/// What is looked for.
#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    /// A text that stands in every row that matches.
    needle: Option<Finder<'static>>,
}

impl Pattern {
    /// Checks and compiles a regex.
    pub fn parse(source: &str) -> Result<Pattern, ConditionError> {
        let regex = row_regex(source)?;
        let needle = regex_syntax::parse(source).ok().and_then(|hir| needle(&hir));
        Ok(Pattern { regex, needle: needle.map(|text| Finder::new(&text).into_owned()) })
    }
}

/// The longest text that is certain to stand in what matches. Without blanks before it: those of a row may come from where
/// the cursor was, and stand in no byte.
fn needle(hir: &Hir) -> Option<Vec<u8>> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(literal.0.trim_ascii_start().to_vec()).filter(|text| !text.is_empty()),
        HirKind::Capture(group) => needle(&group.sub),
        HirKind::Repetition(repeated) if repeated.min > 0 => needle(&repeated.sub),
        HirKind::Concat(parts) => parts.iter().filter_map(needle).max_by_key(Vec::len),
        _ => None,
    }
}

/// Where rows are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// In what programs wrote.
    #[default]
    Output,
    /// In what was typed.
    Input,
}

/// A row that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it begins; of an input, its record.
    pub at: Cursor,
    /// In which run.
    pub run: u32,
    /// After this turn began.
    pub turn: Option<u64>,
    /// When it was final, or typed.
    pub wall: Wall,
    /// The row.
    pub row: Arc<str>,
    /// Rows before it, oldest first.
    pub before: Vec<Arc<str>>,
    /// Rows after it.
    pub after: Vec<Arc<str>>,
}

/// Where a search begins.
#[derive(Clone, Debug)]
pub struct Begin {
    /// Rows that begin before this place aren't looked at.
    pub at: Cursor,
    /// The run there.
    pub run: u32,
    /// The last turn before it.
    pub turn: Option<u64>,
    /// Of the terminal.
    pub size: Size,
}

/// A search of one log. It is given each record, once, in order; before `begin.at` some, so that the screen is known.
pub struct Search {
    pattern: Pattern,
    side: Side,
    begin: Begin,
    rows: Rows,
    events: Vec<RowEvent>,
    begun: bool,
    /// Where the next row begins.
    next: Cursor,
    /// The needle, or its beginning, may stand in the row that isn't final.
    open: bool,
    /// The last bytes of output, less than a needle.
    carried: Vec<u8>,
    context: Context,
    /// An input that comes in parts.
    input: Option<(Cursor, Vec<u8>)>,
    wall: Wall,
}

impl Search {
    /// `context`: so many rows before and after each hit.
    pub fn new(pattern: Pattern, side: Side, context: usize, begin: Begin) -> Search {
        let rows = Rows::new(begin.size);
        let context = Context { rows: context.min(MAX_CONTEXT), ..Context::default() };
        Search {
            pattern,
            side,
            next: begin.at,
            begin,
            rows,
            events: Vec::new(),
            begun: false,
            open: true,
            carried: Vec::new(),
            context,
            input: None,
            wall: Wall::default(),
        }
    }

    /// The next record.
    pub fn record(&mut self, record: &Record, out: &mut Vec<Found>) {
        if record.kind == Kind::Output && self.side == Side::Input {
            return;
        }
        let place = Cursor::at(record.seq);
        if !self.begun && place >= self.begin.at {
            self.begun = true;
            self.rows.baseline();
            self.context.before.clear();
        }
        match record.event() {
            Ok(Event::Output(bytes)) => {
                self.wall = record.at.wall;
                self.want(&bytes);
                self.rows.feed(place, record.at.log, &bytes, &mut self.events);
                self.look(out);
            }
            Ok(event) => self.event(record, &event, out),
            Err(_) => {} // of a later version: passed over
        }
    }

    /// There is no more: what stands on the screen is looked at.
    pub fn finish(&mut self, out: &mut Vec<Found>) {
        self.rows.finish(&mut self.events);
        self.look(out);
        self.context.end(out);
    }

    /// Whether rows of plain text in these bytes have to be looked at one by one: only where the needle stands in the bytes,
    /// or in the beginning of a row that they may end.
    fn want(&mut self, bytes: &[u8]) {
        let Some(needle) = self.pattern.needle.as_ref().filter(|_| self.context.rows == 0) else { return };
        let keep = needle.needle().len().saturating_sub(1);
        let joint = &bytes[..bytes.len().min(keep)];
        self.carried.extend_from_slice(joint);
        let here = needle.find(bytes).is_some() || needle.find(&self.carried).is_some();
        let escapes = memchr(0x1b, bytes).is_some(); // rows of other kinds may come, and want their places exact
        self.rows.want_plain(here || escapes || self.open);
        self.open = here || (self.open && memchr2(b'\n', b'\r', bytes).is_none());
        let seen = if joint.len() < bytes.len() { bytes } else { &self.carried[..] };
        let tail = seen[seen.len().saturating_sub(keep)..].to_vec();
        self.carried = tail;
    }

    fn event(&mut self, record: &Record, event: &Event, out: &mut Vec<Found>) {
        match event {
            Event::Starting { run, size } => {
                self.begin.run = *run;
                self.fresh(record, *size, out);
            }
            Event::Exited { .. } | Event::Gap { .. } => self.fresh(record, self.begin.size, out),
            Event::Resize(size) => {
                self.begin.size = *size;
                self.rows.resize(*size, &mut self.events);
                self.look(out);
            }
            Event::Input { turn, part, text, .. } => {
                if self.begun {
                    self.begin.turn = turn.or(self.begin.turn);
                }
                if self.side == Side::Input {
                    self.typed(record, *part, text, out);
                }
            }
            _ => {}
        }
    }

    /// A run ends or begins, or nobody knows what came next: what stands on the screen is final, the next one is blank.
    fn fresh(&mut self, record: &Record, size: Size, out: &mut Vec<Found>) {
        self.rows.finish(&mut self.events);
        self.look(out);
        self.begin.size = size;
        self.rows = Rows::new(size);
        self.next = self.next.max(record.end());
        self.carried.clear();
        self.open = true;
    }

    fn typed(&mut self, record: &Record, part: (u16, u16), text: &InputText, out: &mut Vec<Found>) {
        let InputText::Shown(text) = text else { return };
        let (at, bytes) = match part.0 {
            0 => self.input.insert((Cursor::at(record.seq), Vec::new())),
            _ => match &mut self.input {
                Some(input) => input,
                None => return, // its beginning stands before the start
            },
        };
        if bytes.len() < INPUT_BYTES {
            bytes.extend_from_slice(&text.0);
        }
        if part.0 + 1 < part.1 || !self.begun {
            return;
        }
        let (at, text) = (*at, String::from_utf8_lossy(bytes).into_owned());
        self.input = None;
        self.wall = record.at.wall;
        for line in text.lines() {
            self.next = at;
            self.row(line.into(), out);
        }
        self.context.end(out);
        self.context.before.clear(); // another text isn't this one's neighbour
    }

    fn look(&mut self, out: &mut Vec<Found>) {
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            let RowEvent::Final(row) = event else { continue };
            if self.begun {
                self.row(row.text, out);
            }
            self.next = self.next.max(row.end);
        }
        self.events = events;
        self.next = self.next.max(self.rows.last_end());
    }

    fn row(&mut self, text: String, out: &mut Vec<Found>) {
        let matches = self.pattern.regex.is_match(&text);
        if !matches && self.context.rows == 0 {
            return;
        }
        let row: Arc<str> = text.into();
        self.context.passed(&row, out);
        if matches {
            let Begin { run, turn, .. } = self.begin;
            let before = self.context.before.iter().cloned().collect();
            let found =
                Found { at: self.next, run, turn, wall: self.wall, row: row.clone(), before, after: Vec::new() };
            self.context.hit(found, out);
        }
        self.context.seen(row);
    }
}

/// Rows around hits.
#[derive(Default)]
struct Context {
    rows: usize,
    before: VecDeque<Arc<str>>,
    /// Hits, and how many more rows each wants after it, oldest first.
    waiting: VecDeque<(Found, usize)>,
}

impl Context {
    fn hit(&mut self, found: Found, out: &mut Vec<Found>) {
        match self.rows {
            0 => out.push(found),
            rows => self.waiting.push_back((found, rows)),
        }
    }

    /// A row comes after the hits that wait.
    fn passed(&mut self, row: &Arc<str>, out: &mut Vec<Found>) {
        for (found, wanted) in &mut self.waiting {
            let fits = bytes(found.after.iter()) + row.len() <= CONTEXT_BYTES;
            if fits {
                found.after.push(row.clone());
            }
            *wanted = if fits { *wanted - 1 } else { 0 };
        }
        while self.waiting.front().is_some_and(|(_, wanted)| *wanted == 0) {
            out.extend(self.waiting.pop_front().map(|(found, _)| found));
        }
    }

    fn seen(&mut self, row: Arc<str>) {
        if self.rows == 0 {
            return;
        }
        self.before.push_back(row);
        while self.before.len() > self.rows || bytes(self.before.iter()) > CONTEXT_BYTES {
            self.before.pop_front();
        }
    }

    /// No row comes any more.
    fn end(&mut self, out: &mut Vec<Found>) {
        out.extend(self.waiting.drain(..).map(|(found, _)| found));
    }
}

fn bytes<'a>(rows: impl Iterator<Item = &'a Arc<str>>) -> usize {
    rows.map(|row| row.len()).sum()
}

#[cfg(test)]
mod tests;
