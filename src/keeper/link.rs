//! The host's side of the keeper.

use crate::{
    model::{Process, SessionId, Size, Status},
    pty::shim::{ShimSpec, SpawnStep},
};
use std::{io, os::fd::OwnedFd, sync::Arc};

/// The host's end of the link. Cheap to clone, may be used from any thread and any runtime.
#[derive(Clone, Debug)]
pub struct Link;

/// What a host takes over.
#[derive(Debug)]
pub struct Handover {
    /// Rises with each host of one keeper, over the keeper's own death, too.
    pub generation: u64,
    /// The keeper.
    pub keeper_pid: u32,
    /// STATE/lock: the same open description as the keeper's.
    pub lock: OwnedFd,
    /// What the keeper holds.
    pub sessions: Vec<Held>,
}

/// A session the keeper holds.
#[derive(Debug)]
pub struct Held {
    /// Which.
    pub id: SessionId,
    /// The run that was started last.
    pub run: u32,
    /// What the host gave with the spawn, as it was.
    pub opaque: Vec<u8>,
    /// The leader.
    pub process: Process,
    /// The leader's pidfd.
    pub pidfd: Option<Arc<OwnedFd>>,
    /// The PTY.
    pub master: Arc<OwnedFd>,
    /// The crash ring.
    pub ring: Arc<OwnedFd>,
    /// How the run ended, when it has.
    pub exit: Option<Status>,
}

/// A run to be started.
#[derive(Debug)]
pub struct SpawnRun<'a> {
    /// The session.
    pub id: SessionId,
    /// The run: a later one may only be spawned after the one before has ended and was forgotten.
    pub run: u32,
    /// What is executed.
    pub spec: &'a ShimSpec,
    /// The terminal.
    pub size: Size,
    /// Kept and handed to later hosts.
    pub opaque: Vec<u8>,
    /// The crash ring.
    pub ring: Arc<OwnedFd>,
}

/// A run that was started: the program was executed.
#[derive(Debug)]
pub struct Spawned {
    /// The leader.
    pub process: Process,
    /// The leader's pidfd.
    pub pidfd: Option<Arc<OwnedFd>>,
    /// The PTY.
    pub master: Arc<OwnedFd>,
}

/// What the keeper says by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// A run has ended. Said once; kept by the keeper until [`Link::forget`].
    Exited {
        /// The session.
        id: SessionId,
        /// The run.
        run: u32,
        /// How.
        status: Status,
    },
    /// End all sessions in order, then [`Link::bye`].
    ShutdownRequested,
    /// The keeper died; another has everything.
    KeeperReplaced {
        /// The new one.
        pid: u32,
    },
    /// There is no keeper and none can be started; nothing more will come.
    Dead(String),
}

/// Why a host can't take over.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Started by hand.
    #[error("this is not started by a keeper: use `termalive host`")]
    NotUnderKeeper,
    /// A system call failed.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The keeper said something else than expected.
    #[error("keeper: {0}")]
    Keeper(String),
}

/// Why a run wasn't started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpawnError {
    /// The system's reason.
    #[error("{}", io::Error::from_raw_os_error(*.errno))]
    Exec {
        /// What the system said.
        errno: i32,
        /// When.
        step: SpawnStep,
    },
    /// The keeper won't: the words say why.
    #[error("keeper: {0}")]
    Refused(String),
    /// There is no keeper.
    #[error("keeper is gone: {0}")]
    KeeperGone(String),
}

/// Takes over from the keeper that started this process. Blocks; to be called once, before any runtime.
pub fn take_over() -> Result<(Link, Handover), LinkError> {
    Err(LinkError::NotUnderKeeper)
}

impl Link {
    /// The hand-over is complete: rings and masters are taken.
    pub fn adopted(&self) {}

    /// The host serves: a waiting command may go on.
    pub fn ready(&self) {}

    /// The host can't go on and is about to exit. Waits, for a second at most, until the keeper has been told.
    pub fn fatal(&self, _message: &str) {}

    /// Kill this host and start another at once.
    pub async fn replace(&self) {}

    /// Starts a run. When the keeper dies meanwhile, its successor is asked; the same run is never started twice.
    pub async fn spawn(&self, _run: SpawnRun<'_>) -> Result<Spawned, SpawnError> {
        Err(SpawnError::KeeperGone(String::new()))
    }

    /// The next event. For one caller.
    pub async fn next(&self) -> LinkEvent {
        LinkEvent::Dead(String::new())
    }

    /// The exit record is durable.
    pub async fn forget(&self, _id: SessionId, _run: u32) {}

    /// The session's PTY and ring may go.
    pub async fn drop_session(&self, _id: SessionId) {}

    /// All sessions have ended, all is flushed. Returns when the keeper has been told; it exits after this process.
    pub async fn bye(&self) {}
}
