//! Ends a run's whole process tree: HUP, TERM, KILL, with a grace time between, until nothing of it is left.
//!
//! The end is that the tree is *empty*, not that the leader is gone: [`tree`] sees to that, on a thread of its own.

use super::actor::SessionActor;
use super::clock::booted;
use super::messages::End;
use super::stage::Stage;
use crate::log::{Desired, MetaBatch};
use crate::model::{Event, Status};
use crate::pty::tree::{self, Target};
use crate::wire::{ApiError, Code};
use actix::prelude::*;
use std::time::Duration;
use tokio::sync::oneshot;

/// An end that is under way.
#[derive(Default)]
pub(super) struct Ending {
    /// Who waits for it. Bounded by the server's connections.
    waiting: Vec<oneshot::Sender<Result<(), ApiError>>>,
    tree_gone: Option<Result<(), ApiError>>,
}

impl Handler<End> for SessionActor {
    type Result = ResponseFuture<Result<(), ApiError>>;

    fn handle(&mut self, msg: End, ctx: &mut Context<Self>) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        let first = self.ending.is_none();
        let ending = self.ending.get_or_insert_default();
        ending.waiting.push(reply);
        self.restarting = msg.for_restart && (first || self.restarting);
        if self.stage != Stage::Starting && (first || msg.force) {
            self.begin_ending(msg, ctx);
        }
        Box::pin(async move { answer.await.map_err(|_| ApiError::new(Code::Stopping, "the host is ending"))? })
    }
}

impl SessionActor {
    /// True when the end of this run was asked for.
    pub(super) fn end_is_wanted(&self) -> bool {
        self.ending.is_some() || self.meta.desired == Desired::Ended
    }

    /// The end was asked for while the run was being started.
    pub(super) fn end_if_asked_meanwhile(&mut self, ctx: &mut Context<Self>) {
        if self.ending.is_some() {
            self.begin_ending(End { force: false, for_restart: self.restarting }, ctx);
        }
    }

    fn begin_ending(&mut self, msg: End, ctx: &mut Context<Self>) {
        let wish = (!msg.for_restart && self.meta.desired != Desired::Ended).then(|| {
            self.meta.desired = Desired::Ended;
            MetaBatch::new().put_session(&self.meta)
        });
        let left = self.left();
        let (grace, writer) = (self.services.tuning.stop_grace, self.services.writer.clone());
        let gone = async move {
            if let Some(wish) = wish {
                let stopped = |_| ApiError::new(Code::Stopping, "the host is ending");
                writer.commit(wish).await.map_err(stopped)?;
            }
            end_tree(left, grace, msg.force).await
        };
        ctx.spawn(gone.into_actor(self).map(|result, act, ctx| {
            if let Some(ending) = &mut act.ending {
                ending.tree_gone = Some(result);
            }
            act.ended_perhaps(ctx);
        }));
    }

    /// Who may be left of it, of all its runs. A run that ended, also one whose host and keeper died, may have left others.
    pub(super) fn left(&self) -> Target {
        let held = match self.stage {
            Stage::Running(process) | Stage::Draining(process, _) => Some(process),
            Stage::Idle | Stage::Starting => self.io.as_ref().and_then(|io| io.process),
        };
        match held.or_else(|| self.sum.leader_since(booted())) {
            Some(leader) => Target::Tree(leader, self.meta.id),
            None => Target::Left(self.meta.id),
        }
    }

    /// Answers who waits for the end, when the tree is gone and the exit is in the log.
    pub(super) fn ended_perhaps(&mut self, ctx: &mut Context<Self>) {
        let failed = self.ending.as_ref().is_some_and(|e| matches!(e.tree_gone, Some(Err(_))));
        if self.stage != Stage::Idle && !failed {
            return;
        }
        let Some(ending) = self.ending.take_if(|e| e.tree_gone.is_some()) else { return };
        if !self.restarting {
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
        if let super::summary::Phase::Restarting { .. } = self.sum.phase {
            let status = self.sum.status.unwrap_or(Status::Unknown);
            self.put_surely(Event::Exited { run: self.sum.run, status, last: true });
        }
    }
}

/// Returns when nothing of the tree is left.
pub(super) async fn end_tree(left: Target, grace: Duration, force: bool) -> Result<(), ApiError> {
    let (done, ended) = oneshot::channel();
    tree::end(left, (!force).then_some(grace), move |left| drop(done.send(left)));
    let failed = |why: String| Err(ApiError::new(Code::Failed, why));
    match ended.await {
        Ok(Ok(0)) => Ok(()),
        Ok(Ok(left)) => failed(format!("{left} processes of the session don't end, even by SIGKILL")),
        Ok(Err(e)) => failed(format!("the process tree can't be ended: {e}")),
        Err(_) => failed("the process tree can't be ended: its thread died".to_owned()),
    }
}
