//! A run's beginning and end.
//!
//! Beginning: the wish is durable and `starting` written before the keeper is asked (a power loss that takes `starting`
//! takes the run, too); `started` is durable before the caller hears Ok. End: the leader is gone *and* its output is drained
//! (the PTY says that nobody holds it, or a grace time ends), then `exited`.

use super::actor::{Io, SessionActor};
use super::birth::opaque;
use super::ending::end_tree;
use super::heart;
use super::messages::{LeaderExited, RunEnded, Start, StartAgain, StartError};
use super::stage::Stage;
use super::summary::Phase;
use crate::failpoint::reached;
use crate::keeper::{SpawnError, SpawnRun, Spawned};
use crate::log::Desired;
use crate::model::{Event, Seq, Spec, Status};
use crate::policy::{self, Decision};
use crate::pty::shim::{ShimSpec, SpawnStep};
use crate::pty::{PtyFd, cgroup};
use crate::ring::{MAX_RECORDS, Ring};
use actix::prelude::*;
use rustix::process::{Resource, getrlimit};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

/// After its leader's end a run's output is drained for so long, when other processes hold the terminal.
const DRAIN_GRACE: Duration = Duration::from_secs(1);
/// Descriptors that no session may take: for the store, connections, and looking for the processes of those that end.
const SPARE_FILES: u64 = 128;

impl Handler<Start> for SessionActor {
    type Result = ResponseActFuture<Self, Result<(), StartError>>;

    fn handle(&mut self, msg: Start, _: &mut Context<Self>) -> Self::Result {
        if self.stage != Stage::Idle || self.ending.is_some() {
            return Box::pin(fut::ready(Err(StartError::Live)));
        }
        self.start(msg.spec)
    }
}

impl Handler<StartAgain> for SessionActor {
    type Result = ResponseActFuture<Self, Result<(), StartError>>;

    fn handle(&mut self, msg: StartAgain, _: &mut Context<Self>) -> Self::Result {
        let waits = self.restart_is_due().is_some() && self.sum.run == msg.after_run;
        if !waits || self.stage != Stage::Idle || self.ending.is_some() {
            return Box::pin(fut::ready(Err(StartError::Live)));
        }
        self.start(None)
    }
}

impl SessionActor {
    /// Wish, end what is left of the last run, begin, spawn, take: each step outlives this host before the next.
    pub(super) fn start(&mut self, spec: Option<Spec>) -> ResponseActFuture<Self, Result<(), StartError>> {
        self.stage = Stage::Starting;
        let known = self.meta.clone();
        if let Some(spec) = spec {
            self.meta.spec = spec;
            self.meta.first_run = self.next_run();
        }
        self.meta.desired = Desired::Running;
        self.forget_fate();
        self.meta.ring_records = MAX_RECORDS;
        let (leftover, manner) = ((self.sum.run > 0).then(|| self.remains()), self.manner());
        self.meta.boot = self.services.boot.as_deref().map(str::to_owned);
        self.reason = None;
        self.judged = None;
        let wish = self.end_rest();
        let wish = match self.meta != known {
            true => Some(wish.unwrap_or_default().put_session(&self.meta)),
            false => wish,
        };
        let drained = self.when_durable(self.sum.seq); // the last run's ring may go
        let (id, writer) = (self.meta.id, self.services.writer.clone());
        let (keeper, last_run) = (self.services.keeper.clone(), self.sum.run);
        let wished = async move {
            if let Some(wish) = wish {
                writer.commit(wish).await.map_err(|e| StartError::Host(e.to_string()))?;
            }
            if let Some(leftover) = leftover {
                end_tree(leftover, manner).await.map_err(|e| StartError::Host(e.to_string()))?;
            }
            drained.await.map_err(|e| StartError::Host(e.to_string()))?;
            keeper.forget(id, last_run).await; // it refuses a run before the last one is closed
            Ok(())
        };
        let begun = wished
            .into_actor(self)
            .then(|wished, act, _| act.begin_run(wished))
            .then(|spawned, act, ctx| act.spawned(spawned, ctx));
        Box::pin(begun.map(|result, act, _| {
            if result.is_err() && act.stage == Stage::Starting {
                act.stage = Stage::Idle;
            }
            result
        }))
    }

    /// The run that would be begun now.
    pub(super) fn next_run(&self) -> u32 {
        if self.sum.phase == Phase::Starting { self.sum.run } else { self.sum.run + 1 } // cut off by a crash
    }

    /// After which delay the log says that another run comes.
    pub(super) fn restart_is_due(&self) -> Option<Duration> {
        match self.sum.phase {
            Phase::Restarting { after, .. } => Some(after),
            Phase::Ended { last: false, .. } => Some(Duration::ZERO), // its host, or its actor, ended first
            _ => None,
        }
    }

    /// Tells the supervisor that another run is to come, if one is.
    pub(super) fn ask_for_restart(&self, ctx: &mut Context<Self>) {
        let Some(after) = self.restart_is_due() else { return };
        let decision = Decision::Restart(after);
        let again =
            RunEnded { id: self.meta.id, name: self.meta.name.clone(), run: self.sum.run, decision, wanted: false };
        let told = self.services.ended.send(again);
        ctx.spawn(told.into_actor(self).map(|told, act, _| {
            if told.is_err() {
                tracing::warn!(session = %act.meta.name, "nobody restarts it: the supervisor is gone");
            }
        }));
    }

    fn begin_run(&mut self, wished: Result<(), StartError>) -> ResponseActFuture<Self, Result<Spawned, StartError>> {
        let host = |e: String| StartError::Host(e);
        let begun = wished.and_then(|()| {
            let run = self.next_run();
            self.orphans = None; // ended just now
            let ring =
                Ring::create(self.meta.id, self.sum.seq.next()).map_err(|e| host(format!("no crash ring: {e}")))?;
            let fd = ring.fd().clone();
            spare_files(&fd)?;
            self.modes = Default::default();
            self.answering.end_run(self.sum.seq);
            heart::join(ring.pulse(), self.clock.clone());
            self.io = Some(Io::new(run, ring));
            self.put_surely(Event::Starting { run, size: self.meta.spec.size });
            Ok((run, fd))
        });
        let (run, ring) = match begun {
            Ok(begun) => begun,
            Err(e) => return Box::pin(fut::ready(Err(e))),
        };
        let (writer, feed, starting) = (self.services.writer.clone(), self.feed.clone(), self.sum.seq);
        let later = run > self.meta.first_run.max(1);
        let shim = ShimSpec::new(&self.meta.spec, later, &self.meta.name, self.meta.id, &self.services.host_uri);
        let (opaque, id, size, keeper) =
            (opaque(&self.meta), self.meta.id, self.meta.spec.size, self.services.keeper.clone());
        let spawned = async move {
            if starting > Seq(1) {
                // else no other record can ever have its number: also a next host begins the log with it
                writer.written_upto(&feed, starting).await.map_err(|e| StartError::Host(e.to_string()))?;
            }
            reached("start recorded");
            keeper.spawn(SpawnRun { id, run, spec: &shim, size, opaque, ring }).await.map_err(|e| match e {
                SpawnError::Exec { errno, .. } => StartError::Exec { errno, reason: exec_reason(&e, &shim) },
                other => StartError::Host(other.to_string()),
            })
        };
        Box::pin(spawned.into_actor(self))
    }

    fn spawned(
        &mut self,
        spawned: Result<Spawned, StartError>,
        ctx: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<(), StartError>> {
        reached("spawned");
        let outcome = spawned.and_then(|spawned| self.take_pty(spawned));
        match &outcome {
            Err(e) => self.start_failed(e, ctx),
            Ok(()) => {
                self.arm_reading(ctx);
                self.catch_up(ctx);
                self.end_if_asked_meanwhile(ctx);
                self.watch(ctx);
            }
        }
        let durable = self.when_durable(self.sum.seq);
        let answer = async move {
            durable.await.map_err(|e| StartError::Host(e.to_string()))?;
            reached("started");
            outcome
        };
        Box::pin(answer.into_actor(self))
    }

    fn take_pty(&mut self, spawned: Spawned) -> Result<(), StartError> {
        let host = |e: std::io::Error| StartError::Host(format!("the terminal can't be taken: {e}"));
        let pty = PtyFd::new(spawned.master).and_then(PtyFd::watch).map_err(host)?;
        let Some(io) = &mut self.io else { return Err(StartError::Host("the ring is gone".to_owned())) };
        io.pty = Some(Rc::new(pty));
        io.process = Some(spawned.process);
        let run = io.run;
        self.stage = Stage::Running(spawned.process);
        self.restarting = false;
        let (pid, start_time) = (spawned.process.pid, spawned.process.start_time);
        self.put_surely(Event::Started { run, pid, start_time });
        Ok(())
    }

    /// A run that didn't start has ended: it counts as a failure.
    fn start_failed(&mut self, error: &StartError, ctx: &mut Context<Self>) {
        self.stage = Stage::Idle;
        self.reason = Some(error.to_string());
        self.restarting = false;
        let status = match error {
            StartError::Exec { errno, .. } => Status::ExecFailed(*errno),
            StartError::Live | StartError::Host(_) => Status::Unknown,
        };
        if self.io.is_some() {
            self.conclude(status, ctx);
        }
    }

    /// Ends the run if its leader is gone and its output is whole. True when it did.
    pub(super) fn drained(&mut self, ctx: &mut Context<Self>) -> bool {
        let closed = self.io.as_ref().is_none_or(|io| io.closed);
        match self.stage {
            Stage::Draining(_, status) if closed => {
                self.stage = Stage::Idle;
                self.conclude(status, ctx);
                true
            }
            _ => false,
        }
    }

    /// `exited` and what follows from it.
    pub(super) fn conclude(&mut self, status: Status, ctx: &mut Context<Self>) {
        let run = self.sum.run;
        self.end_typing();
        let now = self.clock.stamp().log;
        let restarts: Vec<_> = self.sum.restarts_at.iter().copied().collect();
        let jitter = f64::from(crc32c::crc32c(&now.0.to_le_bytes())) / f64::from(u32::MAX);
        let (policy, failed) = (self.own_policy(), self.has_failed(status));
        let wanted = self.end_is_wanted();
        let decision = policy::decide(&policy, failed, wanted, &restarts, now, jitter);
        let last = !matches!(decision, Decision::Restart(_)) && !self.restarting;
        reached("run over");
        self.put_surely(Event::Exited { run, status, last });
        match decision {
            Decision::Restart(after) => self.put_surely(Event::Restarting { run: run + 1, after }),
            Decision::GiveUp => self.reason = Some(self.give_up_reason()),
            Decision::Stay if self.sum.hung && !wanted => self.reason = Some(self.hung_reason()),
            Decision::Stay => {}
        }
        if last {
            self.note_failure();
        }
        self.save_summary();
        let told = RunEnded { id: self.meta.id, name: self.meta.name.clone(), run, decision, wanted };
        let (durable, ended, keeper) =
            (self.when_durable(self.sum.seq), self.services.ended.clone(), self.services.keeper.clone());
        let id = self.meta.id;
        let done = async move {
            if durable.await.is_ok() {
                reached("exit recorded");
                keeper.forget(id, run).await;
                if ended.send(told).await.is_err() {
                    tracing::debug!(%id, "the supervisor has ended before this run");
                }
            }
        };
        ctx.spawn(done.into_actor(self).map(move |(), act, ctx| act.let_go(run, ctx)));
        self.ended_perhaps(ctx);
    }

    /// The run ended as none should. One that went down with the machine didn't fail: nobody knows what it would have done. (A
    /// group is started again in order, whatever took it down.)
    pub(super) fn has_failed(&self, status: Status) -> bool {
        self.sum.hung || (status.is_failure() && !(self.went_down(status) && self.is_alone()))
    }

    /// The end of a run is in the log: when it is durable, the keeper may forget it.
    pub(super) fn close_books(&mut self, run: u32, ctx: &mut Context<Self>) {
        let (durable, keeper, id) = (self.when_durable(self.sum.seq), self.services.keeper.clone(), self.meta.id);
        let closed = async move {
            if durable.await.is_ok() {
                keeper.forget(id, run).await;
            }
        };
        ctx.spawn(closed.into_actor(self).map(move |(), act, ctx| act.let_go(run, ctx)));
    }

    /// Lets ring and PTY of an ended run go, unless other processes still write to it.
    pub(super) fn let_go(&mut self, run: u32, ctx: &mut Context<Self>) {
        let over = self.io.as_ref().is_some_and(|io| io.run == run && (io.closed || io.pty.is_none()))
            && self.stage == Stage::Idle;
        if over && self.owed.is_empty() {
            self.io = None;
            if !self.sum.rests {
                self.save_summary(); // of one whose terminal was held for longer than its run
            }
            let (keeper, id) = (self.services.keeper.clone(), self.meta.id);
            let dropped = async move {
                keeper.drop_session(id).await;
                if tokio::task::spawn_blocking(move || cgroup::tidy(id)).await.is_err() {
                    tracing::debug!(%id, "the host ended before the session's cgroup was looked at");
                }
            };
            ctx.spawn(dropped.into_actor(self));
        }
    }
}

impl Handler<LeaderExited> for SessionActor {
    type Result = ();

    fn handle(&mut self, msg: LeaderExited, ctx: &mut Context<Self>) {
        if msg.run != self.sum.run {
            return;
        }
        let process = match self.stage {
            Stage::Running(process) => process,
            Stage::Starting => {
                self.exit_at_birth = Some(msg.status); // it was faster than the word that it had started
                return;
            }
            Stage::Draining(..) | Stage::Idle => return,
        };
        self.stage = Stage::Draining(process, msg.status);
        if self.drained(ctx) {
            return;
        }
        let run = msg.run;
        ctx.run_later(DRAIN_GRACE, move |act, ctx| {
            if let Stage::Draining(_, status) = act.stage
                && act.sum.run == run
            {
                act.stage = Stage::Idle;
                act.conclude(status, ctx);
            }
        });
    }
}

impl Io {
    pub(super) fn new(run: u32, ring: Ring) -> Io {
        Io { run, ring, pty: None, process: None, closed: false, paused: false, writer_waits: false, tidies: false }
    }
}

/// Refuses a run that would leave too few descriptors to end the others. The lowest free number is taken, so it tells how
/// many there are.
fn spare_files(newest: &impl AsRawFd) -> Result<(), StartError> {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return Ok(()) };
    if u64::try_from(newest.as_raw_fd()).unwrap_or(0) + SPARE_FILES < limit {
        return Ok(());
    }
    let reason = format!(
        "too many open files: of {limit} the host keeps {SPARE_FILES} to end sessions; start it under a higher `ulimit -Hn`"
    );
    Err(StartError::Exec { errno: libc::EMFILE, reason })
}

fn exec_reason(error: &SpawnError, shim: &ShimSpec) -> String {
    match error {
        SpawnError::Exec { step: SpawnStep::Chdir, .. } => format!("directory {:?}: {error}", shim.cwd.lossy()),
        SpawnError::Exec { step: SpawnStep::Exec, .. } => format!("{}: {error}", shim.program.lossy()),
        _ => error.to_string(),
    }
}
