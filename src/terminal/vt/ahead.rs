//! Plain text that wasn't drawn yet: of a long run of rows only the last screenful ever shows.
//!
//! Pure. Text comes from [`super::Vt`], and goes back to it to be drawn, without what has scrolled off. It must leave the
//! screen as if all had been drawn; the tests `text_that_is_not_drawn_at_once_is_the_same` hold both against each other.

use super::machine::Machine;
use crate::model::KIB;
use alacritty_terminal::{grid::Dimensions, term::TermMode};
use unicode_width::UnicodeWidthChar;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    text: Vec<u8>,
    /// So much of it has been looked through.
    seen: usize,
}

impl Ahead {
    /// A shorter run before an escape sequence is drawn at once.
    pub(super) const WORTH: usize = 512;
    /// Text is looked through when so much more has come together …
    const TRIM: usize = 64 * KIB;
    /// … and drawn when so much of it may show.
    const MAX: usize = 256 * KIB;

    /// How many bytes at the beginning change nothing but text: all but escape sequences and shifts of character sets.
    pub(super) fn plain(bytes: &[u8]) -> usize {
        memchr::memchr3(0x1b, 0x0e, 0x0f, bytes).unwrap_or(bytes.len())
    }

    /// Takes more of it.
    pub(super) fn push(&mut self, bytes: &[u8], machine: &Machine) {
        self.text.extend_from_slice(bytes);
        if self.text.len() >= self.seen + Self::TRIM {
            self.trim(machine);
        }
    }

    pub(super) fn fits(&self) -> bool {
        self.text.len() < Self::MAX
    }

    /// What is to be drawn.
    pub(super) fn take(&mut self, machine: &Machine) -> Vec<u8> {
        self.trim(machine);
        self.seen = 0;
        std::mem::take(&mut self.text)
    }

    /// Drops what has scrolled off. The column where the rest begins stays, as blanks: they scroll off, too.
    fn trim(&mut self, machine: &Machine) {
        let width = Width::of(machine);
        if let Some(cut) = width.scrolled_off(&self.text, machine.lines() as usize)
            && let Some(column) = width.column_at(&self.text[..cut], machine)
            && let Some(start) = cut.checked_sub(1 + column)
        {
            self.text[start] = b'\r';
            self.text[start + 1..cut].fill(b' ');
            self.text.drain(..start);
        }
        self.seen = self.text.len();
    }
}

/// What decides where text goes on in a row. A column as many as there are means: at the end of the row, not yet on the next.
struct Width<'a> {
    columns: usize,
    wraps: bool,
    tabs: &'a [bool],
}

impl Width<'_> {
    fn of(machine: &Machine) -> Width<'_> {
        Width { columns: machine.term.columns(), wraps: machine.is(TermMode::LINE_WRAP), tabs: &machine.tabs }
    }

    /// A place in the text before which nothing shows any more. As many rows as the screen has, begun after it, leave nothing
    /// of what was before; as many again, and each row of the screen was scrolled in.
    fn scrolled_off(&self, text: &[u8], lines: usize) -> Option<usize> {
        let by_feeds = memchr::memrchr_iter(b'\n', text).nth(2 * lines);
        // A long row counts for several. Each fills all its columns but the last one, of which nothing but its end is known;
        // there are at most as many line feeds as rows, at most as many returns, and perhaps the beginning of another end.
        let enough = (2 * lines + 1) * self.columns + 2 * (2 * lines) + 1;
        let by_wraps = text.len().checked_sub(enough).filter(|at| self.wraps && by_feeds.is_none_or(|feed| feed < *at));
        by_wraps.filter(|at| fills_rows(&text[*at..])).or(by_feeds)
    }

    /// The column where this text ends.
    fn column_at(&self, text: &[u8], machine: &Machine) -> Option<usize> {
        let (mut column, begin) = match memchr::memrchr(b'\r', text) {
            Some(at) => (0, at + 1),
            None => (self.cursor(machine)?, 0),
        };
        for part in text[begin..].utf8_chunks() {
            column = match part.valid() {
                valid if valid.bytes().fold(true, |all, b| all & is_simple(b)) => {
                    let feeds = memchr::memchr_iter(b'\n', valid.as_bytes()).count();
                    self.after(column, valid.len() - feeds)
                }
                valid => valid.chars().fold(column, |column, c| self.after_char(column, c)),
            };
            // as the parser has it: a byte that would be a control is one, anything else is shown as one character
            let control = matches!(part.invalid(), [] | [0x80..=0x9f]);
            column = if control { column } else { self.after(column, 1) };
        }
        Some(column)
    }

    /// The column where the text begins. None where the cursor waits for the next row within one, after a change of sizes.
    fn cursor(&self, machine: &Machine) -> Option<usize> {
        let (_, column) = machine.cursor();
        match machine.term.grid().cursor.input_needs_wrap {
            false => Some(column),
            true => (column + 1 == self.columns).then_some(self.columns),
        }
    }

    /// After so many characters, each one column wide.
    fn after(&self, column: usize, characters: usize) -> usize {
        match column + characters {
            end if end <= self.columns => end,
            end if self.wraps => (end - 1) % self.columns + 1,
            _ => self.columns,
        }
    }

    fn after_char(&self, column: usize, c: char) -> usize {
        match c {
            '\t' if column < self.columns => {
                let last = self.columns - 1;
                (column + 1..last).find(|at| self.tabs[*at]).unwrap_or(last)
            }
            '\t' if self.wraps => 0,
            '\x08' => column.min(self.columns - 1).saturating_sub(1),
            _ => match c.width() {
                None | Some(0) => column,
                Some(1) => self.after(column, 1),
                Some(width) if column + width <= self.columns => column + width,
                Some(width) if self.wraps => width,
                Some(_) => self.columns,
            },
        }
    }
}

/// A character of ASCII that is seen, or a line feed.
fn is_simple(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) || byte == b'\n'
}

/// Nothing in it leaves a row before it is full, but ends of rows.
fn fills_rows(text: &[u8]) -> bool {
    let ends = |at: usize| text.get(at + 1).is_none_or(|next| *next == b'\n');
    text.iter().fold(true, |all, b| all & (is_simple(*b) | (*b == b'\r'))) && memchr::memchr_iter(b'\r', text).all(ends)
}
