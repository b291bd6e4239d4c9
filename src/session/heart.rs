//! One timer a thread beats for all rings whose sessions live on it: an idle session costs no wake-up of its own.
//!
//! A beat writes the session's log time into its ring, so that after a crash time goes on where it was. It must never
//! wake an actor. A ring that is gone leaves by itself; without any, the timer ends.

use super::clock::Clock;
use crate::ring::Pulse;
use std::{cell::RefCell, rc::Rc, time::Duration};
use tokio::time::MissedTickBehavior;

/// After a crash, log time goes on at most so much earlier than it had been.
const HEARTBEAT: Duration = Duration::from_secs(1);

thread_local! {
    /// Bounded by the rings there are.
    static BEATING: RefCell<Vec<(Pulse, Rc<Clock>)>> = const { RefCell::new(Vec::new()) };
}

/// Beats for a ring from now on, in this thread's time.
pub(super) fn join(ring: Pulse, clock: Rc<Clock>) {
    let first = BEATING.with_borrow_mut(|beating| {
        beating.push((ring, clock));
        beating.len() == 1
    });
    if first {
        actix_rt::spawn(beat());
    }
}

async fn beat() {
    let mut ticks = tokio::time::interval(HEARTBEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let over = BEATING.with_borrow_mut(|beating| {
            beating.retain(|(ring, clock)| ring.beat(clock.stamp().log));
            beating.is_empty()
        });
        if over {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LogTime, Seq, SessionId};
    use crate::ring::Ring;

    /// The time that the next owner of a ring would go on at.
    fn told(ring: &Ring) -> LogTime {
        Ring::adopt(ring.fd().try_clone().unwrap()).unwrap().1.log_time
    }

    #[actix_rt::test]
    async fn every_ring_has_its_sessions_time() {
        let rings: Vec<Ring> = (1..=3).map(|n| Ring::create(SessionId([n; 16]), Seq(1)).unwrap()).collect();
        for (ring, hours) in rings.iter().zip(1..) {
            join(ring.pulse(), Rc::new(Clock::from(LogTime(hours * 3_600_000_000))));
        }
        for (ring, hours) in rings.iter().zip(1..) {
            while told(ring) < LogTime(hours * 3_600_000_000) {
                tokio::task::yield_now().await; // the timer beats, or the test hangs
            }
        }
        let pulses: Vec<Pulse> = rings.iter().map(Ring::pulse).collect();
        drop(rings);
        assert!(pulses.iter().all(|pulse| !pulse.beat(LogTime(1))), "a ring that is gone leaves");
    }
}
