//! A whole terminal: bytes in, the screen as it stands out, and bytes that draw it again elsewhere.
//!
//! Pure: time comes with the bytes. The same bytes at the same times give the same screen, however they are cut. Data comes
//! from the records of a log (by way of `session`) and goes to `screen`, to terminals that attach and, as answers to
//! queries, back to the program. It must never hold more than a bounded amount of memory, whatever a program writes.

mod ahead;
mod answers;
mod cells;
mod dump;
mod keys;
mod machine;
mod pen;
#[cfg(test)]
mod tests;

use super::{lexer::Lexer, text::push_cells};
use crate::model::{KIB, LogTime, Size};
use ahead::Ahead;
use alacritty_terminal::{
    grid::Dimensions,
    term::TermMode,
    vte::ansi::{Processor, Timeout},
};
use machine::Machine;
use std::{borrow::Cow, time::Duration};

/// A terminal without scrollback.
pub struct Vt {
    parser: Processor<Held>,
    machine: Machine,
    lexer: Lexer,
    /// What was read and hasn't shown yet: the beginning of a character or of an escape sequence.
    begun: Vec<u8>,
    /// The beginning of a character, which the parser hasn't got: it loses what follows some of those.
    torn: Vec<u8>,
    /// What a synchronized update holds back.
    held: Vec<u8>,
    /// How often an update was begun or prolonged.
    updates: u64,
    /// When that is shown though it isn't whole.
    due: Option<LogTime>,
    ahead: Ahead,
}

/// The screen as a person sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
    /// The cursor's column, from 0.
    pub x: u16,
    /// The cursor's row, from 0.
    pub y: u16,
    /// The cursor is shown.
    pub visible: bool,
    /// The window's title.
    pub title: String,
    /// The alternate screen is shown.
    pub alternate: bool,
    /// All rows, from the top, trailing blanks removed; a wide character stands once.
    pub lines: Vec<String>,
}

impl Vt {
    /// A blank screen.
    pub fn new(size: Size) -> Vt {
        Vt {
            parser: Processor::new(),
            machine: Machine::new(size),
            lexer: Lexer::default(),
            begun: Vec::new(),
            torn: Vec::new(),
            held: Vec::new(),
            updates: 0,
            due: None,
            ahead: Ahead::default(),
        }
    }

    /// Takes bytes that were read at `now`. A synchronized update shows when it is whole, or after [`Vt::deadline`].
    pub fn feed(&mut self, now: LogTime, bytes: &[u8]) {
        self.settle(now);
        let plain = if self.is_calm() { Ahead::plain(bytes) } else { 0 };
        if plain == bytes.len() || plain >= Ahead::WORTH {
            self.ahead.push(&bytes[..plain], &self.machine);
            if plain == bytes.len() && self.ahead.fits() {
                return;
            }
            self.catch_up();
            return self.advance(now, &bytes[plain..]);
        }
        self.catch_up();
        self.advance(now, bytes);
    }

    /// Time has come to `now`: a synchronized update that isn't ended by then is shown as it is.
    pub fn settle(&mut self, now: LogTime) {
        if self.due.is_some_and(|due| due <= now) {
            self.parser.stop_sync(&mut self.machine);
            self.due = None;
            let shown = std::mem::take(&mut self.held);
            self.note_begun(&shown);
        }
    }

    /// When [`Vt::settle`] has something to do.
    pub fn deadline(&self) -> Option<LogTime> {
        self.due
    }

    /// The terminal has a new size.
    pub fn resize(&mut self, size: Size) {
        self.catch_up();
        self.machine.resize(size);
    }

    /// The screen.
    pub fn shown(&mut self) -> Shown {
        self.catch_up();
        let grid = self.machine.term.grid();
        let (line, column) = self.machine.cursor();
        let text = |line| {
            let mut text = String::new();
            push_cells(grid, line, grid.columns(), &mut text);
            text.truncate(text.trim_end_matches(' ').len());
            text
        };
        Shown {
            cols: grid.columns() as u16,
            rows: grid.screen_lines() as u16,
            x: column as u16,
            y: line as u16,
            visible: self.machine.is(TermMode::SHOW_CURSOR),
            title: self.machine.title.clone().unwrap_or_default(),
            alternate: self.machine.is(TermMode::ALT_SCREEN),
            lines: (0..self.machine.lines()).map(text).collect(),
        }
    }

    /// The rows with their colours, for people to print: a line feed after each, blank ones at the end left out.
    pub fn painted(&mut self) -> Vec<u8> {
        self.catch_up();
        dump::painted(&self.machine)
    }

    /// Bytes that bring any terminal of this size to this state: what it shows, its modes, and what it has begun to read.
    pub fn dump(&mut self) -> Vec<u8> {
        self.catch_up();
        let mut out = Vec::with_capacity(4 * KIB);
        dump::dump(&self.machine, &mut out);
        if self.due.is_some() {
            out.extend_from_slice(b"\x1b[?2026h");
            out.extend_from_slice(&self.held);
        } else {
            out.extend_from_slice(&self.begun);
        }
        out.extend_from_slice(&self.torn);
        out
    }

    /// The answers to what was asked since the last call, in the order asked.
    pub fn answers(&mut self) -> Vec<String> {
        std::mem::take(&mut self.machine.answers) // plain text asks nothing: it needn't be drawn for this
    }

    /// Text that comes now is text.
    fn is_calm(&self) -> bool {
        self.begun.is_empty() && self.torn.is_empty() && self.due.is_none() && self.machine.scrolls_whole()
    }

    fn catch_up(&mut self) {
        let plain = self.ahead.take(&self.machine);
        if !plain.is_empty() {
            self.advance(LogTime::default(), &plain); // no time is looked at: it begins no update
        }
    }

    fn advance(&mut self, now: LogTime, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let joined;
        let mut bytes = bytes;
        if !self.torn.is_empty() {
            self.torn.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.torn);
            bytes = &joined;
        }
        let bytes = without_torn(bytes);
        let bytes = &*bytes;
        let (whole, lost) = sound_part(bytes);
        let sound;
        let bytes = if bytes.len() - whole <= TORN_MAX {
            self.torn.extend_from_slice(&bytes[whole..]);
            &bytes[..whole]
        } else {
            sound = [&bytes[..whole], &REPLACEMENT.repeat(lost)].concat();
            &sound
        };
        self.parser.advance(&mut self.machine, bytes);
        let Held { begun, held } = *self.parser.sync_timeout();
        self.held.extend_from_slice(bytes); // of what was held back before and of this …
        if held {
            let shown = self.held.len().saturating_sub(self.parser.sync_bytes_count());
            self.held.drain(..shown); // … the end is held back now
            if begun != self.updates {
                self.updates = begun;
                self.due = Some(now.after(SYNC_MAX));
            }
            self.begun.clear();
            self.lexer = Lexer::default();
        } else {
            self.due = None;
            let seen = std::mem::take(&mut self.held);
            self.note_begun(&seen);
        }
    }

    /// Keeps what a sequence that isn't whole consists of.
    fn note_begun(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        if let Some(start) = memchr::memrchr(ESC, bytes) {
            self.begun.clear();
            self.lexer = Lexer::default();
            rest = &bytes[start..];
        } else if self.lexer.ground() {
            return;
        }
        let kept = rest;
        while !rest.is_empty() {
            let (len, _) = self.lexer.next(rest);
            rest = &rest[len..];
            if self.lexer.broken_off() {
                self.parser.advance(&mut self.machine, &[CANCEL]);
            }
            if self.lexer.ground() {
                return self.begun.clear();
            }
        }
        self.begun.extend(kept.iter().filter(|b| **b == ESC || **b >= 0x20)); // controls inside have had their effect
    }
}

const ESC: u8 = 0x1b;
/// Breaks an escape sequence off.
const CANCEL: u8 = 0x18;
/// What stands for the beginning of a character that nothing completes.
const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();
/// A synchronized update that isn't ended is ended after so long: as alacritty does.
const SYNC_MAX: Duration = Duration::from_millis(150);

/// More bytes that begin a character, one after the other, are none. 16: no text has two.
const TORN_MAX: usize = 16;

/// The length without beginnings of characters at the end, and how many of those there are.
fn sound_part(bytes: &[u8]) -> (usize, usize) {
    let (mut end, mut lost) = (bytes.len(), 0);
    loop {
        let tail = bytes[..end].iter().rev().take(3).position(|b| *b >= 0xc0).map_or(0, |i| i + 1);
        let incomplete = std::str::from_utf8(&bytes[end - tail..end])
            .is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none());
        if !incomplete {
            return (end, lost);
        }
        (end, lost) = (end - tail, lost + 1);
    }
}

/// Beginnings of characters before an escape sequence replaced: the parser would keep one that stands before the next update
/// until that is over.
fn without_torn(bytes: &[u8]) -> Cow<'_, [u8]> {
    let (mut out, mut taken) = (Vec::new(), 0);
    for escape in memchr::memchr_iter(ESC, bytes).filter(|at| *at > 0 && bytes[at - 1] >= 0x80) {
        let (whole, lost) = sound_part(&bytes[taken..escape]);
        if lost > 0 {
            out.extend_from_slice(&bytes[taken..taken + whole]);
            out.extend_from_slice(&REPLACEMENT.repeat(lost));
            taken = escape;
        }
    }
    if taken == 0 {
        return bytes.into();
    }
    out.extend_from_slice(&bytes[taken..]);
    out.into()
}

/// A clock for the parser that tells only whether an update is held back; times are kept by [`Vt`].
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    begun: u64,
    held: bool,
}

impl Timeout for Held {
    fn set_timeout(&mut self, _: Duration) {
        self.begun += 1;
        self.held = true;
    }

    fn clear_timeout(&mut self) {
        self.held = false;
    }

    fn pending_timeout(&self) -> bool {
        self.held
    }
}

impl Vt {
    /// A window of the screen for a terminal of that size, row by row with its colours: what stands right of `from.0` columns and below
    /// `from.1` rows. Each row ends with the rest of its line blank.
    pub fn clipped(&mut self, from: (u16, u16), window: Size) -> Vec<Vec<u8>> {
        self.catch_up();
        (0..window.rows)
            .map(|row| dump::clipped(&self.machine, from.0, from.1.saturating_add(row), window.cols))
            .collect()
    }
}
