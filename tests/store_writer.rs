//! Feed and writer: nothing is published before its effect, nothing is lost, faults are said once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic, its helpers too")]

#[path = "store_common/mod.rs"]
mod store;

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};
use store::{Dice, id, record, small};
use termalive::{
    log::{
        Desired, EventLog, Feed, KeyEntry, MemoryStore, Meta, MetaBatch, SegmentStore, Stopped, StoreDown, TailRead,
        Writer, WriterOptions, cost,
    },
    model::{KIB, Key, Record, Seq, SessionId, Wall},
};

/// A commit interval that never passes in a test: what happens, happens because it was asked for.
const NEVER: Duration = Duration::from_secs(3600);

fn options() -> WriterOptions {
    WriterOptions { commit_interval: NEVER, commit_bound: NEVER, idle_after: NEVER, ..WriterOptions::default() }
}

type Ask = Box<dyn Fn(&[(SessionId, Record)]) + Send>;

/// A memory store that counts, can be held up and can fail.
#[derive(Default)]
struct Fake {
    store: MemoryStore,
    syncs: AtomicUsize,
    rests: AtomicUsize,
    fails: Mutex<bool>,
    held: Mutex<bool>,
    bell: Condvar,
    /// What is asked at the beginning of each append.
    ask: Mutex<Option<Ask>>,
}

impl Fake {
    fn hold(&self, held: bool) {
        *self.held.lock().unwrap() = held;
        self.bell.notify_all();
    }
}

impl EventLog for Fake {
    fn append(&self, batch: &[(SessionId, Record)]) -> Result<(), StoreDown> {
        self.ask.lock().unwrap().iter().for_each(|ask| ask(batch));
        drop(self.bell.wait_while(self.held.lock().unwrap(), |held| *held).unwrap());
        match *self.fails.lock().unwrap() {
            true => Err(StoreDown { place: "fake".into(), why: "told to".into() }),
            false => self.store.append(batch),
        }
    }

    fn sync(&self) -> Result<(), StoreDown> {
        self.syncs.fetch_add(1, SeqCst);
        Ok(())
    }

    fn rest(&self) {
        self.rests.fetch_add(1, SeqCst);
    }

    fn read(&self, id: SessionId, from: Seq, budget: usize) -> Result<Vec<Record>, StoreDown> {
        self.store.read(id, from, budget)
    }

    fn last(&self, id: SessionId) -> Result<Option<Seq>, StoreDown> {
        self.store.last(id)
    }
}

struct Bench {
    store: Arc<Fake>,
    meta: Arc<Meta>,
    writer: Writer,
    faults: mpsc::Receiver<StoreDown>,
    _state: tempfile::TempDir,
}

fn bench(options: WriterOptions) -> Bench {
    let state = tempfile::tempdir().unwrap();
    let store = Arc::new(Fake::default());
    let meta = Arc::new(Meta::open(state.path(), &small()).unwrap());
    let (say, faults) = mpsc::channel();
    let writer = Writer::start(store.clone(), meta.clone(), options, move |down| say.send(down).unwrap()).unwrap();
    Bench { store, meta, writer, faults, _state: state }
}

impl Bench {
    fn feed(&self, n: u8) -> Arc<Feed> {
        let feed = Feed::new(id(n), Seq(0));
        self.writer.attach(&feed);
        feed
    }
}

#[tokio::test]
async fn a_receipt_is_durable_at_once() {
    let b = bench(options());
    let feed = b.feed(1);
    feed.push(record(1, "one"));
    b.writer.durable_upto(&feed, Seq(1)).await.unwrap();
    assert_eq!(b.store.last(id(1)).unwrap(), Some(Seq(1)));
    assert!(b.store.syncs.load(SeqCst) == 1 && *feed.written().borrow() == Seq(1));
    b.writer.durable_upto(&feed, Seq(1)).await.unwrap();
    assert_eq!(b.store.syncs.load(SeqCst), 1, "what is durable costs nothing");
}

#[tokio::test]
async fn many_who_wait_share_a_sync() {
    let b = bench(options());
    b.store.hold(true);
    let feeds: Vec<_> = (0..20).map(|n| b.feed(n)).collect();
    feeds.iter().for_each(|feed| feed.push(record(1, "x")));
    let waits = feeds.iter().map(|feed| b.writer.durable_upto(feed, Seq(1)));
    let all = futures_util::future::join_all(waits);
    let (all, ()) = tokio::join!(all, async {
        tokio::task::yield_now().await;
        b.store.hold(false);
    });
    assert!(all.into_iter().all(|r| r.is_ok()));
    let syncs = b.store.syncs.load(SeqCst);
    assert!(syncs <= 2, "{syncs} syncs for 20 receipts"); // one that was under way, one for the rest
}

#[tokio::test]
async fn half_a_ring_is_written_before_the_interval() {
    let b = bench(options());
    let feed = b.feed(1);
    let mut written = feed.written();
    for seq in 1..=40 {
        feed.push(record(seq, vec![0; 4000]));
    }
    written.wait_for(|w| w.0 > 0).await.unwrap();
    assert_eq!(b.store.syncs.load(SeqCst), 0, "written is enough for the ring");
}

#[tokio::test]
async fn the_interval_makes_durable() {
    let b = bench(WriterOptions { commit_interval: Duration::from_millis(1), ..options() });
    let feed = Feed::new(id(1), Seq(6));
    feed.push(record(7, "pushed before it is attached"));
    b.writer.attach(&feed);
    feed.durable().wait_for(|d| *d == Seq(7)).await.unwrap();
}

#[tokio::test]
async fn readers_miss_nothing_between_tail_and_store() {
    let b = bench(WriterOptions { commit_interval: Duration::from_millis(1), ..options() });
    let (feed, log) = (b.feed(1), b.store.clone());
    let reader = tokio::spawn({
        let feed = feed.clone();
        async move {
            let (mut newest, mut from) = (feed.newest(), Seq(1));
            while from <= Seq(20_000) {
                let page = match feed.read(from, 20 * KIB) {
                    TailRead::Records(page) => page,
                    TailRead::Behind => log.read(feed.id(), from, 20 * KIB).unwrap(),
                    TailRead::UpToDate => {
                        newest.wait_for(|n| *n >= from).await.unwrap();
                        continue;
                    }
                };
                for record in page {
                    assert_eq!(record.seq, from);
                    from = from.next();
                }
                tokio::task::yield_now().await;
            }
        }
    });
    for seq in 1..=20_000u64 {
        feed.push(record(seq, vec![0; 500]));
        if seq % 1000 == 0 {
            tokio::task::yield_now().await;
        }
    }
    reader.await.unwrap();
    feed.written().wait_for(|w| *w == Seq(20_000)).await.unwrap();
    assert_eq!(feed.read(Seq(1), KIB), TailRead::Behind, "20,000 records are more than a tail");
    assert_eq!(b.store.read(feed.id(), Seq(1), KIB).unwrap()[0].seq, Seq(1), "but the store has them");
}

#[tokio::test]
async fn a_fault_is_said_once_and_ends_everything() {
    let b = bench(options());
    let feed = b.feed(1);
    *b.store.fails.lock().unwrap() = true;
    feed.push(record(1, "x"));
    assert_eq!(b.writer.durable_upto(&feed, Seq(1)).await, Err(Stopped));
    assert_eq!(b.faults.recv().unwrap().why, "told to");
    assert!(b.faults.recv().is_err(), "once");
    assert_eq!(*feed.written().borrow(), Seq(0));
    assert_eq!(b.writer.durable_upto(&feed, Seq(2)).await, Err(Stopped));
    assert_eq!(b.writer.commit(MetaBatch::new().save_summary(id(1), b"{}")).await, Err(Stopped));
    assert!(!b.writer.offer(MetaBatch::new()));
    assert_eq!(b.writer.shutdown(), Err(Stopped));
    assert!(matches!(feed.read(Seq(1), 1), TailRead::Records(_)), "what wasn't written stays readable");
}

#[tokio::test]
async fn a_commit_that_hangs_is_a_fault() {
    let b = bench(WriterOptions { commit_bound: Duration::from_millis(20), ..options() });
    b.store.hold(true);
    let feed = b.feed(1);
    feed.push(record(1, "x"));
    let asked = std::pin::pin!(b.writer.durable_upto(&feed, Seq(1)));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(asked.poll(&mut context).is_pending());
    assert!(b.faults.recv().unwrap().why.contains("takes more than"));
    b.store.hold(false);
}

#[tokio::test]
async fn shutdown_writes_everything() {
    let b = bench(options());
    let feeds: Vec<_> = (0..5).map(|n| b.feed(n)).collect();
    feeds.iter().for_each(|feed| feed.push_all((1..100).map(|seq| record(seq, "x"))));
    assert!(b.writer.offer(MetaBatch::new().save_summary(id(1), b"{}")));
    b.writer.shutdown().unwrap();
    assert!(feeds.iter().all(|feed| *feed.durable().borrow() == Seq(99)));
    assert_eq!(b.meta.summary(id(1)).unwrap().unwrap(), "{}");
    assert!(b.faults.recv().is_err());
}

#[tokio::test]
async fn meta_is_changed_by_the_writer() {
    let b = bench(options());
    let entry = KeyEntry { request: "hash".into(), answer: serde_json::json!({"ok": true}), wall: Wall(5) };
    let session = store::session(3, "planner", 12);
    let batch = MetaBatch::new().put_session(&session).put_key(&Key("k".into()), &entry);
    b.writer.commit(batch).await.unwrap();
    assert_eq!(b.meta.sessions().unwrap(), [session]);
    assert_eq!(b.meta.key(&Key("k".into())).unwrap(), Some(entry));
    assert_eq!(b.meta.sessions().unwrap()[0].desired, Desired::Running);
}

#[tokio::test]
async fn a_summary_does_not_go_ahead_of_its_records() {
    let b = bench(options());
    let (feed, meta, (say, heard)) = (b.feed(1), b.meta.clone(), mpsc::channel());
    let ask = move |batch: &[(SessionId, Record)]| say.send((batch[0].1.seq, meta.summary(id(1)).unwrap())).unwrap();
    *b.store.ask.lock().unwrap() = Some(Box::new(ask));
    b.store.hold(true);
    feed.push(record(1, "one"));
    let (writer, first) = (b.writer.clone(), feed.clone());
    let written = tokio::spawn(async move { writer.written_upto(&first, Seq(1)).await });
    let heard = tokio::task::spawn_blocking(move || (heard.recv().unwrap(), heard));
    let (begun, heard) = heard.await.unwrap();
    assert_eq!(begun, (Seq(1), None));
    feed.push(record(2, "two")); // while the writer is at work
    assert!(b.writer.offer(MetaBatch::new().save_summary(id(1), b"two")));
    b.store.hold(false);
    written.await.unwrap().unwrap();
    b.writer.flush().await.unwrap();
    assert_eq!(heard.recv().unwrap(), (Seq(2), None));
    assert_eq!(b.meta.summary(id(1)).unwrap().as_deref(), Some(&b"two"[..]));
}

#[tokio::test]
async fn an_idle_session_keeps_little() {
    let b = bench(WriterOptions {
        idle_after: Duration::from_millis(1),
        commit_interval: Duration::from_millis(1),
        ..options()
    });
    let feed = b.feed(1);
    feed.push_all((1..=300).map(|seq| record(seq, vec![0; 400])));
    feed.durable().wait_for(|d| *d == Seq(300)).await.unwrap();
    while feed.read(Seq(291), 1) != TailRead::Behind {
        tokio::task::yield_now().await; // the writer shrinks it, or the test hangs
    }
    assert_eq!(feed.read(Seq(1), 1), TailRead::Behind);
    assert!(matches!(feed.read(Seq(300), 1), TailRead::Records(page) if page[0].seq == Seq(300)));
}

#[tokio::test]
async fn when_the_last_busy_session_is_idle_memory_can_go_back() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let b = bench(WriterOptions {
        idle_after: Duration::from_millis(1),
        commit_interval: Duration::from_millis(1),
        on_idle: || {
            CALLS.fetch_add(1, SeqCst);
        },
        ..options()
    });
    let feeds = [b.feed(1), b.feed(2)];
    for round in 1..=3 {
        let (before, rests) = (CALLS.load(SeqCst), b.store.rests.load(SeqCst));
        for feed in &feeds {
            feed.push_all((round * 300..round * 300 + 300).map(|seq| record(seq, vec![0; 400])));
        }
        let small = |feed: &Arc<Feed>| feed.read(Seq(round * 300 + 250), 1) == TailRead::Behind;
        while CALLS.load(SeqCst) == before || !feeds.iter().all(small) || b.store.rests.load(SeqCst) == rests {
            tokio::task::yield_now().await; // the writer calls, or the test hangs
        }
    }
}

#[test]
fn a_tail_answers_by_seq() {
    let feed = Feed::new(id(1), Seq(10));
    assert_eq!(feed.read(Seq(11), 100), TailRead::UpToDate);
    assert_eq!(feed.read(Seq(10), 100), TailRead::Behind);
    let records = [record(15, "a"), record(16, ""), record(20, "c")]; // numbering may jump
    feed.push_all(records.clone());
    for (from, budget, expected) in [
        (11, 1 << 20, TailRead::Records(records.to_vec())),
        (15, 1, TailRead::Records(records[..1].to_vec())),
        (16, cost(&records[1]) + 1, TailRead::Records(records[1..].to_vec())),
        (17, 1, TailRead::Records(records[2..].to_vec())),
        (21, 1, TailRead::UpToDate),
        (10, 1, TailRead::Behind),
    ] {
        assert_eq!(feed.read(Seq(from), budget), expected, "from {from}");
    }
    let newest = feed.newest();
    assert_eq!(*newest.borrow(), Seq(20), "pushes before anyone looked are seen");
    feed.close();
    assert!(newest.has_changed().unwrap() && feed.is_closed());
}

#[tokio::test]
async fn sessions_of_all_kinds_reach_the_segments() {
    let state = tempfile::tempdir().unwrap();
    let log = Arc::new(SegmentStore::open(state.path(), small()).unwrap());
    let meta = Arc::new(Meta::open(state.path(), &small()).unwrap());
    let writer = Writer::start(log.clone(), meta, WriterOptions::default(), |down| panic!("{down}")).unwrap();
    let feeds: Vec<_> = (0..8).map(|n| Feed::new(id(n), Seq(0))).collect();
    feeds.iter().for_each(|feed| writer.attach(feed));
    let mut dice = Dice(5);
    let mut said = vec![Vec::new(); 8];
    for _ in 0..2000 {
        let n = dice.roll(8) as usize;
        let record = record(said[n].len() as u64 + 1, dice.body());
        said[n].push(record.clone());
        feeds[n].push(record);
    }
    writer.shutdown().unwrap();
    for (n, said) in said.iter().enumerate() {
        assert!(log.read(id(n as u8), Seq(0), usize::MAX).unwrap() == *said, "session {n} differs");
    }
}
