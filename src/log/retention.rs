//! What is kept how long: limits, what has been taken, and the decision which segments go.
//!
//! [`plan`] is pure. Records go as the oldest of their session, so one number a session says what was taken; it is on
//! disk (`retention.json`) before anything is deleted, and readers get a `gap` up to it. A segment is deleted when nothing
//! in it is wanted any more. It must never touch the newest segment, nor take a record behind one that is kept.

use super::{StoreDown, disk};
use crate::model::{Seq, SessionId, Wall};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
    time::Duration,
};

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all segments.
    pub bytes: Option<u64>,
    /// Bytes of one session.
    pub session_bytes: Option<u64>,
    /// Age of a closed segment.
    pub age: Option<Duration>,
}

/// A limit holds so many segments at least: what goes at once is a small part of what is kept.
const SEGMENTS: u64 = 8;
/// A smaller segment would be closed by a single flush of one crash ring, bytes.
const SEGMENT_MIN: u64 = 256 * 1024;

impl Limits {
    /// Bytes at which a segment is closed, so that the limits can be kept.
    pub(super) fn segment_bytes(&self, wanted: u64) -> u64 {
        let part = self.bytes.into_iter().chain(self.session_bytes).map(|limit| limit / SEGMENTS).min();
        part.map_or(wanted, |part| wanted.min(part.max(SEGMENT_MIN)))
    }

    /// Age at which it is closed.
    pub(super) fn segment_age(&self, wanted: Duration) -> Duration {
        self.age.map_or(wanted, |age| wanted.min(age / SEGMENTS as u32))
    }
}

/// What retention took of one session: everything up to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taken {
    pub(super) upto: Seq,
    /// When.
    pub(super) at: Wall,
}

/// What retention took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(HashMap<SessionId, Taken>);

#[derive(Serialize, Deserialize)]
struct OnDisk {
    v: u32,
    sessions: HashMap<SessionId, Taken>,
}

const VERSION: u32 = 1;
const FILE: &str = "retention.json";

impl Marks {
    /// From the state folder. A damaged file is the same as none: what it named shows as lost all the same.
    pub(super) fn load(state: &Path) -> Result<Marks, StoreDown> {
        let file = state.join(FILE);
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Marks::default()),
            Err(e) => return Err(disk::down(&file, e)),
        };
        match serde_json::from_slice::<OnDisk>(&bytes) {
            Ok(file) if file.v <= VERSION => Ok(Marks(file.sessions)),
            Ok(newer) => {
                Err(disk::down(&file, format!("a newer termalive wrote it (version {}): use that one", newer.v)))
            }
            Err(e) => {
                tracing::error!("{} is damaged ({e}): what retention took shows as damage", file.display());
                Ok(Marks::default())
            }
        }
    }

    /// Into the state folder, durable.
    pub(super) fn save(&self, state: &Path) -> Result<(), StoreDown> {
        let file = state.join(FILE);
        let json = serde_json::to_vec(&OnDisk { v: VERSION, sessions: self.0.clone() });
        let json = json.map_err(|e| disk::down(&file, e))?;
        disk::write_whole(&file, &json).map_err(|e| disk::down(&file, e))
    }

    pub(super) fn of(&self, id: SessionId) -> Option<Taken> {
        self.0.get(&id).copied()
    }

    pub(super) fn upto(&self, id: SessionId) -> Option<Seq> {
        self.of(id).map(|taken| taken.upto)
    }

    /// With what is taken now; sessions for which `forget` holds are left out.
    pub(super) fn with(&self, more: &HashMap<SessionId, Seq>, at: Wall, forget: impl Fn(SessionId) -> bool) -> Marks {
        let mut marks = self.clone();
        for (id, upto) in more {
            marks.0.insert(*id, Taken { upto: *upto, at });
        }
        marks.0.retain(|id, _| !forget(*id));
        marks
    }
}

/// A segment, as far as the decision needs it.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    pub(super) n: u64,
    pub(super) bytes: u64,
    /// Since it was closed.
    pub(super) age: Duration,
    /// Sessions: last record and bytes.
    pub(super) parts: Vec<(SessionId, Seq, u64)>,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Everything up to here is taken.
    pub(super) take: HashMap<SessionId, Seq>,
    /// Segments in which nothing is wanted.
    pub(super) delete: Vec<u64>,
}

/// Decides. `closed`: oldest first; `newest` counts, and stays.
pub(super) fn plan(
    closed: &[Holding],
    newest: &Holding,
    limits: &Limits,
    marks: &Marks,
    removed: &HashSet<SessionId>,
) -> Plan {
    let mut plan = Plan::default();
    let dead = |plan: &Plan, id: &SessionId, last: &Seq| {
        removed.contains(id) || marks.upto(*id).max(plan.take.get(id).copied()) >= Some(*last)
    };
    let is_over = |plan: &Plan, segment: &Holding| segment.parts.iter().all(|(id, last, _)| dead(plan, id, last));
    let take = |plan: &mut Plan, segment: &Holding| {
        for (id, last, _) in segment.parts.iter().filter(|(id, ..)| !removed.contains(id)) {
            if marks.upto(*id) < Some(*last) {
                let upto = plan.take.entry(*id).or_default();
                *upto = (*upto).max(*last);
            }
        }
    };
    if let Some(limit) = limits.age {
        closed.iter().take_while(|s| s.age >= limit).for_each(|segment| take(&mut plan, segment));
    }
    if let Some(limit) = limits.session_bytes {
        let mut totals: HashMap<SessionId, u64> = HashMap::new();
        let parts = closed.iter().chain([newest]).flat_map(|s| &s.parts);
        for (id, _, bytes) in parts.filter(|(id, last, _)| !dead(&plan, id, last)) {
            *totals.entry(*id).or_default() += bytes;
        }
        for (id, last, bytes) in closed.iter().flat_map(|s| &s.parts) {
            if let Some(total) = totals.get_mut(id).filter(|total| **total > limit)
                && !dead(&plan, id, last)
            {
                *total = total.saturating_sub(*bytes);
                plan.take.insert(*id, *last);
            }
        }
    }
    if let Some(limit) = limits.bytes {
        let mut total = newest.bytes + closed.iter().filter(|s| !is_over(&plan, s)).map(|s| s.bytes).sum::<u64>();
        for segment in closed {
            if total <= limit {
                break;
            }
            if !is_over(&plan, segment) {
                take(&mut plan, segment);
                total = total.saturating_sub(segment.bytes);
            }
        }
    }
    plan.delete = closed.iter().filter(|segment| is_over(&plan, segment)).map(|segment| segment.n).collect();
    plan
}

#[cfg(test)]
mod tests;
