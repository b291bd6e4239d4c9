//! How many callers over TCP there may be, and of whom: who has shown a token, who has yet to, who keeps guessing.
//!
//! Pure: time comes in. Whoever hasn't shown a token stands in a lobby of bounded size; when it is full, the oldest of the
//! address with the most there has to go. So a caller with a token, who shows it at once, gets in whatever others do. Every
//! table here has a bound.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// So many wrong tokens of an address are answered before it has to wait. 5: a script with an old token, a slip of the hand.
const FREE_FAILURES: u32 = 5;
/// The first wait; doubled with each further failure.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest. 1 min: guessing 256 bits is hopeless at any pace, this keeps it from being loud.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Failures are forgotten after so long without another.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Addresses whose failures are remembered. 1,024: some 100 KiB; with more the longest quiet one is forgotten.
const FAILING: usize = 1024;

/// How many at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Without a token yet.
    pub(super) lobby: usize,
    /// With one.
    pub(super) connections: usize,
    /// With one, of one address.
    pub(super) per_peer: usize,
    /// Answers that go on, of one address.
    pub(super) streams: usize,
}

/// One connection.
pub(super) type Ticket = u64;

/// Who counts as one caller: an address; of IPv6 the network that one customer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Caller(IpAddr);

impl From<IpAddr> for Caller {
    fn from(ip: IpAddr) -> Caller {
        Caller(match ip.to_canonical() {
            IpAddr::V6(v6) if !v6.is_loopback() => {
                let [a, b, c, d, ..] = v6.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            other => other,
        })
    }
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// See the module.
#[derive(Debug)]
pub(super) struct Lobby {
    limits: Limits,
    next: Ticket,
    /// In the order they came.
    waiting: BTreeMap<Ticket, Caller>,
    known: HashMap<Ticket, Caller>,
    /// An entry has at least one of these.
    callers: HashMap<Caller, Counts>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    waiting: usize,
    known: usize,
    streams: usize,
}

impl Lobby {
    pub(super) fn new(limits: Limits) -> Lobby {
        Lobby { limits, next: 0, waiting: BTreeMap::new(), known: HashMap::new(), callers: HashMap::new() }
    }

    /// Someone connects. Gives who has to go for it.
    pub(super) fn enter(&mut self, caller: Caller) -> (Ticket, Option<Ticket>) {
        let gone = if self.waiting.len() >= self.limits.lobby { self.longest_of_the_most() } else { None };
        gone.into_iter().for_each(|ticket| self.leave(ticket));
        self.next += 1;
        self.waiting.insert(self.next, caller);
        self.callers.entry(caller).or_default().waiting += 1;
        (self.next, gone)
    }

    fn longest_of_the_most(&self) -> Option<Ticket> {
        let most = self.callers.values().map(|counts| counts.waiting).max()?;
        let crowds = |caller: &Caller| self.callers.get(caller).is_some_and(|counts| counts.waiting == most);
        self.waiting.iter().find(|(_, caller)| crowds(caller)).map(|(ticket, _)| *ticket)
    }

    /// It has shown a token: it leaves the lobby. Shown again, nothing changes.
    pub(super) fn admit(&mut self, ticket: Ticket) -> Result<(), Full> {
        if self.known.contains_key(&ticket) {
            return Ok(());
        }
        let caller = *self.waiting.get(&ticket).ok_or(Full)?; // it was shown out in this very moment
        let known = self.callers.get(&caller).map_or(0, |counts| counts.known);
        if self.known.len() >= self.limits.connections || known >= self.limits.per_peer {
            return Err(Full);
        }
        self.waiting.remove(&ticket);
        self.known.insert(ticket, caller);
        self.count(caller, |counts| {
            counts.waiting -= 1;
            counts.known += 1;
        });
        Ok(())
    }

    /// It has gone, or has to.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        if let Some(caller) = self.waiting.remove(&ticket) {
            self.count(caller, |counts| counts.waiting -= 1);
        }
        if let Some(caller) = self.known.remove(&ticket) {
            self.count(caller, |counts| counts.known -= 1);
        }
    }

    /// An answer that goes on begins.
    pub(super) fn open_stream(&mut self, caller: Caller) -> Result<(), Full> {
        let counts = self.callers.entry(caller).or_default();
        if counts.streams >= self.limits.streams {
            return Err(Full);
        }
        counts.streams += 1;
        Ok(())
    }

    /// It is over.
    pub(super) fn close_stream(&mut self, caller: Caller) {
        self.count(caller, |counts| counts.streams = counts.streams.saturating_sub(1));
    }

    /// Connections without and with a token.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.waiting.len(), self.known.len())
    }

    fn count(&mut self, caller: Caller, change: impl FnOnce(&mut Counts)) {
        let counts = self.callers.entry(caller).or_default();
        change(counts);
        if *counts == Counts::default() {
            self.callers.remove(&caller);
        }
    }
}

/// Wrong tokens, by address.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<Caller, Failing>);

#[derive(Debug)]
struct Failing {
    count: u32,
    last: Instant,
    wait: Duration,
}

impl Failures {
    /// How long this address has to wait before it is listened to again.
    pub(super) fn wait(&self, caller: Caller, now: Instant) -> Option<Duration> {
        let failing = self.0.get(&caller)?;
        (failing.last + failing.wait).checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// It showed a wrong token.
    pub(super) fn failed(&mut self, caller: Caller, now: Instant) {
        if !self.0.contains_key(&caller) && self.0.len() >= FAILING {
            let quiet = self.0.iter().min_by_key(|(_, failing)| failing.last).map(|(caller, _)| *caller);
            if let Some(quiet) = quiet {
                self.0.remove(&quiet);
            }
        }
        let failing = self.0.entry(caller).or_insert(Failing { count: 0, last: now, wait: Duration::ZERO });
        if now.saturating_duration_since(failing.last) >= FORGOTTEN {
            failing.count = 0;
        }
        failing.count += 1;
        failing.last = now;
        failing.wait = match failing.count.checked_sub(FREE_FAILURES) {
            None => Duration::ZERO,
            Some(more) => FIRST_WAIT.saturating_mul(1 << more.min(16)).min(LONGEST_WAIT),
        };
    }

    /// It showed a right one.
    pub(super) fn succeeded(&mut self, caller: Caller) {
        self.0.remove(&caller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn caller(n: u8) -> Caller {
        IpAddr::from([10, 0, 0, n]).into()
    }

    fn lobby() -> Lobby {
        Lobby::new(Limits { lobby: 4, connections: 3, per_peer: 2, streams: 2 })
    }

    #[test]
    fn a_crowd_makes_room_for_others() {
        let mut lobby = lobby();
        let (quiet, none) = lobby.enter(caller(1));
        assert_eq!(none, None);
        let crowd: Vec<_> = (0..3).map(|_| lobby.enter(caller(2)).0).collect();
        assert_eq!(lobby.enter(caller(2)).1, Some(crowd[0]));
        assert_eq!(lobby.enter(caller(3)).1, Some(crowd[1]));
        assert_eq!(lobby.admit(quiet), Ok(()));
        assert_eq!(lobby.admit(crowd[0]), Err(Full), "it has gone");
        assert_eq!(lobby.counts(), (3, 1));
    }

    #[test]
    fn those_with_a_token_have_their_bounds() {
        let mut lobby = lobby();
        let tickets: Vec<_> = (0..3).map(|_| lobby.enter(caller(1)).0).collect();
        assert_eq!([0, 1, 0, 2].map(|n| lobby.admit(tickets[n])), [Ok(()), Ok(()), Ok(()), Err(Full)]);
        let other = lobby.enter(caller(2)).0;
        let third = lobby.enter(caller(3)).0;
        assert_eq!((lobby.admit(other), lobby.admit(third)), (Ok(()), Err(Full)));
        lobby.leave(tickets[0]);
        assert_eq!(lobby.admit(third), Ok(()));
        assert_eq!([1, 1, 1, 2].map(|n| lobby.open_stream(caller(n))), [Ok(()), Ok(()), Err(Full), Ok(())]);
        lobby.close_stream(caller(1));
        assert_eq!(lobby.open_stream(caller(1)), Ok(()));
    }

    #[test]
    fn a_customer_of_ipv6_is_one_caller() {
        let of = |text: &str| Caller::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }

    #[test]
    fn guessing_gets_slower_for_the_one_who_guesses() {
        let start = Instant::now();
        let mut failures = Failures::default();
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..13 {
            failures.failed(caller(1), now);
            let wait = failures.wait(caller(1), now).unwrap_or_default();
            waits.push(wait.as_secs());
            now += wait;
            assert_eq!(failures.wait(caller(1), now), None);
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(failures.wait(caller(2), start), None);
        failures.failed(caller(1), now + FORGOTTEN);
        assert_eq!(failures.wait(caller(1), now + FORGOTTEN), None);
        (0..5).for_each(|_| failures.failed(caller(1), now));
        failures.succeeded(caller(1));
        assert_eq!(failures.wait(caller(1), now), None);
    }

    #[test]
    fn the_table_of_failures_is_bounded() {
        let now = Instant::now();
        let mut failures = Failures::default();
        for n in 0..3 * FAILING as u32 {
            failures.failed(IpAddr::from(n.to_be_bytes()).into(), now + Duration::from_millis(n.into()));
        }
        assert_eq!(failures.0.len(), FAILING);
    }

    proptest! {
        #[test]
        fn bounds_hold_and_nothing_is_left(steps in proptest::collection::vec((0u8..5, 0u8..4, 0u64..40), 1..300)) {
            let mut lobby = lobby();
            let mut streams = [0; 4];
            for (what, who, ticket) in steps {
                match what {
                    0 => drop(lobby.enter(caller(who))),
                    1 => drop(lobby.admit(ticket)),
                    2 => lobby.leave(ticket),
                    3 => streams[usize::from(who)] += usize::from(lobby.open_stream(caller(who)).is_ok()),
                    _ if streams[usize::from(who)] > 0 => {
                        streams[usize::from(who)] -= 1;
                        lobby.close_stream(caller(who));
                    }
                    _ => {}
                }
                let (waiting, known) = lobby.counts();
                prop_assert!(waiting <= 4 && known <= 3);
                for counts in lobby.callers.values() {
                    prop_assert!(counts.known <= 2 && counts.streams <= 2 && *counts != Counts::default());
                }
            }
            (0..=lobby.next).for_each(|ticket| lobby.leave(ticket));
            for who in 0..4u8 {
                (0..streams[usize::from(who)]).for_each(|_| lobby.close_stream(caller(who)));
            }
            prop_assert!(lobby.callers.is_empty());
        }
    }
}
