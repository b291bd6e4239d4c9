//! What the keeper holds: sessions, and runs that are being started. Knows their processes, not what they do.
//!
//! Data comes from the host (spawn, forget, drop), from the pipe of a run that is starting and from waiting; it goes back as [`News`]. An
//! exit status belongs to a session only if the process is this keeper's child, or by its own pidfd.

use super::{protocol::Holding, status};
use crate::{
    model::{Process, SessionId, Size, Status},
    pty::{
        open::{Opened, open},
        shim::{REPORT_BYTES, SpawnStep, reported},
    },
};
use rustix::{
    io::Errno,
    process::{Signal, pidfd_send_signal},
};
use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// A session whose program was executed.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) run: u32,
    pub(super) process: Process,
    pub(super) exit: Option<Status>,
    /// The host has the exit record on disk.
    pub(super) forgotten: bool,
    /// True: this keeper started it, so it is the one to wait. False: taken over from a dead keeper.
    pub(super) child: bool,
    pub(super) master: OwnedFd,
    pub(super) ring: OwnedFd,
    pub(super) opaque: OwnedFd,
    pub(super) pidfd: OwnedFd,
}

impl Session {
    pub(super) fn holding(&self, id: SessionId) -> Holding {
        let Session { run, process, exit, forgotten, .. } = *self;
        Holding { id, run, process, exit, forgotten }
    }
}

/// A run whose program isn't executed yet.
#[derive(Debug)]
struct Starting {
    run: u32,
    master: OwnedFd,
    process: Process,
    pidfd: OwnedFd,
    /// See [`Opened::report`].
    report: OwnedFd,
    said: Vec<u8>,
    ring: OwnedFd,
    opaque: OwnedFd,
}

impl Starting {
    /// Reads the pipe; true at its end.
    fn listen(&mut self) -> bool {
        let mut bytes = [0; REPORT_BYTES];
        loop {
            match rustix::io::read(&self.report, &mut bytes) {
                Ok(0) => return true,
                Ok(n) => self.said.extend_from_slice(&bytes[..n]),
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    fn into_session(self, exit: Option<Status>) -> Session {
        let Starting { run, master, process, pidfd, ring, opaque, .. } = self;
        Session { run, process, exit, forgotten: false, child: true, master, ring, opaque, pidfd }
    }
}

/// What the host is to be told.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum News {
    Waiting { id: SessionId, run: u32 },
    Spawned { id: SessionId, run: u32 },
    Failed { id: SessionId, run: u32, errno: i32, step: SpawnStep },
    Refused { id: SessionId, run: u32, why: String },
    Exited { id: SessionId, run: u32 },
}

/// All of them. As many as there is room for descriptors: four each, five while starting.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    held: BTreeMap<SessionId, Session>,
    starting: BTreeMap<SessionId, Starting>,
}

impl Sessions {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.starting.is_empty()
    }

    pub(super) fn none_starting(&self) -> bool {
        self.starting.is_empty()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = SessionId> {
        self.held.keys().copied()
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.held.get(&id)
    }

    /// What is held.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.held.iter().map(|(id, session)| (*id, session))
    }

    /// As it was held before.
    pub(super) fn restore(&mut self, id: SessionId, session: Session) {
        self.held.insert(id, session);
    }

    /// From a dead keeper.
    pub(super) fn adopt(&mut self, holding: Holding, [master, ring, opaque, pidfd]: [OwnedFd; 4]) {
        let Holding { id, run, process, exit, forgotten } = holding;
        let child = false;
        self.held.insert(id, Session { run, process, exit, forgotten, child, master, ring, opaque, pidfd });
    }

    /// Starts a run; asked again for the same one it gives the same answer.
    pub(super) fn spawn(
        &mut self,
        (id, run, size): (SessionId, u32, Size),
        [spec, ring, opaque]: [OwnedFd; 3],
        word: Option<OwnedFd>,
        files: Option<u64>,
    ) -> Vec<News> {
        let refuse = |why: String| vec![News::Refused { id, run, why }];
        match (self.starting.get(&id), self.held.get(&id)) {
            (Some(other), _) if other.run == run => return vec![], // the answer is on its way
            (Some(other), _) => return refuse(format!("run {} is just being started", other.run)),
            (None, Some(held)) if held.run == run => {
                let exited = held.exit.map(|_| News::Exited { id, run });
                return [News::Spawned { id, run }].into_iter().chain(exited).collect();
            }
            (None, Some(held)) if held.run > run => return refuse(format!("run {} was already started", held.run)),
            (None, Some(held)) if held.exit.is_none() => return refuse(format!("run {} is still alive", held.run)),
            (None, Some(held)) if !held.forgotten => {
                return refuse(format!("the exit of run {} is not yet on disk", held.run));
            }
            _ => {}
        }
        match open(size, id, &spec, word.as_ref(), files) {
            Ok(Opened { master, process, pidfd, report }) => {
                let said = Vec::new();
                self.starting.insert(id, Starting { run, master, process, pidfd, report, said, ring, opaque });
                word.map(|_| News::Waiting { id, run }).into_iter().collect()
            }
            Err(e) => {
                let errno = e.raw_os_error().unwrap_or(libc::EIO);
                vec![News::Failed { id, run, errno, step: SpawnStep::Keeper }]
            }
        }
    }

    /// The pipes to be listened to.
    pub(super) fn pipes(&self) -> impl Iterator<Item = (SessionId, &OwnedFd)> {
        self.starting.iter().map(|(id, s)| (*id, &s.report))
    }

    /// The pidfds to be watched: what runs and isn't this process' child.
    pub(super) fn strangers(&self) -> impl Iterator<Item = (SessionId, &OwnedFd)> {
        self.held.iter().filter(|(_, s)| !s.child && s.exit.is_none()).map(|(id, s)| (*id, &s.pidfd))
    }

    /// Something came on the pipe of a run that is starting, or it ended.
    pub(super) fn listen(&mut self, id: SessionId) -> Vec<News> {
        let Some(starting) = self.starting.get_mut(&id) else { return vec![] };
        if starting.listen() { self.conclude(id, None) } else { vec![] }
    }

    /// A run whose program isn't executed yet, if there is one: its process, PTY and pidfd.
    pub(super) fn waiting(&self, id: SessionId, run: u32) -> Option<(Process, [BorrowedFd<'_>; 2])> {
        let starting = self.starting.get(&id).filter(|s| s.run == run)?;
        Some((starting.process, [starting.master.as_fd(), starting.pidfd.as_fd()]))
    }

    /// A child was waited for. Most are orphans that nobody asks about.
    pub(super) fn ended(&mut self, pid: u32, status: Status) -> Vec<News> {
        let starting = self.starting.iter_mut().find(|(_, s)| s.process.pid == pid);
        if let Some((id, starting)) = starting {
            let id = *id;
            starting.listen(); // all it had to say is in the pipe
            return self.conclude(id, Some(status));
        }
        let ours = |s: &Session| s.child && s.exit.is_none() && s.process.pid == pid;
        match self.held.iter_mut().find(|(_, s)| ours(s)) {
            Some((id, session)) => {
                session.exit = Some(status);
                vec![News::Exited { id: *id, run: session.run }]
            }
            None => vec![],
        }
    }

    /// A watched pidfd has something to say.
    pub(super) fn stranger_ended(&mut self, id: SessionId) -> Vec<News> {
        let Some(session) = self.held.get_mut(&id).filter(|s| !s.child && s.exit.is_none()) else { return vec![] };
        session.exit = status::of_stranger(session.process, &session.pidfd);
        session.exit.map(|_| News::Exited { id, run: session.run }).into_iter().collect()
    }

    pub(super) fn forget(&mut self, id: SessionId, run: u32) {
        if let Some(session) = self.held.get_mut(&id).filter(|s| s.run == run && s.exit.is_some()) {
            session.forgotten = true;
        }
    }

    /// Releases PTY and ring. What still runs loses its terminal, and is an orphan like any other from then on.
    pub(super) fn drop_session(&mut self, id: SessionId) {
        self.held.remove(&id);
    }

    /// Ends what is still being started: nobody will ask for the answer.
    pub(super) fn abandon_starting(&mut self) {
        for starting in std::mem::take(&mut self.starting).into_values() {
            starting.kill();
        }
    }

    /// Kills every leader: the last resort.
    pub(super) fn kill_all(&mut self) {
        self.abandon_starting();
        for session in self.held.values().filter(|s| s.exit.is_none()) {
            let _ = pidfd_send_signal(&session.pidfd, Signal::KILL);
        }
    }

    fn conclude(&mut self, id: SessionId, exit: Option<Status>) -> Vec<News> {
        let Some(starting) = self.starting.remove(&id) else { return vec![] };
        let run = starting.run;
        match reported(&starting.said) {
            Some((errno, step)) => vec![News::Failed { id, run, errno, step }],
            None => {
                self.held.insert(id, starting.into_session(exit));
                let exited = exit.map(|_| News::Exited { id, run });
                [News::Spawned { id, run }].into_iter().chain(exited).collect()
            }
        }
    }
}
