//! A session in a terminal of another size: what fits of it, at the top left, so that the cursor is seen.
//!
//! Keeps a terminal of the session's size and paints rows that differ from what was painted last, at most so often. Output
//! comes in, bytes for the user's terminal go out. It must never let a program's own sequences through: they are for another
//! size.

use crate::model::{LogTime, Size};
use crate::terminal::Vt;
use std::time::Duration;
use tokio::time::Instant;

/// Between two paintings. 20 ms: as often as a person sees a difference.
const PACE: Duration = Duration::from_millis(20);

/// See the module.
pub(super) struct Frame {
    vt: Vt,
    window: Size,
    begun: Instant,
    /// As they were painted last.
    rows: Vec<Vec<u8>>,
    painted: Option<Instant>,
    dirty: bool,
}

impl Frame {
    /// Of a session's screen of size `session` in a terminal of size `window`, which is blank.
    pub(super) fn new(session: Size, window: Size, screen: &[u8]) -> Frame {
        let (vt, rows) = (Vt::new(session), vec![Vec::new(); usize::from(window.rows)]);
        let mut frame = Frame { vt, window, begun: Instant::now(), rows, painted: None, dirty: true };
        frame.feed(screen);
        frame
    }

    /// Takes output.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let now = LogTime::default().after(self.begun.elapsed());
        self.vt.feed(now, bytes);
        self.dirty = true;
    }

    /// When there is something to paint.
    pub(super) fn due(&self) -> Option<Instant> {
        self.dirty.then(|| self.painted.map_or_else(Instant::now, |painted| painted + PACE))
    }

    /// Paints what has changed.
    pub(super) fn paint(&mut self, out: &mut Vec<u8>) {
        self.painted = Some(Instant::now());
        self.vt.settle(LogTime::default().after(self.begun.elapsed()));
        self.dirty = self.vt.deadline().is_some(); // an update that isn't whole yet
        let shown = self.vt.shown();
        let corner = |cursor: u16, window: u16| cursor.saturating_sub(window - 1);
        let (left, top) = (corner(shown.x, self.window.cols), corner(shown.y, self.window.rows));
        let rows = self.vt.clipped((left, top), self.window);
        out.extend_from_slice(b"\x1b[?2026h\x1b[?25l");
        for (line, row) in rows.into_iter().enumerate() {
            if self.rows.get(line) != Some(&row) {
                out.extend_from_slice(format!("\x1b[{};1H\x1b[0m", line + 1).as_bytes());
                out.extend_from_slice(&row);
                if let Some(last) = self.rows.get_mut(line) {
                    *last = row;
                }
            }
        }
        out.extend_from_slice(format!("\x1b[{};{}H", shown.y - top + 1, shown.x - left + 1).as_bytes());
        if shown.visible {
            out.extend_from_slice(b"\x1b[?25h");
        }
        out.extend_from_slice(b"\x1b[?2026l");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(cols: u16, rows: u16) -> Size {
        Size { cols, rows }
    }

    /// What a terminal of the window's size shows of a session's output.
    fn seen(session: Size, window: Size, parts: &[&str]) -> (Vec<String>, u16, u16) {
        let mut frame = Frame::new(session, window, b"");
        let mut user = Vt::new(window);
        for part in parts {
            frame.feed(part.as_bytes());
            let mut out = Vec::new();
            frame.paint(&mut out);
            user.feed(LogTime::default(), &out);
        }
        let shown = user.shown();
        (shown.lines, shown.x, shown.y)
    }

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_larger_terminal_shows_all_of_it_at_the_top_left() {
        let (rows, x, y) = seen(size(6, 2), size(10, 4), &["one\r\ntwo\r\n", "three4567"]);
        assert_eq!((rows, x, y), (lines(&["three4", "567", "", ""]), 3, 1));
    }

    #[test]
    fn a_smaller_one_shows_where_the_cursor_is() {
        let parts = ["one\r\ntwo\r\nthree\r\nfour five", "\x1b[H"];
        let (rows, x, y) = seen(size(10, 6), size(5, 2), &parts[..1]);
        assert_eq!((rows, x, y), (lines(&["", "five"]), 4, 1));
        let (rows, x, y) = seen(size(10, 6), size(5, 2), &parts);
        assert_eq!((rows, x, y), (lines(&["one", "two"]), 0, 0));
    }

    #[test]
    fn colours_stay_and_wide_characters_are_not_torn() {
        let mut frame = Frame::new(size(8, 1), size(3, 1), "a\x1b[31mb漢\x1b[0m\x1b[H".as_bytes());
        let mut out = Vec::new();
        frame.paint(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("a\x1b[0;31mb") && !text.contains('漢'), "{text:?}");
        let mut again = Vec::new();
        frame.feed(b"");
        frame.paint(&mut again);
        assert!(!String::from_utf8(again).unwrap().contains('a'), "only what differs is painted");
    }
}
