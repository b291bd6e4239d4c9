//! How a session's actor comes to be: at rest, or with a process that another host's actor left behind.
//!
//! What is here can be sent to the thread on which the actor will live; the PTY's readiness belongs to that thread.

use super::actor::{Io, Services, SessionActor};
use super::heart;
use super::interim::{Keeping, Kept};
use super::messages::LeaderExited;
use super::stage::Stage;
use super::summary::{Phase, REMEMBERED_RESTARTS, Summary};
use super::typist::{Job, Manner};
use crate::failpoint::reached;
use crate::keeper::Held;
use crate::log::{Desired, Feed, SessionMeta};
use crate::model::{Event, GapReason, Key, Record, RestartMode, Seq, SpanKind, Status, Step, Wall};
use crate::pty::PtyFd;
use crate::terminal::modes::Modes;
use crate::terminal::paste::typed_bytes;
use actix::prelude::*;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Records that were in the store and not on disk when the power went: numbers go on behind so many more. No program makes
/// so many within the longest commit interval.
const UNSYNCED: u64 = 1 << 24;

/// A session that will have an actor.
pub struct Birth {
    /// What is kept of it.
    pub meta: SessionMeta,
    /// The fold of its log, the ring's records in it.
    pub sum: Summary,
    /// The last record in the store.
    pub stored: Seq,
    /// No record was made behind what is stored, in the ring or the summary: nothing can be lost.
    pub settled: bool,
    /// The process that runs, or ran until just now.
    pub adopted: Option<Adoption>,
}

/// What another host's actor left.
pub struct Adoption {
    /// From the keeper.
    pub held: Held,
    /// Taken over.
    pub ring: Keeping,
    /// Modes of the program's terminal, as the ring had them.
    pub modes: u64,
    /// Records that aren't in the store.
    pub unstored: Vec<Record>,
    /// When its last host gave its last sign, to a second.
    pub last_alive: Wall,
    /// Records that the ring had and that can't be read.
    pub lost: Option<(Seq, Seq)>,
    /// An input that was on its way.
    pub unfinished: Option<Unfinished>,
}

/// An input that was on its way when a host died.
pub struct Unfinished {
    /// Its text.
    pub text: Vec<u8>,
    /// Its key.
    pub key: Option<(Key, u32)>,
    /// Its first record.
    pub seq: Seq,
    /// Its turn.
    pub turn: Option<u64>,
    /// How far it came.
    pub step: Option<Step>,
}

impl Birth {
    /// A new session.
    pub fn new(meta: SessionMeta) -> Birth {
        let sum = Summary::new(meta.spec.size);
        Birth { meta, sum, stored: Seq(0), settled: true, adopted: None }
    }

    /// The actor, on the thread where it will live, with a new feed that begins at `stored`. Where it ends without a word
    /// through `alive`, it has panicked.
    pub fn into_actor(self, services: Services, feed: Arc<Feed>, alive: oneshot::Sender<()>) -> SessionActor {
        let Birth { meta, sum, settled, adopted, .. } = self;
        services.writer.attach(&feed);
        let mut actor = SessionActor::resting(meta, services, sum, feed, alive);
        match adopted {
            Some(adoption) => actor.adopt(adoption),
            None => actor.mourn(settled),
        }
        actor
    }
}

impl SessionActor {
    fn adopt(&mut self, adoption: Adoption) {
        let Adoption { held, ring, modes, unstored, last_alive, lost, unfinished } = adoption;
        let Some(Kept { mut ring, clock, fresh, since, .. }) = ring.take(self.sum.at.log) else {
            return tracing::error!(session = %self.meta.name, "its ring is with another actor");
        };
        self.clock = Rc::new(clock);
        self.modes = Modes::unpack(modes);
        self.answering.leave_out(self.sum.seq); // what was asked before, another host has answered
        if let Some(first) = unstored.first() {
            ring.release(Seq(first.seq.0 - 1));
        } else {
            ring.release(self.sum.seq);
        }
        self.feed.push_all(unstored);
        reached("adopting");
        fresh.iter().for_each(|record| self.take_in(record));
        ring.set_modes(self.modes.pack());
        self.feed.push_all(fresh);
        heart::join(ring.pulse(), self.clock.clone());
        let mut io = Io::new(held.run, ring);
        io.process = Some(held.process);
        match PtyFd::new(held.master).and_then(PtyFd::watch) {
            Ok(pty) => io.pty = Some(Rc::new(pty)),
            Err(e) => tracing::error!(session = %self.meta.name, error = %e, "the terminal can't be taken over"),
        }
        self.io = Some(io);
        self.note_pause();
        if let Some((from, to)) = lost {
            self.put_surely(Event::Gap { from, to, reason: GapReason::Corrupt });
        }
        let down = since.0.saturating_sub(last_alive.0);
        if let Ok(micros) = u64::try_from(down) {
            self.put_surely(Event::Span { kind: SpanKind::Downtime, length: Duration::from_micros(micros) });
        }
        match &self.sum.phase {
            Phase::Running { process } => self.stage = Stage::Running(*process),
            // Killed between the keeper's answer and the record of it.
            Phase::Starting | Phase::Created => {
                self.stage = Stage::Running(held.process);
                let (pid, start_time) = (held.process.pid, held.process.start_time);
                self.put_surely(Event::Started { run: held.run, pid, start_time });
            }
            // Killed after `exited`, before the keeper was told.
            Phase::Restarting { .. } | Phase::Ended { .. } => {}
        }
        reached("adopted");
        self.exit_at_birth = held.exit;
        if let (Some(unfinished), Stage::Running(_)) = (unfinished, self.stage) {
            self.resume_typing(unfinished);
        }
    }

    /// A session of which nobody holds a terminal or a ring. Where its log says that it runs, or it isn't known to be `settled`,
    /// the machine or the keeper and the host went down: what was in its ring, or not yet on disk, is lost, and said, whatever
    /// it was about. [`SessionActor::catch_up`] decides what follows.
    fn mourn(&mut self, settled: bool) {
        self.reason = self.why_failed();
        self.lost = matches!(self.sum.phase, Phase::Running { .. });
        if self.lost || self.sum.phase == Phase::Starting {
            self.orphans = Some(self.remains());
        }
        if settled {
            return;
        }
        let (last, room) = (self.sum.seq, self.meta.ring_records.max(1) + UNSYNCED);
        let gap = Event::Gap { from: last.next(), to: Seq(last.0 + room), reason: GapReason::HostLost };
        let (kind, body) = gap.encode();
        let record = Record { seq: Seq(last.0 + room + 1), kind, at: self.clock.stamp(), body };
        self.sum.apply(&record);
        self.feed.push(record);
    }

    /// The run was there when the machine went down, as far as anyone can tell.
    pub(super) fn went_down(&self, status: Status) -> bool {
        status == Status::Unknown && self.same_boot() == Some(false)
    }

    /// Why an ended session counts as failed, from what is kept of it.
    fn why_failed(&self) -> Option<String> {
        if self.sum.phase == Phase::Starting {
            return Some("the host died while it was being started".to_owned());
        }
        let Phase::Ended { status, last: true } = self.sum.phase else { return None };
        if !self.is_alone() && !matches!(status, Status::ExecFailed(_)) {
            return self.group_gave_up();
        }
        let running = self.meta.desired == Desired::Running;
        let restart = &self.meta.spec.restart;
        let limit = usize::try_from(restart.max_restarts).unwrap_or(usize::MAX).min(REMEMBERED_RESTARTS);
        let gave_up = running && self.sum.restarts_at.len() >= limit;
        match (status, restart.mode) {
            (Status::ExecFailed(errno), _) => Some(std::io::Error::from_raw_os_error(errno).to_string()),
            (_, RestartMode::Always) if gave_up => Some(self.give_up_reason()),
            (_, RestartMode::OnFailure) if gave_up && self.has_failed(status) => Some(self.give_up_reason()),
            (_, RestartMode::Never) if running && self.sum.hung => Some(self.hung_reason()),
            _ => None,
        }
    }

    fn resume_typing(&mut self, unfinished: Unfinished) {
        let Unfinished { text, key, seq, turn, step } = unfinished;
        let manner = if turn.is_some() { Manner::Submit } else { Manner::Verbatim };
        let bytes = match manner {
            Manner::Verbatim => text.clone(),
            _ => typed_bytes(&text, self.modes.bracketed_paste()).unwrap_or_default(),
        };
        let (ticket, digest) = self.tickets.reopen(key.clone());
        let job = Job { ticket, key: key.map(|(key, _)| key), digest, from: String::new(), text, manner, asked: None };
        if !self.typist.resume(job, bytes.into(), seq, turn, step) {
            self.tickets.forget(ticket); // in the middle of a write: what came of it can't be known
        }
    }

    /// What a process or a wish left to be done before this host.
    pub(super) fn catch_up(&mut self, ctx: &mut Context<Self>) {
        if let Some(status) = self.exit_at_birth.take() {
            let run = self.sum.run;
            match self.stage {
                Stage::Running(_) => Handler::<LeaderExited>::handle(self, LeaderExited { run, status }, ctx),
                _ => self.close_books(run, ctx),
            }
        }
        let never_was = matches!((&self.sum.phase, self.stage, self.sum.run), (Phase::Starting, Stage::Idle, 2..));
        if std::mem::take(&mut self.lost) || never_was {
            self.conclude(Status::Unknown, ctx); // its policy decides
        } else if self.stage == Stage::Idle {
            self.ask_for_restart(ctx);
        }
        self.end_orphans(ctx);
        if self.sum.hung {
            self.end_hung(ctx); // a host was killed over it
        }
    }
}

/// Kept for later hosts by the keeper: enough to adopt a session that the store doesn't know.
pub(super) fn opaque(meta: &SessionMeta) -> Vec<u8> {
    serde_json::to_vec(meta).unwrap_or_default()
}

/// What the keeper was given of a session with its run: enough to adopt one that the store does not know.
pub fn known_to_keeper(held: &Held) -> Option<SessionMeta> {
    serde_json::from_slice(&held.opaque).ok()
}
