//! From the tree's wishes to what is done, and back.

use super::super::actor::{Create, Supervisor};
use super::{Fleet, seen};
use crate::log::{Membership, MetaBatch};
use crate::model::Name;
use crate::policy::{Effect, Input, Seen};
use crate::session::member::{EndMember, StartMember};
use crate::session::messages::{RunEnded, StartError};
use crate::session::{Birth, SessionActor};
use crate::supervisor::actor::cannot_start;
use crate::wire::ApiError;
use actix::prelude::*;
use std::collections::BTreeMap;

impl Supervisor {
    /// How the sessions of all fleets are found, before they have actors.
    pub(in crate::supervisor) fn find_members(births: &[Birth]) -> BTreeMap<Name, Seen> {
        births.iter().map(|birth| (birth.meta.name.clone(), seen(birth))).collect()
    }

    /// Fleets go on where the last host left them.
    pub(in crate::supervisor) fn wake_fleets(&mut self, ctx: &mut Context<Self>) {
        let found = std::mem::take(&mut self.found);
        for name in self.fleets.keys().cloned().collect::<Vec<_>>() {
            if let Some(fleet) = self.fleets.get_mut(&name) {
                let now = fleet.now();
                let effects = fleet.kept.tree.wake(&found, now, jitter());
                fleet.effects.extend(effects);
                fleet.dirty = true;
            }
            self.keep(&name, ctx);
        }
    }

    /// Something happened to a fleet.
    pub(super) fn feed(&mut self, fleet: &Name, input: Input, ctx: &mut Context<Self>) {
        let Some(found) = self.fleets.get_mut(fleet).filter(|_| !self.stopping) else { return };
        let before = found.kept.tree.clone();
        let now = found.now();
        let effects = found.kept.tree.step(input, now, jitter());
        found.effects.extend(effects);
        found.dirty |= before != found.kept.tree;
        self.keep(fleet, ctx);
    }

    /// Makes what changed durable, then does what follows; one after the other, so that their order holds.
    pub(super) fn keep(&mut self, name: &Name, ctx: &mut Context<Self>) {
        let writer = self.services.writer.clone();
        let Some(fleet) = self.fleets.get_mut(name).filter(|fleet| !fleet.saving) else { return };
        if !fleet.dirty && fleet.effects.is_empty() {
            return fleet.tell_if_settled();
        }
        fleet.set_clock();
        let kept = match serde_json::to_vec(&fleet.kept) {
            Ok(json) => MetaBatch::new().put_fleet(name, &json),
            Err(e) => {
                return tracing::error!(fleet = %name, error = %e, "a fleet can't be kept: nothing is done for it");
            }
        };
        (fleet.dirty, fleet.saving) = (false, true);
        let effects = std::mem::take(&mut fleet.effects);
        let name = name.clone();
        let saved = async move { writer.commit(kept).await };
        ctx.spawn(saved.into_actor(self).map(move |saved, act, ctx| {
            if let Some(fleet) = act.fleets.get_mut(&name) {
                fleet.saving = false;
            }
            match saved {
                Ok(()) => effects.into_iter().for_each(|effect| act.carry_out(&name, effect, ctx)),
                Err(_) => tracing::debug!(fleet = %name, "the host ends before it could go on"),
            }
            act.keep(&name, ctx);
        }));
    }

    fn carry_out(&mut self, fleet: &Name, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Start(name) => self.start_member(fleet, name, ctx),
            Effect::End { name, again, failed } => self.end_member(fleet, name, EndMember { again, failed }, ctx),
            Effect::Wait { token, after } => {
                let fleet = fleet.clone();
                ctx.run_later(after, move |act, ctx| act.feed(&fleet, Input::Due { token }, ctx));
            }
            Effect::Restarts { group, member, count } => {
                tracing::info!(%fleet, %group, %member, count, "ended: its group restarts it");
            }
            Effect::Failed { group, fault, escalates } => {
                let reason = self.fleets.get(fleet).and_then(|found| {
                    let of = found.kept.shape.groups.get(&group)?;
                    Some(super::reason(&fault, of.max_restarts, of.within))
                });
                tracing::warn!(%fleet, %group, escalates, "failed: {}", reason.unwrap_or_default());
            }
        }
    }

    fn start_member(&mut self, fleet: &Name, name: Name, ctx: &mut Context<Self>) {
        let spec = self.fleets.get_mut(fleet).and_then(|found| {
            let member = found.kept.place(&name);
            found.specs.remove(&name).map(|spec| (spec, member))
        });
        let started: ResponseActFuture<Self, Result<Option<u32>, ApiError>> = match (self.sessions.get(&name), spec) {
            (Some(entry), _) => {
                let started = entry.addr.send(StartMember);
                let started = async move {
                    match started.await {
                        Ok(Ok(run)) => Ok(run),
                        Ok(Err(e)) => Err(cannot_start(&e)),
                        Err(_) => Err(cannot_start(&StartError::Host("its actor is gone".to_owned()))),
                    }
                };
                Box::pin(started.into_actor(self))
            }
            (None, Some(((spec, request), member))) => self.make_member(name.clone(), spec, request, member, ctx),
            (None, None) => Box::pin(fut::ready(Ok(None))),
        };
        let fleet = fleet.clone();
        ctx.spawn(started.map(move |started, act, ctx| {
            let input = match started {
                Ok(Some(run)) => Input::Started { name, run },
                Ok(None) => Input::Withheld { name },
                Err(e) => {
                    tracing::warn!(%fleet, session = %name, error = %e, "can't be started");
                    if let Some(found) = act.fleets.get_mut(&fleet) {
                        found.errors.insert(name.clone(), e);
                    }
                    Input::NotStarted { name }
                }
            };
            act.feed(&fleet, input, ctx);
        }));
    }

    fn make_member(
        &mut self,
        name: Name,
        spec: crate::model::Spec,
        request: crate::wire::NewSession,
        member: Membership,
        ctx: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<Option<u32>, ApiError>> {
        let create = Create { request, spec, name, key: None, member: Some(member) };
        let made = Handler::<Create>::handle(self, create, ctx);
        Box::pin(made.map(|made, _, _| made.map(|created| Some(created.session.run))))
    }

    fn end_member(&mut self, fleet: &Name, name: Name, end: EndMember, ctx: &mut Context<Self>) {
        let ended = self.sessions.get(&name).map(|entry| entry.addr.send(end));
        let ended = async move {
            match ended {
                Some(ended) => ended.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string()),
                None => Ok(()),
            }
        };
        let fleet = fleet.clone();
        ctx.spawn(ended.into_actor(self).map(move |ended: Result<(), String>, act, ctx| {
            if let Err(e) = ended {
                tracing::error!(%fleet, session = %name, error = %e, "doesn't end");
            }
            act.feed(&fleet, Input::Ended { name }, ctx);
        }));
    }

    /// A run has ended; true when a group decides what follows.
    pub(in crate::supervisor) fn group_decides(&mut self, ended: &RunEnded, ctx: &mut Context<Self>) -> bool {
        if self.sessions.get(&ended.name).is_none_or(|entry| entry.id != ended.id) {
            return false;
        }
        let Some(fleet) = self.decider(&ended.name) else { return false };
        let RunEnded { name, run, decision, wanted, .. } = ended.clone();
        self.feed(&fleet, Input::Exited { name, run, decision, wanted }, ctx);
        true
    }

    /// Somebody has started a run of a session, not its fleet.
    pub(in crate::supervisor) fn note_started(&mut self, name: &Name, run: u32, ctx: &mut Context<Self>) {
        if let Some(fleet) = self.fleet_of(name) {
            self.feed(&fleet, Input::Started { name: name.clone(), run }, ctx);
        }
    }

    /// A session was removed.
    pub(in crate::supervisor) fn note_removed(&mut self, name: &Name, ctx: &mut Context<Self>) {
        if let Some(fleet) = self.fleet_of(name) {
            self.feed(&fleet, Input::Removed { name: name.clone() }, ctx);
        }
    }

    /// The host ends: what runs in groups is to run again when the next one starts, which is no failure of anybody. Gives the
    /// sessions of each fleet in the order in which they are to be ended.
    pub(in crate::supervisor) fn rest_fleets(&mut self) -> (MetaBatch, Vec<Vec<Addr<SessionActor>>>) {
        let mut batch = MetaBatch::new();
        let mut orders = Vec::new();
        for fleet in self.fleets.values_mut() {
            fleet.kept.tree.rest();
            fleet.set_clock();
            if let Ok(json) = serde_json::to_vec(&fleet.kept) {
                batch = batch.put_fleet(&fleet.kept.name, &json);
            }
            let order = fleet.kept.in_order().into_iter().rev();
            orders.push(order.filter_map(|name| Some(self.sessions.get(&name)?.addr.clone())).collect());
        }
        (batch, orders)
    }

    /// Waits until nothing is under way in a fleet.
    pub(super) fn settled(&mut self, fleet: &Name) -> impl Future<Output = ()> + use<> {
        let (done, settled) = tokio::sync::oneshot::channel();
        if let Some(found) = self.fleets.get_mut(fleet) {
            found.waiting.push(done);
            found.tell_if_settled();
        }
        async move { drop(settled.await) } // an error: the fleet is gone, so is all that was under way in it
    }
}

impl Fleet {
    pub(in crate::supervisor) fn name(&self) -> &Name {
        &self.kept.name
    }
}

/// 0 to 1. Delays of many that ended together shall differ.
fn jitter() -> f64 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
