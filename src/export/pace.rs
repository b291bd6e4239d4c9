//! When each piece of a replay is due.
//!
//! Pure: log time goes in, time since the beginning of the replay comes out. It must never go back.

use crate::model::LogTime;
use std::time::Duration;

/// The pace of a replay.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    speed: f64,
    max_idle: Option<Duration>,
    last: Option<LogTime>,
    due: Duration,
}

impl Pace {
    /// `speed` 2: twice as fast. A silence counts for `max_idle` at most, before it is divided by the speed.
    pub fn new(speed: f64, max_idle: Option<Duration>) -> Pace {
        Pace { speed, max_idle, last: None, due: Duration::ZERO }
    }

    /// When something that happened at `log` is shown, counted from the beginning, which is what is shown first.
    pub fn due(&mut self, log: LogTime) -> Duration {
        let since = self.last.map_or(Duration::ZERO, |last| log.since(last));
        let since = self.max_idle.map_or(since, |most| since.min(most));
        self.last = Some(self.last.map_or(log, |last| last.max(log)));
        self.due = self
            .due
            .saturating_add(Duration::try_from_secs_f64(since.as_secs_f64() / self.speed).unwrap_or(Duration::MAX));
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_shortened_and_time_divided() {
        let at = |ms: u64| LogTime(ms * 1_000_000);
        let table = [
            (1.0, None, vec![(5000, 0), (6000, 1000), (96_000, 91_000), (90_000, 91_000)]),
            (2.0, None, vec![(0, 0), (1000, 500), (1001, 500)]),
            (2.0, Some(Duration::from_secs(2)), vec![(10, 0), (1010, 500), (901_010, 1500)]),
            (1e-300, None, vec![(0, 0), (1000, u128::from(u64::MAX) * 1000 + 999)]),
        ];
        for (speed, max_idle, steps) in table {
            let mut pace = Pace::new(speed, max_idle);
            for (log, due) in steps {
                assert_eq!(pace.due(at(log)).as_millis(), due, "{speed} {max_idle:?} {log}");
            }
        }
    }
}
