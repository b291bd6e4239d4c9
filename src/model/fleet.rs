//! What a fleet is made of: sessions, and groups that are supervised as Erlang/OTP does it.

use super::{Name, RestartMode};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// What becomes of the others in a group when one ends that is to be started again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Nothing.
    #[default]
    OneForOne,
    /// All are ended, then all started.
    OneForAll,
    /// Those that were started after it are ended, then it and they are started.
    RestForOne,
}

impl Strategy {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Strategy::OneForOne => "one_for_one",
            Strategy::OneForAll => "one_for_all",
            Strategy::RestForOne => "rest_for_one",
        }
    }
}

/// A group: its members in the order in which they are started, and how they hang together.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Group {
    /// See [`Strategy`].
    #[serde(default)]
    pub strategy: Strategy,
    /// More restarts in the group than this …
    #[serde(default = "max_restarts")]
    pub max_restarts: u32,
    /// … within this time: it ends its members and fails, and the group above restarts it as a whole.
    #[serde(default = "within")]
    pub within: Duration,
    /// Of a group that is a member: the first delay before it is started again.
    #[serde(default = "backoff_min")]
    pub backoff_min: Duration,
    /// … and the longest.
    #[serde(default = "backoff_max")]
    pub backoff_max: Duration,
    /// Sessions and groups.
    pub members: Vec<Name>,
}

fn max_restarts() -> u32 {
    super::Restart::default().max_restarts
}

fn within() -> Duration {
    super::Restart::default().within
}

fn backoff_min() -> Duration {
    super::Restart::default().backoff_min
}

fn backoff_max() -> Duration {
    super::Restart::default().backoff_max
}

impl Group {
    /// With what holds where nothing else is said.
    pub fn of(members: Vec<Name>) -> Group {
        Group {
            strategy: Strategy::default(),
            max_restarts: max_restarts(),
            within: within(),
            backoff_min: backoff_min(),
            backoff_max: backoff_max(),
            members,
        }
    }
}

/// How a fleet hangs together.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Shape {
    /// What stands in no group: sessions that are on their own and groups without a group above, in order.
    pub top: Vec<Name>,
    /// The groups.
    pub groups: BTreeMap<Name, Group>,
    /// Every session, and what is to be done when it ends.
    pub sessions: BTreeMap<Name, RestartMode>,
}

/// Why a shape is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A member that isn't there.
    #[error("group {group} has a member {member:?}, which is neither a session nor a group here", member = member.as_str())]
    Unknown {
        /// Whose.
        group: Name,
        /// Which.
        member: Name,
    },
    /// A member of two groups, or twice of one.
    #[error("{:?} is a member more than once", .0.as_str())]
    Twice(Name),
    /// A group that holds itself.
    #[error("group {0} holds itself")]
    Circle(Name),
    /// A group without members.
    #[error("group {0} has no members")]
    Empty(Name),
    /// One name for two things.
    #[error("{:?} is a session and a group: give one of them another name", .0.as_str())]
    Both(Name),
    /// Something that is in nothing.
    #[error("{:?} stands nowhere in the order", .0.as_str())]
    Loose(Name),
}

impl Shape {
    /// Every session and every group once, each group before its members, each in the order of starts.
    pub fn in_order(&self) -> Result<Vec<Name>, ShapeError> {
        for (name, group) in &self.groups {
            if self.sessions.contains_key(name) {
                return Err(ShapeError::Both(name.clone()));
            }
            if group.members.is_empty() {
                return Err(ShapeError::Empty(name.clone()));
            }
            let known = |member: &Name| self.sessions.contains_key(member) || self.groups.contains_key(member);
            if let Some(member) = group.members.iter().find(|member| !known(member)) {
                return Err(ShapeError::Unknown { group: name.clone(), member: member.clone() });
            }
        }
        let mut order: Vec<Name> = Vec::new();
        let mut open: Vec<&Name> = self.top.iter().rev().collect();
        while let Some(name) = open.pop() {
            if order.contains(name) {
                return Err(ShapeError::Twice(name.clone()));
            }
            order.push(name.clone());
            open.extend(self.groups.get(name).into_iter().flat_map(|group| group.members.iter().rev()));
        }
        let circle = self.groups.keys().find(|name| !order.contains(name));
        let loose = self.sessions.keys().find(|name| !order.contains(name));
        match (circle, loose) {
            (Some(name), _) => Err(ShapeError::Circle(name.clone())),
            (None, Some(name)) => Err(ShapeError::Loose(name.clone())),
            (None, None) => Ok(order),
        }
    }

    /// The group that a session or group stands in.
    pub fn group_of(&self, member: &Name) -> Option<&Name> {
        self.groups.iter().find(|(_, group)| group.members.contains(member)).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<Name> {
        text.split_whitespace().map(|name| name.parse().unwrap()).collect()
    }

    fn shape(top: &str, groups: &[(&str, &str)], sessions: &str) -> Shape {
        Shape {
            top: names(top),
            groups: groups.iter().map(|(name, members)| (name.parse().unwrap(), Group::of(names(members)))).collect(),
            sessions: names(sessions).into_iter().map(|name| (name, RestartMode::Always)).collect(),
        }
    }

    #[test]
    fn a_shape_is_a_tree_or_says_why_not() {
        let good = shape("z g a", &[("g", "h y"), ("h", "x")], "a x y z");
        assert_eq!(good.in_order().unwrap(), names("z g h x y a"));
        for (shape, why) in [
            (shape("g", &[("g", "x q")], "x"), "\"q\", which is neither"),
            (shape("g x", &[("g", "x")], "x"), "\"x\" is a member more than once"),
            (shape("g", &[("g", "x x")], "x"), "more than once"),
            (shape("g", &[("g", "x"), ("h", "i"), ("i", "h")], "x"), "group h holds itself"),
            (shape("g", &[("g", "")], ""), "no members"),
            (shape("x", &[("x", "x")], "x"), "a session and a group"),
            (shape("x", &[], "x y"), "nowhere"),
        ] {
            let error = shape.in_order().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
