//! Rows of a stream of bytes: the emulator, and what it shows as it goes.

use super::{RowEvent, RowSource};
use crate::model::{Cursor, LogTime, Size};

/// Makes rows of a session's output, with a terminal emulator of its own.
///
/// Begins with a blank screen at any place of the stream: feed some output before the place that matters, then say
/// [`Rows::baseline`].
#[derive(Debug)]
pub struct Rows {
    size: Size,
}

impl Rows {
    /// A blank screen.
    pub fn new(size: Size) -> Rows {
        Rows { size }
    }

    /// Reading starts here: what stands on the screen now is old. Rows that stand there and don't change are never judged
    /// or final; the row of the cursor stays open and comes with its whole text when it is final.
    pub fn baseline(&mut self) {}

    /// The text of the row the cursor stands in now, such as a prompt; trailing blanks kept up to the cursor.
    pub fn open_text(&self) -> String {
        String::new()
    }
}

impl RowSource for Rows {
    fn feed(&mut self, _at: Cursor, _now: LogTime, _bytes: &[u8], _out: &mut Vec<RowEvent>) {}
    fn settle(&mut self, _now: LogTime, _out: &mut Vec<RowEvent>) {}
    fn deadline(&self) -> Option<LogTime> {
        None
    }
    fn resize(&mut self, size: Size, _out: &mut Vec<RowEvent>) {
        self.size = size;
    }
    fn finish(&mut self, _out: &mut Vec<RowEvent>) {}
}
