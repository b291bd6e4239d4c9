//! What an input changes at the member or group that it is about. What follows from it is `advance`.

use super::{At, Effect, Input, Kind, Next, Phase, Then, Tree};
use crate::model::Name;
use crate::policy::Decision;
use std::collections::BTreeSet;
use std::time::Duration;

impl Tree {
    pub(super) fn apply(&mut self, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Open(wanted) => self.open(&wanted),
            Input::Close(name) => self.close(&name),
            Input::Cycle(name) => {
                if let Some(member) = self.member(&name).filter(|m| matches!(m.at, At::Up { .. })) {
                    member.next = Next::NOW;
                }
            }
            Input::Started { name, run } => self.started(&name, run, out),
            Input::NotStarted { name } => self.not_started(&name),
            Input::Withheld { name } => {
                if let Some(member) = self.member(&name) {
                    (member.at, member.next) = (At::Held, Next::Stay);
                }
            }
            Input::Ended { name } => {
                if let Some(member) = self.member(&name).filter(|m| m.at == At::Ending) {
                    member.at = At::Rest;
                    self.ended(&name);
                }
            }
            Input::Exited { name, run, decision, wanted } => self.exited(&name, run, decision, wanted, out),
            Input::Removed { name } => self.removed(&name),
            Input::Due { token } => {
                for member in self.nodes.values_mut().flat_map(|node| &mut node.members) {
                    if let Next::Again { token: waits, ready, .. } = &mut member.next
                        && *waits == token
                    {
                        *ready = true;
                    }
                }
            }
        }
    }

    fn open(&mut self, wanted: &BTreeSet<Name>) {
        let down: BTreeSet<Name> = self
            .nodes
            .iter()
            .filter(|(_, node)| matches!(node.phase, Phase::Down | Phase::Failed))
            .map(|(name, _)| name.clone())
            .collect();
        for node in self.nodes.values_mut() {
            let is_up = matches!(node.phase, Phase::Up | Phase::Opening);
            for member in &mut node.members {
                let rests = matches!(member.at, At::Rest | At::Held | At::Gone);
                let start = match member.kind {
                    Kind::Group => rests && down.contains(&member.name),
                    Kind::Session(_) => rests && (!is_up || wanted.contains(&member.name)),
                    Kind::Solo => wanted.contains(&member.name) && (rests || matches!(member.at, At::Up { .. })),
                };
                if start {
                    member.at = At::Rest;
                    member.next = if is_up { Next::NOW } else { member.next };
                }
            }
        }
        if let Some(root) = self.nodes.get_mut(&self.root)
            && root.phase == Phase::Down
        {
            root.begin();
        }
    }

    fn close(&mut self, name: &Name) {
        if *name == self.root {
            self.close_node(name, false, false);
        } else if let Some(member) = self.member(name) {
            member.next = Next::Hold;
        }
    }

    /// A group's members are to be ended, in reverse, whatever they were about to do.
    pub(super) fn close_node(&mut self, name: &Name, again: bool, blame: bool) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.phase = Phase::Closing { again, then: Then::Down, blame };
        }
    }

    /// Also when nobody here has wanted it, and of a group.
    pub(super) fn started(&mut self, name: &Name, run: u32, out: &mut Vec<Effect>) {
        let Some(member) = self.member(name) else { return };
        member.at = At::Up { run };
        member.culprit = false;
        if member.next != Next::Hold {
            member.next = Next::Stay;
        }
        if let Some((early, decision, wanted)) = member.early.take() {
            self.exited(name, early, decision, wanted, out);
        }
    }

    pub(super) fn not_started(&mut self, name: &Name) {
        let Some((group, place)) = self.place(name) else { return };
        let is_root = group == self.root;
        let top = self.is_top(&group);
        let Some(node) = self.nodes.get_mut(&group) else { return };
        let member = &mut node.members[place];
        if member.at != At::Starting {
            return;
        }
        member.early = None;
        let held = member.next == Next::Hold;
        (member.at, member.next) = (At::Fallen { after: Duration::MAX }, Next::Stay);
        match node.phase {
            _ if is_root || held => member.at = if held { At::Held } else { At::Rest },
            Phase::Opening => {
                member.culprit = true;
                node.fault = Some(super::Fault::NotStarted(name.clone()));
                node.phase = Phase::Closing { again: !top, then: Then::NotStarted, blame: true };
            }
            _ => node.fallen.push_front(name.clone()),
        }
    }

    /// A member is down because it was to be; what comes then stands in `next`.
    pub(super) fn ended(&mut self, name: &Name) {
        let Some((group, place)) = self.place(name) else { return };
        let Some(node) = self.nodes.get_mut(&group) else { return };
        let closing = match node.phase {
            Phase::Closing { again, .. } => Some(again),
            _ => None,
        };
        let member = &mut node.members[place];
        member.early = None;
        (member.at, member.next) = match (closing, member.next) {
            (_, Next::Hold) => (At::Held, Next::Stay),
            (Some(_), _) if member.is_temporary() => (At::Rest, Next::Stay),
            (Some(true), _) => (At::Awaiting, Next::Stay),
            (Some(false), _) => (At::Rest, Next::Stay),
            (None, Next::Leave) => (At::Gone, Next::Stay),
            (None, Next::Again { .. }) => (At::Awaiting, member.next),
            (None, Next::Stay) => (At::Rest, Next::Stay),
        };
    }

    pub(super) fn exited(&mut self, name: &Name, run: u32, decision: Decision, wanted: bool, out: &mut Vec<Effect>) {
        let Some((group, place)) = self.place(name) else { return };
        let Some(node) = self.nodes.get_mut(&group) else { return };
        let member = &mut node.members[place];
        if member.kind == Kind::Solo {
            return;
        }
        match member.at {
            At::Starting => member.early = Some((run, decision, wanted)),
            At::Up { run: up } if up == run => match (decision, node.phase) {
                (Decision::Restart(_), Phase::Down | Phase::Failed) => {
                    // somebody started it in a group that is down: nobody starts it again
                    member.at = At::Rest;
                    out.push(Effect::End { name: name.clone(), again: false, failed: None });
                }
                (Decision::Restart(after), _) => {
                    member.at = At::Fallen { after };
                    node.fallen.push_back(name.clone());
                }
                (Decision::Stay | Decision::GiveUp, _) => {
                    member.at = match wanted {
                        true => At::Held,
                        false if member.is_temporary() => At::Gone,
                        false => At::Rest,
                    };
                    member.next = Next::Stay;
                }
            },
            _ => {}
        }
    }

    fn removed(&mut self, name: &Name) {
        if let Some((group, place)) = self.place(name)
            && let Some(node) = self.nodes.get_mut(&group)
        {
            node.fallen.retain(|fallen| fallen != name);
            let member = &mut node.members[place];
            (member.at, member.next, member.early) = (At::Gone, Next::Stay, None);
        }
    }
}
