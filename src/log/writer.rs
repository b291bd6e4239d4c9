//! The log writer: one thread, the only one that writes to the store.

use super::{EventLog, Feed, Meta, MetaBatch, StoreDown};
use crate::model::Seq;
use std::{sync::Arc, time::Duration};

/// How the writer works.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// Pending records are written and synced after this.
    pub commit_interval: Duration,
    /// A commit that takes longer is a fault.
    pub commit_bound: Duration,
}

impl Default for WriterOptions {
    fn default() -> Self {
        WriterOptions { commit_interval: Duration::from_millis(100), commit_bound: Duration::from_secs(30) }
    }
}

/// The writer doesn't run any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log writer has stopped: nothing more is made durable by this host")]
pub struct Stopped;

pub(super) struct Inbox {}

impl Inbox {
    pub(super) fn pending(&self, _feed: &Arc<Feed>, _wake: bool) {}
}

/// The writer's handle; cheap to clone.
#[derive(Clone)]
pub struct Writer {}

impl Writer {
    /// Starts the thread. `on_fault` is called once when the store fails or a commit hangs; the thread ends then.
    pub fn start(
        _store: Arc<dyn EventLog>,
        _meta: Arc<Meta>,
        _options: WriterOptions,
        _on_fault: impl Fn(StoreDown) + Send + 'static,
    ) -> Writer {
        unimplemented!()
    }

    /// Makes the writer take from this feed. Once per feed, before or after its first push.
    pub fn attach(&self, _feed: &Arc<Feed>) {
        unimplemented!()
    }

    /// Asks for a commit and an fsync of everything now; returns at once. See the feeds' `durable`.
    pub fn sync_now(&self) {
        unimplemented!()
    }

    /// Returns when record `seq` survives a power loss. Asks for a sync at once.
    pub async fn durable_upto(&self, _feed: &Feed, _seq: Seq) -> Result<(), Stopped> {
        unimplemented!()
    }

    /// Applies changes of `meta`. Returns when they survive a power loss (sessions, keys) or SIGKILL (the rest).
    pub async fn commit(&self, _batch: MetaBatch) -> Result<(), Stopped> {
        unimplemented!()
    }

    /// Hands over changes of derived data without waiting; false when the queue is full or the writer has stopped.
    pub fn offer(&self, _batch: MetaBatch) -> bool {
        unimplemented!()
    }

    /// Writes and syncs everything, ends the thread and waits for it. Blocking.
    pub fn shutdown(&self) -> Result<(), Stopped> {
        unimplemented!()
    }
}
