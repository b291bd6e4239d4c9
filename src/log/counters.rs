//! What goes through the log, counted by this process. Read by whoever shows it; nothing depends on it.

use super::lock;
use std::{
    sync::{Mutex, atomic::AtomicU64},
    time::{Duration, Instant},
};

/// Since the process began.
#[derive(Debug, Default)]
pub struct Counters {
    /// Output read from programs, bytes.
    pub read_bytes: AtomicU64,
    /// Times a session wasn't read because its ring was full.
    pub pauses: AtomicU64,
    /// Records given to the store, bytes.
    pub written_bytes: AtomicU64,
    /// Syncs of the store.
    pub syncs: AtomicU64,
    /// Since when something waits to become durable.
    owed: Mutex<Option<Instant>>,
}

impl Counters {
    /// The age of the oldest record that isn't durable.
    pub fn lag(&self) -> Duration {
        lock(&self.owed).map(|since| since.elapsed()).unwrap_or_default()
    }

    /// Something waits, since `since`; or nothing does.
    pub(super) fn owes(&self, since: Option<Instant>) {
        *lock(&self.owed) = since;
    }
}
