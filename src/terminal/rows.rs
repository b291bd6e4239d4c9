//! Rows of a stream of bytes: cuts the stream into pieces, keeps place and time, and lets `screen` do the rest.
//!
//! Must give the same events for the same bytes and times, however they are cut into feeds.

use super::{
    RowEvent,
    lexer::{Lexer, Piece},
    plain::Plain,
    screen::Screen,
};
use crate::model::{Cursor, LogTime, Size};
use alacritty_terminal::vte::ansi::{Processor, Timeout};
use std::collections::VecDeque;

/// Makes rows of a session's output, with a terminal emulator of its own.
///
/// Begins with a blank screen at any place of the stream: feed some output before the place that matters, then say
/// [`Rows::baseline`].
pub struct Rows {
    parser: Processor<NoSync>,
    lexer: Lexer,
    screen: Screen,
    /// The last piece was a run that goes on in the next bytes.
    running: bool,
    /// Bytes of that run.
    run: usize,
    /// The place after the last byte.
    here: Cursor,
    /// The end of the last final row.
    last_end: Cursor,
    runs: Runs,
    /// The beginning of a character, and where it stands.
    held: Vec<u8>,
    held_at: Cursor,
    /// What the emulator hasn't seen yet.
    ahead: Plain,
    /// Rows of plain text are handed out.
    wanted: bool,
}

impl Rows {
    /// A blank screen.
    pub fn new(size: Size) -> Rows {
        Rows {
            parser: Processor::new(),
            lexer: Lexer::default(),
            screen: Screen::new(size),
            running: false,
            run: 0,
            here: Cursor::default(),
            last_end: Cursor::default(),
            runs: Runs::default(),
            held: Vec::new(),
            held_at: Cursor::default(),
            ahead: Plain::default(),
            wanted: true,
        }
    }

    /// Reading starts here: what stands on the screen now is old. Rows that stand there and don't change are never judged
    /// or final; the row of the cursor stays open and comes with its whole text when it is final.
    pub fn baseline(&mut self) {
        self.catch_up();
        self.screen.baseline();
    }

    /// What stands on a painted screen is looked at once more, and is old from here on. Of a program that goes forward nothing
    /// but the row of the cursor isn't, and that stays open.
    pub fn all_old(&mut self, out: &mut Vec<RowEvent>) {
        std::mem::swap(out, &mut self.screen.out);
        self.catch_up();
        self.screen.all_old(self.here);
        std::mem::swap(out, &mut self.screen.out);
    }

    /// Where the cursor stands at the beginning of a line of the main screen, what stands from there on isn't looked at any more:
    /// a line editor that has lost count of its lines leaves some of them behind.
    pub fn clear_below(&mut self) {
        self.catch_up();
        self.screen.clear_below();
    }

    /// Where the cursor stands at the beginning of a blank line, a row begins, also where that line goes on from the one above.
    pub fn new_row(&mut self) {
        self.catch_up();
        self.screen.new_row();
    }

    /// Whether rows of plain text, whose text stands in the bytes as it is, are handed out from now on. For a reader that has
    /// looked at the bytes and knows that no row in them is of use; other rows come all the same.
    pub fn want_plain(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    /// The end of the last row that was final, handed out or not: where the next one begins.
    pub fn last_end(&self) -> Cursor {
        self.last_end
    }

    /// The least place where a row can end that isn't final yet.
    pub fn next_end(&self) -> Cursor {
        let run = self.ahead.tail_at().or(self.running.then_some(self.screen.mark));
        behind(run.unwrap_or(self.here))
    }

    /// The text of the row the cursor stands in now, such as a prompt; blanks are kept up to the cursor.
    pub fn open_text(&self) -> String {
        match self.ahead.is_empty() {
            true => self.screen.open_text(),
            false => self.ahead.open_text(),
        }
    }

    /// The program moves the cursor over the screen, instead of going forward row by row.
    pub fn paints(&self) -> bool {
        self.screen.paints()
    }

    /// Time passes: what was to be settled by `now` is.
    fn pass(&mut self, now: LogTime) {
        while let Some(due) = self.screen.deadline().filter(|due| *due <= now) {
            if !self.ahead.tail().is_empty() {
                self.catch_up();
            }
            self.screen.now = due;
            self.screen.settle(self.here);
        }
        self.screen.now = now;
        self.screen.sync = self.screen.sync.filter(|end| now < *end);
    }

    /// A piece, and if it ends with the beginning of a character, which nothing completes, the sign for that.
    fn sound_piece(&mut self, start: Cursor, bytes: &[u8], piece: Piece) {
        let broken = if piece == Piece::Run { broken_tail(bytes) } else { 0 };
        if broken == 0 {
            return self.piece(start, bytes, piece);
        }
        let whole = bytes.len() - broken;
        self.sound_piece(start, &bytes[..whole], piece);
        self.running = true;
        let end = Cursor { byte: start.byte + bytes.len() as u32, ..start };
        self.piece(Cursor { byte: start.byte + whole as u32, ..start }, REPLACEMENT, piece);
        self.here = end;
    }

    /// Completes the character that was held back; returns what comes after it.
    ///
    /// The parser takes characters that come in two parts, but loses what follows some of them.
    fn complete<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.held.is_empty() || bytes.is_empty() {
            return bytes;
        }
        let next = bytes.iter().enumerate().find_map(|(i, byte)| {
            self.held.push(*byte);
            (!incomplete(&self.held)).then_some(i)
        });
        let taken = match next {
            None => bytes.len(),
            Some(i) => {
                let held = std::mem::take(&mut self.held);
                let here = self.here;
                let (whole, taken) = match std::str::from_utf8(&held) {
                    Ok(_) => (&held[..], i + 1),
                    Err(_) => (REPLACEMENT, i),
                };
                self.piece(self.held_at, whole, Piece::Run);
                self.ran(held.len() - (i + 1 - taken));
                self.here = here;
                taken
            }
        };
        self.here.byte += taken as u32;
        &bytes[taken..]
    }

    /// Takes lines of plain text without the emulator. Returns how many bytes were taken.
    fn plain_lines(&mut self, bytes: &[u8]) -> usize {
        if !self.lexer.ground() || (self.ahead.is_empty() && (self.running || !self.screen.fresh())) {
            return 0;
        }
        if self.ahead.is_empty() {
            self.ahead.start(self.screen.column(), self.screen.columns());
        }
        let (mut taken, mut kept, mut count, start) = (0, 0, 0, self.here);
        while let Some((text, len)) = self.ahead.line(&bytes[taken..], self.wanted) {
            (taken, count) = (taken + len, count + 1);
            self.last_end = Cursor { byte: start.byte + taken as u32, ..start };
            if self.wanted {
                self.screen.plain_row(text, self.last_end);
            }
            if !self.ahead.tail().is_empty() {
                self.ahead.keep(&bytes[..taken], 1, self.screen.lines());
                (kept, count) = (taken, 0);
            }
        }
        self.ahead.keep(&bytes[kept..taken], count, self.screen.lines());
        self.here.byte += taken as u32;
        let rest = &bytes[taken..];
        if !rest.is_empty() && self.ahead.begin(self.here, rest) {
            self.here.byte += rest.len() as u32;
            self.screen.change();
            return bytes.len();
        }
        taken
    }

    /// Lets the emulator see what was taken without it.
    fn catch_up(&mut self) {
        if self.ahead.is_empty() {
            return;
        }
        let here = self.here;
        let (lines, parts) = self.ahead.take();
        self.parser.advance(&mut self.screen.term, &lines);
        (self.running, self.run) = (false, 0);
        let changed = self.screen.caught_up();
        for (at, part) in parts {
            self.piece(at, &part, Piece::Run);
            self.ran(part.len());
        }
        self.screen.changed_at(changed);
        self.here = here;
    }

    /// So much of a run has been taken; another one begins where it gets long.
    fn ran(&mut self, len: usize) {
        self.run += len;
        self.running = self.run < RUN;
        if !self.running {
            self.run = 0;
        }
    }

    fn piece(&mut self, start: Cursor, bytes: &[u8], piece: Piece) {
        let end = Cursor { byte: start.byte + bytes.len() as u32, ..start };
        if !self.running {
            self.screen.mark = start;
        }
        self.screen.end = if piece == Piece::Control { end } else { behind(self.screen.mark) };
        self.screen.line_end = (piece == Piece::Line).then_some(end);
        self.parser.advance(&mut self.screen, bytes);
        self.runs.add(start, bytes.len(), piece);
        while let Some((mut row, rest)) = self.screen.cut() {
            self.last_end = self.runs.place(rest).unwrap_or(self.last_end).max(self.last_end);
            row.end = self.last_end;
            self.screen.out.push(RowEvent::Final(row));
        }
        if piece == Piece::Line {
            self.last_end = end;
        }
        self.here = end;
    }
}

impl Rows {
    /// Takes the bytes at `at` of the log, that were read at `now`.
    pub fn feed(&mut self, at: Cursor, now: LogTime, bytes: &[u8], out: &mut Vec<RowEvent>) {
        std::mem::swap(out, &mut self.screen.out);
        self.pass(now);
        self.here = at;
        let mut rest = self.complete(bytes);
        while !rest.is_empty() {
            let n = self.plain_lines(rest);
            if n > 0 {
                rest = &rest[n..];
                continue;
            }
            self.catch_up();
            let goes_on = !self.lexer.ground();
            let room = if goes_on { rest.len() } else { rest.len().min(RUN - self.run) };
            let (n, piece) = self.lexer.next(&rest[..room]);
            self.running = if piece == Piece::Control { goes_on } else { self.running };
            let broken = if piece == Piece::Run { broken_tail(&rest[..n]) } else { 0 };
            self.sound_piece(self.here, &rest[..n - broken], piece);
            if piece == Piece::Control && self.lexer.broken_off() {
                self.parser.advance(&mut self.screen, &[CANCEL]);
            }
            match piece {
                Piece::Run => self.ran(n - broken),
                Piece::Line | Piece::Control => (self.running, self.run) = (false, 0),
            }
            if broken > 0 {
                self.held.extend_from_slice(&rest[n - broken..n]);
                self.held_at = self.here;
                self.here.byte += broken as u32;
            }
            rest = self.complete(&rest[n..]);
            self.running &= rest.is_empty();
        }
        std::mem::swap(out, &mut self.screen.out);
    }

    /// Nothing was read up to `now`: rows that have stood for [`super::SETTLE`] are judged.
    pub fn settle(&mut self, now: LogTime, out: &mut Vec<RowEvent>) {
        std::mem::swap(out, &mut self.screen.out);
        self.pass(now);
        std::mem::swap(out, &mut self.screen.out);
    }

    /// When [`Rows::settle`] has something to do, if nothing else comes.
    pub fn deadline(&self) -> Option<LogTime> {
        self.screen.deadline()
    }

    /// The terminal has a new size.
    pub fn resize(&mut self, size: Size, out: &mut Vec<RowEvent>) {
        std::mem::swap(out, &mut self.screen.out);
        self.catch_up();
        (self.screen.mark, self.screen.end) = (self.here, self.here);
        self.screen.resize(size);
        std::mem::swap(out, &mut self.screen.out);
    }

    /// The reading ends here: what stands on the screen and wasn't final is.
    pub fn finish(&mut self, out: &mut Vec<RowEvent>) {
        std::mem::swap(out, &mut self.screen.out);
        self.catch_up();
        self.screen.finish(self.here);
        std::mem::swap(out, &mut self.screen.out);
    }
}

/// A longer run counts as several: rows that it scrolls off a painted screen end at the beginning of theirs, and whoever prints
/// them has to hold those with one end together.
const RUN: usize = 64 * crate::model::KIB;

/// Breaks an escape sequence off.
const CANCEL: u8 = 0x18;

/// What stands for bytes that are no character.
const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

/// Behind the byte that stands here. A row that a run of text makes final ends behind the first byte of it, however the run is
/// cut, and so never where the row before the run does.
fn behind(Cursor { seq, byte }: Cursor) -> Cursor {
    Cursor { seq, byte: byte + 1 }
}

/// How many bytes at the end are the beginning of a character.
fn broken_tail(run: &[u8]) -> usize {
    let tail = run.iter().rev().take(3).position(|b| *b >= 0xc0).map_or(0, |i| i + 1);
    if incomplete(&run[run.len() - tail..]) { tail } else { 0 }
}

/// True for the beginning of a character.
fn incomplete(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
}

/// The parser isn't to hold synchronized updates back: `screen` knows of them, and places stay exact.
#[derive(Debug, Default)]
struct NoSync;

impl Timeout for NoSync {
    fn set_timeout(&mut self, _: std::time::Duration) {}
    fn clear_timeout(&mut self) {}
    fn pending_timeout(&self) -> bool {
        false
    }
}

/// Where the plain text stands that was read last, so that a place in it can be found from its end: a row that is too long
/// for one is cut in the middle.
#[derive(Default)]
struct Runs {
    /// Runs and how many bytes of plain text came before them.
    runs: VecDeque<(u64, Cursor)>,
    total: u64,
}

/// Runs remembered: a screenful of text that comes byte by byte.
const RUNS_MAX: usize = 4096;

impl Runs {
    fn add(&mut self, start: Cursor, len: usize, piece: Piece) {
        if piece != Piece::Run {
            self.runs.clear();
            return;
        }
        if self.runs.len() == RUNS_MAX {
            self.runs.pop_front();
        }
        self.runs.push_back((self.total, start));
        self.total += len as u64;
    }

    /// The place `back` bytes before the end, if all between is plain.
    fn place(&self, back: usize) -> Option<Cursor> {
        let target = self.total.checked_sub(back as u64)?;
        let (before, start) = self.runs.iter().rev().find(|(before, _)| *before <= target)?;
        Some(Cursor { byte: start.byte + u32::try_from(target - before).ok()?, ..*start })
    }
}
