//! The blows, and how long the host takes to answer again after each.

use crate::{
    args::Blow,
    dice::Dice,
    host::{Host, LOOK, Status, alive, pause},
    oracle::{Broken, Oracle},
};
use rustix::process::Signal;
use std::{
    process::Child,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// A blow, when it fell, and when a request was answered again.
#[derive(Clone, Debug)]
pub(crate) struct Fallen {
    pub(crate) blow: Blow,
    /// Of the last signal of it: microseconds since 1970, as the log has its times.
    pub(crate) at_us: u64,
    pub(crate) answered: Duration,
}

/// How long after a host appears it may be killed again, in a storm: it is taking over.
const TAKING_OVER: Duration = Duration::from_millis(120);
/// Commands that start a host at the same time.
const RACERS: usize = 3;

/// Strikes.
pub(crate) struct Killer<'a> {
    pub(crate) host: &'a Host,
    pub(crate) oracle: &'a Oracle,
    pub(crate) dice: Dice,
}

impl Killer<'_> {
    /// Carries a blow out and waits until the host answers. Nothing when it doesn't.
    pub(crate) fn strike(&mut self, blow: Blow) -> Option<Fallen> {
        let Some(before) = self.host.wait_status(|_| true) else {
            self.oracle.broke(Broken::Hang, "the host doesn't answer before a blow");
            return None;
        };
        self.oracle
            .note(format!("{blow:?} host={} keeper={} generation={}", before.host, before.keeper, before.generation));
        let fallen = match blow {
            Blow::Host => self.kill_host(before, blow),
            Blow::Race => self.race(before),
            Blow::Storm(times) => self.storm(before, times),
            Blow::Keeper => self.kill_keeper(before),
            Blow::HostStop(time) => self.stop(before.host, time, blow),
            Blow::KeeperStop(time) => self.stop(before.keeper, time, blow),
            Blow::Reload => self.reload(before),
        };
        if fallen.is_none() && !self.oracle.is_over() {
            self.oracle.broke(Broken::Hang, format!("the host doesn't answer after {blow:?}"));
        }
        fallen
    }

    /// When a signal was sent; nothing when nobody was there to get it.
    fn fall(&self, pid: u32, signal: Signal) -> Option<(u64, Instant)> {
        let at = (now_us(), Instant::now());
        if self.host.signal(pid, signal) {
            return Some(at);
        }
        self.oracle.note(format!("{pid} was gone before it got {signal:?}"));
        None
    }

    /// The host is killed: who it was, and when. One that was gone isn't counted, the next one is killed.
    fn strike_host(&self, before: Status) -> Option<(Status, u64, Instant)> {
        let mut status = before;
        loop {
            if let Some((at_us, at)) = self.fall(status.host, Signal::KILL) {
                self.oracle.count("host kills", 1);
                return Some((status, at_us, at));
            }
            status = self.host.wait_status(|now| now.host != status.host)?;
        }
    }

    fn kill_host(&self, before: Status, blow: Blow) -> Option<Fallen> {
        let (struck, at_us, at) = self.strike_host(before)?;
        self.host.wait_status(|now| now.generation > struck.generation)?;
        Some(Fallen { blow, at_us, answered: at.elapsed() })
    }

    /// Killed, while commands find no host and start one.
    fn race(&self, before: Status) -> Option<Fallen> {
        let racers: Vec<Child> = (0..RACERS)
            .filter_map(|_| self.host.command(&["start", "-d"]).stdout(std::process::Stdio::null()).spawn().ok())
            .collect();
        let fallen = self.kill_host(before, Blow::Race);
        for mut racer in racers {
            match racer.wait() {
                Ok(status) if status.success() => {}
                other => self.oracle.broke(Broken::Client, format!("start -d while the host was killed: {other:?}")),
            }
        }
        self.oracle.count("hosts started twice", RACERS as u64);
        fallen
    }

    /// Each next host is killed at some moment of its taking over.
    fn storm(&mut self, before: Status, times: u64) -> Option<Fallen> {
        let (struck, mut at_us, mut at) = self.strike_host(before)?;
        let (mut pid, mut killed) = (struck.host, 1);
        while killed < times {
            let next = crate::host::wait_for(|| self.host.early_host(struck.keeper).filter(|next| *next != pid))?;
            pause(self.dice.up_to(TAKING_OVER));
            pid = next;
            let Some(fallen) = self.fall(next, Signal::KILL) else { continue };
            ((at_us, at), killed) = (fallen, killed + 1);
            self.oracle.count("host kills", 1);
            self.oracle.count("host kills while taking over", 1);
        }
        self.host.wait_status(|now| now.generation > struck.generation && now.host != pid && alive(now.host))?;
        Some(Fallen { blow: Blow::Storm(times), at_us, answered: at.elapsed() })
    }

    fn kill_keeper(&self, before: Status) -> Option<Fallen> {
        let mut status = before;
        let (at_us, at) = loop {
            match self.fall(status.keeper, Signal::KILL) {
                Some(at) => break at,
                None => status = self.host.wait_status(|now| now.keeper != status.keeper)?,
            }
        };
        self.oracle.count("keeper kills", 1);
        self.host.wait_status(|now| now.keeper != status.keeper)?;
        Some(Fallen { blow: Blow::Keeper, at_us, answered: at.elapsed() })
    }

    /// Stopped and told to go on; who is gone by then was replaced.
    fn stop(&self, pid: u32, time: Duration, blow: Blow) -> Option<Fallen> {
        let begun = Instant::now();
        self.host.signal(pid, Signal::STOP);
        while begun.elapsed() < time && alive(pid) {
            pause(LOOK);
        }
        let replaced = !alive(pid);
        let (at_us, at) = self.fall(pid, Signal::CONT).unwrap_or_else(|| (now_us(), Instant::now()));
        self.oracle.count(if matches!(blow, Blow::HostStop(_)) { "host stops" } else { "keeper stops" }, 1);
        self.oracle.count("stopped and replaced", u64::from(replaced));
        self.host.wait_status(|now| alive(now.host))?;
        Some(Fallen { blow, at_us, answered: at.elapsed() })
    }

    /// Another file is at the program's place: keeper and host must be of it, and the keeper the process it was.
    fn reload(&self, before: Status) -> Option<Fallen> {
        let installed = self.host.install();
        let (at_us, at) = (now_us(), Instant::now());
        if let Err(why) = installed.and_then(|()| self.host.ok(&["reload"])) {
            self.oracle.broke(Broken::Reload, why.to_string());
        }
        let now = self.host.wait_status(|now| now.generation > before.generation)?;
        let newest = |pid| self.host.is_newest(pid);
        if now.keeper != before.keeper || !newest(now.keeper) || !newest(now.host) {
            let of = [now.keeper, now.host].map(|pid| if newest(pid) { "new" } else { "old" });
            self.oracle.broke(Broken::Reload, format!("{before:?}, then {now:?}: keeper and host are {of:?}"));
        }
        self.oracle.count("reloads", 1);
        Some(Fallen { blow: Blow::Reload, at_us, answered: at.elapsed() })
    }
}

/// Of the wall clock.
pub(crate) fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0))
}
