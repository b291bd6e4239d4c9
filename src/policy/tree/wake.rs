//! After a crash of the host: what was begun is finished, what was meant to be up comes up again, in order.

use super::{At, Effect, Kind, Member, Next, Seen, Tree};
use crate::model::{LogTime, Name};
use std::collections::BTreeMap;

impl Tree {
    /// Goes on with sessions as they are found. Ends that a crash cut off are asked for again, waits begin again, runs that
    /// went down with the machine are started again, in order and without being counted.
    pub fn wake(&mut self, found: &BTreeMap<Name, Seen>, now: LogTime, jitter: f64) -> Vec<Effect> {
        let mut out = Vec::new();
        let mut waits = BTreeMap::new();
        for node in self.nodes.values_mut() {
            for member in node.members.iter_mut().filter(|m| m.kind != Kind::Group) {
                member.early = None;
                member.find(found.get(&member.name).copied());
            }
            for member in &node.members {
                if let Next::Again { token, ready: false, after } = member.next {
                    waits.insert(token, after);
                }
            }
            let fallen: Vec<Name> =
                node.members.iter().filter(|m| matches!(m.at, At::Fallen { .. })).map(|m| m.name.clone()).collect();
            node.fallen.retain(|name| fallen.contains(name));
        }
        out.extend(waits.into_iter().map(|(token, after)| Effect::Wait { token, after }));
        self.go_on(now, jitter, &mut out);
        out
    }
}

impl Tree {
    /// The host ends in order, and its sessions with it: what is up shall be started again by the next one, uncounted.
    pub fn rest(&mut self) {
        for member in self.nodes.values_mut().flat_map(|node| &mut node.members) {
            let up = matches!(member.at, At::Up { .. } | At::Starting | At::Fallen { .. } | At::Awaiting);
            if matches!(member.kind, Kind::Session(_)) && up && !matches!(member.next, Next::Leave | Next::Hold) {
                (member.at, member.next) =
                    if member.is_temporary() { (At::Gone, Next::Stay) } else { (At::Awaiting, Next::NOW) };
            }
        }
    }
}

impl Member {
    fn find(&mut self, seen: Option<Seen>) {
        let solo = self.kind == Kind::Solo;
        let Some(seen) = seen else {
            (self.at, self.next) = (if solo { At::Rest } else { At::Gone }, Next::Stay);
            return;
        };
        match (self.at, seen) {
            (At::Starting | At::Up { .. } | At::Rest | At::Held | At::Gone, Seen::Up { run }) => {
                self.at = At::Up { run }
            }
            (At::Ending, Seen::Up { run }) => self.at = At::Up { run }, // asked for again
            (At::Awaiting, Seen::Ended { wanted: true }) => (self.at, self.next) = (At::Held, Next::Stay),
            (At::Awaiting | At::Fallen { .. }, Seen::Up { run }) => (self.at, self.next) = (At::Up { run }, Next::Stay),
            _ if solo => self.at = At::Up { run: 0 }, // its own policy goes on
            (At::Up { .. } | At::Starting | At::Ending, Seen::Ended { wanted: true }) if self.next == Next::Stay => {
                self.at = At::Held;
            }
            (At::Ending, Seen::Restarts) => self.at = At::Awaiting,
            (At::Ending, _) if self.next == Next::Leave => (self.at, self.next) = (At::Gone, Next::Stay),
            (At::Ending, _) => self.at = if self.next == Next::Stay { At::Rest } else { At::Awaiting },
            (At::Up { .. }, Seen::Restarts) => {} // the session says so, and then it is counted
            (At::Up { .. } | At::Starting, _) if self.is_temporary() => (self.at, self.next) = (At::Gone, Next::Stay),
            (At::Up { .. }, Seen::Lost) | (At::Starting, _) => (self.at, self.next) = (At::Awaiting, Next::NOW),
            (At::Up { .. }, Seen::Ended { .. }) => self.at = At::Rest,
            _ => {}
        }
    }
}
