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
