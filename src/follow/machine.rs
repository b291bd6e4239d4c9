//! The machine of a reading.

use super::{End, Frame, Plan};
use crate::model::{LogTime, Record, Stamp, Wall};

/// One reading of one session's log. It is given each record from the plan's `scan_from` on, once, in order.
pub struct Follow {
    plan: Plan,
}

impl Follow {
    /// Begins a reading; `now` is shown in its start line.
    pub fn new(plan: Plan, _now: Wall) -> Follow {
        Follow { plan }
    }

    /// The first frames of a connection: `hello` and `start`.
    pub fn open(&mut self, _out: &mut Vec<Frame>) {}

    /// The next record. After an end nothing more is given.
    pub fn record(&mut self, _record: &Record, _out: &mut Vec<Frame>) -> Option<End> {
        let _ = &self.plan;
        None
    }

    /// All records up to `now` have been given; later ones are later than `now`.
    pub fn time(&mut self, _now: Stamp, _out: &mut Vec<Frame>) -> Option<End> {
        None
    }

    /// When [`Follow::time`] has something to do, if no record comes before.
    pub fn deadline(&self) -> Option<LogTime> {
        None
    }

    /// All there is has been given. `live`: the session runs, or will run again by itself. To be called each time the end of
    /// the log is reached, and when the session has ended for good.
    pub fn end_of_log(&mut self, _now: Stamp, _live: bool, _out: &mut Vec<Frame>) -> Option<End> {
        None
    }

    /// The client's own time is up: prints the unfinished row and ends with `timeout`. All records up to `now` have been given.
    pub fn abandon(&mut self, _now: Stamp, _out: &mut Vec<Frame>) -> Option<End> {
        None
    }
}
