//! What a reading reads, and what comes out of it: values only.
//!
//! A plan is made by the server from a query and the log; it must never hold a word whose meaning changes with time (`now`,
//! `last-send`), or a reading couldn't be taken up again.

use crate::{
    model::{Cursor, Exit, LogTime, Name, Seq, SessionId, Size, Stamp, Status, Wall},
    stop::{Conditions, Input},
    wire::{Content, EndLine, EndReason, Line},
};
use bytes::Bytes;
use std::time::Duration;

/// The most rows that `lines` can ask for; more is this many. A million rows of 80 columns are what a client still reads.
pub const MAX_LINES: u64 = 1_000_000;

/// A reading, resolved: cursors instead of words. The same plan, but for `after`, gives the same reading again.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Whose log.
    pub session: Name,
    /// The session behind the name.
    pub id: SessionId,
    /// The run the start lies in: a wait ends with it.
    pub run: u32,
    /// The last turn at the start, for the end line.
    pub turn: Option<u64>,
    /// How that run ended, where nothing but its end is waited for and it has ended.
    pub ended: Option<Status>,
    /// The terminal's size at `scan_from`.
    pub size: Size,
    /// The first record that is given: at or before `start`, so that what stood on the screen is known (pre-roll).
    pub scan_from: Cursor,
    /// Judging starts here. For a turn: its first input record.
    pub start: Cursor,
    /// Log time at `start`, for a start that is a point in time (`now`, a duration, RFC 3339). Without it, it is that of the
    /// record before `start` (of the first from there on for a turn or a run), so `scan_from` should be before `start`.
    pub start_log: Option<LogTime>,
    /// Printing starts here: `start`, or on a reconnect the last `next` the client has.
    pub after: Cursor,
    /// True when `start` is the start of a turn: its echo isn't printed, and silence counts from its first output on.
    pub from_turn: bool,
    /// The start is where a line editor left off: what stands on the cursor's row is its own.
    pub after_editor: bool,
    /// The reading ends here at the latest.
    pub to: Option<Bound>,
    /// Of what stands in the log when it is read up to its end for the first time, print the last rows only.
    pub lines: Option<u64>,
    /// How output is printed.
    pub content: Content,
    /// Every event is printed, not gaps alone.
    pub events_all: bool,
    /// Lines carry log time, and `size` is the terminal's at `start`.
    pub times: bool,
    /// What stood on the screen at `start`: the first data frame draws it.
    pub before: Option<Before>,
    /// What it waits for.
    pub conditions: Conditions,
    /// The last inputs of the run before `start`, oldest first. See [`crate::stop::Inputs`].
    pub masks: Vec<Input>,
    /// Go on at the end of the log.
    pub follow: bool,
    /// The host's, for `hello`.
    pub generation: u64,
}

/// What stood on the screen before a reading.
#[derive(Clone, Debug)]
pub struct Before {
    /// Bytes that draw it on a blank terminal of that size.
    pub drawn: Vec<u8>,
    /// When the reading begins.
    pub at: Stamp,
}

/// Where a reading ends at the latest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// Before this place.
    Cursor(Cursor),
    /// Before the first record after this time.
    Wall(Wall),
}

/// What goes to the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A JSON line.
    Line(Line),
    /// Bytes as the program wrote them, and where they stand.
    Raw {
        /// The place of the first of them.
        at: Cursor,
        /// Bytes of one record.
        bytes: Bytes,
    },
}

/// The reading is over. Its end line is the last frame that was put out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct End {
    /// As printed.
    pub line: EndLine,
    /// What a command that asked for it exits with.
    pub exit: Exit,
    /// What was waited for is all there.
    pub whole_reply: bool,
    /// Of a reading for a reply: the prompt that stands at the end of what was printed, or stood before.
    pub prompt: Option<String>,
    /// The reply begins here: what stands before is echo, whatever it looks like.
    pub begins: Option<Cursor>,
    /// The reply ends here: what stands behind is the prompt.
    pub ends: Option<Cursor>,
    /// The last record that was read.
    pub seq: Seq,
    /// Log time from the record that the start is to that one; nothing where the start is none.
    pub took: Duration,
}

/// The exit code of a reading that ended for a reason; `is_wait` when it had stop conditions.
pub fn exit_code(reason: EndReason, is_wait: bool) -> Exit {
    match reason {
        EndReason::Pattern | EndReason::Screen | EndReason::Complete => Exit::Done,
        EndReason::Exit if is_wait => Exit::Ended,
        EndReason::Exit => Exit::Done,
        EndReason::Idle => Exit::Idle,
        EndReason::Timeout => Exit::Timeout,
    }
}
