//! What happens when a run ends: restart, after which delay, or not; and when a run is looked at that may hang.
//!
//! Pure: the policy, the history and a random number in, a decision out. The session's actor asks, the supervisor carries
//! it out.

mod plan;
mod tree;
pub mod watchdog;

pub use plan::{Known, Plan, Present, Step, Todo, plan};
pub use tree::{Effect, Fault, Input, Seen, Stand, Tree};

use crate::model::{LogTime, Restart, RestartMode};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What becomes of a session whose run has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Decision {
    /// It stays ended.
    Stay,
    /// Another run, after this delay.
    Restart(Duration),
    /// It would be restarted, but ended too often.
    GiveUp,
}

/// Decides. `failed`: the run ended as none should. `wanted`: someone asked for the end. `restarts`: when earlier restarts of this session were decided.
/// `jitter`: 0 to 1; delays of many sessions that ended together shall differ.
pub fn decide(
    policy: &Restart,
    failed: bool,
    wanted: bool,
    restarts: &[LogTime],
    now: LogTime,
    jitter: f64,
) -> Decision {
    let again = match policy.mode {
        RestartMode::Never => false,
        RestartMode::OnFailure => failed,
        RestartMode::Always => true,
    };
    if wanted || !again {
        return Decision::Stay;
    }
    let recent = restarts.iter().filter(|at| now.since(**at) < policy.within).count();
    match u32::try_from(recent) {
        Ok(n) if n < policy.max_restarts => Decision::Restart(backoff(policy, n, jitter)),
        _ => Decision::GiveUp,
    }
}

/// The `n`th delay in a row: doubled each time up to the longest, then spread by 10 % to either side, within the bounds that
/// were asked for. The spread is small enough that each delay is longer than the one before it, until the longest is reached.
fn backoff(policy: &Restart, n: u32, jitter: f64) -> Duration {
    let doubled = policy.backoff_min.saturating_mul(2u32.saturating_pow(n.min(31))).min(policy.backoff_max);
    let shortest = (doubled - doubled / 10).max(policy.backoff_min);
    let longest = doubled.saturating_add(doubled / 10).min(policy.backoff_max);
    shortest + longest.saturating_sub(shortest).mul_f64(jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::model::Status;

    const SECOND: u64 = 1_000_000_000;

    fn policy(mode: RestartMode) -> Restart {
        Restart { mode, max_restarts: 3, ..Restart::default() }
    }

    #[test]
    fn the_mode_decides_first() {
        use RestartMode::*;
        let (ok, bad) = (Status::Code(0), Status::Signal(9));
        for (mode, status, wanted, again) in [
            (Never, bad, false, false),
            (OnFailure, ok, false, false),
            (OnFailure, bad, false, true),
            (OnFailure, Status::Unknown, false, true),
            (OnFailure, bad, true, false),
            (Always, ok, false, true),
            (Always, ok, true, false),
        ] {
            let decision = decide(&policy(mode), status.is_failure(), wanted, &[], LogTime(0), 0.5);
            assert_eq!(matches!(decision, Decision::Restart(_)), again, "{mode:?} {status:?} wanted={wanted}");
        }
    }

    #[test]
    fn delays_grow_and_then_it_gives_up() {
        let policy = policy(RestartMode::Always);
        let mut restarts = vec![];
        let mut delays = vec![];
        for k in 0..3 {
            let now = LogTime(k * SECOND);
            match decide(&policy, true, false, &restarts, now, [1.0, 0.0, 0.5][k as usize]) {
                Decision::Restart(d) => delays.push(d),
                other => panic!("{other:?} at {k}"),
            }
            restarts.push(now);
        }
        assert!(delays.windows(2).all(|w| w[0] < w[1]), "{delays:?}");
        assert_eq!(decide(&policy, true, false, &restarts, LogTime(3 * SECOND), 0.5), Decision::GiveUp);
        let later = LogTime(601 * SECOND);
        assert!(matches!(decide(&policy, true, false, &restarts, later, 0.5), Decision::Restart(_)), "forgiven");
    }

    #[test]
    fn delays_stay_within_their_bounds_and_differ() {
        let seconds = |n, jitter| backoff(&Restart::default(), n, jitter).as_secs_f64();
        for n in 0..40 {
            let (low, middle, high) = (seconds(n, 0.0), seconds(n, 0.5), seconds(n, 1.0));
            assert!(1.0 <= low && low < middle && middle < high && high <= 60.0, "{n}: {low} {middle} {high}");
        }
        let second = Duration::from_secs(1);
        for (min, max) in [(second, second), (second * 9, second * 10), (Duration::ZERO, second), (second * 2, second)]
        {
            let policy = Restart { backoff_min: min, backoff_max: max, ..Restart::default() };
            for (n, jitter) in [(0, 0.0), (0, 1.0), (1, 0.0), (1, 1.0), (u32::MAX, 0.5)] {
                let delay = backoff(&policy, n, jitter);
                assert!(min.min(max) <= delay && delay <= min.max(max), "{min:?}..{max:?}, {n}, {jitter}: {delay:?}");
            }
        }
    }
}
