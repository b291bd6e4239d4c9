//! What every reading has in common: records and time in, frames out, an end.
//!
//! Pure. `server` carries readings out and knows only this of them.

use super::{End, Follow, Frame, Plan};
use crate::model::{LogTime, Record, Stamp};

/// A reading of one session's log. It is given each record from its start on, once, in order.
pub trait Reader: Send {
    /// What is read, where it is a log.
    fn plan(&self) -> Option<&Plan> {
        None
    }

    /// The first frames of a connection: `hello` and `start`.
    fn open(&mut self, out: &mut Vec<Frame>);

    /// The next record. After an end nothing more happens.
    fn record(&mut self, record: &Record, out: &mut Vec<Frame>) -> Option<End>;

    /// All records up to `now` have been given; later ones are later than `now`.
    fn time(&mut self, now: Stamp, out: &mut Vec<Frame>) -> Option<End>;

    /// When [`Reader::time`] has something to do, if no record comes before. Nothing while the log is still being read up to
    /// the start.
    fn deadline(&self) -> Option<LogTime>;

    /// All there is has been given. `live`: the session runs, or will run again by itself. To be called each time the end of
    /// the log is reached, and when the session has ended for good.
    fn end_of_log(&mut self, now: Stamp, live: bool, out: &mut Vec<Frame>) -> Option<End>;

    /// The client's own time is up: prints the unfinished row and ends with `timeout`, if nothing else has ended the reading
    /// by `now`. All records up to `now` have been given.
    fn abandon(&mut self, now: Stamp, out: &mut Vec<Frame>) -> Option<End>;
}

impl Reader for Follow {
    fn plan(&self) -> Option<&Plan> {
        Some(Follow::plan(self))
    }

    fn open(&mut self, out: &mut Vec<Frame>) {
        Follow::open(self, out)
    }

    fn record(&mut self, record: &Record, out: &mut Vec<Frame>) -> Option<End> {
        Follow::record(self, record, out)
    }

    fn time(&mut self, now: Stamp, out: &mut Vec<Frame>) -> Option<End> {
        Follow::time(self, now, out)
    }

    fn deadline(&self) -> Option<LogTime> {
        Follow::deadline(self)
    }

    fn end_of_log(&mut self, now: Stamp, live: bool, out: &mut Vec<Frame>) -> Option<End> {
        Follow::end_of_log(self, now, live, out)
    }

    fn abandon(&mut self, now: Stamp, out: &mut Vec<Frame>) -> Option<End> {
        Follow::abandon(self, now, out)
    }
}
