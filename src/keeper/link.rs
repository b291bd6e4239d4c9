//! The host's side of the keeper: taking over, starting runs, hearing of their ends.
//!
//! What is said goes through a thread ([`super::driver`]), so no caller ever waits for the keeper's socket. A keeper's
//! death is survived there and shows here as [`LinkEvent::KeeperReplaced`] only. It must never give an answer the keeper
//! didn't give.

use super::{
    channel::{Channel, Received, exactly, read_all, sealed},
    driver::{COMMANDS, Command, Driver, EVENTS, Flags, Known, Order, Work},
    host::{FD, FD_VARIABLE},
    protocol::{HostSays, KeeperSays, PROTOCOL},
};
use crate::{
    model::{Process, SessionId, Size, Status},
    pty::{
        shim::{ShimSpec, SpawnStep},
        tree,
    },
};
use rustix::{
    event::{EventfdFlags, eventfd},
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, pidfd_open},
};
use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc as std_mpsc,
    },
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

/// How long a host waits for each word of the hand-over.
const HANDOVER_TIME: Duration = Duration::from_secs(30);
/// How long a dying host waits until its last words are said.
const FATAL_TIME: Duration = Duration::from_secs(1);

/// The host's end of the link. Cheap to clone, may be used from any thread and any runtime.
#[derive(Clone, Debug)]
pub struct Link(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    commands: mpsc::Sender<Command>,
    events: tokio::sync::Mutex<mpsc::Receiver<LinkEvent>>,
    flags: Arc<Flags>,
}

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
    /// How long ago the host before this one left.
    pub away: Option<Duration>,
    /// Why this is the program before the newest.
    pub reverted: Option<String>,
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
#[derive(Clone, Debug)]
pub struct Spawned {
    /// The leader.
    pub process: Process,
    /// The leader's pidfd.
    pub pidfd: Arc<OwnedFd>,
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
    if std::env::var_os(FD_VARIABLE).is_none_or(|v| v != FD) {
        return Err(LinkError::NotUnderKeeper);
    }
    let channel = Channel::from_stdin().map_err(system("use the link"))?.ok_or(LinkError::NotUnderKeeper)?;
    let _ = rustix::thread::set_name(c"termalive"); // the kernel calls it "exe" otherwise
    let hello = HostSays::Hello { protocol: PROTOCOL };
    channel.send_by(Instant::now() + HANDOVER_TIME, &hello, &[]).map_err(system("greet the keeper"))?;
    let (welcome, fds) = expect(&channel)?;
    let KeeperSays::Welcome { protocol: PROTOCOL, generation, keeper_pid, files, away_ms, reverted } = welcome else {
        return Err(LinkError::Keeper(format!("wanted a welcome in protocol {PROTOCOL}, got {welcome:?}")));
    };
    let [lock] = exactly(fds).map_err(LinkError::Keeper)?;
    // Gone in this very moment: the thread sees the hang-up and starts another.
    let keeper_pidfd = Pid::from_raw(keeper_pid.cast_signed()).and_then(|p| pidfd_open(p, PidfdFlags::empty()).ok());
    tree::set_keeper(keeper_pid);
    let held = take_sessions(&channel)?;
    let sessions = held.iter().map(|(id, known)| tell_of(*id, known)).collect::<Result<_, _>>()?;
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    let flags = Arc::new(Flags {
        adopted: AtomicBool::new(false),
        ready: AtomicBool::new(false),
        fatal: Mutex::new(None),
        wake: wake.map_err(|e| system("make an eventfd")(e.into()))?,
    });
    let (commands, command_queue) = mpsc::channel(COMMANDS);
    let (event_queue, events) = mpsc::channel(EVENTS);
    let driver = Driver {
        channel,
        keeper_pidfd,
        generation,
        files,
        lock: lock.try_clone().map_err(system("keep the lock"))?,
        flags: flags.clone(),
        commands: command_queue,
        events: event_queue,
        held,
        work: Work::default(),
    };
    let thread = std::thread::Builder::new().name("keeper-link".to_owned());
    thread.spawn(move || driver.run()).map_err(system("start a thread"))?;
    let link = Link(Arc::new(Inner { commands, events: tokio::sync::Mutex::new(events), flags }));
    let away = away_ms.map(Duration::from_millis);
    Ok((link, Handover { generation, keeper_pid, lock, sessions, away, reverted }))
}

fn system(what: &'static str) -> impl Fn(io::Error) -> LinkError {
    move |source| LinkError::System { what, source }
}

fn expect(channel: &Channel) -> Result<(KeeperSays, Vec<OwnedFd>), LinkError> {
    match channel.receive_by(Instant::now() + HANDOVER_TIME).map_err(system("hear from the keeper"))? {
        Received::Message(KeeperSays::Refused { why }, _) | Received::Strange(why) => Err(LinkError::Keeper(why)),
        Received::Message(message, fds) => Ok((message, fds)),
        Received::Nothing | Received::Closed => Err(LinkError::Keeper("it hung up".to_owned())),
    }
}

fn take_sessions(channel: &Channel) -> Result<BTreeMap<SessionId, Known>, LinkError> {
    let mut held = BTreeMap::new();
    loop {
        match expect(channel)? {
            (KeeperSays::Held(holding), fds) => {
                let [master, ring, opaque, pidfd] = exactly(fds).map_err(LinkError::Keeper)?;
                let [master, ring, pidfd] = [master, ring, pidfd].map(Arc::new);
                let (run, process, exit, forgotten) = (holding.run, holding.process, holding.exit, holding.forgotten);
                held.insert(holding.id, Known { run, process, exit, forgotten, master, ring, opaque, pidfd });
            }
            (KeeperSays::End, _) => return Ok(held),
            (other, _) => return Err(LinkError::Keeper(format!("{other:?} within the hand-over"))),
        }
    }
}

pub(super) fn tell_of(id: SessionId, known: &Known) -> Result<Held, LinkError> {
    Ok(Held {
        id,
        run: known.run,
        opaque: read_all(&known.opaque).map_err(system("read what was kept"))?,
        process: known.process,
        pidfd: Some(known.pidfd.clone()),
        master: known.master.clone(),
        ring: known.ring.clone(),
        exit: known.exit,
    })
}

impl Link {
    /// The hand-over is complete: rings and masters are taken.
    pub fn adopted(&self) {
        self.0.flags.adopted.store(true, Ordering::Release);
        self.0.flags.wake();
    }

    /// The host serves: a waiting command may go on.
    pub fn ready(&self) {
        self.0.flags.ready.store(true, Ordering::Release);
        self.0.flags.wake();
    }

    /// The host can't go on and is about to exit. Waits, for a second at most, until the keeper has been told.
    pub fn fatal(&self, message: &str) {
        let (done, said) = std_mpsc::channel();
        *self.0.flags.fatal.lock().unwrap_or_else(PoisonError::into_inner) = Some((message.to_owned(), done));
        self.0.flags.wake();
        let _ = said.recv_timeout(FATAL_TIME); // not told: it sees the death all the same
    }

    /// Have this host killed and another started at once.
    pub async fn replace(&self) {
        self.tell(Command::Replace).await;
    }

    /// Have the keeper become this program, in place. The error says why it didn't; it goes on as it was then.
    pub async fn reexec(&self, program: PathBuf) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        self.tell(Command::Reexec(program, answer)).await;
        answered.await.unwrap_or_else(|_| Err("the link is closed, or another asked after this".to_owned()))
    }

    /// Starts a run. When the keeper dies before this host holds it, its successor is asked. The program begins when the host
    /// holds it, so the same run is never begun twice.
    pub async fn spawn(&self, run: SpawnRun<'_>) -> Result<Spawned, SpawnError> {
        let failed = |e: io::Error| {
            let errno = e.raw_os_error().unwrap_or(libc::EIO);
            SpawnError::Exec { errno, step: SpawnStep::Keeper }
        };
        let SpawnRun { id, run, spec, size, opaque, ring } = run;
        let spec = serde_json::to_vec(spec).map_err(io::Error::other).map_err(failed)?;
        let (spec, opaque) = (sealed("termalive-spec", &spec), sealed("termalive-opaque", &opaque));
        let (spec, opaque) = (spec.map_err(failed)?, opaque.map_err(failed)?);
        let (answer, answered) = oneshot::channel();
        let word = pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
        let order = Order { id, run, size, spec, ring, opaque, word, answer, begun: None };
        self.tell(Command::Spawn(Box::new(order))).await;
        answered.await.unwrap_or_else(|_| Err(SpawnError::KeeperGone("the link is closed".to_owned())))
    }

    /// The next event. For one caller; after [`LinkEvent::Dead`] and after a bye it never returns.
    pub async fn next(&self) -> LinkEvent {
        match self.0.events.lock().await.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Whether the keeper answers. For one caller at a time; returns when it does, or when it is known that it won't.
    pub async fn answers(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.tell(Command::Ping(answer)).await;
        answered.await.is_ok()
    }

    /// A sign of life. After the first one the keeper kills a host from which none comes: five are missing by then.
    pub async fn alive(&self) {
        self.tell(Command::Alive).await;
    }

    /// What the keeper holds of a session, as at a hand-over; a run that is just being started is waited for.
    pub async fn held(&self, id: SessionId) -> Result<Option<Held>, LinkError> {
        let (answer, answered) = oneshot::channel();
        self.tell(Command::Tell(id, answer)).await;
        let closed = |_| Err(LinkError::Keeper("the link is closed".to_owned()));
        answered.await.unwrap_or_else(closed)
    }

    /// The exit record is durable.
    pub async fn forget(&self, id: SessionId, run: u32) {
        self.tell(Command::Forget(id, run)).await;
    }

    /// The session's PTY and ring may go.
    pub async fn drop_session(&self, id: SessionId) {
        self.tell(Command::Drop(id)).await;
    }

    /// All sessions have ended, all is flushed. Returns when the keeper has been told; it exits after this process.
    pub async fn bye(&self) {
        let (done, said) = oneshot::channel();
        self.tell(Command::Bye(done)).await;
        let _ = said.await; // dropped: there is no keeper to be told
    }

    /// Waits while too many commands are under way.
    async fn tell(&self, command: Command) {
        let _ = self.0.commands.send(command).await; // the thread is gone: it has said why
        self.0.flags.wake();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The queue would close with the fields, after the thread was woken: replaced by one that is closed already.
        self.commands = mpsc::channel(1).0;
        self.flags.wake();
    }
}
