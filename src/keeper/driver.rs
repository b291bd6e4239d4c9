//! The thread behind a [`Link`](super::Link): reads and writes the socket, and starts a new keeper when there is none.
//!
//! A thread of its own because neither a full socket nor the start of a keeper may hold up an actor. It holds a copy of
//! everything the keeper holds, so that nothing is lost with it. Commands come through one bounded queue, events go
//! through another; an answer goes straight to who asked.

use super::{
    channel::{Channel, IN_FLIGHT_RETRY, Received, Sent, exactly, timespec, wait},
    link::{Held, LinkError, LinkEvent, SpawnError, Spawned, tell_of},
    protocol::{Holding, HostSays, KeeperSays, shorten},
    revive::{self, Estate, Successor},
};
use crate::{
    model::{Process, SessionId, Size, Status},
    pty::tree,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{WaitId, WaitIdOptions, waitid},
};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc as std_mpsc,
    },
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

/// Commands under way to the thread: a sender waits when there are more.
pub(super) const COMMANDS: usize = 256;
/// Events nobody has taken yet: one exit a session is the most there is for long, so this is many sessions.
pub(super) const EVENTS: usize = 4096;
/// Messages that wait for room in the socket; with more, no further command is taken.
const OUTBOX: usize = 64;
/// How long a keeper that hung up may take to end.
const KEEPER_END_TIME: Duration = Duration::from_secs(2);
/// Attempts to start a new keeper.
const REVIVALS: u32 = 5;
/// The pause after a failed one, doubled each time.
const REVIVAL_PAUSE: Duration = Duration::from_millis(50);

/// Who asks what is held of a session.
pub(super) type Asker = oneshot::Sender<Result<Option<Held>, LinkError>>;

/// Who asks for another program.
pub(super) type ReexecAsker = oneshot::Sender<Result<(), String>>;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Command {
    Spawn(Box<Order>),
    Forget(SessionId, u32),
    Drop(SessionId),
    Tell(SessionId, Asker),
    Replace,
    Reexec(PathBuf, ReexecAsker),
    Ping(oneshot::Sender<()>),
    Alive,
    Bye(oneshot::Sender<()>),
}

/// A run to be started.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) id: SessionId,
    pub(super) run: u32,
    pub(super) size: Size,
    pub(super) spec: OwnedFd,
    pub(super) ring: Arc<OwnedFd>,
    pub(super) opaque: OwnedFd,
    pub(super) answer: oneshot::Sender<Result<Spawned, SpawnError>>,
    /// When, in clock ticks after boot: what has the session's cookie and is younger came from this order.
    pub(super) since: u64,
}

/// What is told without a queue: states, not messages.
#[derive(Debug)]
pub(super) struct Flags {
    pub(super) adopted: AtomicBool,
    pub(super) ready: AtomicBool,
    /// The last words, and who waits until they are said.
    pub(super) fatal: Mutex<Option<(String, std_mpsc::Sender<()>)>>,
    /// An eventfd: something is to be done.
    pub(super) wake: OwnedFd,
}

impl Flags {
    pub(super) fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes()); // full: it is awake anyway
    }
}

/// A session, as the keeper holds it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) run: u32,
    pub(super) process: Process,
    pub(super) exit: Option<Status>,
    pub(super) forgotten: bool,
    pub(super) master: Arc<OwnedFd>,
    pub(super) ring: Arc<OwnedFd>,
    pub(super) opaque: OwnedFd,
    pub(super) pidfd: Arc<OwnedFd>,
}

#[derive(Debug)]
enum Out {
    Say(HostSays),
    Order(SessionId, u32),
    Fatal(String, std_mpsc::Sender<()>),
    Bye(oneshot::Sender<()>),
}

/// Why the thread ends.
enum End {
    /// Told to: bye was said, or nobody holds the link any more.
    Quiet,
    /// Nothing can be done.
    Dead(String),
}

pub(super) struct Driver {
    pub(super) channel: Channel,
    /// `None` when it was gone before it could be looked at.
    pub(super) keeper_pidfd: Option<OwnedFd>,
    pub(super) generation: u64,
    pub(super) files: Option<u64>,
    pub(super) lock: OwnedFd,
    pub(super) flags: Arc<Flags>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<LinkEvent>,
    pub(super) held: BTreeMap<SessionId, Known>,
    pub(super) work: Work,
}

/// What isn't done yet.
#[derive(Debug, Default)]
pub(super) struct Work {
    ordered: BTreeMap<(SessionId, u32), Order>,
    /// Who asks about sessions with a run under way. Bounded: one a session.
    asked: Vec<(SessionId, Asker)>,
    outbox: VecDeque<Out>,
    full: bool,
    retry_at: Option<Instant>,
    said_adopted: bool,
    said_ready: bool,
    said_bye: bool,
    /// Who waits for the keeper to answer.
    pinged: Option<oneshot::Sender<()>>,
    /// Who waits for it to become another program.
    reexec: Option<ReexecAsker>,
}

impl Work {
    fn pong(&mut self) {
        if let Some(pinged) = self.pinged.take() {
            let _ = pinged.send(()); // it may have given up waiting
        }
    }

    fn reexeced(&mut self, answer: Result<(), String>) {
        if let Some(asker) = self.reexec.take() {
            let _ = asker.send(answer); // it may have given up waiting
        }
    }
}

impl Driver {
    /// Until there is nothing more to do.
    pub(super) fn run(mut self) {
        let end = loop {
            if let Err(end) = self.turn() {
                break end;
            }
        };
        if let End::Dead(why) = end {
            let _ = self.events.blocking_send(LinkEvent::Dead(why));
        }
    }

    fn turn(&mut self) -> Result<(), End> {
        self.take_orders()?;
        if self.send() == Sent::Closed {
            return self.revive();
        }
        self.wait().map_err(|e| End::Dead(format!("the link can't be watched: {e}")))?;
        loop {
            match self.channel.receive().map_err(|e| End::Dead(format!("the link can't be read: {e}")))? {
                Received::Message(message, fds) => {
                    self.hear(message, fds);
                    self.answer_asked();
                }
                Received::Strange(why) => tracing::warn!("from the keeper: {why}"),
                Received::Nothing => return Ok(()),
                Received::Closed => return self.revive(),
            }
        }
    }

    fn take_orders(&mut self) -> Result<(), End> {
        let work = &mut self.work;
        for (flag, said, message) in [
            (&self.flags.adopted, &mut work.said_adopted, HostSays::Adopted { generation: self.generation }),
            (&self.flags.ready, &mut work.said_ready, HostSays::Ready),
        ] {
            if flag.load(Ordering::Acquire) && !std::mem::replace(said, true) {
                work.outbox.push_back(Out::Say(message));
            }
        }
        if let Some((text, done)) = self.flags.fatal.lock().unwrap_or_else(PoisonError::into_inner).take() {
            work.outbox.push_back(Out::Fatal(shorten(&text), done));
        }
        while self.work.outbox.len() < OUTBOX {
            match self.commands.try_recv() {
                Ok(command) => self.take(command),
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) if self.work.outbox.is_empty() => return Err(End::Quiet),
                Err(mpsc::error::TryRecvError::Disconnected) => break,
            }
        }
        Ok(())
    }

    fn take(&mut self, command: Command) {
        let out = match command {
            Command::Spawn(order) => {
                let key = (order.id, order.run);
                self.work.ordered.insert(key, *order);
                Out::Order(key.0, key.1)
            }
            Command::Forget(id, run) => {
                if let Some(known) = self.held.get_mut(&id).filter(|k| k.run == run && k.exit.is_some()) {
                    known.forgotten = true;
                }
                Out::Say(HostSays::Forget { id, run })
            }
            Command::Drop(id) => {
                self.held.remove(&id);
                Out::Say(HostSays::Drop { id })
            }
            Command::Ping(answer) => {
                self.work.pinged = Some(answer);
                Out::Say(HostSays::Ping)
            }
            Command::Alive => Out::Say(HostSays::Ping),
            Command::Tell(id, asker) => {
                self.work.asked.push((id, asker));
                return self.answer_asked();
            }
            Command::Replace => Out::Say(HostSays::Replace),
            Command::Reexec(program, asker) => {
                self.work.reexec = Some(asker);
                Out::Say(HostSays::Reexec { program: program.into_os_string().into() })
            }
            Command::Bye(done) => Out::Bye(done),
        };
        self.work.outbox.push_back(out);
    }

    /// Sends what there is room for.
    fn send(&mut self) -> Sent {
        let work = &mut self.work;
        work.full = false;
        work.retry_at = work.retry_at.filter(|at| *at > Instant::now());
        while let (Some(out), None) = (work.outbox.front(), work.retry_at) {
            let sent = match out {
                Out::Say(message) => self.channel.send(message, &[]),
                Out::Fatal(message, _) => self.channel.send(&HostSays::Fatal { message: message.clone() }, &[]),
                Out::Bye(_) => self.channel.send(&HostSays::Bye, &[]),
                Out::Order(id, run) => match work.ordered.get(&(*id, *run)) {
                    Some(Order { id, run, size, spec, ring, opaque, .. }) => {
                        let message = HostSays::Spawn { id: *id, run: *run, size: *size };
                        self.channel.send(&message, &[spec.as_fd(), ring.as_fd(), opaque.as_fd()])
                    }
                    None => Ok(Sent::Done),
                },
            };
            match sent {
                Ok(Sent::Done) => {}
                Ok(Sent::Full) => {
                    work.full = true;
                    return Sent::Full;
                }
                Ok(Sent::InFlight) => {
                    work.retry_at = Some(Instant::now() + IN_FLIGHT_RETRY);
                    return Sent::InFlight;
                }
                Ok(Sent::Closed) => return Sent::Closed,
                Err(e) => tracing::error!("cannot tell the keeper {out:?}: {e}"),
            }
            match work.outbox.pop_front() {
                Some(Out::Fatal(_, done)) => drop(done.send(())),
                Some(Out::Bye(done)) => {
                    work.said_bye = true;
                    let _ = done.send(());
                }
                _ => {}
            }
        }
        Sent::Done
    }

    fn wait(&self) -> io::Result<()> {
        let out = if self.work.full { PollFlags::OUT } else { PollFlags::empty() };
        let more = !self.commands.is_empty() && self.work.outbox.len() < OUTBOX; // one wake can stand for many
        let until = if more { Some(Instant::now()) } else { self.work.retry_at };
        let left = until.map(|at| timespec(at.saturating_duration_since(Instant::now())));
        let mut fds = [PollFd::new(&self.flags.wake, PollFlags::IN), PollFd::new(&self.channel, PollFlags::IN | out)];
        match poll(&mut fds, left.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        let _ = rustix::io::read(&self.flags.wake, &mut [0; 8]); // doesn't block; nothing there is fine
        Ok(())
    }

    fn hear(&mut self, message: KeeperSays, fds: Vec<OwnedFd>) {
        match message {
            KeeperSays::Spawned { id, run, process } => self.spawned(id, run, process, fds),
            KeeperSays::SpawnFailed { id, run, errno, step } => {
                self.answer(id, run, Err(SpawnError::Exec { errno, step }));
            }
            KeeperSays::SpawnRefused { id, run, why } => self.answer(id, run, Err(SpawnError::Refused(why))),
            KeeperSays::Exited { id, run, status } => {
                let known = self.held.get_mut(&id).filter(|k| k.run == run && k.exit.is_none());
                if let Some(known) = known {
                    known.exit = Some(status);
                    let _ = self.events.blocking_send(LinkEvent::Exited { id, run, status });
                }
            }
            KeeperSays::Shutdown => drop(self.events.blocking_send(LinkEvent::ShutdownRequested)),
            KeeperSays::Pong => self.work.pong(),
            KeeperSays::Reexeced { .. } => self.work.reexeced(Ok(())),
            KeeperSays::ReexecRefused { why } => self.work.reexeced(Err(why)),
            KeeperSays::Refused { why } => {
                self.work.pong(); // a keeper that is older than that word answers as well
                self.work.reexeced(Err(why.clone()));
                tracing::warn!("the keeper refused: {why}");
            }
            KeeperSays::Welcome { .. } | KeeperSays::Held(_) | KeeperSays::End | KeeperSays::Revived { .. } => {
                tracing::warn!("the keeper repeats its hand-over");
            }
        }
    }

    fn spawned(&mut self, id: SessionId, run: u32, process: Process, fds: Vec<OwnedFd>) {
        let [master, pidfd] = match exactly::<2>(fds) {
            Ok(fds) => fds.map(Arc::new),
            Err(why) => return self.answer(id, run, Err(SpawnError::Refused(why))),
        };
        let Some(Order { ring, opaque, answer, .. }) = self.work.ordered.remove(&(id, run)) else { return };
        let told = Spawned { process, pidfd: Some(pidfd.clone()), master: master.clone() };
        let known = Known { run, process, exit: None, forgotten: false, master, ring, opaque, pidfd };
        self.held.insert(id, known);
        let _ = answer.send(Ok(told)); // nobody waits: it is held all the same
    }

    fn answer(&mut self, id: SessionId, run: u32, answer: Result<Spawned, SpawnError>) {
        if let Some(order) = self.work.ordered.remove(&(id, run)) {
            let _ = order.answer.send(answer);
        }
    }

    /// Answers who asks about a session that has no run under way.
    fn answer_asked(&mut self) {
        let starting = |id: SessionId| self.work.ordered.range((id, 0)..=(id, u32::MAX)).next().is_some();
        let (wait, now) = std::mem::take(&mut self.work.asked).into_iter().partition(|(id, _)| starting(*id));
        self.work.asked = wait;
        for (id, asker) in now {
            let _ = asker.send(self.held.get(&id).map(|known| tell_of(id, known)).transpose()); // who asked may be gone
        }
    }

    /// The keeper is gone: everything goes to a new one.
    fn revive(&mut self) -> Result<(), End> {
        let leaves = |out: &Out| matches!(out, Out::Bye(_));
        if self.work.said_bye || self.work.outbox.iter().any(leaves) {
            return Err(End::Quiet); // those who wait for the bye see it dropped
        }
        if let Some(pidfd) = &self.keeper_pidfd {
            let deadline = Instant::now() + KEEPER_END_TIME;
            wait(pidfd, PollFlags::IN, deadline).map_err(|_| End::Dead("the keeper hung up but lives".to_owned()))?;
            let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG); // if ours
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
        for (id, since) in work.ordered.values().map(|o| (o.id, o.since)) {
            // The old keeper may have got as far as a running program that nobody holds. Its PTY is gone with the
            // keeper, so it gets a SIGHUP; one that ignores that has lived long enough for its cookie to be seen.
            match tree::kill(tree::Target::Young(id, since)) {
                Ok(0) => {}
                left => tracing::error!(%id, ?left, "a run that nobody holds can't be ended"),
            }
        }
        work.outbox.extend(work.ordered.keys().map(|(id, run)| Out::Order(*id, *run)));
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
            match revive::start(&self.estate()) {
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
