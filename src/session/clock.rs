//! A session's log time: runs with the monotonic clock while the host runs and the session isn't held up by the log.
//!
//! The only place in `session` that reads a clock. Everything pure gets its stamps.

use crate::model::{LogTime, Stamp, Wall};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The clock of one session.
pub(super) struct Clock {
    base: LogTime,
    running_since: Option<Instant>,
    stopped_at: Option<Instant>,
}

impl Clock {
    /// Goes on from `base`, from now.
    pub(super) fn from(base: LogTime) -> Clock {
        Clock { base, running_since: Some(Instant::now()), stopped_at: None }
    }

    /// Now.
    pub(super) fn stamp(&self) -> Stamp {
        let run = self.running_since.map_or(Duration::ZERO, |since| since.elapsed());
        Stamp { wall: wall_now(), log: self.base.after(run) }
    }

    /// Time doesn't count from here.
    pub(super) fn pause(&mut self) {
        if self.running_since.is_some() {
            self.base = self.stamp().log;
            self.running_since = None;
            self.stopped_at = Some(Instant::now());
        }
    }

    /// Time counts again. Says how long it didn't.
    pub(super) fn go_on(&mut self) -> Duration {
        if self.running_since.is_none() {
            self.running_since = Some(Instant::now());
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
        let mut clock = Clock::from(LogTime(5));
        clock.pause();
        let stood = clock.stamp().log;
        assert!(stood >= LogTime(5));
        assert_eq!(clock.stamp().log, stood);
        clock.go_on();
        assert!(clock.stamp().log >= stood);
    }
}
