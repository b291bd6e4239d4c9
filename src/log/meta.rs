//! The small store beside the log: sessions, idempotency keys, turns, summaries.

use super::{Options, StoreDown};
use crate::model::{Key, Name, SessionId, Spec, Wall};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::path::Path;

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
}

impl SessionMeta {
    /// The format this code writes; newer ones are refused.
    pub const VERSION: u32 = 1;
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

/// The answer that was given under an idempotency key.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct KeyEntry {
    /// A hash of the request's body: another body under the same key is a conflict.
    pub request: String,
    /// The answer.
    pub answer: serde_json::Value,
    /// When.
    pub wall: Wall,
}

/// Changes of [`Meta`] that happen all or not at all.
#[derive(Clone, Debug, Default)]
pub struct MetaBatch {}

impl MetaBatch {
    /// No change yet.
    pub fn new() -> MetaBatch {
        MetaBatch::default()
    }

    /// Adds or replaces a session. Makes the batch durable.
    #[must_use]
    pub fn put_session(self, _session: &SessionMeta) -> MetaBatch {
        unimplemented!()
    }

    /// Adds an idempotency key. Makes the batch durable.
    #[must_use]
    pub fn put_key(self, _key: &Key, _entry: &KeyEntry) -> MetaBatch {
        unimplemented!()
    }

    /// Keeps a session's summary (JSON, derived from its log).
    #[must_use]
    pub fn save_summary(self, _id: SessionId, _json: &[u8]) -> MetaBatch {
        unimplemented!()
    }

    /// Keeps a turn (JSON, derived).
    #[must_use]
    pub fn put_turn(self, _id: SessionId, _turn: u64, _json: &[u8]) -> MetaBatch {
        unimplemented!()
    }

    /// Drops all turns and the summary's of a session.
    #[must_use]
    pub fn drop_turns(self, _id: SessionId) -> MetaBatch {
        unimplemented!()
    }
}

/// The store. Reads are direct and block; changes go through [`super::Writer::commit`].
pub struct Meta {}

impl Meta {
    /// Opens or makes it in the folder `state`. Blocking.
    pub fn open(_state: &Path, _options: &Options) -> Result<Meta, StoreDown> {
        unimplemented!()
    }

    /// Every session, tombstones too.
    pub fn sessions(&self) -> Result<Vec<SessionMeta>, StoreDown> {
        unimplemented!()
    }

    /// One session.
    pub fn session(&self, _id: SessionId) -> Result<Option<SessionMeta>, StoreDown> {
        unimplemented!()
    }

    /// A session's summary.
    pub fn summary(&self, _id: SessionId) -> Result<Option<Bytes>, StoreDown> {
        unimplemented!()
    }

    /// A turn.
    pub fn turn(&self, _id: SessionId, _turn: u64) -> Result<Option<Bytes>, StoreDown> {
        unimplemented!()
    }

    /// The answer given under a key (kept 24 hours, at most 100,000 of them).
    pub fn key(&self, _key: &Key) -> Result<Option<KeyEntry>, StoreDown> {
        unimplemented!()
    }

    /// Applies a batch at once and makes it durable if it has to be. Blocking; for boot, before a writer runs.
    pub fn apply(&self, _batch: &MetaBatch) -> Result<(), StoreDown> {
        unimplemented!()
    }
}
