//! The durable log: frames, sled segments, the memory store, the writer thread, `meta`.
//!
//! A session's actor pushes records into its [`Feed`]; the [`Writer`] thread pulls them, makes frames and appends them to
//! an [`EventLog`]; readers take from the feed's tail, or from the store when they are behind it. What stands on disk is
//! described in `docs/format.md`.

mod alarm;
mod copy;
mod counters;
mod disk;
mod entry;
mod feed;
mod flat;
pub mod frame;
mod index;
mod key;
mod lz;
mod memory;
mod meta;
mod page;
mod places;
mod retention;
mod salvage;
mod segment;
mod segments;
mod shelf;
mod sled;
mod sweeper;
mod varint;
mod verify;
mod writer;

use crate::model::{Record, Seq, SessionId};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use counters::Counters;
pub use disk::{VERSION as STORE_VERSION, is_there as is_store};
pub use feed::{Feed, TailRead};
pub use memory::MemoryStore;
pub use meta::{Desired, Fate, KEY_AGE, KEYS, KeyEntry, Membership, Meta, MetaBatch, SessionMeta};
pub use retention::Limits;
pub use salvage::Checked;
pub use segments::{Options, SegmentStore, Stats};
pub use sweeper::Sweeper;
pub use verify::{Verified, verify};
pub use writer::{Stopped, Writer, WriterOptions};

/// A store of records. Blocking: the writer thread appends, readers use a blocking pool.
pub trait EventLog: Send + Sync {
    /// Adds records (rising seqs a session; several sessions in one batch). When it returns they survive SIGKILL.
    fn append(&self, batch: &[(SessionId, Record)]) -> Result<(), StoreDown>;
    /// What was appended survives a power loss when this returns.
    fn sync(&self) -> Result<(), StoreDown>;
    /// Nothing is written for a while: what the store keeps in memory of the newest records can go.
    fn rest(&self) {}
    /// Records from `from` on, at most about `budget` bytes (see [`cost`]), at least one if there is one.
    fn read(&self, id: SessionId, from: Seq, budget: usize) -> Result<Vec<Record>, StoreDown>;
    /// The last record's number.
    fn last(&self, id: SessionId) -> Result<Option<Seq>, StoreDown>;
}

/// The store can't go on: the host ends and is started again; the rings hold what wasn't written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the store at {place} can't go on: {why}")]
pub struct StoreDown {
    /// Its folder.
    pub place: String,
    /// What happened, and what helps.
    pub why: String,
}

/// What a record counts for in a budget, bytes: its body and itself, so that empty ones don't come without end.
pub fn cost(record: &Record) -> usize {
    record.body.len() + size_of::<Record>()
}

/// Locks, also after a panic elsewhere: every critical section here leaves its data whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
