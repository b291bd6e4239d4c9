//! A session as a member of a fleet: started and ended by its group, and told what is to become of it.
//!
//! Its own policy says whether an ended run is to be followed by another, and after which delay; how often, and what else is
//! ended and started then, is the group's decision. So there is one decider: [`crate::policy::Tree`] in the supervisor. It is
//! asked by `RunEnded`, and what it wants comes back as [`StartMember`] and [`EndMember`].

use super::actor::SessionActor;
use super::messages::{End, StartError};
use super::stage::Stage;
use super::summary::Phase;
use crate::log::{Desired, Fate, Membership, MetaBatch};
use crate::model::{Name, Restart, RestartMode, Spec, Status};
use crate::wire::{ApiError, Code};
use actix::prelude::*;

/// Starts the next run for a group. Gives its number; nothing when somebody has ended the session by name, which stays so.
#[derive(Message)]
#[rtype(result = "Result<Option<u32>, StartError>")]
pub struct StartMember;

/// Ends the run for a group, or its waiting for another. What somebody wants of the session stays as it is.
#[derive(Message)]
#[rtype(result = "Result<(), ApiError>")]
pub struct EndMember {
    /// Another run follows.
    pub again: bool,
    /// The group that gave up because of this session.
    pub failed: Option<Name>,
}

/// What a session is from now on: nothing is ended or started by it.
#[derive(Message)]
#[rtype(result = "Result<(), ApiError>")]
pub struct Amend {
    /// What later runs execute; what needs no other run holds at once. The environment is the old one, if it needs no change.
    pub spec: Option<Box<Spec>>,
    /// The environment is that of `spec`.
    pub env: bool,
    /// Its place in a fleet, if it has one.
    pub member: Option<Membership>,
    /// It shall run, whoever ended it before.
    pub wanted: bool,
}

/// How a session stands, for those who want to change it.
#[derive(Message)]
#[rtype(result = "Standing")]
pub struct Stand;

/// The answer to [`Stand`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// A run goes on or will come.
    pub live: bool,
    /// It has ended well, by itself, and its policy lets it rest.
    pub done: bool,
    /// Where it stands in a fleet.
    pub member: Option<Membership>,
}

impl Handler<StartMember> for SessionActor {
    type Result = ResponseActFuture<Self, Result<Option<u32>, StartError>>;

    fn handle(&mut self, _: StartMember, _: &mut Context<Self>) -> Self::Result {
        let held = self.meta.desired == Desired::Ended || self.ending.is_some();
        match self.stage {
            _ if held => Box::pin(fut::ready(Ok(None))),
            Stage::Running(_) => Box::pin(fut::ready(Ok(Some(self.sum.run)))), // it goes on
            Stage::Starting | Stage::Draining(..) => Box::pin(fut::ready(Err(StartError::Live))),
            Stage::Idle => Box::pin(self.start(None).map(|started, act, _| started.map(|()| Some(act.sum.run)))),
        }
    }
}

impl Handler<EndMember> for SessionActor {
    type Result = ResponseActFuture<Self, Result<(), ApiError>>;

    fn handle(&mut self, EndMember { again, failed }: EndMember, ctx: &mut Context<Self>) -> Self::Result {
        let kept = match &mut self.meta.member {
            Some(member) if !again => {
                member.fate = if failed.is_some() { Fate::Failed } else { Fate::Ended };
                Some(self.services.writer.clone())
            }
            _ => None,
        };
        let fate = MetaBatch::new().put_session(&self.meta);
        let ended = Handler::<End>::handle(self, End { force: false, for_restart: true }, ctx);
        self.restarting &= again;
        let ended = async move {
            if let Some(writer) = kept {
                writer.commit(fate).await.map_err(stopping)?;
            }
            ended.await
        };
        Box::pin(ended.into_actor(self).map(move |ended, act, _| {
            if failed.is_some() {
                act.reason = act.group_gave_up();
                act.note_failure();
            }
            ended
        }))
    }
}

impl Handler<Amend> for SessionActor {
    type Result = ResponseFuture<Result<(), ApiError>>;

    fn handle(&mut self, msg: Amend, _: &mut Context<Self>) -> Self::Result {
        if let Some(spec) = msg.spec {
            let old = std::mem::replace(&mut self.meta.spec, *spec);
            if !msg.env {
                (self.meta.spec.env, self.meta.spec.umask) = (old.env, old.umask);
            }
            if (&old.argv, &old.program) != (&self.meta.spec.argv, &self.meta.spec.program) {
                self.meta.first_run = self.next_run();
            }
            if let (Stage::Running(_), true) = (self.stage, self.sum.size != self.meta.spec.size)
                && let Err(e) = self.resize(self.meta.spec.size)
            {
                tracing::warn!(session = %self.meta.name, error = %e, "its size can't be changed now");
            }
        }
        if self.meta.member != msg.member {
            let fate = self.meta.member.as_ref().map_or(Fate::None, |member| member.fate);
            self.meta.member = msg.member.map(|member| Membership { fate, ..member });
        }
        if msg.wanted {
            self.meta.desired = Desired::Running;
        }
        let (writer, meta) = (self.services.writer.clone(), MetaBatch::new().put_session(&self.meta));
        Box::pin(async move { writer.commit(meta).await.map_err(stopping) })
    }
}

impl Handler<Stand> for SessionActor {
    type Result = MessageResult<Stand>;

    fn handle(&mut self, _: Stand, _: &mut Context<Self>) -> Self::Result {
        let well = matches!(self.sum.phase, Phase::Ended { status: Status::Code(0), .. });
        let mode = self.meta.spec.restart.mode;
        let free = self.meta.member.as_ref().is_none_or(|member| member.fate == Fate::None);
        let done = well && free && self.meta.desired == Desired::Running && mode != RestartMode::Always;
        MessageResult(Standing { live: self.is_live(), done, member: self.meta.member.clone() })
    }
}

impl SessionActor {
    /// What its own policy has to say at a run's end: in a group, how often is the group's to decide.
    pub(super) fn own_policy(&self) -> Restart {
        let policy = self.meta.spec.restart;
        if self.is_alone() { policy } else { Restart { max_restarts: u32::MAX, ..policy } }
    }

    /// No group decides about it.
    pub(super) fn is_alone(&self) -> bool {
        self.meta.member.as_ref().is_none_or(|member| member.group.is_none())
    }

    /// It is started: what became of earlier runs is over.
    pub(super) fn forget_fate(&mut self) {
        if let Some(member) = &mut self.meta.member {
            member.fate = Fate::None;
        }
    }

    /// Why it failed, where its group gave up because of it.
    pub(super) fn group_gave_up(&self) -> Option<String> {
        let member = self.meta.member.as_ref().filter(|member| member.fate == Fate::Failed)?;
        let group = member.group.as_ref()?;
        Some(format!("group {group} gave up: it was restarted too often, or couldn't be started"))
    }
}

fn stopping(_: crate::log::Stopped) -> ApiError {
    ApiError::new(Code::Stopping, "the host is ending")
}
