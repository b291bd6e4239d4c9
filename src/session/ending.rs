//! Ends a run's whole process tree, as its spec says: HUP, TERM, KILL, with a grace time between, or its own signal and then
//! KILL, until nothing of it is left.
//!
//! The end is that the tree is *empty*, not that the leader is gone: [`tree`] sees to that, on a thread of its own.

use super::actor::SessionActor;
use super::messages::{End, EndWithHost};
use super::stage::Stage;
use super::summary::Phase;
use crate::log::Desired;
use crate::model::{Event, RestartMode, Status};
use crate::pty::tree::{self, Manner, Target};
use crate::wire::{ApiError, Code};
use actix::prelude::*;
use tokio::sync::oneshot;

/// An end that is under way.
#[derive(Default)]
pub(super) struct Ending {
    /// Who waits for it. Bounded by the server's connections.
    waiting: Vec<oneshot::Sender<Result<(), ApiError>>>,
    /// How often it was begun and hasn't come to its end: by force while it was under way in order, say.
    under_way: u32,
    tree_gone: Option<Result<(), ApiError>>,
    /// Nobody asked for it: the run hangs, and its policy decides what follows.
    hung: bool,
}

impl Handler<End> for SessionActor {
    type Result = ResponseFuture<Result<(), ApiError>>;

    fn handle(&mut self, msg: End, ctx: &mut Context<Self>) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        let first = self.ending.as_ref().is_none_or(|ending| ending.hung);
        let ending = self.ending.get_or_insert_default();
        ending.waiting.push(reply);
        ending.hung = false;
        self.restarting = msg.for_restart && (first || self.restarting);
        if self.stage != Stage::Starting && (first || msg.force) {
            self.begin_ending(msg, ctx);
        }
        Box::pin(async move { answer.await.map_err(|_| ApiError::new(Code::Stopping, "the host is ending"))? })
    }
}

impl Handler<EndWithHost> for SessionActor {
    type Result = ResponseFuture<Result<(), ApiError>>;

    fn handle(&mut self, _: EndWithHost, ctx: &mut Context<Self>) -> Self::Result {
        let stays = self.meta.spec.restart.mode == RestartMode::Always || !self.is_live(); // what it should be doing
        Handler::<End>::handle(self, End { force: false, for_restart: stays }, ctx)
    }
}

impl SessionActor {
    /// True when the end of this run was asked for.
    pub(super) fn end_is_wanted(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| !ending.hung) || self.meta.desired == Desired::Ended
    }

    /// Ends a run that hangs. The log says so already.
    pub(super) fn end_hung(&mut self, ctx: &mut Context<Self>) {
        if self.ending.is_some() || self.meta.desired == Desired::Ended || !matches!(self.stage, Stage::Running(_)) {
            return; // somebody was faster
        }
        self.ending = Some(Ending { hung: true, ..Ending::default() });
        self.begin_ending(End { force: false, for_restart: true }, ctx);
    }

    /// What may be left of the session's processes, of all its runs: also one that has ended, or that a crash has cut off, may
    /// have left others.
    pub(super) fn remains(&self) -> Target {
        let held = match self.stage {
            Stage::Running(process) | Stage::Draining(process, _) => Some(process),
            Stage::Idle | Stage::Starting => self.io.as_ref().and_then(|io| io.process),
        };
        // In another boot its number is a stranger's. What carries the session's id, or is in its cgroup, is its own.
        let recorded = match self.sum.phase {
            Phase::Running { process } => Some(process),
            _ => self.sum.leader,
        };
        match held.or(recorded.filter(|_| self.same_boot() == Some(true))) {
            Some(leader) => Target::Tree(leader, self.meta.id),
            None => Target::Left(self.meta.id),
        }
    }

    /// Whether its newest run was begun in this boot of the machine, where that can be told.
    pub(super) fn same_boot(&self) -> Option<bool> {
        Some(self.services.boot.as_deref()? == self.meta.boot.as_deref()?)
    }

    /// How its processes are asked to end.
    pub(super) fn manner(&self) -> Manner {
        let (care, grace) = (&self.meta.spec.care, self.services.tuning.stop_grace);
        match (care.stop_signal, care.stop_timeout) {
            (Some(signal), timeout) => Manner::Signal(signal, timeout.unwrap_or(grace * 2)), // as late as KILL comes else
            (None, Some(timeout)) => Manner::Usual(timeout / 2),
            (None, None) => Manner::Usual(grace),
        }
    }

    /// The end was asked for while the run was being started.
    pub(super) fn end_if_asked_meanwhile(&mut self, ctx: &mut Context<Self>) {
        if self.ending.is_some() {
            self.begin_ending(End { force: false, for_restart: self.restarting }, ctx);
        }
    }

    fn begin_ending(&mut self, msg: End, ctx: &mut Context<Self>) {
        let mut wish = match self.restart_is_due() {
            Some(_) if !msg.for_restart => self.end_rest(), // that it isn't restarted will be a record
            _ => None,
        };
        if !msg.for_restart && self.meta.desired != Desired::Ended {
            self.meta.desired = Desired::Ended;
            wish = Some(wish.unwrap_or_default().put_session(&self.meta));
        }
        if let Some(ending) = &mut self.ending {
            ending.under_way += 1;
            ending.tree_gone = None;
        }
        let manner = if msg.force { Manner::AtOnce } else { self.manner() };
        let (remains, writer) = (self.remains(), self.services.writer.clone());
        let gone = async move {
            if let Some(wish) = wish {
                let stopped = |_| ApiError::new(Code::Stopping, "the host is ending");
                writer.commit(wish).await.map_err(stopped)?;
            }
            end_tree(remains, manner).await
        };
        ctx.spawn(gone.into_actor(self).map(|result, act, ctx| {
            if let Some(ending) = &mut act.ending {
                ending.under_way = ending.under_way.saturating_sub(1);
                ending.tree_gone = Some(result).filter(|_| ending.under_way == 0);
            }
            act.ended_perhaps(ctx);
        }));
    }

    /// Ends what nobody holds any more of a run that a crash has cut off.
    pub(super) fn end_orphans(&mut self, ctx: &mut Context<Self>) {
        let Some(orphans) = self.orphans else { return };
        let (manner, name) = (self.manner(), self.meta.name.clone());
        let ended = async move { end_tree(orphans, manner).await };
        ctx.spawn(ended.into_actor(self).map(move |ended, act, _| match ended {
            Ok(()) => act.orphans = None,
            Err(e) => tracing::error!(session = %name, error = %e, "what is left of its last run can't be ended"),
        }));
    }

    /// Answers who waits for the end, when the tree is gone and the exit is in the log.
    pub(super) fn ended_perhaps(&mut self, ctx: &mut Context<Self>) {
        let failed = self.ending.as_ref().is_some_and(|e| matches!(e.tree_gone, Some(Err(_))));
        if self.stage != Stage::Idle && !failed {
            return;
        }
        let Some(ending) = self.ending.take_if(|e| e.tree_gone.is_some()) else { return };
        if ending.hung {
            if let Some(Err(e)) = &ending.tree_gone {
                tracing::error!(session = %self.meta.name, error = %e, "a run that hangs can't be ended");
            }
            self.ask_for_restart(ctx); // it was refused while the tree was still ending
        } else if !self.restarting {
            self.cancel_restart();
        }
        let result = ending.tree_gone.unwrap_or(Ok(()));
        let durable = self.when_durable(self.sum.seq);
        let answered = async move {
            let result = durable.await.and(result);
            ending.waiting.into_iter().for_each(|reply| drop(reply.send(result.clone())));
        };
        ctx.spawn(answered.into_actor(self));
    }

    /// A session that waits for its next run doesn't any more: the log says so.
    fn cancel_restart(&mut self) {
        if let Phase::Restarting { .. } | Phase::Ended { last: false, .. } = self.sum.phase {
            let status = self.sum.status.unwrap_or(Status::Unknown);
            self.put_surely(Event::Exited { run: self.sum.run, status, last: true });
            self.save_summary();
        }
    }
}

/// Returns when nothing of the tree is left.
pub(super) async fn end_tree(target: Target, manner: Manner) -> Result<(), ApiError> {
    let (done, ended) = oneshot::channel();
    tree::end(target, manner, move |left| drop(done.send(left)));
    let failed = |why: String| Err(ApiError::new(Code::Failed, why));
    match ended.await {
        Ok(Ok(0)) => Ok(()),
        Ok(Ok(left)) => failed(format!("{left} processes of the session don't end, even by SIGKILL")),
        Ok(Err(e)) => failed(format!("the process tree can't be ended: {e}")),
        Err(_) => failed("the process tree can't be ended: its thread died".to_owned()),
    }
}
