//! A keeper in place of a dead one: the host starts it and hands it everything. Both sides of that.
//!
//! The sessions are children of PID 1 by then, so the new keeper watches their pidfds; those it starts itself are its
//! own. It must never decide that something is lost: what the host didn't hand over it doesn't know.

use super::{
    channel::{Channel, Received, exactly, wait},
    driver::{Driver, End, Known, Out},
    host::{FD, Host, Phase, own_name},
    link::{LinkEvent, SpawnError},
    process::{Keeper, VERB},
    protocol::{Holding, HostSays, KeeperSays, PROTOCOL},
    signals::Signals,
};
use crate::{
    model::{Process, RawString},
    pty::{stat, tree},
};
use rustix::{
    event::PollFlags,
    pipe::{PipeFlags, pipe_with},
    process::{PidfdFlags, WaitId, WaitIdOptions, getpid, pidfd_open, waitid},
};
use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How long either side waits for the other: the work is one message a session.
const REVIVE_TIME: Duration = Duration::from_secs(10);
/// How long a keeper that hung up may take to end.
const KEEPER_END_TIME: Duration = Duration::from_secs(2);
/// Attempts to start a new keeper.
const REVIVALS: u32 = 5;
/// The pause after a failed one, doubled each time.
const REVIVAL_PAUSE: Duration = Duration::from_millis(50);

/// The new keeper's side: takes everything over from the host at the other end of stdin.
pub(super) fn receive(signals: Signals) -> Result<Keeper, String> {
    let channel = Channel::from_stdin().map_err(|e| e.to_string())?.ok_or("stdin is not the host's link")?;
    let deadline = Instant::now() + REVIVE_TIME;
    let (message, fds) = next(&channel, deadline)?.ok_or("the host hung up")?;
    let HostSays::Revive { protocol, generation, host, ready, files, host_args } = message else {
        return Err(format!("the host began with {message:?}"));
    };
    let [lock, host_pidfd] = exactly(fds)?;
    let host_args = host_args.iter().map(RawString::to_os).collect();
    let mut keeper = Keeper::new(lock, None, host_args, files, signals);
    keeper.generation = generation;
    keeper.served = true; // whatever happens from here on, sessions may be held
    // A host that dies while it hands over leaves what has arrived: that is kept, and the next host gets it.
    while let Some((message, fds)) = next(&channel, deadline)? {
        match message {
            HostSays::Held(holding) => keeper.sessions.adopt(holding, exactly(fds)?),
            _ => break,
        }
    }
    let mut taken = Host::new(host, host_pidfd, channel, false);
    (taken.phase, taken.ready, taken.protocol) = (Phase::Served, ready, protocol.min(PROTOCOL));
    taken.say(KeeperSays::Revived { protocol: taken.protocol, keeper_pid: std::process::id() });
    keeper.host = Some(taken);
    Ok(keeper)
}

fn next(channel: &Channel, deadline: Instant) -> Result<Option<(HostSays, Vec<OwnedFd>)>, String> {
    match channel.receive_by(deadline).map_err(|e| format!("no word from the host: {e}"))? {
        Received::Message(message, fds) => Ok(Some((message, fds))),
        Received::Strange(why) => Err(why),
        Received::Nothing | Received::Closed => Ok(None),
    }
}

/// What a host hands to a new keeper.
pub(super) struct Estate<'a> {
    pub(super) generation: u64,
    pub(super) ready: bool,
    pub(super) files: Option<u64>,
    pub(super) lock: BorrowedFd<'a>,
    /// Each with master, ring, opaque, pidfd.
    pub(super) sessions: Vec<(Holding, [BorrowedFd<'a>; 4])>,
}

/// A keeper that has taken over.
pub(super) struct Successor {
    pub(super) channel: Channel,
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
}

/// The host's side: starts a keeper and hands it everything.
pub(super) fn start(estate: &Estate<'_>) -> io::Result<Successor> {
    let (channel, theirs) = Channel::pair()?;
    let child = Command::new("/proc/self/exe")
        .arg0(own_name())
        .args([VERB, "--revive", FD])
        .stdin(Stdio::from(theirs))
        .spawn()?;
    let pidfd = pidfd_open(rustix::process::Pid::from_child(&child), PidfdFlags::empty())?;
    let handed = hand(&channel, estate);
    match handed {
        Ok(()) => Ok(Successor { channel, pid: child.id(), pidfd }),
        Err(e) => {
            // One that took over in part would be a second keeper of the same sessions.
            let mut child = child;
            child.kill()?;
            child.wait()?;
            Err(e)
        }
    }
}

fn hand(channel: &Channel, estate: &Estate<'_>) -> io::Result<()> {
    let deadline = Instant::now() + REVIVE_TIME;
    let host: Process = stat::read(std::process::id())?.process;
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let arguments = std::env::args_os().skip(1).map(|a: OsString| a.into()).collect();
    let revive = HostSays::Revive {
        protocol: PROTOCOL,
        generation: estate.generation,
        host,
        ready: estate.ready,
        files: estate.files,
        host_args: arguments,
    };
    channel.send_by(deadline, &revive, &[estate.lock, own.as_fd()])?;
    for (holding, fds) in &estate.sessions {
        channel.send_by(deadline, &HostSays::Held(*holding), fds)?;
    }
    channel.send_by(deadline, &HostSays::End, &[])?;
    match channel.receive_by(deadline)? {
        Received::Message(KeeperSays::Revived { .. }, _) => Ok(()),
        other => Err(io::Error::other(format!("the new keeper said {other:?}"))),
    }
}

impl Driver {
    /// The keeper is gone: everything goes to a new one.
    pub(super) fn revive(&mut self) -> Result<(), End> {
        let leaves = |out: &Out| matches!(out, Out::Bye(_));
        if self.work.said_bye || self.work.outbox.iter().any(leaves) {
            return Err(End::Quiet); // those who wait for the bye see it dropped
        }
        if let Some(pidfd) = &self.keeper_pidfd {
            let deadline = Instant::now() + KEEPER_END_TIME;
            wait(pidfd, PollFlags::IN, deadline).map_err(|_| End::Dead("the keeper hung up but lives".to_owned()))?;
            let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG); // if ours
        }
        for (id, run) in self.work.ordered.keys().copied().collect::<Vec<_>>() {
            if let Some(spawned) = self.work.ordered.get_mut(&(id, run)).and_then(|order| order.begun.take()) {
                self.hold(id, run, spawned); // one that can't be executed ends with the child's 127: nobody heard its errno
            }
        }
        let successor = self.find_successor()?;
        let Successor { channel, pid, pidfd } = successor;
        tracing::warn!("the keeper died; keeper {pid} has everything now");
        tree::set_keeper(pid);
        (self.channel, self.keeper_pidfd) = (channel, Some(pidfd));
        let work = &mut self.work;
        (work.retry_at, work.pinged) = (None, None);
        work.reexeced(Err(format!("the keeper died in between; keeper {pid}, of this host's program, has everything")));
        // The new keeper was told how things stand; what it can't know stays to be said.
        work.outbox.retain(|out| matches!(out, Out::Fatal(..) | Out::Say(HostSays::Replace)));
        for (id, run) in work.ordered.keys().copied().collect::<Vec<_>>() {
            // The old keeper may have got as far as a child that waits for this host's word: its pipe ends with this one.
            let renewed =
                pipe_with(PipeFlags::CLOEXEC).map(|word| self.work.ordered.get_mut(&(id, run)).map(|o| o.word = word));
            match renewed {
                Ok(_) => self.work.outbox.push_back(Out::Order(id, run)),
                Err(e) => self.answer(id, run, Err(SpawnError::KeeperGone(e.to_string()))),
            }
        }
        let _ = self.events.blocking_send(LinkEvent::KeeperReplaced { pid });
        Ok(())
    }

    fn find_successor(&mut self) -> Result<Successor, End> {
        let mut why = String::new();
        for attempt in 0..REVIVALS {
            if attempt > 0 {
                tracing::error!("cannot start a new keeper: {why}");
                std::thread::sleep(REVIVAL_PAUSE * 2u32.pow(attempt - 1));
            }
            match start(&self.estate()) {
                Ok(successor) => return Ok(successor),
                Err(e) => why = e.to_string(),
            }
        }
        Err(End::Dead(format!("the keeper died and no other can be started: {why}")))
    }

    fn estate(&self) -> Estate<'_> {
        let sessions = self.held.iter().map(|(id, known)| {
            let Known { run, process, exit, forgotten, master, ring, opaque, pidfd } = known;
            let fds: [BorrowedFd<'_>; 4] = [master.as_fd(), ring.as_fd(), opaque.as_fd(), pidfd.as_fd()];
            (Holding { id: *id, run: *run, process: *process, exit: *exit, forgotten: *forgotten }, fds)
        });
        Estate {
            generation: self.generation,
            ready: self.work.said_ready,
            files: self.files,
            lock: self.lock.as_fd(),
            sessions: sessions.collect(),
        }
    }
}
