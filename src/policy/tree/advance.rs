//! What is to be done next: one thing at a time in each group, until nothing more can be done before something happens.

use super::{At, Effect, Fault, Kind, Next, Node, Phase, Then, Tree};
use crate::model::{Group, LogTime, Name, Restart, Strategy};
use crate::policy::backoff;
use std::time::Duration;

/// The moment: pure code gets it.
#[derive(Clone, Copy)]
struct Moment {
    now: LogTime,
    jitter: f64,
}

impl Tree {
    /// Lets every group go on as far as it can.
    pub(super) fn go_on(&mut self, now: LogTime, jitter: f64, out: &mut Vec<Effect>) {
        let moment = Moment { now, jitter };
        let names: Vec<Name> = self.nodes.keys().cloned().collect();
        while names.iter().any(|name| self.advance(name, moment, out)) {}
    }

    /// One thing in one group; false when there is nothing to do before something happens.
    fn advance(&mut self, name: &Name, moment: Moment, out: &mut Vec<Effect>) -> bool {
        let Some(node) = self.nodes.get(name) else { return false };
        if node.members.iter().any(|m| matches!(m.at, At::Starting | At::Ending)) {
            return false;
        }
        if let Some(place) = self.at_rest_already(node) {
            self.hold(name, place);
            return true;
        }
        let Some(node) = self.nodes.get(name) else { return false };
        if let Some(place) = self.to_end(node) {
            self.end(name, place, out);
            return true;
        }
        match node.phase {
            Phase::Closing { then, .. } => {
                self.closed(name, then, moment, out);
                true
            }
            Phase::Opening | Phase::Up => {
                if node.phase == Phase::Up && node.could_not_start() {
                    self.next_fallen(name, moment, out); // a batch of starts ends at the one that fails
                } else if let Some(place) = node.to_start() {
                    self.start(name, place, out);
                } else if node.phase == Phase::Opening {
                    self.opened(name, out);
                } else if !node.fallen.is_empty() {
                    self.next_fallen(name, moment, out);
                } else {
                    return false;
                }
                true
            }
            Phase::Down | Phase::Failed => false,
        }
    }

    /// A member that is to be held, and there is nothing to be ended.
    fn at_rest_already(&self, node: &Node) -> Option<usize> {
        node.members.iter().position(|m| {
            let quiet = if m.kind == Kind::Group { self.is_quiet(&m.name) } else { m.is_quiet() };
            m.next == Next::Hold && quiet
        })
    }

    fn hold(&mut self, group: &Name, place: usize) {
        let Some(node) = self.nodes.get_mut(group) else { return };
        let member = &mut node.members[place];
        (member.at, member.next) = (At::Held, Next::Stay);
        let name = member.name.clone();
        if let Some(node) = self.nodes.get_mut(&name) {
            node.phase = Phase::Down;
        }
    }

    /// The last member that has to be ended.
    fn to_end(&self, node: &Node) -> Option<usize> {
        let closing = match node.phase {
            Phase::Closing { again, .. } => Some(again),
            _ => None,
        };
        node.members.iter().rposition(|m| {
            let waits = matches!(m.at, At::Awaiting | At::Fallen { .. });
            match (closing, m.kind, m.next) {
                (_, Kind::Group, Next::Hold) | (Some(false), Kind::Group, _) => !self.is_quiet(&m.name),
                (_, _, Next::Hold) => waits || matches!(m.at, At::Up { .. }),
                (Some(again), _, _) => matches!(m.at, At::Up { .. }) || (waits && !again),
                (None, _, Next::Again { .. } | Next::Leave) => matches!(m.at, At::Up { .. }),
                (None, _, Next::Stay) => false,
            }
        })
    }

    /// True when nothing of a group runs or waits to run.
    fn is_quiet(&self, group: &Name) -> bool {
        self.nodes.get(group).is_none_or(|node| {
            matches!(node.phase, Phase::Down | Phase::Failed)
                && node.members.iter().all(|m| match m.kind {
                    Kind::Group => self.is_quiet(&m.name),
                    _ => m.is_quiet(),
                })
        })
    }

    fn end(&mut self, group: &Name, place: usize, out: &mut Vec<Effect>) {
        let Some(node) = self.nodes.get_mut(group) else { return };
        let (closing, blame) = match node.phase {
            Phase::Closing { again, blame, .. } => (Some(again), blame),
            _ => (None, false),
        };
        let member = &mut node.members[place];
        let again = match (closing, member.next) {
            (_, Next::Hold | Next::Leave) => false,
            (Some(again), _) => again && !member.is_temporary(),
            (None, Next::Again { .. }) => true,
            (None, Next::Stay) => false,
        };
        member.at = At::Ending;
        let (name, culprit) = (member.name.clone(), member.culprit);
        node.fallen.retain(|fallen| *fallen != name);
        if member.kind == Kind::Group {
            self.close_node(&name, again, blame);
        } else {
            let failed = (culprit && blame && !again).then(|| group.clone());
            out.push(Effect::End { name, again, failed });
        }
    }

    fn start(&mut self, group: &Name, place: usize, out: &mut Vec<Effect>) {
        let Some(node) = self.nodes.get_mut(group) else { return };
        let member = &mut node.members[place];
        (member.at, member.next) = (At::Starting, Next::Stay);
        let name = member.name.clone();
        if member.kind != Kind::Group {
            out.push(Effect::Start(name));
        } else if let Some(node) = self.nodes.get_mut(&name) {
            node.begin();
        }
    }

    fn opened(&mut self, group: &Name, out: &mut Vec<Effect>) {
        if let Some(node) = self.nodes.get_mut(group) {
            node.phase = Phase::Up;
        }
        if self.member(group).is_some_and(|m| m.at == At::Starting) {
            self.started(group, 0, out);
        }
    }

    /// All members are down.
    fn closed(&mut self, group: &Name, then: Then, moment: Moment, out: &mut Vec<Effect>) {
        let top = self.is_top(group);
        let Some(node) = self.nodes.get_mut(group) else { return };
        let failed = then != Then::Down && top;
        node.phase = if failed { Phase::Failed } else { Phase::Down };
        node.fallen.clear();
        for member in &mut node.members {
            (member.next, member.early) = (Next::Stay, None);
            if let At::Fallen { .. } = member.at {
                member.at = At::Awaiting;
            }
        }
        if let (true, Some(fault)) = (then != Then::Down, node.fault.clone()) {
            out.push(Effect::Failed { group: group.clone(), fault, escalates: !top });
        }
        let spec = node.group.clone();
        let Some(member) = self.member(group) else { return };
        match (member.at, then) {
            (At::Ending, _) => {
                member.at = At::Rest;
                self.ended(group);
            }
            (At::Starting, _) if top => member.at = At::Rest,
            (At::Starting, Then::NotStarted) => self.not_started(group),
            (At::Up { .. }, Then::GaveUp) if !top => {
                let n = u32::try_from(member.falls.iter().filter(|at| moment.now.since(**at) <= spec.within).count());
                let after = backoff(&waits(&spec), n.unwrap_or(u32::MAX), moment.jitter);
                member.at = At::Fallen { after };
                if let Some((above, _)) = self.place(group)
                    && let Some(above) = self.nodes.get_mut(&above)
                {
                    above.fallen.push_back(group.clone());
                }
            }
            _ => (member.at, member.next) = (At::Rest, Next::Stay),
        }
    }

    /// The first that fell: it is counted, and the strategy says what is ended and started with it.
    fn next_fallen(&mut self, group: &Name, moment: Moment, out: &mut Vec<Effect>) {
        let Moment { now, jitter } = moment;
        self.tokens += 1;
        let token = self.tokens;
        let Some(node) = self.nodes.get_mut(group) else { return };
        let Some(name) = node.fallen.pop_front() else { return };
        let Some(place) = node.members.iter().position(|m| m.name == name) else { return };
        let At::Fallen { after } = node.members[place].at else { return };
        let within = node.group.within;
        let old = |at: &LogTime| now.since(*at) <= within;
        node.restarts.retain(old);
        node.restarts.push_back(now);
        let member = &mut node.members[place];
        member.falls.retain(old);
        let tries = u32::try_from(member.falls.len()).unwrap_or(u32::MAX);
        member.falls.push_back(now);
        member.culprit = true;
        let after = match after {
            Duration::MAX => backoff(&waits(&node.group), tries, jitter), // it couldn't be started
            after => after,
        };
        if node.restarts.len() > node.group.max_restarts as usize {
            node.fault = Some(Fault::TooOften(name));
            let again = !self.is_top(group);
            if let Some(node) = self.nodes.get_mut(group) {
                node.phase = Phase::Closing { again, then: Then::GaveUp, blame: true };
            }
            return;
        }
        let count = u32::try_from(node.restarts.len()).unwrap_or(u32::MAX);
        node.mark(place, token, after);
        out.push(Effect::Restarts { group: group.clone(), member: name, count });
        if !after.is_zero() {
            out.push(Effect::Wait { token, after });
        }
    }
}

impl Node {
    /// Begins as a new supervisor does: all members are to be started, nothing is counted yet.
    pub(super) fn begin(&mut self) {
        self.phase = Phase::Opening;
        self.fault = None;
        self.restarts.clear();
        self.fallen.clear();
        for member in &mut self.members {
            member.falls.clear();
            if matches!(member.at, At::Rest | At::Awaiting | At::Gone | At::Fallen { .. }) && member.next != Next::Hold
            {
                member.next = Next::NOW;
            }
        }
    }

    /// The first that fell is one that couldn't be started.
    fn could_not_start(&self) -> bool {
        let first = self.fallen.front().and_then(|name| self.members.iter().find(|m| m.name == *name));
        first.is_some_and(|m| m.at == At::Fallen { after: Duration::MAX })
    }

    /// The first member whose turn it is to be started.
    fn to_start(&self) -> Option<usize> {
        let mut waiting = self.members.iter().enumerate().filter_map(|(place, m)| match (m.at, m.next) {
            (At::Rest | At::Awaiting | At::Gone | At::Fallen { .. }, Next::Again { ready, .. }) => Some((place, ready)),
            _ => None,
        });
        let one_by_one = self.group.strategy == Strategy::OneForOne;
        match one_by_one {
            true => waiting.find(|(_, ready)| *ready).map(|(place, _)| place),
            false => waiting.next().filter(|(_, ready)| *ready).map(|(place, _)| place),
        }
    }

    /// What the strategy takes along with a member that fell.
    fn mark(&mut self, fell: usize, token: u64, after: Duration) {
        let taken = match self.group.strategy {
            Strategy::OneForOne => fell..fell + 1,
            Strategy::OneForAll => 0..self.members.len(),
            Strategy::RestForOne => fell..self.members.len(),
        };
        for member in &mut self.members[taken] {
            let temporary = member.is_temporary();
            match member.at {
                At::Held | At::Gone => continue,
                At::Up { .. } if temporary => {
                    member.next = Next::Leave;
                    continue;
                }
                At::Fallen { .. } => {
                    member.at = At::Awaiting;
                    let name = member.name.clone();
                    self.fallen.retain(|fallen| *fallen != name);
                }
                _ => {}
            }
            if member.next != Next::Hold {
                member.next = Next::Again { token, ready: after.is_zero(), after };
            }
        }
    }
}

/// The delays of a group, as those of a session.
fn waits(group: &Group) -> Restart {
    Restart { backoff_min: group.backoff_min, backoff_max: group.backoff_max, ..Restart::default() }
}
