//! The durable store: a folder of segments.

use super::{EventLog, StoreDown};
use crate::model::{MIB, Record, Seq, SessionId};
use std::{path::Path, time::Duration};

/// How a store is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment is closed when it has so many bytes …
    pub segment_bytes: u64,
    /// … or is so old.
    pub segment_age: Duration,
    /// Older segments that are open at once for readers.
    pub open_older: usize,
    /// Cache of the newest segment, bytes.
    pub cache_bytes: u64,
    /// Bytes that must be free on the disk for a batch to be written.
    pub min_free: u64,
    /// Size of the ballast file, bytes; 0: none.
    pub ballast_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: 512 * MIB as u64,
            segment_age: Duration::from_secs(86400),
            open_older: 2,
            cache_bytes: 16 * MIB as u64,
            min_free: 64 * MIB as u64,
            ballast_bytes: 16 * MIB as u64,
        }
    }
}

/// What a store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Segments, the open one among them.
    pub segments: usize,
    /// Bytes on disk.
    pub bytes: u64,
}

/// The store of records on disk.
pub struct SegmentStore {}

impl SegmentStore {
    /// Opens or makes the store in the folder `state`. Blocking.
    pub fn open(_state: &Path, _options: Options) -> Result<SegmentStore, StoreDown> {
        unimplemented!()
    }

    /// What it takes: one stat(2) a segment.
    pub fn stats(&self) -> Stats {
        unimplemented!()
    }
}

impl EventLog for SegmentStore {
    fn append(&self, _batch: &[(SessionId, Record)]) -> Result<(), StoreDown> {
        unimplemented!()
    }

    fn sync(&self) -> Result<(), StoreDown> {
        unimplemented!()
    }

    fn read(&self, _id: SessionId, _from: Seq, _budget: usize) -> Result<Vec<Record>, StoreDown> {
        unimplemented!()
    }

    fn last(&self, _id: SessionId) -> Result<Option<Seq>, StoreDown> {
        unimplemented!()
    }
}
