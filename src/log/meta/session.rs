//! What is kept of a session besides its log, as JSON: what it runs, what it should be doing, and, of one that was removed, who
//! it was.

use crate::model::{Care, Name, RawString, SessionId, Spec, Wall};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is kept of a session besides its log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SessionMeta {
    /// Format: [`SessionMeta::VERSION`].
    pub v: u32,
    /// Its identity.
    pub id: SessionId,
    /// Its name.
    pub name: Name,
    /// What it runs.
    pub spec: Spec,
    /// When it was made.
    pub created: Wall,
    /// What it should be doing.
    pub desired: Desired,
    /// A tombstone: removed, the name is free; its records go with their segments.
    pub removed: bool,
    /// The most records its ring can hold: numbering jumps by so many after a power loss.
    pub ring_records: u64,
    /// The first run with this spec; later ones execute its restart command.
    #[serde(default)]
    pub first_run: u32,
    /// The machine's boot in which its newest run was begun, where that is known: pids mean nothing in another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// The fleet it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Membership>,
}

/// Where a session stands in a fleet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Membership {
    /// The fleet.
    pub fleet: Name,
    /// Its group, which decides what follows when a run ends.
    pub group: Option<Name>,
    /// What the group has made of it.
    #[serde(default)]
    pub fate: Fate,
}

/// What a group has made of a session of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Nothing: it runs, or its end was its own.
    #[default]
    None,
    /// It was ended with its group.
    Ended,
    /// The group gave up because of it.
    Failed,
}

impl SessionMeta {
    /// The format this code writes; newer ones are refused.
    pub const VERSION: u32 = 1;

    /// What is left of it when it is removed, until its records have gone: who it was. Every start reads all of them.
    #[must_use]
    pub fn tombstone(self) -> SessionMeta {
        let Spec { size, restart, umask, .. } = self.spec;
        let none = RawString::default;
        let spec = Spec {
            command: String::new(),
            argv: Vec::new(),
            program: none(),
            cwd: none(),
            env: Vec::new(),
            umask,
            size,
            labels: BTreeMap::new(),
            restart,
            care: Care::default(),
        };
        SessionMeta { spec, removed: true, ..self }
    }
}

/// What a session should be doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Desired {
    /// Running, now and after a reboot.
    Running,
    /// Nothing more.
    Ended,
}
