//! The host process, as the keeper sees it: how it is started, what is to be said to it, when the next one may come.

use super::{
    channel::Channel,
    protocol::{KeeperSays, PROTOCOL},
};
use crate::{
    model::{Process, SessionId},
    pty::{shim::ID_VARIABLE, stat},
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{
    collections::VecDeque,
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Names the host's descriptor of the link: always its stdin.
pub(super) const FD_VARIABLE: &str = "TERMALIVE_KEEPER_FD";
/// Its value.
pub(super) const FD: &str = "0";

/// A host that lived longer was a good one: its death is answered at once.
const GOOD_LIFE: Duration = Duration::from_secs(10);
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// So many hosts in a row die young before a keeper without sessions gives up: with sessions it never does.
const GIVE_UP_AFTER: u32 = 5;

/// When to start the next host.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// Hosts that died young, in a row.
    pub(super) young: u32,
}

impl Backoff {
    /// A host has died after `life` (zero where it never served); `None`: give up.
    pub(super) fn after(&mut self, life: Duration, sessions: bool) -> Option<Duration> {
        if life > GOOD_LIFE {
            self.young = 0;
            return Some(Duration::ZERO);
        }
        self.young += 1;
        let delay = FIRST_DELAY.saturating_mul(1 << (self.young - 1).min(16)).min(LONGEST_DELAY);
        (sessions || self.young < GIVE_UP_AFTER).then_some(delay)
    }
}

/// How far a host is with taking over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// It hasn't said anything.
    Silent,
    /// It has said hello (in this version); runs that are being started are waited for until then.
    Greeted(u32, Instant),
    /// It was told everything and hears all news.
    Served,
}

/// What is to be said; made into a message when there is room, so that it is true when it is sent.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Item {
    Say(KeeperSays),
    Held(SessionId),
    Waiting(SessionId, u32),
    Spawned(SessionId, u32),
    Exited(SessionId, u32),
}

/// A host process.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) process: Process,
    pub(super) pidfd: OwnedFd,
    /// True: this keeper started it, so it is the one to wait.
    pub(super) child: bool,
    /// `None` once it hung up.
    pub(super) channel: Option<Channel>,
    pub(super) since: Instant,
    pub(super) phase: Phase,
    /// What was agreed on with it.
    pub(super) protocol: u32,
    pub(super) ready: bool,
    /// Its last words.
    pub(super) fatal: Option<String>,
    pub(super) bye: bool,
    /// No more than one per session and kind of news, one per message of the host (which isn't read while this is long).
    pub(super) outbox: VecDeque<Item>,
    /// The socket was full.
    pub(super) full: bool,
    /// Too many descriptors were under way: not before then.
    pub(super) retry_at: Option<Instant>,
    /// It has this long to go by itself.
    pub(super) kill_at: Option<Instant>,
    /// When it last said that it is alive; nothing before the first time.
    pub(super) heard: Option<Instant>,
}

impl Host {
    /// Starts a host in a process group of its own, so that Ctrl+C reaches the keeper alone.
    pub(super) fn start(program: &Path, arguments: &[OsString]) -> io::Result<Host> {
        let (channel, theirs) = Channel::pair()?;
        let child = Command::new(program)
            .arg0(own_name())
            .args(arguments)
            .env(FD_VARIABLE, FD)
            .env_remove(ID_VARIABLE) // a keeper started inside a session isn't part of it
            .stdin(Stdio::from(theirs))
            .process_group(0)
            .spawn()?;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        let process = stat::read(child.id())?.process;
        Ok(Host::new(process, pidfd, channel, true))
    }

    pub(super) fn new(process: Process, pidfd: OwnedFd, channel: Channel, child: bool) -> Host {
        Host {
            process,
            pidfd,
            child,
            channel: Some(channel),
            since: Instant::now(),
            phase: Phase::Silent,
            protocol: PROTOCOL,
            ready: false,
            fatal: None,
            bye: false,
            outbox: VecDeque::new(),
            full: false,
            retry_at: None,
            kill_at: None,
            heard: None,
        }
    }

    pub(super) fn say(&mut self, message: KeeperSays) {
        self.outbox.push_back(Item::Say(message));
    }

    /// SIGKILL: also a stopped process goes, and nothing it holds is lost.
    pub(super) fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }
}

/// The name this program was called by: what is executed is `/proc/self/exe`, which says nothing in a list of processes.
pub(super) fn own_name() -> OsString {
    std::env::args_os().next().unwrap_or_else(|| "termalive".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn young_deaths_are_answered_ever_later() {
        let ms = |life: &[u64], sessions: bool| -> Vec<Option<u128>> {
            let mut backoff = Backoff::default();
            life.iter().map(|s| backoff.after(Duration::from_secs(*s), sessions).map(|d| d.as_millis())).collect()
        };
        assert_eq!(ms(&[0, 0, 1, 10, 0], false), [Some(50), Some(100), Some(200), Some(400), None]);
        assert_eq!(ms(&[11, 0, 99, 99], false), [Some(0), Some(50), Some(0), Some(0)]);
        assert_eq!(ms(&[0; 10], true)[6..], [Some(3200), Some(5000), Some(5000), Some(5000)]);
        assert_eq!(ms(&[0; 100], true)[99], Some(5000));
    }
}
