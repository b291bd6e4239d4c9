//! The log writer: one thread, the only one that writes to the store and to `meta`.
//!
//! It pulls pending records from all feeds, appends them (`written`: they survive SIGKILL) and syncs them (`durable`: they
//! survive a power loss), then tells the feeds. It must never drop a record, never publish before the effect, and never go
//! on after an error: sled's state is unknown then, and the rings hold what wasn't written.

use super::{Counters, EventLog, Feed, Meta, MetaBatch, StoreDown, alarm::Alarm, disk, feed::Call, lock};
use crate::failpoint::reached;
use crate::model::{MIB, Record, Seq, SessionId};
use std::{
    collections::VecDeque,
    mem::take,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, PoisonError, atomic::Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot, watch};

/// How the writer works.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// Pending records are written and synced after this at the latest.
    pub commit_interval: Duration,
    /// A commit that takes longer is a fault: sled hangs on a full disk.
    pub commit_bound: Duration,
    /// A session without a new record for this long keeps a small tail only.
    pub idle_after: Duration,
    /// Called when sessions have become idle: the last of those that were busy, or the first in so long. What they let go of
    /// lies between what lives, and can go back to the system.
    pub on_idle: fn(),
}

impl Default for WriterOptions {
    fn default() -> Self {
        WriterOptions {
            commit_interval: Duration::from_millis(100),
            commit_bound: Duration::from_secs(30),
            idle_after: Duration::from_secs(10),
            on_idle: || (),
        }
    }
}

/// Changes of `meta` that wait: a burst of sessions; whoever sends more waits in `commit`.
const COMMANDS: usize = 256;
/// Records given to the store at once, bytes: what a commit of many sessions holds in memory beyond their tails.
const BATCH_BYTES: usize = 4 * MIB;

/// The writer doesn't run any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log writer has stopped: nothing more is made durable by this host")]
pub struct Stopped;

/// The writer's handle; cheap to clone. When the last one goes, the thread writes what is pending and ends.
#[derive(Clone)]
pub struct Writer(Arc<Handle>);

struct Handle {
    inbox: Arc<Inbox>,
    commands: mpsc::Sender<Command>,
    stopped: watch::Receiver<bool>,
    counters: Arc<Counters>,
    thread: Mutex<Option<JoinHandle<Result<(), Stopped>>>>,
}

struct Command {
    batch: MetaBatch,
    written: Option<oneshot::Sender<()>>,
    done: Option<oneshot::Sender<()>>,
}

impl Writer {
    /// Starts the thread. `on_fault` is called once, when the store fails or a commit hangs; nothing is written after.
    pub fn start(
        store: Arc<dyn EventLog>,
        meta: Arc<Meta>,
        options: WriterOptions,
        on_fault: impl Fn(StoreDown) + Send + 'static,
    ) -> std::io::Result<Writer> {
        let inbox = Arc::new(Inbox::default());
        let counters = Arc::new(Counters::default());
        let (commands, received) = mpsc::channel(COMMANDS);
        let (stopping, stopped) = watch::channel(false);
        let alarm = Arc::new(Alarm::new(on_fault, stopping));
        let dog = {
            let (alarm, bound) = (alarm.clone(), options.commit_bound);
            thread::Builder::new().name("log-watchdog".into()).spawn(move || alarm.watch(bound))?
        };
        let work = Work {
            store,
            meta,
            options,
            inbox: inbox.clone(),
            counters: counters.clone(),
            commands: received,
            alarm: alarm.clone(),
            due: None,
            unsynced: Vec::new(),
            cooling: VecDeque::new(),
            cooled: Instant::now(),
        };
        let run = move || {
            let result = catch_unwind(AssertUnwindSafe(|| work.run()));
            let result =
                result.unwrap_or_else(|_| Err(disk::down("the log writer".as_ref(), "it panicked: see above")));
            alarm.end();
            let _ = dog.join();
            result.map_err(|down| {
                alarm.fault(down);
                Stopped
            })
        };
        let thread = thread::Builder::new().name("log-writer".into()).spawn(run)?;
        Ok(Writer(Arc::new(Handle { inbox, commands, stopped, counters, thread: Mutex::new(Some(thread)) })))
    }

    /// Makes the writer take from this feed; also what was pushed before.
    pub fn attach(&self, feed: &Arc<Feed>) {
        feed.attach(&self.0.inbox);
    }

    /// Returns when record `seq` survives a power loss; asks for a sync at once. All who ask while one is under way share
    /// the next. The record has to be pushed, and the feed attached, before.
    pub async fn durable_upto(&self, feed: &Feed, seq: Seq) -> Result<(), Stopped> {
        let mut durable = feed.durable();
        let mut stopped = self.0.stopped.clone();
        if *durable.borrow_and_update() >= seq {
            return Ok(());
        }
        self.0.inbox.call(|calls| calls.sync = true);
        tokio::select! {
            biased;
            reached = durable.wait_for(|d| *d >= seq) => reached.map(|_| ()).map_err(|_| Stopped),
            _ = stopped.wait_for(|s| *s) => Err(Stopped),
        }
    }

    /// Returns when record `seq` survives SIGKILL; asks for a write at once. As with [`Writer::durable_upto`], it is pushed.
    pub async fn written_upto(&self, feed: &Feed, seq: Seq) -> Result<(), Stopped> {
        let mut written = feed.written();
        let mut stopped = self.0.stopped.clone();
        if *written.borrow_and_update() >= seq {
            return Ok(());
        }
        self.0.inbox.call(|calls| calls.wake = true);
        tokio::select! {
            biased;
            reached = written.wait_for(|w| *w >= seq) => reached.map(|_| ()).map_err(|_| Stopped),
            _ = stopped.wait_for(|s| *s) => Err(Stopped),
        }
    }

    /// Applies changes of `meta`. Returns when they survive a power loss (sessions, keys) or SIGKILL (derived data alone).
    pub async fn commit(&self, batch: MetaBatch) -> Result<(), Stopped> {
        self.begin_commit(batch).await?.await
    }

    /// Applies changes of `meta`. Returns when they survive SIGKILL; what it gives is [`Writer::commit`]'s end.
    pub async fn begin_commit(
        &self,
        batch: MetaBatch,
    ) -> Result<impl Future<Output = Result<(), Stopped>> + use<>, Stopped> {
        let (done, acked) = oneshot::channel();
        let (applied, written) = oneshot::channel();
        let command = Command { batch, written: Some(applied), done: Some(done) };
        self.0.commands.send(command).await.map_err(|_| Stopped)?;
        self.0.inbox.call(|calls| calls.commands = true);
        written.await.map_err(|_| Stopped)?;
        Ok(async move { acked.await.map_err(|_| Stopped) })
    }

    /// Hands over changes of derived data without waiting; false when the queue is full or the writer has stopped. They
    /// are applied within the commit interval.
    pub fn offer(&self, batch: MetaBatch) -> bool {
        let queued = self.0.commands.try_send(Command { batch, written: None, done: None }).is_ok();
        self.0.inbox.call_later(|calls| calls.offered = true);
        queued
    }

    /// Returns when all that was pushed before survives a power loss.
    pub async fn flush(&self) -> Result<(), Stopped> {
        self.0.inbox.call(|calls| calls.sync = true);
        self.commit(MetaBatch::new()).await // changes are applied after the sync
    }

    /// What is counted on the way.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// Writes and syncs everything, ends the thread and waits for it. Blocking. `Err` when a fault ended it.
    pub fn shutdown(&self) -> Result<(), Stopped> {
        self.0.inbox.call(|calls| calls.stop = true);
        match lock(&self.0.thread).take() {
            Some(thread) => thread.join().unwrap_or(Err(Stopped)),
            None => Err(Stopped),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inbox.call(|calls| calls.stop = true);
    }
}

/// What the writer is told. Bounded: one entry a feed, and flags.
#[derive(Default)]
pub(super) struct Inbox {
    calls: Mutex<Calls>,
    bell: Condvar,
}

#[derive(Default)]
struct Calls {
    pending: Vec<Arc<Feed>>,
    wake: bool,
    sync: bool,
    commands: bool,
    offered: bool,
    stop: bool,
}

impl Calls {
    fn is_pressing(&self) -> bool {
        self.wake || self.sync || self.commands || self.stop
    }

    fn is_waiting(&self) -> bool {
        self.offered || !self.pending.is_empty()
    }
}

impl Inbox {
    /// A feed has records that should be written.
    pub(super) fn hear(&self, feed: &Arc<Feed>, call: &Call) {
        let ring = {
            let mut calls = lock(&self.calls);
            let first = !calls.is_waiting();
            if call.list {
                calls.pending.push(feed.clone());
            }
            calls.wake |= call.wake;
            first || call.wake
        };
        if ring {
            self.bell.notify_one();
        }
    }

    fn call(&self, say: impl FnOnce(&mut Calls)) {
        say(&mut lock(&self.calls));
        self.bell.notify_one();
    }

    fn call_later(&self, say: impl FnOnce(&mut Calls)) {
        let mut calls = lock(&self.calls);
        let first = !calls.is_waiting();
        say(&mut calls);
        drop(calls);
        if first {
            self.bell.notify_one();
        }
    }
}

/// The thread.
struct Work {
    store: Arc<dyn EventLog>,
    meta: Arc<Meta>,
    options: WriterOptions,
    inbox: Arc<Inbox>,
    counters: Arc<Counters>,
    commands: mpsc::Receiver<Command>,
    alarm: Arc<Alarm>,
    /// When what is pending or unsynced has to be durable.
    due: Option<Instant>,
    unsynced: Vec<Arc<Feed>>,
    /// Feeds that may become idle, by when to look.
    cooling: VecDeque<(Instant, Arc<Feed>)>,
    /// When [`WriterOptions::on_idle`] was called.
    cooled: Instant,
}

impl Work {
    fn run(mut self) -> Result<(), StoreDown> {
        loop {
            let mut calls = self.wait();
            self.alarm.begin();
            let changes = self.receive(&mut calls);
            self.write(take(&mut calls.pending))?;
            if calls.sync || calls.stop || self.due.is_some_and(|due| Instant::now() >= due) {
                self.sync()?;
            }
            let more = self.change_meta(changes)?;
            self.cool();
            self.alarm.done()?;
            if more {
                self.inbox.call(|calls| calls.commands = true);
            }
            if calls.stop && !more {
                return Ok(());
            }
        }
    }

    /// Sleeps until something presses, is due or may be idle.
    fn wait(&mut self) -> Calls {
        let mut calls = lock(&self.inbox.calls);
        loop {
            let now = Instant::now();
            if self.due.is_none() && (calls.is_waiting() || !self.unsynced.is_empty()) {
                self.due = Some(now + self.options.commit_interval);
                self.counters.owes(Some(now));
            }
            let next = self.due.into_iter().chain(self.cooling.front().map(|(at, _)| *at)).min();
            if calls.is_pressing() || next.is_some_and(|at| at <= now) {
                if self.due.is_none_or(|at| at > now) && !calls.is_pressing() {
                    return Calls::default(); // only something to cool: let the rest wait
                }
                return take(&mut *calls);
            }
            calls = match next {
                Some(at) => self.inbox.bell.wait_timeout(calls, at - now).unwrap_or_else(PoisonError::into_inner).0,
                None => self.inbox.bell.wait(calls).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn write(&mut self, feeds: Vec<Arc<Feed>>) -> Result<(), StoreDown> {
        let mut batch: Vec<(SessionId, Record)> = Vec::new();
        let mut taken = Vec::new();
        let mut bytes = 0;
        let mut feeds = feeds.into_iter().peekable();
        while let Some(feed) = feeds.next() {
            let part = feed.take(&mut batch);
            bytes += part.bytes;
            taken.push((feed, part));
            if bytes < BATCH_BYTES && feeds.peek().is_some() {
                continue;
            }
            self.store.append(&batch)?;
            reached("written");
            self.counters.written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            batch.clear();
            bytes = 0;
            let now = Instant::now();
            for (feed, part) in taken.drain(..) {
                if feed.list_cooling() {
                    self.cooling.push_back((now + self.options.idle_after, feed.clone()));
                }
                if feed.wrote(part) {
                    self.unsynced.push(feed);
                }
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreDown> {
        self.due = None;
        if self.unsynced.is_empty() {
            self.counters.owes(None);
            return Ok(());
        }
        let synced: Vec<(Arc<Feed>, Seq)> = take(&mut self.unsynced)
            .into_iter()
            .map(|feed| {
                let upto = feed.unsynced();
                (feed, upto)
            })
            .collect();
        self.store.sync()?;
        reached("synced");
        self.counters.owes(None);
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        synced.iter().for_each(|(feed, upto)| feed.synced(*upto));
        Ok(())
    }

    /// The changes that came; `calls` then has all that was pushed, or asked for, before them: a summary must not go ahead of
    /// its records.
    fn receive(&mut self, calls: &mut Calls) -> Vec<Command> {
        let changes: Vec<Command> = std::iter::from_fn(|| self.commands.try_recv().ok()).take(COMMANDS).collect();
        if !changes.is_empty() {
            let mut now = lock(&self.inbox.calls);
            calls.pending.append(&mut now.pending);
            calls.sync |= take(&mut now.sync);
        }
        changes
    }

    /// Applies changes; true when there may be more.
    fn change_meta(&self, changes: Vec<Command>) -> Result<bool, StoreDown> {
        let (mut first, mut then) = (Vec::new(), Vec::new());
        let mut batches = Vec::new();
        for Command { batch, written, done } in changes {
            batches.push(batch);
            first.extend(written);
            then.extend(done);
        }
        let answer = |waiting: Vec<oneshot::Sender<()>>| {
            for done in waiting {
                let _ = done.send(()); // who waited may be gone
            }
        };
        self.meta.apply_all(&batches)?;
        answer(first);
        self.meta.sync_all(&batches)?;
        answer(then);
        Ok(batches.len() == COMMANDS)
    }

    fn cool(&mut self) {
        let now = Instant::now();
        let mut any = false;
        while self.cooling.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, feed)) = self.cooling.pop_front()
        {
            match feed.cool() {
                true => any = true,
                false => self.cooling.push_back((now + self.options.idle_after, feed)),
            }
        }
        if any && (self.cooling.is_empty() || now - self.cooled >= self.options.idle_after) {
            self.cooled = now;
            if self.cooling.is_empty() {
                self.store.rest();
            }
            (self.options.on_idle)();
        }
    }
}
