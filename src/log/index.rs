//! Which records of which session lie in which segment: in memory, and beside each closed segment as `index.json`.
//!
//! Derived from a segment's keys: it may be deleted at any time and is made again when the store opens. It must never be
//! believed for the segment that is still written to.

use super::{
    StoreDown, disk,
    flat::Flat,
    frame::Head,
    key::{FrameKey, session_end},
    retention::Marks,
    sled::{MARK, Table},
};
use crate::model::{Seq, SessionId};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

/// 2: with a checksum.
const VERSION: u32 = 2;
pub(super) const FILE: &str = "index.json";

/// What one session has in one segment.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: Seq,
    pub(super) last: Seq,
    /// Of its frames; 0 where nobody counted.
    pub(super) bytes: u64,
}

/// What each session has in one segment.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub(super) struct Ranges(HashMap<SessionId, Range>);

#[derive(Serialize, Deserialize)]
struct OnDisk {
    v: u32,
    /// Of `sessions` as JSON: a damaged file would tell of records that never were.
    crc32c: u32,
    /// First and last seq, and bytes, in the order of ids.
    sessions: BTreeMap<SessionId, (Seq, Seq, u64)>,
}

impl OnDisk {
    fn sum(sessions: &BTreeMap<SessionId, (Seq, Seq, u64)>) -> Option<u32> {
        serde_json::to_vec(sessions).ok().map(|json| crc32c::crc32c(&json))
    }
}

impl Ranges {
    /// From the keys of a table: three look-ups a session, or every frame where bytes are to be counted.
    pub(super) fn scan(table: &Table, count: bool) -> Result<Ranges, StoreDown> {
        let mut ranges = Ranges::default();
        let mut at = MARK.to_vec();
        let damaged = |what: &str| disk::down(table.dir(), format!("damaged: {what}"));
        while let Some((key, _)) = table.after(&at)? {
            let first = FrameKey::parse(&key).ok_or_else(|| damaged("a key isn't one of a frame"))?;
            at = session_end(first.id);
            let Some((_, frame)) = table.before(&at)? else { break };
            let last = Head::read(&frame).map_err(|e| disk::down(table.dir(), e))?.last;
            let mut bytes = 0;
            if count {
                for found in table.range(first.bytes().to_vec()..=at.clone()) {
                    bytes += found?.1.len() as u64;
                }
            }
            ranges.add(first.id, Range { first: first.seq, last, bytes });
        }
        Ok(ranges)
    }

    /// From the frames of a closed segment.
    pub(super) fn of(flat: &Flat) -> Ranges {
        let mut ranges = Ranges::default();
        flat.keys().for_each(|(key, last, bytes)| ranges.add(key.id, Range { first: key.seq, last, bytes }));
        ranges
    }

    /// From the file beside a closed segment, if it is there and can be read.
    pub(super) fn load(dir: &Path) -> Option<Ranges> {
        let file: OnDisk = serde_json::from_slice(&fs::read(dir.join(FILE)).ok()?).ok()?;
        let sound = file.v == VERSION && OnDisk::sum(&file.sessions) == Some(file.crc32c);
        let range = |(id, (first, last, bytes))| (id, Range { first, last, bytes });
        sound.then(|| Ranges(file.sessions.into_iter().map(range).collect()))
    }

    /// Writes that file.
    pub(super) fn save(&self, dir: &Path) -> Result<(), StoreDown> {
        let sessions = self.0.iter().map(|(id, r)| (*id, (r.first, r.last, r.bytes))).collect();
        let crc32c = OnDisk::sum(&sessions).ok_or_else(|| disk::down(dir, "its index can't be written as JSON"))?;
        let file = OnDisk { v: VERSION, crc32c, sessions };
        let json = serde_json::to_vec(&file).map_err(|e| disk::down(dir, e))?;
        disk::write_whole(&dir.join(FILE), &json).map_err(|e| disk::down(dir, e))
    }

    /// Takes in records that were added.
    pub(super) fn add(&mut self, id: SessionId, new: Range) {
        let range = self.0.entry(id).or_insert(Range { bytes: 0, ..new });
        *range =
            Range { first: range.first.min(new.first), last: range.last.max(new.last), bytes: range.bytes + new.bytes };
    }

    /// Knows of the records that another account of the same segment knows of.
    pub(super) fn widen(&mut self, other: &Ranges) {
        other.0.iter().for_each(|(id, range)| self.add(*id, Range { bytes: 0, ..*range }));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, Range)> {
        self.0.iter().map(|(id, range)| (*id, *range))
    }

    pub(super) fn last(&self, id: SessionId) -> Option<Seq> {
        self.0.get(&id).map(|r| r.last)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// All segments' ranges by segment number, and what retention has taken.
#[derive(Default)]
pub(super) struct Index {
    pub(super) segments: BTreeMap<u64, Ranges>,
    pub(super) marks: Marks,
}

impl Index {
    /// Segments with records from `from` on, oldest first, each with the session's last record in it.
    pub(super) fn holding(&self, id: SessionId, from: Seq) -> Vec<(u64, Seq)> {
        let from = self.marks.upto(id).map_or(from, |upto| from.max(upto.next()));
        let holds = |(n, ranges): (&u64, &Ranges)| Some((*n, ranges.last(id).filter(|last| *last >= from)?));
        self.segments.iter().filter_map(holds).collect()
    }

    pub(super) fn last(&self, id: SessionId) -> Option<Seq> {
        self.segments.values().rev().find_map(|r| r.last(id)).max(self.marks.upto(id))
    }
}
