//! A session's tail: the records that aren't in the store yet and the last few that are.
//!
//! The session's actor alone pushes, the [writer](super::Writer) alone takes, readers read. It must never drop a record
//! that isn't written and never make the pusher wait for a disk: what bounds the unwritten records is the crash ring,
//! which keeps a record until `written` has passed it and stops reading the PTY when it is full.

use super::{cost, lock, writer::Inbox};
use crate::model::{KIB, Record, Seq, SessionId};
use std::{
    collections::VecDeque,
    mem::{replace, take},
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
    /// Not taken by the writer yet.
    pending_bytes: usize,
    /// Which of the writer's lists it is in.
    listed: Listed,
    /// The writer was woken for the bytes that are pending.
    woken: bool,
    /// Pushed to since the writer looked last.
    touched: bool,
    closed: bool,
}

/// The writer's lists hold a feed at most once.
#[derive(Default)]
struct Listed {
    pending: bool,
    unsynced: bool,
    cooling: bool,
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
            // a receiver that comes later looks for itself
            rise(&self.newest, newest);
        }
        if let (Some(call), Some(inbox)) = (call, self.inbox.get()) {
            inbox.hear(self, &call);
        }
    }

    /// Records from `from` on, at most about `budget` bytes, at least one if there is one.
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
            bytes += cost(r);
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
        rise(&self.newest, newest);
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

    /// What the writer has to hear of: a feed it doesn't know to be pending, or bytes that shouldn't wait.
    fn call(&self, tail: &mut Tail) -> Option<Call> {
        self.inbox.get()?;
        let call = Call {
            list: tail.pending_bytes > 0 && !tail.listed.pending,
            wake: tail.pending_bytes >= WAKE_BYTES && !tail.woken,
        };
        tail.listed.pending |= call.list;
        tail.woken |= call.wake;
        (call.list || call.wake).then_some(call)
    }
}

/// What a push tells the writer.
pub(super) struct Call {
    /// Put the feed into the list of those with pending records.
    pub(super) list: bool,
    /// Don't wait for the commit interval.
    pub(super) wake: bool,
}

/// The writer's side.
impl Feed {
    /// From now on the writer hears of pushes.
    pub(super) fn attach(self: &Arc<Self>, inbox: &Arc<Inbox>) {
        let call = {
            let mut tail = lock(&self.tail);
            match self.inbox.set(inbox.clone()) {
                Ok(()) => self.call(&mut tail),
                Err(_) => None,
            }
        };
        if let Some(call) = call {
            inbox.hear(self, &call);
        }
    }

    /// Adds all pending records to a batch and takes the feed off the list of those that have some.
    pub(super) fn take(&self, batch: &mut Vec<(SessionId, Record)>) -> Taken {
        let mut tail = lock(&self.tail);
        (tail.listed.pending, tail.woken) = (false, false);
        let start = tail.records.partition_point(|r| r.seq <= tail.written);
        batch.extend(tail.records.range(start..).map(|r| (self.id, r.clone())));
        Taken { upto: tail.newest, bytes: take(&mut tail.pending_bytes) }
    }

    /// What was taken is written. True when the feed isn't in the list of unsynced ones yet.
    pub(super) fn wrote(&self, taken: Taken) -> bool {
        let evicted: Vec<Record>;
        let list = {
            let mut tail = lock(&self.tail);
            tail.written = taken.upto;
            tail.written_bytes += taken.bytes;
            evicted = tail.trim(TAIL_BYTES);
            !replace(&mut tail.listed.unsynced, true)
        };
        drop(evicted); // frees bodies: not under the lock
        rise(&self.written, taken.upto);
        list
    }

    /// What is to be published after the sync that is about to start.
    pub(super) fn unsynced(&self) -> Seq {
        let mut tail = lock(&self.tail);
        tail.listed.unsynced = false;
        tail.written
    }

    /// It was synced up to there.
    pub(super) fn synced(&self, upto: Seq) {
        rise(&self.durable, upto);
    }

    /// True when it isn't in the list of feeds that may become idle yet.
    pub(super) fn list_cooling(&self) -> bool {
        !replace(&mut lock(&self.tail).listed.cooling, true)
    }

    /// Shrinks the tail when nothing was pushed since the last call; else false: look again later.
    pub(super) fn cool(&self) -> bool {
        let mut tail = lock(&self.tail);
        if take(&mut tail.touched) {
            return false;
        }
        tail.listed.cooling = false;
        tail.trim(IDLE_TAIL_BYTES);
        tail.records.shrink_to_fit();
        true
    }
}

/// What the writer took from a feed.
#[derive(Clone, Copy)]
pub(super) struct Taken {
    /// The last record's number.
    upto: Seq,
    /// Their cost.
    pub(super) bytes: usize,
}

impl Tail {
    /// Lets go of the oldest written records above `bytes`.
    fn trim(&mut self, bytes: usize) -> Vec<Record> {
        let mut evicted = Vec::new();
        while self.written_bytes > bytes
            && self.records.front().is_some_and(|oldest| oldest.seq <= self.written)
            && let Some(oldest) = self.records.pop_front()
        {
            self.floor = oldest.seq;
            self.written_bytes -= cost(&oldest);
            evicted.push(oldest);
        }
        evicted
    }
}

/// Publishes a seq if it is higher, and wakes nobody if it isn't.
fn rise(sender: &watch::Sender<Seq>, to: Seq) {
    sender.send_if_modified(|seq| replace(seq, to.max(*seq)) < to);
}
