//! Fleets: what was brought up together, kept in `meta`, and the tree that decides for their groups.
//!
//! One way in: [`Supervisor::feed`] gives the tree an input. What it changes is durable before what it wants is done, and
//! every answer comes back as the next input. So a host that dies at any moment has a successor that goes on: [`load`] finds
//! the tree as it was, [`Supervisor::wake_fleets`] compares it with the sessions that there are.

mod change;
mod drive;
mod end;

pub use change::Up;
pub use end::{Down, Fleets};

use super::actor::Supervisor;
use crate::log::{Desired, Membership, Meta, StoreDown};
use crate::model::{LogTime, Name, Shape, Spec};
use crate::policy::{Effect, Fault, Known, Seen, Stand, Tree};
use crate::session::Birth;
use crate::session::summary::Phase;
use crate::wire::{ApiError, FleetInfo, GroupInfo, NewSession};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A fleet as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Format: [`Kept::VERSION`].
    v: u32,
    name: Name,
    /// Where its name is only that of its file.
    file: Option<String>,
    shape: Shape,
    /// As they were asked for, without the caller's environment.
    sessions: BTreeMap<Name, NewSession>,
    /// Not yet as was asked for.
    stale: BTreeSet<Name>,
    tree: Tree,
    clock: Moment,
}

impl Kept {
    const VERSION: u32 = 1;

    fn known(&self) -> Known<'_> {
        Known { shape: &self.shape, sessions: &self.sessions, stale: &self.stale }
    }

    fn place(&self, session: &Name) -> Membership {
        let group = self.shape.group_of(session).cloned();
        Membership { fleet: self.name.clone(), group, fate: Default::default() }
    }

    /// Sessions in the order of starts.
    fn in_order(&self) -> Vec<Name> {
        let order = self.shape.in_order().unwrap_or_default();
        order.into_iter().filter(|name| self.shape.sessions.contains_key(name)).collect()
    }
}

/// A moment of a fleet's log time, and where the machine's clock stood then.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Moment {
    at: LogTime,
    boot: Option<String>,
    uptime: Duration,
}

impl Moment {
    fn now(boot: Option<String>) -> Moment {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let uptime = Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0));
        Moment { at: LogTime(0), boot, uptime }
    }

    /// The log time at `now`, where this is an earlier moment: it runs on while no host does, not while no machine does.
    fn then(&self, now: &Moment) -> LogTime {
        match self.boot.is_some() && self.boot == now.boot {
            true => self.at.after(now.uptime.saturating_sub(self.uptime)),
            false => self.at,
        }
    }
}

/// A fleet of this host.
pub struct Fleet {
    kept: Kept,
    since: Instant,
    boot: Option<String>,
    /// Something changed that isn't durable.
    dirty: bool,
    /// A change is just being made durable.
    saving: bool,
    /// To be done when what led to them is durable.
    effects: Vec<Effect>,
    /// Sessions that are to be made when the tree wants them.
    specs: BTreeMap<Name, (Spec, NewSession)>,
    /// Why sessions couldn't be started, until somebody has been told.
    errors: BTreeMap<Name, ApiError>,
    /// Who waits until nothing is under way.
    waiting: Vec<oneshot::Sender<()>>,
}

impl Fleet {
    fn new(kept: Kept, boot: Option<String>) -> Fleet {
        Fleet {
            kept,
            boot,
            since: Instant::now(),
            dirty: false,
            saving: false,
            effects: Vec::new(),
            specs: BTreeMap::new(),
            errors: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }

    fn now(&self) -> LogTime {
        self.kept.clock.at.after(self.since.elapsed())
    }

    /// Sets its clock, before it is kept.
    fn set_clock(&mut self) {
        let at = self.now();
        self.since = Instant::now();
        self.kept.clock = Moment { at, ..Moment::now(self.boot.clone()) };
    }

    fn is_settled(&self) -> bool {
        !self.kept.tree.is_busy() && !self.saving && !self.dirty && self.effects.is_empty()
    }

    /// Wakes who waits for it.
    fn tell_if_settled(&mut self) {
        if self.is_settled() {
            for waiting in self.waiting.drain(..) {
                let _ = waiting.send(()); // perhaps its client has gone
            }
        }
    }

    fn info(&self) -> FleetInfo {
        let Kept { name, shape, tree, .. } = &self.kept;
        let now = self.now();
        let groups = shape.in_order().unwrap_or_default().into_iter().filter_map(|group| {
            let of = shape.groups.get(&group)?;
            Some(GroupInfo {
                group: shape.group_of(&group).cloned(),
                strategy: of.strategy,
                state: word(tree.stand(&group)).to_owned(),
                reason: tree.fault(&group).map(|fault| reason(fault, of.max_restarts, of.within)),
                max_restarts: of.max_restarts,
                within_ms: u64::try_from(of.within.as_millis()).unwrap_or(u64::MAX),
                restarts: tree.restarts(&group, now),
                members: of.members.clone(),
                name: group,
            })
        });
        FleetInfo {
            name: name.clone(),
            top: shape.top.clone(),
            groups: groups.collect(),
            sessions: self.kept.in_order(),
        }
    }
}

fn word(stand: Stand) -> &'static str {
    match stand {
        Stand::Down => "down",
        Stand::Starting => "starting",
        Stand::Up => "up",
        Stand::Restarting => "restarting",
        Stand::Ending => "ending",
        Stand::Failed => "failed",
    }
}

fn reason(fault: &Fault, max_restarts: u32, within: Duration) -> String {
    match fault {
        Fault::TooOften(member) => {
            let within = crate::model::format_duration(within);
            format!("{member} ended after {max_restarts} restarts of the group within {within}: given up")
        }
        Fault::NotStarted(member) => format!("{member} couldn't be started"),
    }
}

/// The fleets that a host finds. Blocking; before any actor.
pub fn load(meta: &Meta) -> Result<Vec<Fleet>, StoreDown> {
    let boot = crate::pty::boot_id();
    let now = Moment::now(boot.clone());
    let mut fleets = Vec::new();
    for json in meta.fleets()? {
        match serde_json::from_slice::<Kept>(&json) {
            Ok(mut kept) if kept.v <= Kept::VERSION => {
                kept.clock = Moment { at: kept.clock.then(&now), ..now.clone() };
                fleets.push(Fleet::new(kept, boot.clone()));
            }
            Ok(kept) => tracing::error!(
                fleet = %kept.name,
                "a newer termalive wrote this fleet (version {}; this one reads {}): its groups are left alone",
                kept.v,
                Kept::VERSION
            ),
            Err(e) => tracing::error!(error = %e, "a fleet can't be read: its groups are left alone"),
        }
    }
    Ok(fleets)
}

/// How a session is found at a host's start.
pub(super) fn seen(birth: &Birth) -> Seen {
    match (&birth.adopted, &birth.sum.phase) {
        (Some(adoption), Phase::Running { .. } | Phase::Starting | Phase::Created) => {
            Seen::Up { run: adoption.held.run }
        }
        (None, Phase::Running { .. } | Phase::Starting | Phase::Created) => Seen::Lost,
        (_, Phase::Restarting { .. } | Phase::Ended { last: false, .. }) => Seen::Restarts,
        (_, Phase::Ended { last: true, .. }) => Seen::Ended { wanted: birth.meta.desired == Desired::Ended },
    }
}

impl Supervisor {
    /// The fleet whose groups decide what follows when a run of this session ends.
    pub(super) fn decider(&self, session: &Name) -> Option<Name> {
        self.fleets.iter().find(|(_, fleet)| fleet.kept.tree.decides(session)).map(|(name, _)| name.clone())
    }

    /// The fleet that a session belongs to.
    fn fleet_of(&self, session: &Name) -> Option<Name> {
        let of = |fleet: &&Fleet| fleet.kept.shape.sessions.contains_key(session);
        self.fleets.values().find(of).map(|fleet| fleet.kept.name.clone())
    }
}
