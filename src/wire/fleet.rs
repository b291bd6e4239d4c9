//! Fleets: sessions and groups that are brought up together, as a fleet file says.

use super::NewSession;
use crate::model::{Group, Name, RestartMode, Shape, Strategy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `POST /v1/fleets`: the fleet shall be this.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FleetRequest {
    /// Its name.
    pub name: String,
    /// The file it comes from, where its name is only that of the file: another file of that name is another fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Say what would change, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// The sessions. `exist_ok` and `fresh` mean nothing here.
    pub sessions: Vec<NewSession>,
    /// The groups.
    #[serde(default)]
    pub groups: BTreeMap<Name, Group>,
    /// What stands in no group, in order; without it every such session and group, by name.
    #[serde(default)]
    pub top: Vec<Name>,
}

impl FleetRequest {
    /// How its parts hang together. Sessions without a name that is one aren't in it.
    pub fn shape(&self) -> Shape {
        let mode = |session: &NewSession| session.restart.map_or(RestartMode::Never, |restart| restart.mode);
        let sessions: BTreeMap<Name, RestartMode> =
            self.sessions.iter().filter_map(|session| Some((session.name.parse().ok()?, mode(session)))).collect();
        let inner = |name: &&Name| !self.groups.values().any(|group| group.members.contains(*name));
        let top = match self.top.is_empty() {
            true => self.groups.keys().chain(sessions.keys()).filter(inner).cloned().collect(),
            false => self.top.clone(),
        };
        Shape { top, groups: self.groups.clone(), sessions }
    }
}

/// The answer to [`FleetRequest`], and to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FleetAnswer {
    /// The fleet.
    pub fleet: Name,
    /// Nothing was changed.
    pub dry_run: bool,
    /// Line by line, in the order in which it is done.
    pub changes: Vec<FleetChange>,
}

/// What becomes, or would become, of one session or group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FleetChange {
    /// What.
    pub change: FleetWord,
    /// True for a group.
    #[serde(default)]
    pub group: bool,
    /// Which.
    pub name: Name,
    /// Why, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The words for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FleetWord {
    /// It wasn't there.
    Created,
    /// It was there and didn't run.
    Started,
    /// It ran and was ended and started again.
    Restarted,
    /// Changed where it stands.
    Changed,
    /// Already as it should be.
    Unchanged,
    /// Ended; its log stays.
    Ended,
    /// Of a group: it is no more.
    Removed,
    /// It couldn't be done.
    Failed,
}

impl FleetWord {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            FleetWord::Created => "created",
            FleetWord::Started => "started",
            FleetWord::Restarted => "restarted",
            FleetWord::Changed => "changed",
            FleetWord::Unchanged => "unchanged",
            FleetWord::Ended => "ended",
            FleetWord::Removed => "removed",
            FleetWord::Failed => "failed",
        }
    }
}

/// `GET /v1/fleets`: a fleet as it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FleetInfo {
    /// Its name.
    pub name: Name,
    /// What stands in no group, in order.
    pub top: Vec<Name>,
    /// Its groups.
    pub groups: Vec<GroupInfo>,
    /// Its sessions, in the order of starts.
    pub sessions: Vec<Name>,
}

/// A group as it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the contract")]
pub struct GroupInfo {
    pub name: Name,
    /// The group above.
    pub group: Option<Name>,
    pub strategy: Strategy,
    /// `down`, `starting`, `up`, `restarting`, `ending` or `failed`.
    pub state: String,
    /// Why it is `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub max_restarts: u32,
    pub within_ms: u64,
    /// Restarts that count now.
    pub restarts: usize,
    pub members: Vec<Name>,
}
