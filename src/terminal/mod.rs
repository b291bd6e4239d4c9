//! What a person would see: bytes in, rows out.
//!
//! Pure: bytes and log time in, rows out; no clock, no I/O. Data comes from the records of a log (by way of `follow`) and
//! goes to `stop` (patterns) and `follow` (printing).

pub mod keys;
pub mod modes;
pub mod paste;
pub mod queries;
mod area;
mod forward;
mod frames;
mod handler;
mod lexer;
mod plain;
mod rows;
mod screen;
mod seen;
mod steps;
mod text;
mod vt;

pub use rows::Rows;
pub use vt::{Shown, Vt};

use crate::model::Cursor;

/// A row as a person reads it: soft-wrapped screen lines joined, trailing blanks removed, no escape codes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The number of the row in this reading: an open row that is judged several times and then final keeps it, so does a
    /// row of a painted screen that is rewritten in place or moves. No two final rows have the same (parts of one row do);
    /// rising for a program that goes forward, in no order for one that paints.
    pub id: u64,
    /// What stands right above it, where that is known.
    pub above: Option<Above>,
    /// Its text. At most [`ROW_CUT`] bytes; a longer row comes in parts, `more` set on all but the last.
    pub text: String,
    /// How many of the removed blanks stand before the cursor, which is in this row: a prompt's `$ `. Of judged rows only.
    pub blanks: usize,
    /// True when the same row goes on in the next `Row` (it was cut at [`ROW_CUT`], or before).
    pub more: bool,
    /// The place just after the byte that made it final (or after the last byte fed, for a judged row): rising from row to
    /// row. A reader that printed this row goes on here. Rows that are final by the same bytes have the same end.
    pub end: Cursor,
}

/// The row above another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Above {
    /// Its number.
    pub id: u64,
    /// Blank lines between the two that aren't rows of this reading.
    pub blanks: usize,
}

/// A row longer than this is handed out in parts. 1 MiB: the longest row that anyone prints on purpose.
pub const ROW_CUT: usize = crate::model::MIB;

/// What reading the bytes brought to light, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RowEvent {
    /// A row that isn't final may be looked at as it stands: it is about to be rewritten, or nothing came for [`SETTLE`].
    Judged(Row),
    /// A row that will not change any more. It comes once.
    Final(Row),
    /// The whole screen was wiped: what comes now may be a transcript that is written anew.
    Wiped,
}

/// A row without output for so long is looked at as it stands.
pub const SETTLE: std::time::Duration = std::time::Duration::from_millis(100);
