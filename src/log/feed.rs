//! A session's tail: the records that aren't in the store yet and the last few that are.
//!
//! The session's actor alone pushes, the [writer](super::Writer) alone takes, readers read. It must never drop a record
//! that isn't written and never make the pusher wait for a disk: what bounds the unwritten records is the crash ring,
//! which keeps a record until `written` has passed it and stops reading the PTY when it is full.

use super::{lock, writer::Inbox};
use crate::model::{KIB, Record, Seq, SessionId};
use std::{
    collections::VecDeque,
    mem::size_of,
    sync::{Arc, Mutex, OnceLock},
};
use tokio::sync::watch;

/// Written records that stay for readers who are nearly up to date, in bytes: some 2 ms of a flood, many minutes of an
/// agent.
pub(super) const TAIL_BYTES: usize = 128 * KIB;
/// What stays of them when nothing was pushed for a while, in bytes: a screenful, so that a thousand idle sessions cost
/// less than 10 MiB.
pub(super) const IDLE_TAIL_BYTES: usize = 4 * KIB;
/// Unwritten bytes at which the writer is woken before its interval: half a crash ring.
pub(super) const WAKE_BYTES: usize = 128 * KIB;

/// The tail of one session's log.
pub struct Feed {
    id: SessionId,
    tail: Mutex<Tail>,
    newest: watch::Sender<Seq>,
    written: watch::Sender<Seq>,
    durable: watch::Sender<Seq>,
    inbox: OnceLock<Arc<Inbox>>,
}

#[derive(Default)]
struct Tail {
    records: VecDeque<Record>,
    /// All records after this one are in `records`.
    floor: Seq,
    newest: Seq,
    written: Seq,
    written_bytes: usize,
    pending_bytes: usize,
    /// In the writer's list of feeds with pending records.
    queued: bool,
    /// The writer was woken for the bytes that are pending.
    woken: bool,
    /// Pushed to since the writer looked last.
    touched: bool,
    closed: bool,
}

/// What a tail answers.
#[derive(Debug, PartialEq, Eq)]
pub enum TailRead {
    /// Records from the asked seq on, without a hole.
    Records(Vec<Record>),
    /// Older than the tail: read the store.
    Behind,
    /// There is nothing from that seq on yet.
    UpToDate,
}

/// What the writer takes from a feed at once.
pub(super) struct Taken {
    /// The last record's number; `None` when nothing was pending.
    pub(super) upto: Option<Seq>,
    /// Their bytes.
    pub(super) bytes: usize,
    /// True when more is pending.
    pub(super) more: bool,
}

fn cost(record: &Record) -> usize {
    record.body.len() + size_of::<Record>()
}

impl Feed {
    /// A feed of a session whose last record in the store is `stored` (`Seq(0)`: none).
    pub fn new(id: SessionId, stored: Seq) -> Arc<Feed> {
        let tail = Tail { floor: stored, newest: stored, written: stored, ..Tail::default() };
        Arc::new(Feed {
            id,
            tail: Mutex::new(tail),
            newest: watch::Sender::new(stored),
            written: watch::Sender::new(stored),
            durable: watch::Sender::new(stored),
            inbox: OnceLock::new(),
        })
    }

    /// Whose it is.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Adds a record; seqs rise. Never blocks on a disk.
    pub fn push(self: &Arc<Self>, record: Record) {
        self.push_all([record]);
    }

    /// Adds several: readers and writer are woken once.
    pub fn push_all(self: &Arc<Self>, records: impl IntoIterator<Item = Record>) {
        let (newest, call) = {
            let mut tail = lock(&self.tail);
            for record in records {
                debug_assert!(record.seq > tail.newest, "seqs rise: {:?} after {:?}", record.seq, tail.newest);
                tail.newest = record.seq;
                tail.pending_bytes += cost(&record);
                tail.records.push_back(record);
            }
            tail.touched = true;
            (tail.newest, self.call(&mut tail))
        };
        if self.newest.receiver_count() > 0 {
            self.announce(newest);
        }
        if let (Some(wake), Some(inbox)) = (call, self.inbox.get()) {
            inbox.pending(self, wake);
        }
    }

    /// Records from `from` on, at most about `budget` bytes of bodies, at least one if there is one.
    pub fn read(&self, from: Seq, budget: usize) -> TailRead {
        let tail = lock(&self.tail);
        if from > tail.newest {
            return TailRead::UpToDate;
        }
        if from <= tail.floor {
            return TailRead::Behind;
        }
        let start = tail.records.partition_point(|r| r.seq < from);
        let mut bytes = 0;
        let page = tail.records.range(start..).take_while(|r| {
            let room = bytes < budget || bytes == 0;
            bytes += r.body.len();
            room
        });
        match page.cloned().collect::<Vec<_>>() {
            page if page.is_empty() => TailRead::UpToDate,
            page => TailRead::Records(page),
        }
    }

    /// The last record's number, and word of new ones. Also changes when the feed is closed.
    pub fn newest(&self) -> watch::Receiver<Seq> {
        let receiver = self.newest.subscribe(); // counted before the seq is looked at: no push is missed
        let newest = lock(&self.tail).newest;
        self.announce(newest);
        receiver
    }

    /// What survives SIGKILL.
    pub fn written(&self) -> watch::Receiver<Seq> {
        self.written.subscribe()
    }

    /// What survives a power loss.
    pub fn durable(&self) -> watch::Receiver<Seq> {
        self.durable.subscribe()
    }

    /// The session's log will not grow in this host: readers are woken and see [`Feed::is_closed`].
    pub fn close(&self) {
        lock(&self.tail).closed = true;
        self.newest.send_modify(|_| ());
    }

    /// True after [`Feed::close`].
    pub fn is_closed(&self) -> bool {
        lock(&self.tail).closed
    }

    /// Bytes held: bodies and their records.
    pub fn memory(&self) -> usize {
        let tail = lock(&self.tail);
        let bodies: usize = tail.records.iter().map(|r| r.body.len()).sum();
        bodies + tail.records.capacity() * size_of::<Record>() + size_of::<Feed>()
    }

    fn announce(&self, newest: Seq) {
        self.newest.send_if_modified(|seen| std::mem::replace(seen, newest.max(*seen)) < newest);
    }

    /// Whether the writer has to hear of what is pending, and whether it must wake at once.
    fn call(&self, tail: &mut Tail) -> Option<bool> {
        let wake = tail.pending_bytes >= WAKE_BYTES && !tail.woken;
        if tail.pending_bytes == 0 || (tail.queued && !wake) || self.inbox.get().is_none() {
            return None;
        }
        tail.queued = true;
        tail.woken |= wake;
        Some(wake)
    }
}
