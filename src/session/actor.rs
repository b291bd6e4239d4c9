//! The session's actor: owns the ring, the PTY and the log's numbering of one session; runs the effects of the pure machines.
//!
//! The only reader and the only writer of its PTY. It never waits: what takes time is a future that reports back. Data goes
//! one way: `reading` (PTY to ring to feed); what is typed comes through `typing`; runs begin and end in `running`; process
//! trees are ended in `ending`.

use super::answering::Answering;
use super::attached::Attached;
use super::changes::{self, Changes, What};
use super::clock::Clock;
use super::ending::Ending;
use super::info;
use super::messages::{Describe, Leave, Now, Resize, RunEnded, SignalOnce, Snapshot, Told};
use super::screen::{ScreenActor, Screens};
use super::stage::Stage;
use super::summary::Summary;
use super::typing::Tickets;
use super::typist::Typist;
use crate::keeper::Link;
use crate::log::{EventLog, Feed, Meta, MetaBatch, SessionMeta, Writer};
use crate::model::{Event, LogTime, Process, Record, Seq, SessionId, Size, Status, format_duration};
use crate::pty::PtyFd;
use crate::pty::tree::Target;
use crate::ring::Ring;
use crate::terminal::modes::Modes;
use crate::wire::{ApiError, Code, SessionInfo};
use actix::prelude::*;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

/// What every session's actor needs of its host.
#[derive(Clone)]
pub struct Services {
    /// The store, for readers.
    pub store: Arc<dyn EventLog>,
    /// The way into the store.
    pub writer: Writer,
    /// Derived data and wishes.
    pub meta: Arc<Meta>,
    /// The process that holds the PTYs.
    pub keeper: Link,
    /// Who hears that a run has ended.
    pub ended: Recipient<RunEnded>,
    /// Where screens are drawn.
    pub screens: Screens,
    /// Goes into the environment of programs.
    pub host_uri: Arc<str>,
    /// Times.
    pub tuning: Tuning,
    /// For those who watch all sessions.
    pub changes: Arc<Changes>,
    /// The machine's boot, where it can be told.
    pub boot: Option<Arc<str>>,
}

/// Times that the configuration sets.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Between the text and its Enter.
    pub enter_delay: Duration,
    /// Between HUP, TERM and KILL.
    pub stop_grace: Duration,
}

/// The actor.
pub struct SessionActor {
    pub(super) meta: SessionMeta,
    pub(super) services: Services,
    pub(super) sum: Summary,
    pub(super) feed: Arc<Feed>,
    pub(super) clock: Rc<Clock>,
    pub(super) io: Option<Io>,
    pub(super) stage: Stage,
    pub(super) typist: Typist,
    pub(super) tickets: Tickets,
    pub(super) modes: Modes,
    pub(super) attached: Attached,
    pub(super) answering: Answering,
    /// The screen, while somebody has use for it.
    pub(super) screen: Option<Addr<ScreenActor>>,
    /// Events that didn't fit into the ring, in order. At most one run's end and what belongs to it.
    pub(super) owed: VecDeque<Event>,
    pub(super) ending: Option<Ending>,
    pub(super) reason: Option<String>,
    pub(super) saved: Saved,
    /// An exit that was heard of before the run was known to have started.
    pub(super) exit_at_birth: Option<Status>,
    /// What a crash may have left of its processes.
    pub(super) orphans: Option<Target>,
    /// Its process was lost with the host and the keeper: what follows is yet to be decided.
    pub(super) lost: bool,
    /// The watchdog looked at the run after this progress, and found that it waits for somebody.
    pub(super) judged: Option<LogTime>,
    /// `restart` was asked for: the end of this run is not the end of the session.
    pub(super) restarting: bool,
    /// Dropped without a word by a panic.
    alive: Option<oneshot::Sender<()>>,
}

/// The PTY and the ring of one run. It outlives the run while other processes hold the terminal.
pub(super) struct Io {
    pub(super) run: u32,
    pub(super) ring: Ring,
    pub(super) pty: Option<Rc<AsyncFd<PtyFd>>>,
    pub(super) process: Option<Process>,
    /// The PTY said that nobody holds its other side.
    pub(super) closed: bool,
    /// The ring is full: the PTY isn't read.
    pub(super) paused: bool,
    /// A future waits for room to write.
    pub(super) writer_waits: bool,
    /// A timer is set that makes the ring give memory back.
    pub(super) tidies: bool,
}

/// A summary is saved after so much output, to keep the fold at the next start short: 8 MiB fold in about 10 ms …
const SAVE_EACH: u64 = 8 * crate::model::MIB as u64;
/// … after so many records, some half a millisecond each thousand …
const SAVE_RECORDS: u64 = 2048;
/// … and so long after a record at the latest: the next host then needs no closed segment to know how things stand.
const SAVE_WITHIN: Duration = Duration::from_secs(10);
/// So long after something was stored, the ring gives the memory of it back.
const TIDY: Duration = Duration::from_secs(1);

/// Up to where the summary was saved.
pub(super) struct Saved {
    seq: Seq,
    output: u64,
    /// It may say that the session rests.
    pub(super) rests: bool,
    /// A timer is set that saves it.
    is_timed: bool,
}

impl SessionActor {
    /// Of a session without a process: new, ended, or between two runs.
    pub(super) fn resting(
        meta: SessionMeta,
        services: Services,
        sum: Summary,
        feed: Arc<Feed>,
        alive: oneshot::Sender<()>,
    ) -> SessionActor {
        let typist = Typist::new(sum.turn.as_ref().map_or(0, |t| t.turn), services.tuning.enter_delay);
        SessionActor {
            clock: Rc::new(Clock::from(sum.at.log)),
            saved: Saved { seq: sum.seq, output: sum.output, rests: sum.rests, is_timed: false },
            typist,
            tickets: Tickets::default(),
            modes: Modes::default(),
            attached: Attached::default(),
            answering: Answering::default(),
            screen: None,
            owed: VecDeque::new(),
            ending: None,
            reason: None,
            stage: Stage::Idle,
            meta,
            services,
            sum,
            feed,
            io: None,
            exit_at_birth: None,
            orphans: None,
            lost: false,
            judged: None,
            restarting: false,
            alive: Some(alive),
        }
    }

    /// Puts an event into the log: ring, fold, feed. Nothing when the ring has no room; the caller tries again when
    /// [`SessionActor::room_came`] runs.
    pub(super) fn put(&mut self, event: &Event) -> Option<Seq> {
        let (kind, body) = event.encode();
        let at = self.clock.stamp();
        let record = match &mut self.io {
            Some(io) => io.ring.put(kind, &body, at).ok()?,
            // Between two runs there is no ring: who needs the record waits until it is durable.
            None => Record { seq: self.sum.seq.next(), kind, at, body },
        };
        let seq = record.seq;
        if let Some(mark) = self.sum.apply(&record) {
            self.note(|batch, id| Some(batch.put_turn(id, mark.turn, &serde_json::to_vec(&mark).ok()?)));
        }
        self.feed.push(record);
        if let Some(what) = What::of(event) {
            self.services.changes.note(&self.meta.name, self.meta.id, seq, what);
        }
        Some(seq)
    }

    /// The session has ended for good: if that is a failure, those who watch hear why.
    pub(super) fn note_failure(&self) {
        if let Some(reason) = self.reason.as_deref().map(changes::cut) {
            self.services.changes.note(&self.meta.name, self.meta.id, self.sum.seq, What::Failed { reason });
        }
    }

    /// As [`SessionActor::put`], but an event that finds no room is kept and goes in later, in order.
    pub(super) fn put_surely(&mut self, event: Event) {
        if !self.owed.is_empty() || self.put(&event).is_none() {
            self.owed.push_back(event);
        }
    }

    /// The store has records up to `upto`: the ring drops them, and what waited for room goes on.
    pub(super) fn room_came(&mut self, upto: Seq, ctx: &mut Context<Self>) {
        let Some(io) = &mut self.io else { return };
        io.ring.release(upto);
        if !std::mem::replace(&mut io.tidies, true) {
            ctx.run_later(TIDY, |act, _| {
                if let Some(io) = &mut act.io {
                    io.tidies = false;
                    io.ring.tidy();
                }
            });
        }
        while let Some(event) = self.owed.pop_front() {
            if self.put(&event).is_none() {
                self.owed.push_front(event);
                return;
            }
        }
        if self.io.as_ref().is_some_and(|io| io.paused) {
            self.go_on_reading(ctx);
        }
        self.pump_typing(ctx);
        self.save_summary_soon(ctx);
    }

    /// True when it was taken.
    pub(super) fn save_summary(&mut self) -> bool {
        self.sum.rests = self.is_at_rest();
        let taken = self.note(|batch, id| Some(batch.save_summary(id, &serde_json::to_vec(&self.sum).ok()?)));
        if taken {
            (self.saved.seq, self.saved.output) = (self.sum.seq, self.sum.output);
            self.saved.rests |= self.sum.rests;
        }
        taken
    }

    fn save_summary_soon(&mut self, ctx: &mut Context<Self>) {
        let (records, output) = (self.sum.seq.0 - self.saved.seq.0, self.sum.output - self.saved.output);
        if (records >= SAVE_RECORDS || output >= SAVE_EACH) && self.save_summary() {
            return;
        }
        if records > 0 && !std::mem::replace(&mut self.saved.is_timed, true) {
            ctx.run_later(SAVE_WITHIN, |act, ctx| {
                act.saved.is_timed = false;
                if act.sum.seq > act.saved.seq {
                    act.save_summary();
                    act.save_summary_soon(ctx); // the writer was busy
                }
            });
        }
    }

    /// Hands derived data to `meta`. A full queue drops it: it is made again from the log. True when it was taken.
    fn note(&self, change: impl FnOnce(MetaBatch, SessionId) -> Option<MetaBatch>) -> bool {
        let taken = change(MetaBatch::new(), self.meta.id).is_some_and(|batch| self.services.writer.offer(batch));
        if !taken {
            tracing::debug!(session = %self.meta.name, "derived data was not saved: the writer is busy");
        }
        taken
    }

    /// Answers `fut` when the log is durable up to `seq`.
    pub(super) fn when_durable(&self, seq: Seq) -> impl Future<Output = Result<(), ApiError>> + use<> {
        let (writer, feed) = (self.services.writer.clone(), self.feed.clone());
        async move {
            let stopped = |_| ApiError::new(Code::Stopping, "the host is ending before this could be made durable");
            writer.durable_upto(&feed, seq).await.map_err(stopped)
        }
    }

    pub(super) fn resize(&mut self, size: Size) -> Result<(), ApiError> {
        let Stage::Running(_) = self.stage else { return Err(self.not_running()) };
        let pty = self.io.as_ref().and_then(|io| io.pty.clone()).ok_or_else(|| self.not_running())?;
        pty.get_ref()
            .resize(size)
            .map_err(|e| ApiError::new(Code::Failed, format!("the terminal can't be resized: {e}")))?;
        self.put_surely(Event::Resize(size));
        Ok(())
    }

    pub(super) fn give_up_reason(&self) -> String {
        let policy = &self.meta.spec.restart;
        format!("restarted {} times within {}: given up", policy.max_restarts, format_duration(policy.within))
    }

    pub(super) fn hung_reason(&self) -> String {
        let limit = self.meta.spec.care.watchdog.unwrap_or_default();
        format!("at work without output for {}: ended by its watchdog", format_duration(limit))
    }

    /// True while another run goes on or will come. (A process that outlived its run may still write; nobody waits for it.)
    pub(super) fn is_live(&self) -> bool {
        info::state(&self.sum, self.stage, self.reason.is_some()).is_live() || self.restarting
    }

    pub(super) fn not_running(&self) -> ApiError {
        let what = info::state(&self.sum, self.stage, self.reason.is_some()).as_str();
        ApiError::new(Code::NotRunning, format!("nothing runs in session {:?}: it is {what}", self.meta.name.as_str()))
            .hint(format!("termalive restart {}", self.meta.name))
    }
}

impl Actor for SessionActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let written = futures_util::stream::unfold(self.feed.written(), |mut written| async move {
            written.changed().await.ok()?;
            let upto = *written.borrow_and_update();
            Some((Written(upto), written))
        });
        ctx.add_stream(written);
        self.arm_reading(ctx);
        self.pump_typing(ctx);
        self.catch_up(ctx);
        self.save_keys(ctx);
        self.save_summary_soon(ctx); // what the last host lost is said once
        self.watch(ctx);
        self.answering.begin_at(self.sum.output);
        self.answer_queries(ctx); // asked while nobody could answer
    }
}

/// The store has everything up to here.
struct Written(Seq);

impl StreamHandler<Written> for SessionActor {
    fn handle(&mut self, Written(upto): Written, ctx: &mut Context<Self>) {
        self.room_came(upto, ctx);
    }

    fn finished(&mut self, _: &mut Context<Self>) {} // the host ends: the actor stays for what is still asked
}

impl Handler<Describe> for SessionActor {
    type Result = MessageResult<Describe>;

    fn handle(&mut self, _: Describe, _: &mut Context<Self>) -> Self::Result {
        let state = info::state(&self.sum, self.stage, self.reason.is_some());
        let info = info::describe(&self.meta, &self.sum, state, self.reason.clone(), self.typist.queued());
        MessageResult(Snapshot {
            info: SessionInfo { attached: self.attached.count(), ..info },
            summary: self.sum.clone(),
            feed: self.feed.clone(),
            now: self.clock.stamp(),
            live: self.is_live(),
            maker: info::maker(&self.meta.spec),
        })
    }
}

impl Handler<Now> for SessionActor {
    type Result = MessageResult<Now>;

    fn handle(&mut self, _: Now, _: &mut Context<Self>) -> Self::Result {
        MessageResult(Told { now: self.clock.stamp(), seq: self.sum.seq, live: self.is_live() })
    }
}

impl Handler<Resize> for SessionActor {
    type Result = ResponseFuture<Result<(), ApiError>>;

    fn handle(&mut self, Resize(size): Resize, _: &mut Context<Self>) -> Self::Result {
        let resized = self.resize(size);
        let durable = self.when_durable(self.sum.seq);
        Box::pin(async move {
            resized?;
            durable.await
        })
    }
}

impl Handler<SignalOnce> for SessionActor {
    type Result = Result<(), ApiError>;

    fn handle(&mut self, SignalOnce(signal): SignalOnce, _: &mut Context<Self>) -> Self::Result {
        let Stage::Running(process) = self.stage else { return Err(self.not_running()) };
        match crate::pty::tree::signal(&process, signal) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.not_running()),
            Err(e) => Err(ApiError::new(Code::Failed, format!("signal {signal} can't be sent: {e}"))),
        }
    }
}

impl Handler<Leave> for SessionActor {
    type Result = ();

    fn handle(&mut self, _: Leave, ctx: &mut Context<Self>) {
        self.feed.close();
        if let Some(alive) = self.alive.take() {
            let _ = alive.send(()); // the host ends
        }
        ctx.stop();
    }
}
