//! Is a program at work on what was sent to it last, given that nothing more comes? Asked by a session's watchdog.
//!
//! Pure: the records of a turn in, a verdict out. The reading is the one for a reply, given all the time in the world: what
//! would end it (the prompt, a question, quiet where no prompt is known) is a program that waits for somebody. It must never
//! say "at work" of one that does; a doubt is none: a program that paints its screen, or whose prompt isn't surely one, is at
//! work only where there was no answer at all.

use super::{Follow, Plan};
use crate::model::{LogTime, Record, Stamp};
use crate::stop::{Conditions, Prompt, StopSet};
use crate::wire::Content;
use std::time::Duration;

/// A silence so long says all that a silence can say. A day: longer than any of the reading's own times.
const FOREVER: Duration = Duration::from_secs(86_400);

/// The reading.
pub struct AtWork {
    follow: Follow,
    waits: bool,
    last: Stamp,
}

impl AtWork {
    /// Of a turn: a plan for a reading from it on.
    pub fn new(plan: Plan) -> AtWork {
        let conditions = Conditions::default().for_reply(FOREVER, Duration::MAX);
        let plan = Plan { conditions, content: Content::Rows, follow: true, ..plan };
        let last = Stamp { log: plan.start_log.unwrap_or(LogTime(0)), ..Stamp::default() };
        AtWork { follow: Follow::new(plan, last.wall), waits: false, last }
    }

    /// The next record.
    pub fn record(&mut self, record: &Record) {
        let mut printed = Vec::new();
        self.last = record.at;
        self.waits |= self.follow.record(record, &mut printed).is_some();
    }

    /// All records have been given.
    pub fn verdict(mut self) -> bool {
        let mut printed = Vec::new();
        let late = Stamp { log: self.last.log.after(FOREVER * 2), ..self.last };
        let waits = self.waits || self.follow.time(late, &mut printed).is_some();
        !waits && self.follow.is_surely_at_work()
    }
}

impl Follow {
    /// Of a reading of a turn's reply that nothing ended.
    fn is_surely_at_work(&self) -> bool {
        let paints = self.screen.as_ref().is_some_and(|screen| screen.paints());
        match self.answered || self.stops.as_ref().is_some_and(StopSet::answered) {
            true => !paints && self.prompt.as_ref().is_some_and(Prompt::is_sure),
            false => !paints || self.read.0 <= self.plan.start.seq,
        }
    }
}
