//! The supervisor's actor: which names there are, who hears of an exit, when a run is started again.

use super::create::Creating;
use super::fleet::Fleet;
use super::rebirth::{Fallen, Falls};
use super::shutdown::{Shutdown, Why};
use crate::failpoint::reached;
use crate::keeper::LinkEvent;
use crate::log::{Feed, Membership, MetaBatch};
use crate::model::{Name, Seq, SessionId};
use crate::policy::{Decision, Seen};
use crate::session::messages::{End, EndWithHost, LeaderExited, Leave, RunEnded, Start, StartAgain, StartError};
use crate::session::{Birth, Services, SessionActor, What};
use crate::wire::{ApiError, Code, Created, NewSession, SessionInfo};
use actix::prelude::*;
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::oneshot;

/// The actor.
pub struct Supervisor {
    pub(super) sessions: BTreeMap<Name, Entry>,
    pub(super) creating: HashMap<Name, Creating>,
    pub(super) services: Services,
    pub(super) arbiters: Vec<ArbiterHandle>,
    pub(super) turn: usize,
    pub(super) stopping: bool,
    pub(super) shutdown: Arc<Shutdown>,
    pub(super) falls: Falls,
    pub(super) fleets: BTreeMap<Name, Fleet>,
    /// Fleets that somebody is just changing: one at a time.
    pub(super) changing: BTreeSet<Name>,
    /// How members of fleets were found, until that is looked at.
    pub(super) found: BTreeMap<Name, Seen>,
    own: Recipient<Fallen>,
    keeper_pid: Arc<AtomicU32>,
}

/// A session.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) id: SessionId,
    pub(super) addr: Addr<SessionActor>,
    /// Its actor's, and what it had said when it fell.
    pub(super) feed: Arc<Feed>,
    /// The actor panicked; the next one isn't there yet.
    pub(super) fallen: bool,
    /// What there was nobody to be told meanwhile.
    pub(super) missed: Option<LeaderExited>,
}

/// Makes a session, or the next run of an ended one.
#[derive(Message)]
#[rtype(result = "Result<Created, ApiError>")]
pub struct Create {
    /// What was asked for.
    pub request: NewSession,
    /// What it means: resolved off this thread.
    pub spec: crate::model::Spec,
    /// The name in it, checked.
    pub name: Name,
    /// The client's key and the checksum of the request.
    pub key: Option<(crate::model::Key, String)>,
    /// Of a fleet: its place there.
    pub member: Option<Membership>,
}

/// Finds a session by name.
#[derive(Message)]
#[rtype(result = "Result<Found, ApiError>")]
pub struct Find(pub String);

/// The answer to [`Find`].
#[derive(Clone)]
pub struct Found {
    /// Its id.
    pub id: SessionId,
    /// Its actor.
    pub addr: Addr<SessionActor>,
}

/// All sessions, by name.
#[derive(Message)]
#[rtype(result = "Vec<Addr<SessionActor>>")]
pub struct List;

/// Removes an ended session; with `force` a live one is ended first.
#[derive(Message)]
#[rtype(result = "Result<(), ApiError>")]
pub struct Remove {
    /// Which.
    pub name: String,
    /// Also a live one.
    pub force: bool,
}

/// Ends the run, if any, and starts the next one.
#[derive(Message)]
#[rtype(result = "Result<(), ApiError>")]
pub struct Restart(pub String);

/// Ends all sessions in order; no more are made.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StopAll;

impl Supervisor {
    /// With the sessions that boot found.
    pub fn new(
        services: Services,
        arbiters: Vec<ArbiterHandle>,
        (births, fleets): (Vec<Birth>, Vec<Fleet>),
        shutdown: Arc<Shutdown>,
        keeper_pid: Arc<AtomicU32>,
        own: Addr<Supervisor>,
    ) -> Supervisor {
        let mut supervisor = Supervisor {
            sessions: BTreeMap::new(),
            creating: HashMap::new(),
            services,
            arbiters,
            turn: 0,
            stopping: false,
            shutdown,
            falls: Falls::default(),
            fleets: fleets.into_iter().map(|fleet| (fleet.name().clone(), fleet)).collect(),
            changing: BTreeSet::new(),
            found: Supervisor::find_members(&births),
            own: own.recipient(),
            keeper_pid,
        };
        for birth in births {
            let name = birth.meta.name.clone();
            let entry = supervisor.place(birth);
            supervisor.sessions.insert(name, entry);
        }
        supervisor
    }

    pub(super) fn place(&mut self, birth: Birth) -> Entry {
        self.turn = (self.turn + 1) % self.arbiters.len();
        let (services, own) = (self.services.clone(), self.own.clone());
        let (id, name) = (birth.meta.id, birth.meta.name.clone());
        let feed = Feed::new(id, birth.stored);
        let (alive, life) = oneshot::channel();
        let tail = feed.clone();
        let addr =
            SessionActor::start_in_arbiter(&self.arbiters[self.turn], move |_| birth.into_actor(services, tail, alive));
        actix_rt::spawn(async move {
            if life.await.is_err() && own.send(Fallen { name, id }).await.is_err() {
                tracing::debug!("a session's actor went with its host");
            }
        });
        Entry { id, addr, feed, fallen: false, missed: None }
    }

    fn find(&self, name: &str) -> Result<Found, ApiError> {
        match name.parse::<Name>().ok().and_then(|n| self.sessions.get(&n)) {
            Some(entry) => Ok(Found { id: entry.id, addr: entry.addr.clone() }),
            None => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &str) -> ApiError {
        let error = ApiError::new(Code::NoSuchSession, format!("no session {name:?}"));
        let near = |n: &&Name| strsim::damerau_levenshtein(n.as_str(), name) <= 1 + name.len() / 4;
        match self.sessions.keys().filter(near).min_by_key(|n| strsim::damerau_levenshtein(n.as_str(), name)) {
            Some(near) => error.hint(format!("did you mean {:?}?", near.as_str())),
            None if self.sessions.is_empty() => error.hint("there are none: termalive new NAME"),
            None => error.hint("termalive list --all shows them"),
        }
    }

    pub(super) fn refuse_when_stopping(&self) -> Result<(), ApiError> {
        if self.stopping { Err(ApiError::new(Code::Stopping, "the host is ending")) } else { Ok(()) }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let keeper = self.services.keeper.clone();
        let events = futures_util::stream::unfold(Some(keeper), |keeper| async {
            let keeper = keeper?;
            match keeper.next().await {
                dead @ LinkEvent::Dead(_) => Some((dead, None)),
                event => Some((event, Some(keeper))),
            }
        });
        ctx.add_stream(events);
        self.wake_fleets(ctx);
    }
}

impl StreamHandler<LinkEvent> for Supervisor {
    fn handle(&mut self, event: LinkEvent, ctx: &mut Context<Self>) {
        match event {
            LinkEvent::Exited { id, run, status } => self.hear_exit(id, LeaderExited { run, status }, ctx),
            LinkEvent::KeeperReplaced { pid } => {
                tracing::warn!(pid, "the keeper died; another one has everything");
                self.keeper_pid.store(pid, Ordering::Relaxed);
            }
            LinkEvent::ShutdownRequested => self.shutdown.ask(Why::Asked),
            LinkEvent::Dead(reason) => self.shutdown.ask(Why::Broken(reason)),
        }
    }

    fn finished(&mut self, _: &mut Context<Self>) {}
}

impl Handler<Find> for Supervisor {
    type Result = Result<Found, ApiError>;

    fn handle(&mut self, Find(name): Find, _: &mut Context<Self>) -> Self::Result {
        self.find(&name)
    }
}

impl Handler<List> for Supervisor {
    type Result = Vec<Addr<SessionActor>>;

    fn handle(&mut self, _: List, _: &mut Context<Self>) -> Self::Result {
        self.sessions.values().map(|e| e.addr.clone()).collect()
    }
}

impl Handler<RunEnded> for Supervisor {
    type Result = ();

    fn handle(&mut self, msg: RunEnded, ctx: &mut Context<Self>) {
        if self.group_decides(&msg, ctx) {
            return;
        }
        match msg.decision {
            Decision::Restart(after) => {
                tracing::info!(session = %msg.name, run = msg.run, ?after, "will be restarted");
                ctx.run_later(after, move |act, ctx| act.restart_by_policy(&msg, ctx));
            }
            Decision::GiveUp => tracing::warn!(session = %msg.name, run = msg.run, "ended too often: failed"),
            Decision::Stay => tracing::info!(session = %msg.name, run = msg.run, "ended"),
        }
    }
}

impl Supervisor {
    fn restart_by_policy(&mut self, ended: &RunEnded, ctx: &mut Context<Self>) {
        let Some(entry) = self.sessions.get(&ended.name).filter(|e| e.id == ended.id && !self.stopping) else { return };
        let (addr, name, run) = (entry.addr.clone(), ended.name.clone(), ended.run);
        let restarted = async move {
            match addr.send(StartAgain { after_run: run }).await {
                Ok(Ok(())) | Ok(Err(StartError::Live)) => {}
                Ok(Err(e)) => tracing::warn!(session = %name, error = %e, "restart failed"),
                Err(e) => tracing::warn!(session = %name, error = %e, "restart failed"),
            }
        };
        ctx.spawn(restarted.into_actor(self));
    }
}

impl Handler<Restart> for Supervisor {
    type Result = ResponseActFuture<Self, Result<(), ApiError>>;

    fn handle(&mut self, Restart(name): Restart, _: &mut Context<Self>) -> Self::Result {
        let found = self.refuse_when_stopping().and_then(|()| self.find(&name));
        let restarted = async move {
            let addr = found?.addr;
            addr.send(End { force: false, for_restart: true }).await.map_err(gone)??;
            addr.send(Start { spec: None }).await.map_err(gone)?.map_err(|e| cannot_start(&e))?;
            Ok(addr.send(crate::session::messages::Describe).await.map_err(gone)?.info)
        };
        Box::pin(restarted.into_actor(self).map(|restarted: Result<SessionInfo, ApiError>, act, ctx| {
            restarted.map(|info| act.note_started(&info.name, info.run, ctx))
        }))
    }
}

impl Handler<Remove> for Supervisor {
    type Result = ResponseActFuture<Self, Result<(), ApiError>>;

    fn handle(&mut self, Remove { name, force }: Remove, _: &mut Context<Self>) -> Self::Result {
        let found = self.find(&name);
        let Services { writer, meta, changes, .. } = self.services.clone();
        let removed = async move {
            let Found { id, addr } = found?;
            let snapshot = addr.send(crate::session::messages::Describe).await.map_err(gone)?;
            let live = snapshot.info.state.is_live();
            if live && !force {
                let error = ApiError::new(Code::Exists, format!("session {name:?} is live"));
                return Err(error.hint(format!("termalive kill {name}, or rm -f")));
            }
            addr.send(End { force, for_restart: false }).await.map_err(gone)??;
            let last = addr.send(crate::session::messages::Describe).await.map_err(gone)?.info.last_seq;
            bury(id, &writer, meta).await?;
            reached("removed");
            addr.send(Leave).await.map_err(gone)?;
            changes.note(&snapshot.info.name, id, Seq(last), What::Removed);
            Ok(snapshot.info.name)
        };
        Box::pin(removed.into_actor(self).map(|removed, act, ctx| {
            removed.map(|name| {
                act.sessions.remove(&name);
                act.note_removed(&name, ctx);
            })
        }))
    }
}

/// Leaves a tombstone: the name is free, the records go with their segments.
pub(super) async fn bury(
    id: SessionId,
    writer: &crate::log::Writer,
    meta: std::sync::Arc<crate::log::Meta>,
) -> Result<(), ApiError> {
    let known = tokio::task::spawn_blocking(move || meta.session(id))
        .await
        .map_err(|e| ApiError::new(Code::Failed, e.to_string()))?;
    let known = known.map_err(|e| ApiError::new(Code::Failed, e.to_string()))?;
    let Some(known) = known else { return Ok(()) };
    let buried = writer.commit(MetaBatch::new().put_session(&known.tombstone()).drop_turns(id)).await;
    buried.map_err(|e| ApiError::new(Code::Stopping, e.to_string()))
}

impl Handler<StopAll> for Supervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopAll, _: &mut Context<Self>) -> Self::Result {
        self.stopping = true;
        let (rest, orders) = self.rest_fleets();
        let writer = self.services.writer.clone();
        let ends: Vec<_> = self.sessions.values().map(|e| e.addr.clone()).collect();
        Box::pin(async move {
            if writer.commit(rest).await.is_err() {
                tracing::warn!("fleets couldn't be kept: the log writer has stopped");
            }
            join_all(orders.into_iter().map(|fleet| async move {
                for member in fleet {
                    drop(member.send(EndWithHost).await); // asked again below, with the others
                }
            }))
            .await;
            for end in join_all(ends.iter().map(|addr| addr.send(EndWithHost))).await {
                match end {
                    Ok(Ok(())) => {}
                    Ok(Err(e)) => tracing::warn!(error = %e, "a session doesn't end"),
                    Err(e) => tracing::warn!(error = %e, "a session can't be asked to end"),
                }
            }
        })
    }
}

/// A session's actor doesn't answer.
pub(super) fn gone(_: MailboxError) -> ApiError {
    ApiError::new(Code::Stopping, "the session's actor doesn't answer: it is being removed or the host is ending")
}

pub(super) fn cannot_start(error: &StartError) -> ApiError {
    match error {
        StartError::Exec { reason, .. } => ApiError::new(Code::CannotStart, format!("cannot start: {reason}")),
        StartError::Live => ApiError::new(Code::Exists, "the session is live, or just being started or ended"),
        StartError::Host(why) => ApiError::new(Code::Failed, why.clone()),
    }
}
