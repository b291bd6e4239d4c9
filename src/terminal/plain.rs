//! Lines of plain text, taken from the bytes themselves; the emulator catches up when anything else comes.
//!
//! Where a program writes line after line of printable ASCII, a row's text is its bytes, after as many blanks as there are
//! columns before the one it begins at: a line feed without a return leaves the cursor where it is. What scrolls off anyway
//! need never be drawn: only the last lines are kept for the emulator. Must give exactly the rows that the emulator would; the
//! tests `plain_text_is_the_same_row` hold both against each other.

use crate::model::Cursor;

/// A longer line goes through the emulator. 4 KiB: beyond, the cost of a row no longer counts.
const LINE_MAX: usize = 4096;

/// Text the emulator hasn't seen.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// Whole lines, the last ones.
    lines: Vec<u8>,
    count: usize,
    /// The column at which these begin.
    first: usize,
    /// Lines before these were dropped: the emulator's cursor isn't where they begin.
    dropped: bool,
    /// The last character of those, if they had one: what a program may have repeated.
    last: Option<u8>,
    /// The column at which the next line begins: the width of the screen where a character would wrap.
    column: usize,
    columns: usize,
    /// The beginning of the next line.
    tail: Vec<u8>,
    /// Where its parts were read, and how long they are.
    parts: Vec<(Cursor, usize)>,
}

impl Plain {
    /// True when the emulator has seen all.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.tail.is_empty()
    }

    /// The beginning of the next line.
    pub(super) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Where that beginning was read.
    pub(super) fn tail_at(&self) -> Option<Cursor> {
        self.parts.first().map(|(at, _)| *at)
    }

    /// Text begins at a column of the emulator's screen.
    pub(super) fn start(&mut self, column: usize, columns: usize) {
        (self.first, self.column, self.columns) = (column, column, columns);
    }

    /// Where the cursor is after so many characters: at the end of the last line they fill, not yet on the next.
    fn after(&self, characters: usize) -> usize {
        if characters <= self.columns { characters } else { (characters - 1) % self.columns + 1 }
    }

    /// The beginning of the next line as it stands on the screen.
    pub(super) fn open_text(&self) -> String {
        " ".repeat(self.column) + &String::from_utf8_lossy(&self.tail)
    }

    /// Takes the next line, if it is plain: its text, and its length in `bytes`. No text where it isn't `wanted`.
    pub(super) fn line(&mut self, bytes: &[u8], wanted: bool) -> Option<(String, usize)> {
        if bytes.first().is_none_or(|first| *first == 0x1b) {
            return None;
        }
        let len = memchr::memchr(b'\n', &bytes[..bytes.len().min(LINE_MAX + 2)])?;
        let (body, returns) = match bytes[..len].strip_suffix(b"\r") {
            Some(body) => (body, true),
            None => (&bytes[..len], false),
        };
        if !self.fits(body) {
            return None;
        }
        let before = self.column;
        self.column = if returns { 0 } else { self.after(before + self.tail.len() + body.len()) };
        if !wanted {
            return Some((String::new(), len + 1));
        }
        let mut text = String::with_capacity(before + self.tail.len() + body.len());
        text.extend(std::iter::repeat_n(' ', before));
        for part in [&self.tail[..], body] {
            text.push_str(std::str::from_utf8(part).ok()?);
        }
        text.truncate(text.trim_end_matches(' ').len());
        Some((text, len + 1))
    }

    /// These bytes were lines, `count` of them.
    pub(super) fn keep(&mut self, bytes: &[u8], count: usize, screen_lines: i32) {
        let screen_lines = screen_lines as usize;
        if count == 0 {
            return;
        }
        self.lines.append(&mut self.tail);
        self.parts.clear();
        self.lines.extend_from_slice(bytes);
        self.count += count;
        // As many lines as the screen has push off all that was on it. Twice as many are let come together, so that each
        // is moved once.
        if self.count > 2 * screen_lines {
            let ends = memchr::memrchr_iter(b'\n', &self.lines);
            let start = ends.into_iter().nth(screen_lines).map_or(0, |end| end + 1);
            let (column, from) = memchr::memrchr(b'\r', &self.lines[..start]).map_or((self.first, 0), |at| (0, at + 2));
            let feeds = memchr::memchr_iter(b'\n', &self.lines[from..start]).count();
            self.first = self.after(column + start - from - feeds);
            self.dropped = true;
            self.last = self.lines[..start].iter().rfind(|b| is_plain(b)).copied().or(self.last);
            self.lines.drain(..start);
            self.count = screen_lines;
        }
    }

    /// Takes the beginning of a line, if it is plain and has no end.
    pub(super) fn begin(&mut self, at: Cursor, bytes: &[u8]) -> bool {
        let fits = self.fits(bytes);
        if fits {
            self.tail.extend_from_slice(bytes);
            self.parts.push((at, bytes.len()));
        }
        fits
    }

    /// What the emulator hasn't seen: lines, and parts of the next with their places.
    pub(super) fn take(&mut self) -> (Vec<u8>, Vec<(Cursor, Vec<u8>)>) {
        let mut tail = &self.tail[..];
        let mut parts = Vec::with_capacity(self.parts.len());
        for (at, len) in self.parts.drain(..) {
            let (part, rest) = tail.split_at(len);
            parts.push((at, part.to_vec()));
            tail = rest;
        }
        self.tail.clear();
        self.count = 0;
        let lines = std::mem::take(&mut self.lines);
        if !std::mem::take(&mut self.dropped) {
            return (lines, parts);
        }
        // To where they begin, over what scrolls off.
        let last = self.last.take();
        let way = last.into_iter().chain([b'\r']).chain(std::iter::repeat_n(last.unwrap_or(b' '), self.first));
        (way.chain(lines).collect(), parts)
    }

    fn fits(&self, bytes: &[u8]) -> bool {
        let short = self.tail.len() + bytes.len() <= LINE_MAX;
        // The first byte alone says it for most that isn't; the rest is compiled to vector instructions.
        short && bytes.first().is_none_or(is_plain) && bytes.iter().fold(true, |all, b| all & is_plain(b))
    }
}

fn is_plain(byte: &u8) -> bool {
    (0x20..0x7f).contains(byte)
}
