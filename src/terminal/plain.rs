//! Lines of plain text, taken from the bytes themselves; the emulator catches up when anything else comes.
//!
//! Where a program writes line after line of printable ASCII, a row's text is its bytes. What scrolls off anyway need never
//! be drawn: only the last lines are kept for the emulator. Must give exactly the rows that the emulator would; the test
//! `plain_text_is_the_same_row` holds both against each other.

use crate::model::Cursor;

/// A longer line goes through the emulator. 4 KiB: beyond, the cost of a row no longer counts.
const LINE_MAX: usize = 4096;

/// Text the emulator hasn't seen.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// Whole lines, the last ones.
    lines: Vec<u8>,
    count: usize,
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

    /// The text of the next line, and the length of the line in `bytes`, if it is plain. No text where it isn't `wanted`.
    pub(super) fn line(&self, bytes: &[u8], wanted: bool) -> Option<(String, usize)> {
        if bytes.first().is_none_or(|first| *first == 0x1b) {
            return None;
        }
        let len = memchr::memchr(b'\n', &bytes[..bytes.len().min(LINE_MAX + 2)])?;
        let body = bytes[..len].strip_suffix(b"\r").filter(|body| self.fits(body))?;
        if !wanted {
            return Some((String::new(), len + 1));
        }
        let mut text = String::with_capacity(self.tail.len() + body.len());
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
        (std::mem::take(&mut self.lines), parts)
    }

    fn fits(&self, bytes: &[u8]) -> bool {
        let plain = |b: &u8| (0x20..0x7f).contains(b);
        let short = self.tail.len() + bytes.len() <= LINE_MAX;
        // The first byte alone says it for most that isn't; the rest is compiled to vector instructions.
        short && bytes.first().is_none_or(plain) && bytes.iter().fold(true, |all, b| all & plain(b))
    }
}
