//! A session's log time: runs with the monotonic clock while the host runs and the session isn't held up by the log.
//!
//! The only place in `session` that reads a clock. Everything pure gets its stamps.

use crate::model::{LogTime, Stamp, Wall};
use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The clock of one session.
pub(super) struct Clock {
    base: Cell<LogTime>,
    running_since: Cell<Option<Instant>>,
    stopped_at: Cell<Option<Instant>>,
}

impl Clock {
    /// Goes on from `base`, from now.
    pub(super) fn from(base: LogTime) -> Clock {
        Clock { base: Cell::new(base), running_since: Cell::new(Some(Instant::now())), stopped_at: Cell::new(None) }
    }

    /// Now.
    pub(super) fn stamp(&self) -> Stamp {
        let run = self.running_since.get().map_or(Duration::ZERO, |since| since.elapsed());
        Stamp { wall: wall_now(), log: self.base.get().after(run) }
    }

    /// Time doesn't count from here.
    pub(super) fn pause(&self) {
        if self.running_since.get().is_some() {
            self.base.set(self.stamp().log);
            self.running_since.set(None);
            self.stopped_at.set(Some(Instant::now()));
        }
    }

    /// Time counts again. Says how long it didn't.
    pub(super) fn go_on(&self) -> Duration {
        if self.running_since.get().is_none() {
            self.running_since.set(Some(Instant::now()));
        }
        self.stopped_at.take().map_or(Duration::ZERO, |at| at.elapsed())
    }
}

/// The wall clock.
pub fn wall_now() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paused_clock_stands_and_never_goes_back() {
        let clock = Clock::from(LogTime(5));
        clock.pause();
        let stood = clock.stamp().log;
        assert!(stood >= LogTime(5));
        assert_eq!(clock.stamp().log, stood);
        clock.go_on();
        assert!(clock.stamp().log >= stood);
    }
}
