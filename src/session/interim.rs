//! Reads the terminals from a host's first moments until the sessions' actors are there.
//!
//! Opening a store takes as long as it takes, and no program shall wait for that. One thread of this module reads every
//! PTY that the keeper handed over into its crash ring, which is the only buffer: a ring that is full isn't read into, and
//! back-pressure is what a program feels then. What was read goes to the log by the way of the actor, who takes ring, clock
//! and records in one step. Nothing is typed, answered or acknowledged here.
//!
//! A PTY has one reader at any time: who has its [`Kept`]. As long as that lies in here, this thread; an actor takes it out
//! under the same lock, and it never comes back.

use super::clock::{Clock, wall_now};
use crate::failpoint::reached;
use crate::keeper::Held;
use crate::model::{Event, GapReason, KIB, Kind, LogTime, Record, SessionId, Wall};
use crate::pty::PtyFd;
use crate::ring::{Adopted, Landed, Ring};
use crate::terminal::modes::Modes;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// So much is read of one terminal, then the others have their turn: about 1 ms of a flood.
const TURN_BYTES: usize = 64 * KIB;
/// As the actors do: log time goes on at most so much earlier after a crash.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What the keeper held of a session, with its ring.
pub struct Found {
    /// From the keeper.
    pub held: Held,
    /// Taken over, or why it can't be.
    pub ring: Result<(Keeping, Adopted), String>,
}

/// Where a session's ring is until its actor takes it.
pub enum Keeping {
    /// Here: nobody reads the terminal.
    Ring(Ring),
    /// With the thread that reads it.
    Interim(Arc<Interim>, SessionId),
}

/// A ring on its way to the actor.
pub(super) struct Kept {
    pub(super) ring: Ring,
    pub(super) clock: Clock,
    /// What came in since it was taken over; all of it is in the ring.
    pub(super) fresh: Vec<Record>,
    /// When it was taken over.
    pub(super) since: Wall,
    modes: Modes,
    /// To be read here; nothing once it hung up, or the ring is full.
    pty: Option<PtyFd>,
}

/// The thread's work.
pub struct Interim {
    state: Mutex<State>,
    /// Rung when there is another terminal to be read, or one less.
    bell: OwnedFd,
}

#[derive(Default)]
struct State {
    kept: BTreeMap<SessionId, Kept>,
    /// Nothing will be added.
    complete: bool,
}

impl Found {
    /// Takes a ring over whose terminal nobody reads until the actor does.
    pub fn at_rest(held: Held) -> Found {
        let ring = adopt(&held).map(|(ring, adopted)| (Keeping::Ring(ring), adopted));
        Found { held, ring }
    }
}

impl Keeping {
    /// For the actor; where nobody has read, the session's time goes on from `log`. Nothing when it was taken before.
    pub(super) fn take(self, log: LogTime) -> Option<Kept> {
        match self {
            Keeping::Ring(ring) => Some(Kept::new(ring, log)),
            Keeping::Interim(interim, id) => interim.change(|state| state.kept.remove(&id)),
        }
    }
}

impl Interim {
    /// Takes everything over that the keeper holds; each terminal is read from the moment its ring is taken.
    pub fn start(held: Vec<Held>) -> io::Result<(Arc<Interim>, Vec<Found>)> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let interim = Arc::new(Interim { state: Mutex::default(), bell });
        let work = interim.clone();
        thread::Builder::new().name("interim".to_owned()).spawn(move || work.run())?;
        let found = held.into_iter().map(|held| interim.add(held)).collect();
        interim.change(|state| state.complete = true);
        Ok((interim, found))
    }

    /// Lets go of what no actor will take.
    pub fn keep_only(&self, is_wanted: impl Fn(SessionId) -> bool) {
        self.change(|state| state.kept.retain(|id, _| is_wanted(*id)));
    }

    fn add(self: &Arc<Self>, held: Held) -> Found {
        let (ring, mut adopted) = match adopt(&held) {
            Ok(taken) => taken,
            Err(why) => return Found { held, ring: Err(why) },
        };
        // A run that perhaps isn't known to have started has no output yet, as far as the log goes: its actor says so first.
        let stages = |record: &&Record| matches!(record.kind, Kind::Starting | Kind::Started);
        let begun = !ring.is_young() && adopted.records.iter().rfind(stages).is_none_or(|r| r.kind == Kind::Started);
        let mut kept = Kept::new(ring, adopted.log_time);
        kept.modes = Modes::unpack(adopted.modes);
        kept.name_loss(&mut adopted);
        if begun {
            match PtyFd::new(held.master.clone()) {
                Ok(pty) => kept.pty = Some(pty),
                Err(e) => tracing::error!(id = %held.id, error = %e, "the terminal can't be read yet"),
            }
        }
        self.change(|state| state.kept.insert(held.id, kept));
        reached("a terminal taken");
        let ring = Ok((Keeping::Interim(self.clone(), held.id), adopted));
        Found { held, ring }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.lock());
        if let Err(e) = rustix::io::write(&self.bell, &1u64.to_ne_bytes()) {
            tracing::debug!(error = %e, "the interim's bell is rung already");
        }
        changed
    }

    fn run(&self) {
        let mut next_beat = Instant::now() + HEARTBEAT;
        loop {
            let terminals = {
                let state = self.lock();
                if state.complete && state.kept.is_empty() {
                    return;
                }
                let read = |(id, kept): (&SessionId, &Kept)| Some((*id, kept.pty.clone()?));
                state.kept.iter().filter_map(read).collect::<Vec<_>>()
            };
            let ready = match wait(&self.bell, &terminals, next_beat) {
                Ok(ready) => ready,
                Err(e) => {
                    tracing::error!(error = %e, "terminals aren't read until the store is open");
                    return;
                }
            };
            for id in ready {
                if let Some(kept) = self.lock().kept.get_mut(&id) {
                    kept.read_a_turn();
                }
            }
            if next_beat <= Instant::now() {
                self.lock().kept.values_mut().for_each(Kept::beat);
                next_beat = Instant::now() + HEARTBEAT;
            }
        }
    }
}

/// Which of them have something to say. Comes back when the bell rings, or at `until`, too.
fn wait(bell: &OwnedFd, terminals: &[(SessionId, PtyFd)], until: Instant) -> io::Result<Vec<SessionId>> {
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
    let mut fds = vec![PollFd::new(bell, PollFlags::IN)];
    fds.extend(terminals.iter().map(|(_, pty)| PollFd::new(pty, PollFlags::IN | PollFlags::PRI)));
    match poll(&mut fds, Some(&left)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(e) => return Err(e.into()),
    }
    if !fds[0].revents().is_empty() {
        rustix::io::read(bell, &mut [0; 8]).map_or_else(|e| if e == Errno::AGAIN { Ok(0) } else { Err(e) }, Ok)?;
    }
    Ok(fds[1..].iter().zip(terminals).filter(|(fd, _)| !fd.revents().is_empty()).map(|(_, (id, _))| *id).collect())
}

fn adopt(held: &Held) -> Result<(Ring, Adopted), String> {
    let fd: OwnedFd = Arc::as_ref(&held.ring).try_clone().map_err(|e| e.to_string())?;
    Ring::adopt(fd).map_err(|e| e.to_string())
}

impl Kept {
    fn new(ring: Ring, log: LogTime) -> Kept {
        let (clock, fresh) = (Clock::from(log), Vec::new());
        Kept { ring, clock, fresh, since: wall_now(), modes: Modes::default(), pty: None }
    }

    /// What the ring had lost is said before what comes.
    fn name_loss(&mut self, adopted: &mut Adopted) {
        let Some((from, to)) = adopted.lost else { return };
        let (kind, body) = Event::Gap { from, to, reason: GapReason::Corrupt }.encode();
        if let Ok(record) = self.ring.put(kind, &body, self.clock.stamp()) {
            self.fresh.push(record);
            adopted.lost = None; // else the actor says it
        }
    }

    fn read_a_turn(&mut self) {
        let mut left = TURN_BYTES;
        while let Some(pty) = &self.pty
            && left > 0
        {
            match self.ring.land(pty, self.clock.stamp()) {
                Ok(Landed::Output(record)) => {
                    left = left.saturating_sub(record.body.len());
                    self.modes.scan(&record.body);
                    self.ring.set_modes(self.modes.pack());
                    self.fresh.push(record);
                    reached("read in the interim");
                }
                Ok(Landed::Control(_)) => {}
                Ok(Landed::Nothing) => return,
                Ok(Landed::Full) => {
                    self.clock.pause();
                    self.pty = None;
                }
                Ok(Landed::Closed) => self.pty = None,
                Err(e) => {
                    tracing::debug!(id = %self.ring.id(), error = %e, "the terminal can't be read: its actor will say so");
                    self.pty = None;
                }
            }
        }
    }

    fn beat(&mut self) {
        self.ring.pulse().beat(self.clock.stamp().log);
    }
}
