//! The durable log: frames, sled segments, the memory store, the writer thread, `meta`.

use crate::model::{Record, Seq, SessionId};

/// A store of records. Blocking: the writer thread appends, readers use a blocking pool.
pub trait EventLog: Send + Sync {
    /// Adds records (rising seqs a session; several sessions in one batch). When it returns they survive SIGKILL.
    fn append(&self, batch: &[(SessionId, Record)]) -> Result<(), StoreDown>;
    /// What was appended survives a power loss when this returns.
    fn sync(&self) -> Result<(), StoreDown>;
    /// Records from `from` on, at most about `budget` bytes of bodies, at least one if there is one.
    fn read(&self, id: SessionId, from: Seq, budget: usize) -> Result<Vec<Record>, StoreDown>;
    /// The last record's number.
    fn last(&self, id: SessionId) -> Result<Option<Seq>, StoreDown>;
}

/// The store can't go on: the host ends and is started again; the rings hold what wasn't written.
#[derive(Debug, thiserror::Error)]
#[error("the store at {place} can't go on: {why}")]
pub struct StoreDown {
    /// Its folder.
    pub place: String,
    /// What happened, and what helps.
    pub why: String,
}
