//! The words everything else speaks: ids, seqs, cursors, events, specs, states, exit codes, durations.
//!
//! No I/O, no clock, no environment.

mod duration;
mod event;
mod exit;
mod fleet;
mod id;
mod raw;
mod signal;
mod spec;
mod state;

pub use duration::{DurationError, format_duration, parse_duration};
pub use event::{
    BadRecord, Cursor, CursorError, Event, GapReason, InputText, Kind, LogTime, Record, Seq, SpanKind, Stamp, Status,
    Step, Wall,
};
pub use exit::Exit;
pub use fleet::{Group, Shape, ShapeError, Strategy};
pub use id::{Key, Name, NameError, Process, SessionId};
pub use raw::RawString;
pub use signal::{SignalError, signal_name, signal_number};
pub use spec::{Care, Program, Restart, RestartMode, Size, SizeError, Spec};
pub use state::State;

/// Binary kilobyte, for bounds.
pub const KIB: usize = 1024;
/// Binary megabyte, for bounds.
pub const MIB: usize = 1024 * KIB;
