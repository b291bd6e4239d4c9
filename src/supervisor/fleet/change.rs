//! `up`: the fleet becomes what its file says. Asked for twice, nothing changes; cut off by a crash, asking again finishes it.

use super::super::actor::{Supervisor, gone};
use super::{Fleet, Kept, Moment};
use crate::model::{Name, Shape, Spec};
use crate::policy::{Input, Known, Plan, Present, Stand as GroupStand, Step, Todo, Tree, plan};
use crate::session::SessionActor;
use crate::session::member::{Amend, Stand, Standing};
use crate::session::messages::End;
use crate::wire::{ApiError, Code, FleetAnswer, FleetChange, FleetRequest, FleetWord, NewSession};
use actix::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// The fleet shall be this.
#[derive(Message)]
#[rtype(result = "Result<FleetAnswer, ApiError>")]
pub struct Up {
    /// Its name, checked.
    pub name: Name,
    /// Its shape, checked.
    pub shape: Shape,
    /// What was asked for.
    pub request: FleetRequest,
    /// What each session means: resolved off this thread.
    pub specs: BTreeMap<Name, Spec>,
}

type Answer = Result<FleetAnswer, ApiError>;
pub(super) type Standings = BTreeMap<Name, Standing>;

impl Handler<Up> for Supervisor {
    type Result = ResponseActFuture<Self, Answer>;

    fn handle(&mut self, msg: Up, _: &mut Context<Self>) -> Self::Result {
        let name = msg.name.clone();
        if let Err(e) = self.refuse_when_stopping().and_then(|()| self.may_change(&msg)) {
            return Box::pin(fut::ready(Err(e)));
        }
        self.changing.insert(name.clone());
        let old = self.fleets.get(&name).into_iter().flat_map(|fleet| fleet.kept.sessions.keys());
        let asked: BTreeSet<Name> = old.chain(msg.shape.sessions.keys()).cloned().collect();
        let standings = self.standings(asked.into_iter().collect());
        let changed = standings.into_actor(self).then(move |standings, act, ctx| act.change(msg, &standings, ctx)).map(
            move |answer, act, _| {
                act.changing.remove(&name);
                answer
            },
        );
        Box::pin(changed)
    }
}

impl Supervisor {
    /// How these sessions stand; those that aren't there are left out.
    pub(super) fn standings(&self, names: Vec<Name>) -> impl Future<Output = Standings> + use<> {
        let asked: Vec<_> =
            names.into_iter().filter_map(|name| Some((self.sessions.get(&name)?.addr.send(Stand), name))).collect();
        async move {
            let mut standings = Standings::new();
            for (standing, name) in asked {
                if let Ok(standing) = standing.await {
                    standings.insert(name, standing);
                }
            }
            standings
        }
    }

    fn may_change(&self, msg: &Up) -> Result<(), ApiError> {
        let refuse = |why: String| Err(ApiError::new(Code::Exists, why));
        if self.changing.contains(&msg.name) {
            return refuse(format!("fleet {:?} is just being changed", msg.name.as_str()));
        }
        if let Some((file, other)) = self
            .fleets
            .get(&msg.name)
            .and_then(|fleet| fleet.kept.file.as_ref().zip(msg.request.file.as_ref()).filter(|(old, new)| old != new))
        {
            let error = format!("fleet {:?} is that of {file}, not of {other}", msg.name.as_str());
            return Err(
                ApiError::new(Code::Exists, error).hint("a line `name = \"…\"` gives this one a name of its own")
            );
        }
        for (other, fleet) in self.fleets.iter().filter(|(other, _)| **other != msg.name) {
            let taken = |name: &&Name| {
                *name == other
                    || fleet.kept.shape.groups.contains_key(*name)
                    || fleet.kept.shape.sessions.contains_key(*name)
            };
            let names = msg.shape.sessions.keys().chain(msg.shape.groups.keys()).chain([&msg.name]);
            if let Some(name) = names.into_iter().find(taken) {
                return refuse(format!("{:?} belongs to fleet {:?}", name.as_str(), other.as_str()));
            }
        }
        Ok(())
    }

    fn change(&mut self, msg: Up, standings: &Standings, ctx: &mut Context<Self>) -> ResponseActFuture<Self, Answer> {
        let Up { name, shape, request, mut specs } = msg;
        let old = self.fleets.get(&name);
        let sessions = asked_for(request.sessions);
        let strange = standings.iter().find(|(session, standing)| {
            standing.live && !old.is_some_and(|old| old.kept.sessions.contains_key(*session))
        });
        if let Some((session, _)) = strange {
            let error = format!("session {:?} is live and was not made by this fleet", session.as_str());
            let error =
                ApiError::new(Code::Exists, error).hint(format!("termalive kill {session}, or choose another name"));
            return Box::pin(fut::ready(Err(error)));
        }
        let none = BTreeSet::new();
        let new = Known { shape: &shape, sessions: &sessions, stale: &none };
        let present = |session: &Name| match standings.get(session) {
            None => Present::Absent,
            Some(standing) if standing.live => Present::Live,
            Some(standing) if standing.done => Present::Done,
            Some(_) => Present::Ended,
        };
        let is_up = |group: &Name| {
            old.is_some_and(|old| !matches!(old.kept.tree.stand(group), GroupStand::Down | GroupStand::Failed))
        };
        let plan = plan(old.map(|old| old.kept.known()), new, present, is_up);
        let answer = FleetAnswer { fleet: name.clone(), dry_run: request.dry_run, changes: changes(&plan) };
        if request.dry_run {
            return Box::pin(fut::ready(Ok(answer)));
        }
        let amended = self.amends(&name, &shape, &plan, &mut specs);
        self.put(&name, request.file, shape, sessions, &plan, specs, ctx);
        let fleet = name.clone();
        let done = amended
            .into_actor(self)
            .then(move |amended, act, ctx| act.begin(&fleet, &plan, amended, ctx))
            .map(move |result, act, ctx| result.map(|()| act.changed(&name, answer, ctx)));
        Box::pin(done)
    }

    /// The fleet is this from now on; what isn't done yet is stale.
    #[expect(clippy::too_many_arguments, reason = "the parts of a fleet, once")]
    fn put(
        &mut self,
        name: &Name,
        file: Option<String>,
        shape: Shape,
        sessions: BTreeMap<Name, NewSession>,
        plan: &Plan,
        mut specs: BTreeMap<Name, Spec>,
        ctx: &mut Context<Self>,
    ) {
        let boot = self.services.boot.as_deref().map(str::to_owned);
        let fleet = self.fleets.entry(name.clone()).or_insert_with(|| {
            let tree = Tree::new(name.clone(), &shape);
            let (stale, clock) = (BTreeSet::new(), Moment::default());
            let (shape, sessions) = (Shape::default(), BTreeMap::new());
            let kept = Kept { v: Kept::VERSION, name: name.clone(), file: None, shape, sessions, stale, tree, clock };
            Fleet::new(kept, boot)
        });
        fleet.kept.tree.reshape(&shape);
        (fleet.kept.file, fleet.kept.shape, fleet.kept.sessions) = (file, shape, sessions);
        let undone = plan.iter().filter(|step| matches!(step.todo, Todo::Create | Todo::Start | Todo::Restart));
        fleet.kept.stale.extend(undone.map(|step| step.change.name.clone()));
        let known: BTreeSet<Name> = fleet.kept.sessions.keys().cloned().collect();
        fleet.kept.stale.retain(|name| known.contains(name));
        fleet.errors.clear();
        let made = plan.iter().filter(|step| step.todo == Todo::Create).map(|step| &step.change.name);
        fleet.specs = made
            .filter_map(|name| Some((name.clone(), (specs.remove(name)?, fleet.kept.sessions.get(name)?.clone()))))
            .collect();
        fleet.dirty = true;
        self.keep(name, ctx);
    }

    /// Ends what is in the fleet no more, and tells the others what they are from now on.
    fn amends(
        &self,
        fleet: &Name,
        shape: &Shape,
        plan: &Plan,
        specs: &mut BTreeMap<Name, Spec>,
    ) -> impl Future<Output = Result<(), ApiError>> + use<> {
        let mut ends: Vec<Addr<SessionActor>> = Vec::new();
        let mut amends = Vec::new();
        for Step { change, todo, env } in plan {
            let Some(entry) = self.sessions.get(&change.name).filter(|_| !change.group) else { continue };
            match todo {
                Todo::End => ends.push(entry.addr.clone()),
                Todo::Amend | Todo::Start | Todo::Restart => {
                    let group = shape.group_of(&change.name).cloned();
                    let member = Some(crate::log::Membership { fleet: fleet.clone(), group, fate: Default::default() });
                    let spec = specs.remove(&change.name).map(Box::new);
                    let amend = Amend { spec, env: *env, member, wanted: *todo == Todo::Start };
                    amends.push((entry.addr.clone(), amend));
                }
                Todo::Keep | Todo::Create => {}
            }
        }
        async move {
            for addr in ends {
                leave(&addr).await?;
            }
            for (addr, amend) in amends {
                addr.send(amend).await.map_err(gone)??;
            }
            Ok(())
        }
    }

    fn begin(
        &mut self,
        fleet: &Name,
        plan: &Plan,
        amended: Result<(), ApiError>,
        ctx: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<(), ApiError>> {
        if let Err(e) = amended {
            return Box::pin(fut::ready(Err(e)));
        }
        let with = |todo: &[Todo]| -> BTreeSet<Name> {
            plan.iter().filter(|step| todo.contains(&step.todo)).map(|step| step.change.name.clone()).collect()
        };
        for name in with(&[Todo::Restart]) {
            self.feed(fleet, Input::Cycle(name), ctx);
        }
        self.feed(fleet, Input::Open(with(&[Todo::Create, Todo::Start])), ctx);
        let settled = self.settled(fleet);
        Box::pin(settled.into_actor(self).map(|(), _, _| Ok(())))
    }

    /// What came of it.
    fn changed(&mut self, name: &Name, mut answer: FleetAnswer, ctx: &mut Context<Self>) -> FleetAnswer {
        let Some(fleet) = self.fleets.get_mut(name) else { return answer };
        let errors = std::mem::take(&mut fleet.errors);
        fleet.specs.clear();
        fleet.kept.stale.clear();
        for change in &mut answer.changes {
            if let Some(error) = errors.get(&change.name).filter(|_| !change.group) {
                (change.change, change.why) = (FleetWord::Failed, Some(error.message.clone()));
            }
            if change.group && fleet.kept.tree.stand(&change.name) == GroupStand::Failed {
                let group = fleet.kept.shape.groups.get(&change.name);
                let why = fleet.kept.tree.fault(&change.name).zip(group);
                let why = why.map(|(fault, group)| super::reason(fault, group.max_restarts, group.within));
                (change.change, change.why) = (FleetWord::Failed, why);
            }
        }
        fleet.dirty = true;
        self.keep(name, ctx);
        answer
    }
}

/// Ends a session for good; no fleet knows it any more.
pub(super) async fn leave(addr: &Addr<SessionActor>) -> Result<(), ApiError> {
    addr.send(End { force: false, for_restart: false }).await.map_err(gone)??;
    addr.send(Amend { spec: None, env: false, member: None, wanted: false }).await.map_err(gone)?
}

/// Without what belongs to the caller: that is no difference.
fn asked_for(sessions: Vec<NewSession>) -> BTreeMap<Name, NewSession> {
    let bare = |session: NewSession| NewSession { env: None, umask: None, exist_ok: false, fresh: false, ..session };
    sessions.into_iter().filter_map(|session| Some((session.name.parse().ok()?, bare(session)))).collect()
}

fn changes(plan: &Plan) -> Vec<FleetChange> {
    plan.iter().map(|step| step.change.clone()).collect()
}
