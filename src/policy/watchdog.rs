//! When a run with a watchdog is looked at: pure arithmetic of log time.
//!
//! Log time stands while the log holds a program up and while no host runs, so neither is taken for a hang. Whether a run
//! that was quiet for long enough is at work at all isn't decided here: its log is read for that.

use crate::model::LogTime;
use std::time::Duration;

/// A run is looked at no sooner than after this: log time can stand, and is asked again. 20 ms: no load at all.
const SOONEST: Duration = Duration::from_millis(20);

/// What is to be done now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// Nothing; look again after this.
    Later(Duration),
    /// It was quiet for long enough: is it at work?
    Judge,
}

/// `progress`: when a submitted text, or something in answer to it, came last; nothing where none is open. `judged`: the
/// progress after which it was found to wait for somebody: nothing has changed since. `limit`: the watchdog's.
pub fn look(progress: Option<LogTime>, judged: Option<LogTime>, now: LogTime, limit: Duration) -> Look {
    match progress.filter(|progress| judged != Some(*progress)) {
        None => Look::Later(limit.max(SOONEST)), // what is submitted from now on isn't due sooner
        Some(progress) => match limit.checked_sub(now.since(progress)) {
            Some(left) if !left.is_zero() => Look::Later(left.max(SOONEST)),
            _ => Look::Judge,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_run_is_judged_once() {
        let at = |seconds: u64| LogTime(seconds * 1_000_000_000);
        let limit = Duration::from_secs(10);
        let later = |seconds| Look::Later(Duration::from_secs(seconds));
        for (progress, judged, now, wanted) in [
            (None, None, 100, later(10)),
            (Some(at(50)), None, 50, later(10)),
            (Some(at(50)), None, 57, later(3)),
            (Some(at(50)), None, 60, Look::Judge),
            (Some(at(50)), None, 90, Look::Judge),
            (Some(at(50)), Some(at(50)), 90, later(10)),
            (Some(at(51)), Some(at(50)), 90, Look::Judge),
            (Some(at(60)), None, 50, later(10)), // time that seems to have gone back
        ] {
            assert_eq!(look(progress, judged, at(now), limit), wanted, "{progress:?} {judged:?} {now}");
        }
        let close = look(Some(at(0)), None, LogTime(9_999_999_999), limit);
        assert_eq!(close, Look::Later(SOONEST));
    }
}
