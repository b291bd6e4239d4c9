//! A program that only goes forward: the row it is writing now.
//!
//! A row is final when a line feed leaves it. It may take several lines of the screen (soft-wrapped), of which the first
//! may have scrolled off; inside it the cursor may go up and down, as readline does when it repaints a long input. Must
//! never look at rows above it: those are final. Called by `handler` with the emulator as it stands before or after each
//! step.

use super::{
    ROW_CUT,
    text::{blank, push_cells, push_lines, text_hash, wraps},
};
use alacritty_terminal::{
    grid::{Dimensions, Grid},
    index::Line,
    term::cell::{Cell, Flags},
};

/// The open row.
#[derive(Clone, Debug)]
pub(super) struct Forward {
    pub(super) id: u64,
    /// The text of its lines that have scrolled off.
    pub(super) off: String,
    /// Its first line on the screen.
    pub(super) top: i32,
    /// Its last line on the screen.
    pub(super) bottom: i32,
    /// On its last line nothing stands from this column on.
    pub(super) extent: usize,
    /// Characters written or erased since the row was judged.
    pub(super) written: usize,
    /// The text as it was judged last.
    pub(super) judged: Option<u64>,
    /// Nothing was written since reading began, but text stands there.
    pub(super) old: bool,
    /// Begun by a line feed, and nothing has happened to it since.
    pub(super) fresh: bool,
}

/// A row longer than this isn't judged at each rewriting, but only when so much of it is new: else a spinner at the end of
/// a long row costs its length at each turn. 4 KiB: no row of a screen is as long.
const LONG: usize = 4096;
/// Which part of a long row has to be new.
const LONG_PART: usize = 8;

impl Forward {
    /// A row that begins on a line.
    pub(super) fn begin(id: u64, line: i32) -> Forward {
        Forward {
            id,
            off: String::new(),
            top: line,
            bottom: line,
            extent: 0,
            written: 0,
            judged: None,
            old: false,
            fresh: false,
        }
    }

    /// The row that stands around a line; its text is old.
    pub(super) fn stands(id: u64, off: String, grid: &Grid<Cell>, line: i32) -> Forward {
        let mut row = Forward { off, ..Forward::begin(id, line) };
        row.measure(grid, line, 0);
        let text = row.text(grid, row.bottom);
        row.old = !text.is_empty();
        row.judged = Some(text_hash(&text));
        row
    }

    /// The row's lines by the emulator's wrapping, up to line `highest`.
    pub(super) fn measure(&mut self, grid: &Grid<Cell>, line: i32, highest: i32) {
        (self.top, self.bottom, self.extent) = (line, line, usize::MAX);
        while self.top > highest && wraps(grid, self.top - 1) {
            self.top -= 1;
        }
        while self.bottom + 1 < grid.screen_lines() as i32 && wraps(grid, self.bottom) {
            self.bottom += 1;
        }
    }

    /// Its text up to line `last`.
    pub(super) fn text(&self, grid: &Grid<Cell>, last: i32) -> String {
        let mut text = String::with_capacity(self.off.len() + grid.columns());
        text.push_str(&self.off);
        let within = if last == self.bottom { self.extent } else { usize::MAX };
        push_lines(grid, self.top, last, within, &mut text);
        text.truncate(text.trim_end_matches(' ').len());
        text
    }

    /// Its text, if it is to be judged: visible, and other than it was.
    pub(super) fn judge(&mut self, grid: &Grid<Cell>) -> Option<String> {
        if self.written == 0 {
            return None;
        }
        self.written = 0;
        let text = self.text(grid, self.bottom);
        let hash = Some(text_hash(&text));
        if text.is_empty() || hash == self.judged {
            return None;
        }
        self.judged = hash;
        Some(text)
    }

    /// True when a rewriting need not be judged: see [`LONG`].
    pub(super) fn too_long_to_judge(&self, columns: usize) -> bool {
        let len = self.off.len() + (self.bottom - self.top) as usize * columns;
        len > LONG && self.written < len / LONG_PART
    }

    /// The row is about to go on in a line below its last.
    pub(super) fn grow(&mut self, line: i32) {
        (self.bottom, self.extent) = (line, 0);
    }

    /// The screen is about to scroll by a line, the row being at its end.
    pub(super) fn scroll(&mut self, grid: &Grid<Cell>) {
        if self.top == 0 {
            push_cells(grid, 0, grid.columns(), &mut self.off);
        }
        self.top = (self.top - 1).max(0);
        self.extent = 0;
    }

    /// True when a line feed at `line` leaves the row: nothing of it stands below.
    pub(super) fn ends_at(&self, grid: &Grid<Cell>, line: i32) -> bool {
        (line + 1..=self.bottom).all(|l| blank(grid, l))
    }

    /// Tells the emulator that the row's lines are one, also where the wrapping was painted over.
    pub(super) fn mark_wraps(&self, grid: &mut Grid<Cell>) {
        let last = grid.last_column();
        for line in self.top..self.bottom {
            grid[Line(line)][last].flags.insert(Flags::WRAPLINE);
        }
    }

    /// The next part of a row that is too long, and the bytes that stay.
    pub(super) fn cut(&mut self) -> Option<String> {
        if self.off.len() < ROW_CUT {
            return None;
        }
        let rest = self.off.split_off(boundary(&self.off, ROW_CUT));
        Some(std::mem::replace(&mut self.off, rest))
    }

    /// Something changes on one of its lines, before column `end`: what stood there since reading began is part of a row of
    /// now.
    pub(super) fn touch(&mut self, line: i32, end: usize) {
        self.written += 1;
        if line == self.bottom {
            self.extent = self.extent.max(end);
        }
        self.old = false;
        self.fresh = false;
    }
}

/// The last place at or before `at` where a text can be cut.
pub(super) fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}
