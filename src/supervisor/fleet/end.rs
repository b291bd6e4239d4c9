//! `down`: a fleet or one of its groups is ended, in reverse. Logs stay, a whole fleet is forgotten.

use super::super::actor::Supervisor;
use super::change::{Standings, leave};
use crate::log::MetaBatch;
use crate::model::Name;
use crate::policy::Input;
use crate::wire::{ApiError, Code, FleetAnswer, FleetChange, FleetInfo, FleetWord};
use actix::prelude::*;

/// This fleet or group shall be down.
#[derive(Message)]
#[rtype(result = "Result<FleetAnswer, ApiError>")]
pub struct Down {
    /// Which.
    pub name: String,
    /// The file it has to be from, where its name is only that of the file.
    pub file: Option<String>,
    /// Say what would be ended, and end nothing.
    pub dry_run: bool,
}

/// All fleets.
#[derive(Message)]
#[rtype(result = "Vec<FleetInfo>")]
pub struct Fleets;

type Answer = Result<FleetAnswer, ApiError>;

impl Handler<Fleets> for Supervisor {
    type Result = Vec<FleetInfo>;

    fn handle(&mut self, _: Fleets, _: &mut Context<Self>) -> Self::Result {
        self.fleets.values().map(super::Fleet::info).collect()
    }
}

impl Handler<Down> for Supervisor {
    type Result = ResponseActFuture<Self, Answer>;

    fn handle(&mut self, msg: Down, _: &mut Context<Self>) -> Self::Result {
        let found = self.refuse_when_stopping().and_then(|()| self.find_target(&msg));
        let (fleet, target) = match found {
            Ok(found) => found,
            Err(e) => return Box::pin(fut::ready(Err(e))),
        };
        let Some(kept) = self.fleets.get(&fleet).map(|fleet| &fleet.kept) else {
            return Box::pin(fut::ready(Err(none(&msg.name))));
        };
        let mut order = kept.in_order();
        if target != fleet {
            order.retain(|session| {
                let above = std::iter::successors(kept.shape.group_of(session), |group| kept.shape.group_of(group));
                above.into_iter().any(|group| *group == target)
            });
        }
        order.reverse();
        self.changing.insert(fleet.clone());
        let standings = self.standings(order.clone());
        let name = fleet.clone();
        let done = standings
            .into_actor(self)
            .then(move |standings, act, ctx| {
                let answer = answer(&fleet, &order, &standings, msg.dry_run);
                act.bring_down(fleet, target, order, answer, ctx)
            })
            .map(move |answer, act, _| {
                act.changing.remove(&name);
                answer
            });
        Box::pin(done)
    }
}

impl Supervisor {
    /// The fleet, and the name of what is meant in it.
    fn find_target(&self, msg: &Down) -> Result<(Name, Name), ApiError> {
        let name: Name = msg.name.parse().map_err(|_| none(&msg.name))?;
        let (fleet, kept) = match self.fleets.get(&name) {
            Some(fleet) => (name.clone(), &fleet.kept),
            None => {
                let of = |fleet: &&super::Fleet| fleet.kept.shape.groups.contains_key(&name);
                let found = self.fleets.values().find(of).filter(|_| msg.file.is_none());
                let found = found.ok_or_else(|| self.hint_at_fleets(none(&msg.name)))?;
                (found.kept.name.clone(), &found.kept)
            }
        };
        if let Some((old, new)) = kept.file.as_ref().zip(msg.file.as_ref()).filter(|(old, new)| old != new) {
            return Err(ApiError::new(
                Code::NoSuchSession,
                format!("fleet {:?} is that of {old}, not of {new}", msg.name),
            ));
        }
        if self.changing.contains(&fleet) {
            return Err(ApiError::new(Code::Exists, format!("fleet {:?} is just being changed", fleet.as_str())));
        }
        Ok((fleet, name))
    }

    fn hint_at_fleets(&self, error: ApiError) -> ApiError {
        let groups = self.fleets.values().flat_map(|fleet| fleet.kept.shape.groups.keys());
        let known: Vec<&str> = self.fleets.keys().chain(groups).map(Name::as_str).collect();
        match known.is_empty() {
            true => error.hint("there are none: termalive up FILE"),
            false => error.hint(format!("there are {}", known.join(", "))),
        }
    }

    fn bring_down(
        &mut self,
        fleet: Name,
        target: Name,
        order: Vec<Name>,
        answer: FleetAnswer,
        ctx: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Answer> {
        if answer.dry_run {
            return Box::pin(fut::ready(Ok(answer)));
        }
        let whole = target == fleet;
        self.feed(&fleet, Input::Close(target), ctx);
        let down = self.settled(&fleet).into_actor(self);
        Box::pin(down.then(move |(), act, _| -> ResponseActFuture<Self, Answer> {
            match whole {
                true => act.forget(fleet, &order, answer),
                false => Box::pin(fut::ready(Ok(answer))),
            }
        }))
    }

    /// All is ended: the sessions are on their own, the fleet is no more.
    fn forget(&mut self, fleet: Name, order: &[Name], answer: FleetAnswer) -> ResponseActFuture<Self, Answer> {
        let left: Vec<_> = order.iter().filter_map(|name| Some(self.sessions.get(name)?.addr.clone())).collect();
        let writer = self.services.writer.clone();
        let name = fleet.clone();
        let forgotten = async move {
            for addr in left {
                leave(&addr).await?;
            }
            let dropped = writer.commit(MetaBatch::new().drop_fleet(&name)).await;
            dropped.map_err(|e| ApiError::new(Code::Stopping, e.to_string()))?;
            Ok(answer)
        };
        Box::pin(forgotten.into_actor(self).map(move |answer, act, _| {
            if answer.is_ok() {
                act.fleets.remove(&fleet);
            }
            answer
        }))
    }
}

fn none(name: &str) -> ApiError {
    ApiError::new(Code::NoSuchSession, format!("no fleet or group {name:?}"))
}

fn answer(fleet: &Name, order: &[Name], standings: &Standings, dry_run: bool) -> FleetAnswer {
    let known = order.iter().filter_map(|name| Some((name, standings.get(name)?)));
    let changes = known.map(|(name, standing)| {
        let (change, why) = match standing.live {
            true => (FleetWord::Ended, None),
            false => (FleetWord::Unchanged, Some("it had ended".to_owned())),
        };
        FleetChange { change, group: false, name: name.clone(), why }
    });
    FleetAnswer { fleet: fleet.clone(), dry_run, changes: changes.collect() }
}
