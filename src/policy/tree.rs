//! A tree of groups, supervised as Erlang/OTP's `supervisor` does it: started in order, ended in reverse, and when one ends
//! that is to be started again, its group's strategy says which others are ended and started with it, in which order.
//!
//! Pure: what happened, the log time and a random number in; what is to be done out. One thing at a time is under way in a
//! group, and what happens meanwhile waits, as in a supervisor's mailbox. More restarts than `max_restarts` within a time end
//! a group's members in reverse and fail it; the group above counts that as the end of a member. What stands at the top is
//! started in order and ended in reverse, and nobody restarts it here: a session there has its own policy, a group is failed.
//!
//! Two promises of ours go beyond OTP: a delay before a restart, and that what somebody ended by name stays ended. The whole
//! state is plain data, to be kept before its effects are run; after a crash [`Tree::wake`] finishes what was begun.

mod advance;
mod apply;
mod wake;

use super::Decision;
use crate::model::{Group, LogTime, Name, RestartMode, Shape};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// The fleet is to be up: groups that are down or failed, and these sessions that are down in groups that are up.
    Open(BTreeSet<Name>),
    /// A group, or the whole by its name, is to be down.
    Close(Name),
    /// A session that runs is to be ended and started again, which isn't counted: it has changed.
    Cycle(Name),
    /// A session's run has begun, whoever wanted it.
    Started {
        /// Whose.
        name: Name,
        /// Which.
        run: u32,
    },
    /// It couldn't be started.
    NotStarted {
        /// Which.
        name: Name,
    },
    /// It was not started: somebody has ended it by name.
    Withheld {
        /// Which.
        name: Name,
    },
    /// It is ended, as [`Effect::End`] wanted.
    Ended {
        /// Which.
        name: Name,
    },
    /// A run has ended.
    Exited {
        /// Whose.
        name: Name,
        /// Which.
        run: u32,
        /// What its own policy says of it; the delay stands in its log.
        decision: Decision,
        /// Somebody asked for the end of this run.
        wanted: bool,
    },
    /// It is no more.
    Removed {
        /// Which.
        name: Name,
    },
    /// A wait is over.
    Due {
        /// Which.
        token: u64,
    },
}

/// What is to be done.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Effect {
    /// Start a session; [`Input::Started`], [`Input::NotStarted`] or [`Input::Withheld`] is the answer.
    Start(Name),
    /// End a session, or its waiting for a restart; [`Input::Ended`] is the answer.
    End {
        /// Which.
        name: Name,
        /// Another run follows.
        again: bool,
        /// The group that gave up because of this session.
        failed: Option<Name>,
    },
    /// Tell [`Input::Due`] after so long.
    Wait {
        /// Which wait.
        token: u64,
        /// How long.
        after: Duration,
    },
    /// For people: a group restarts something, because this member ended.
    Restarts {
        /// Which.
        group: Name,
        /// The member.
        member: Name,
        /// So many restarts within its time, this one counted.
        count: u32,
    },
    /// For people: a group has failed.
    Failed {
        /// Which.
        group: Name,
        /// Why.
        fault: Fault,
        /// The group above restarts it, if it may.
        escalates: bool,
    },
}

/// Why a group failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fault {
    /// This member ended, and there had been too many restarts.
    TooOften(Name),
    /// This member couldn't be started while the group was.
    NotStarted(Name),
}

/// How a session is found after a crash of the host. One that isn't found is no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// It runs.
    Up {
        /// Which run.
        run: u32,
    },
    /// Its run has ended and another was decided; the session says so again.
    Restarts,
    /// It ran, and nothing is known of its end: the machine went down.
    Lost,
    /// It has ended.
    Ended {
        /// Somebody wanted that.
        wanted: bool,
    },
}

/// Where a group stands, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stand {
    /// Nobody wants it up.
    Down,
    /// Being started.
    Starting,
    /// Its members are as they should be.
    Up,
    /// Something is being ended, waits or is being started again.
    Restarting,
    /// Being ended.
    Ending,
    /// It gave up.
    Failed,
}

/// See the module.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Tree {
    root: Name,
    nodes: BTreeMap<Name, Node>,
    tokens: u64,
}

/// A group; the root is one whose members nobody restarts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Node {
    group: Group,
    phase: Phase,
    /// When something was restarted, oldest first: those within the group's time.
    restarts: VecDeque<LogTime>,
    /// Members that ended and are to be started again, in the order in which that was heard.
    fallen: VecDeque<Name>,
    members: Vec<Member>,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
enum Phase {
    Down,
    /// All are started, in order; one that can't be fails the group.
    Opening,
    Up,
    Closing {
        /// Its members will be started again.
        again: bool,
        then: Then,
        /// Because a group failed: whose end it was shall know.
        blame: bool,
    },
    Failed,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
enum Then {
    Down,
    GaveUp,
    NotStarted,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Member {
    name: Name,
    kind: Kind,
    at: At,
    next: Next,
    /// The end of a run that was heard of before its beginning.
    early: Option<(u32, Decision, bool)>,
    /// When it was restarted, oldest first, for the delays.
    falls: VecDeque<LogTime>,
    /// It is why the group gives up.
    culprit: bool,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
enum Kind {
    Group,
    Session(RestartMode),
    /// At the top: its own policy restarts it.
    Solo,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
enum At {
    /// Not started yet, or ended as it should.
    Rest,
    /// Ended; its log says that another run follows.
    Awaiting,
    /// Somebody ended it by name: only he starts it again.
    Held,
    /// Of a kind that is never started again.
    Gone,
    Starting,
    Up {
        run: u32,
    },
    Ending,
    /// Ended, to be started again; not decided yet what with it.
    Fallen {
        after: Duration,
    },
}

/// What is to come for a member.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
enum Next {
    Stay,
    /// To be ended, if it runs, and started when the wait is over.
    Again {
        token: u64,
        ready: bool,
        after: Duration,
    },
    /// To be ended, and not to be started.
    Leave,
    /// The same, because somebody wants it.
    Hold,
}

impl Next {
    const NOW: Next = Next::Again { token: 0, ready: true, after: Duration::ZERO };
}

impl Tree {
    /// All down. The shape has been checked.
    pub fn new(root: Name, shape: &Shape) -> Tree {
        let mut tree = Tree { root, nodes: BTreeMap::new(), tokens: 0 };
        tree.reshape(shape);
        tree
    }

    /// Another shape: what stands in both stays as it is, what is new is down, what isn't there any more is forgotten.
    pub fn reshape(&mut self, shape: &Shape) {
        let known: BTreeMap<Name, Member> =
            self.nodes.values().flat_map(|node| &node.members).map(|m| (m.name.clone(), m.clone())).collect();
        let top = [(self.root.clone(), Group::of(shape.top.clone()))];
        let groups = shape.groups.iter().map(|(name, group)| (name.clone(), group.clone()));
        let nodes: BTreeMap<Name, Node> = top
            .into_iter()
            .chain(groups)
            .map(|(name, group)| {
                let is_root = name == self.root;
                let members = group.members.iter().map(|member| {
                    let kind = match shape.sessions.get(member) {
                        Some(_) if is_root => Kind::Solo,
                        Some(mode) => Kind::Session(*mode),
                        None => Kind::Group,
                    };
                    match known.get(member) {
                        Some(old) => Member { kind, ..old.clone() },
                        None => Member::new(member.clone(), kind),
                    }
                });
                let members = members.collect();
                let old = self.nodes.remove(&name);
                let old = old.unwrap_or_else(|| Node::new(group.clone()));
                (name, Node { group, members, ..old })
            })
            .collect();
        self.nodes = nodes;
        for node in self.nodes.values_mut() {
            let members: BTreeSet<Name> = node.members.iter().map(|m| m.name.clone()).collect();
            node.fallen.retain(|name| members.contains(name));
        }
    }

    /// Takes what happened; gives what is to be done, in this order. `jitter`: 0 to 1.
    pub fn step(&mut self, input: Input, now: LogTime, jitter: f64) -> Vec<Effect> {
        let mut out = Vec::new();
        self.apply(input, &mut out);
        self.go_on(now, jitter, &mut out);
        out
    }

    /// Where a group stands; the root, too.
    pub fn stand(&self, group: &Name) -> Stand {
        let Some(node) = self.nodes.get(group) else { return Stand::Down };
        let moves = |m: &Member| {
            matches!(m.at, At::Starting | At::Ending | At::Fallen { .. } | At::Awaiting) || m.next != Next::Stay
        };
        match node.phase {
            Phase::Down => Stand::Down,
            Phase::Opening => Stand::Starting,
            Phase::Closing { .. } => Stand::Ending,
            Phase::Failed => Stand::Failed,
            Phase::Up if node.members.iter().any(moves) => Stand::Restarting,
            Phase::Up => Stand::Up,
        }
    }

    /// Why a group failed.
    pub fn fault(&self, group: &Name) -> Option<&Fault> {
        self.nodes.get(group)?.fault.as_ref()
    }

    /// How many restarts of a group count at this time.
    pub fn restarts(&self, group: &Name, now: LogTime) -> usize {
        let Some(node) = self.nodes.get(group) else { return 0 };
        node.restarts.iter().filter(|at| now.since(**at) <= node.group.within).count()
    }

    /// True while something is being started or ended: what was asked for is not yet so. A wait for a restart is none of it.
    pub fn is_busy(&self) -> bool {
        self.nodes.values().any(|node| {
            matches!(node.phase, Phase::Opening | Phase::Closing { .. })
                || node.members.iter().any(|m| match m.next {
                    _ if matches!(m.at, At::Starting | At::Ending) => true,
                    Next::Again { ready, .. } => ready,
                    Next::Leave | Next::Hold => true,
                    Next::Stay => false,
                })
        })
    }

    /// True when this session's end is decided here: by a group that watches over it.
    pub fn decides(&self, session: &Name) -> bool {
        self.find(session).is_some_and(|(_, member)| matches!(member.kind, Kind::Session(_)))
    }

    /// True where no group stands above.
    fn is_top(&self, group: &Name) -> bool {
        self.place(group).is_none_or(|(above, _)| above == self.root)
    }

    fn find(&self, name: &Name) -> Option<(&Node, &Member)> {
        self.nodes.values().find_map(|node| Some((node, node.members.iter().find(|m| m.name == *name)?)))
    }

    /// The group of a member, and its place in it.
    fn place(&self, name: &Name) -> Option<(Name, usize)> {
        self.nodes
            .iter()
            .find_map(|(group, node)| Some((group.clone(), node.members.iter().position(|m| m.name == *name)?)))
    }

    fn member(&mut self, name: &Name) -> Option<&mut Member> {
        self.nodes.values_mut().find_map(|node| node.members.iter_mut().find(|m| m.name == *name))
    }
}

impl Node {
    fn new(group: Group) -> Node {
        Node {
            group,
            phase: Phase::Down,
            restarts: VecDeque::new(),
            fallen: VecDeque::new(),
            members: Vec::new(),
            fault: None,
        }
    }
}

impl Member {
    fn new(name: Name, kind: Kind) -> Member {
        let (at, next) = (At::Rest, Next::Stay);
        Member { name, kind, at, next, early: None, falls: VecDeque::new(), culprit: false }
    }

    /// Of a session: nothing runs or waits to run.
    fn is_quiet(&self) -> bool {
        matches!(self.at, At::Rest | At::Held | At::Gone)
    }

    fn is_temporary(&self) -> bool {
        self.kind == Kind::Session(RestartMode::Never)
    }
}

#[cfg(test)]
mod otp_tests;
#[cfg(test)]
mod tests;
