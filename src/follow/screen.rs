//! The seam between reading and the terminal: rows, and what stood there when reading began.
//!
//! Bytes and time go in from `reading`, rows come back. It must never judge or print: it only says what a person would see.

use crate::{
    model::Size,
    terminal::{RowSource, Rows},
};

/// A source of rows that can be told where reading starts.
pub trait Screen: RowSource + Send {
    /// Reading starts here: rows that stand now and don't change are old; the row of the cursor comes with its whole text.
    fn baseline(&mut self);
    /// Where the cursor stands at the beginning of a blank line, a row begins, also where that line goes on from the one above.
    fn new_row(&mut self);
    /// The text of the row of the cursor, blanks up to the cursor kept.
    fn open_text(&self) -> String;
    /// The program moves the cursor over the screen.
    fn paints(&self) -> bool;
}

impl Screen for Rows {
    fn baseline(&mut self) {
        Rows::baseline(self);
    }
    fn new_row(&mut self) {
        Rows::new_row(self);
    }
    fn open_text(&self) -> String {
        Rows::open_text(self)
    }
    fn paints(&self) -> bool {
        Rows::paints(self)
    }
}

/// A blank one.
pub(super) fn real(size: Size) -> Box<dyn Screen> {
    Box::new(Rows::new(size))
}
