//! The thread behind a [`Link`](super::Link): reads and writes the socket, and starts a new keeper when there is none.
//!
//! A thread of its own because neither a full socket nor the start of a keeper may hold up an actor. It holds a copy of
//! everything the keeper holds, so that nothing is lost with it. Commands come through one bounded queue, events go
//! through another; an answer goes straight to who asked.

use super::{
    channel::{Channel, IN_FLIGHT_RETRY, Received, Sent, exactly, timespec},
    link::{Held, LinkError, LinkEvent, SpawnError, Spawned, tell_of},
    protocol::{HostSays, KeeperSays, shorten},
};
use crate::model::{Process, SessionId, Size, Status};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc as std_mpsc,
    },
    time::Instant,
};
use tokio::sync::{mpsc, oneshot};

/// Commands under way to the thread: a sender waits when there are more.
pub(super) const COMMANDS: usize = 256;
/// Events nobody has taken yet: one exit a session is the most there is for long, so this is many sessions.
pub(super) const EVENTS: usize = 4096;
/// Messages that wait for room in the socket; with more, no further command is taken.
const OUTBOX: usize = 64;

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
    /// A pipe: the end from which the child reads whether the program may begin, and the one that only this process has.
    pub(super) word: (OwnedFd, OwnedFd),
    pub(super) answer: oneshot::Sender<Result<Spawned, SpawnError>>,
    /// What the program was let begin in.
    pub(super) begun: Option<Spawned>,
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
pub(super) enum Out {
    Say(HostSays),
    Order(SessionId, u32),
    Fatal(String, std_mpsc::Sender<()>),
    Bye(oneshot::Sender<()>),
}

/// Why the thread ends.
pub(super) enum End {
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
    pub(super) ordered: BTreeMap<(SessionId, u32), Order>,
    /// Who asks about sessions with a run under way. Bounded: one a session.
    asked: Vec<(SessionId, Asker)>,
    pub(super) outbox: VecDeque<Out>,
    full: bool,
    pub(super) retry_at: Option<Instant>,
    said_adopted: bool,
    pub(super) said_ready: bool,
    pub(super) said_bye: bool,
    /// Who waits for the keeper to answer.
    pub(super) pinged: Option<oneshot::Sender<()>>,
    /// Who waits for it to become another program.
    reexec: Option<ReexecAsker>,
}

impl Work {
    fn pong(&mut self) {
        if let Some(pinged) = self.pinged.take() {
            let _ = pinged.send(()); // it may have given up waiting
        }
    }

    pub(super) fn reexeced(&mut self, answer: Result<(), String>) {
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
                    Some(Order { id, run, size, spec, ring, opaque, word, .. }) => {
                        let message = HostSays::Spawn { id: *id, run: *run, size: *size, waits: true };
                        self.channel.send(&message, &[spec.as_fd(), ring.as_fd(), opaque.as_fd(), word.0.as_fd()])
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
            KeeperSays::Waiting { id, run, process } => self.let_begin(id, run, process, fds),
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

    /// The program may begin: from here on this host holds the run, whatever becomes of the keeper. Whoever has not got so far
    /// when the keeper dies never begins.
    fn let_begin(&mut self, id: SessionId, run: u32, process: Process, fds: Vec<OwnedFd>) {
        let [master, pidfd] = match exactly::<2>(fds) {
            Ok(fds) => fds.map(Arc::new),
            Err(why) => return self.answer(id, run, Err(SpawnError::Refused(why))), // and the pipe is closed
        };
        let Some(order) = self.work.ordered.get_mut(&(id, run)) else { return };
        order.begun = Some(Spawned { process, pidfd, master });
        let _ = rustix::io::write(&order.word.1, b"G"); // a child that is gone: the keeper says so
    }

    fn spawned(&mut self, id: SessionId, run: u32, process: Process, fds: Vec<OwnedFd>) {
        match exactly::<2>(fds) {
            Ok(fds) => {
                let [master, pidfd] = fds.map(Arc::new);
                self.hold(id, run, Spawned { process, pidfd, master });
            }
            Err(why) => self.answer(id, run, Err(SpawnError::Refused(why))),
        }
    }

    /// A run that was ordered is there.
    pub(super) fn hold(&mut self, id: SessionId, run: u32, spawned: Spawned) {
        let Some(Order { ring, opaque, answer, .. }) = self.work.ordered.remove(&(id, run)) else { return };
        let Spawned { process, pidfd, master } = spawned.clone();
        self.held.insert(id, Known { run, process, exit: None, forgotten: false, master, ring, opaque, pidfd });
        let _ = answer.send(Ok(spawned)); // nobody waits: it is held all the same
    }

    pub(super) fn answer(&mut self, id: SessionId, run: u32, answer: Result<Spawned, SpawnError>) {
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
}
