//! Which records of which session lie in which segment: in memory, and beside each closed segment as `index.json`.
//!
//! Derived from a segment's keys: it may be deleted at any time and is made again when the store opens. It must never be
//! believed for the segment that is still written to.

use super::{
    StoreDown, disk,
    frame::Head,
    key::{FrameKey, session_end},
    sled::Table,
};
use crate::model::{Seq, SessionId};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

const VERSION: u32 = 1;
const FILE: &str = "index.json";

/// First and last record of each session in one segment.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub(super) struct Ranges(HashMap<SessionId, (Seq, Seq)>);

#[derive(Serialize, Deserialize)]
struct OnDisk {
    v: u32,
    sessions: HashMap<SessionId, (Seq, Seq)>,
}

impl Ranges {
    /// From the keys of a table: three look-ups a session.
    pub(super) fn scan(table: &Table) -> Result<Ranges, StoreDown> {
        let mut ranges = Ranges::default();
        let mut at = Vec::new();
        let damaged = |what: &str| disk::down(table.dir(), format!("damaged: {what}"));
        while let Some((key, _)) = table.after(&at)? {
            let first = FrameKey::parse(&key).ok_or_else(|| damaged("a key isn't one of a frame"))?;
            at = session_end(first.id);
            let Some((_, frame)) = table.before(&at)? else { break };
            let last = Head::read(&frame).map_err(|e| disk::down(table.dir(), e))?.last;
            ranges.0.insert(first.id, (first.seq, last));
        }
        Ok(ranges)
    }

    /// From the file beside a closed segment, if it is there and can be read.
    pub(super) fn load(dir: &Path) -> Option<Ranges> {
        let file: OnDisk = serde_json::from_slice(&fs::read(dir.join(FILE)).ok()?).ok()?;
        (file.v == VERSION).then_some(Ranges(file.sessions))
    }

    /// Writes that file.
    pub(super) fn save(&self, dir: &Path) -> Result<(), StoreDown> {
        let file = OnDisk { v: VERSION, sessions: self.0.clone() };
        let json = serde_json::to_vec(&file).map_err(|e| disk::down(dir, e))?;
        disk::write_whole(&dir.join(FILE), &json).map_err(|e| disk::down(dir, e))
    }

    /// Takes in records that were added.
    pub(super) fn add(&mut self, id: SessionId, first: Seq, last: Seq) {
        let range = self.0.entry(id).or_insert((first, last));
        *range = (range.0.min(first), range.1.max(last));
    }

    pub(super) fn last(&self, id: SessionId) -> Option<Seq> {
        self.0.get(&id).map(|r| r.1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// All segments' ranges by segment number, and the last seqs of segments that were put aside.
#[derive(Default)]
pub(super) struct Index {
    pub(super) segments: BTreeMap<u64, Ranges>,
    /// Numbers that were given to records now in quarantine: never given again.
    lost: Ranges,
}

impl Index {
    /// Segments with records from `from` on, oldest first.
    pub(super) fn holding(&self, id: SessionId, from: Seq) -> Vec<u64> {
        let holds = |r: &Ranges| r.last(id).is_some_and(|last| last >= from);
        self.segments.iter().filter(|(_, ranges)| holds(ranges)).map(|(n, _)| *n).collect()
    }

    pub(super) fn last(&self, id: SessionId) -> Option<Seq> {
        self.segments.values().rev().find_map(|r| r.last(id)).max(self.lost.last(id))
    }

    /// Remembers what a segment in quarantine held.
    pub(super) fn lose(&mut self, ranges: Ranges) {
        ranges.0.into_iter().for_each(|(id, (first, last))| self.lost.add(id, first, last));
    }
}
