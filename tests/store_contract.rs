//! What every store of records has to do, run on the one in memory and the one on disk.

mod store;

use std::{fs, io::BufRead, path::Path, process::Command, sync::Arc};
use store::{Dice, id, record, small};
use termalive::{
    log::{EventLog, MemoryStore, SegmentStore, cost},
    model::{MIB, Record, Seq, SessionId},
};

/// Bytes of records in the contract test; the real amount is given with `STORE_TEST_MIB`.
fn amount() -> usize {
    std::env::var("STORE_TEST_MIB").ok().and_then(|n| n.parse().ok()).unwrap_or(24) * MIB
}

/// Reads all records of a session, page by page.
fn page_through(log: &dyn EventLog, id: SessionId, mut from: Seq, budget: usize) -> Vec<Record> {
    let mut all = Vec::new();
    loop {
        let page = log.read(id, from, budget).unwrap();
        let Some(last) = page.last() else { return all };
        let before_last: usize = page[..page.len() - 1].iter().map(cost).sum();
        assert!(page.len() == 1 || before_last < budget, "{before_last} bytes before the last of a page of {budget}");
        from = last.seq.next();
        all.extend(page);
    }
}

/// The contract. `open` opens the same store again each time it is called.
fn contract(open: &dyn Fn() -> Arc<dyn EventLog>) {
    let mut log = open();
    let mut dice = Dice(1);
    let mut said: Vec<Vec<Record>> = vec![Vec::new(); 5];
    let mut bytes = 0;
    assert_eq!(log.last(id(0)).unwrap(), None);
    assert_eq!(log.read(id(0), Seq(0), 100).unwrap(), []);
    while bytes < amount() {
        let mut batch = Vec::new();
        for _ in 0..dice.roll(200) {
            let session = dice.roll(5) as usize;
            let last = said[session].last().map_or(0, |r| r.seq.0);
            let record = record(last + 1 + dice.roll(12) / 10, dice.body());
            bytes += record.body.len();
            said[session].push(record.clone());
            batch.push((id(session as u8), record));
        }
        log.append(&batch).unwrap();
        if dice.roll(10) == 0 {
            log.sync().unwrap();
        }
        if dice.roll(60) == 0 {
            drop(log);
            log = open();
        }
        let (session, budget) = (dice.roll(5) as usize, 1 << dice.roll(20));
        let at = dice.roll(said[session].len() as u64 + 1) as usize;
        let from = said[session].get(at).map_or(Seq(u64::MAX), |r| r.seq);
        let page = log.read(id(session as u8), from, budget).unwrap();
        assert!(page.len() == (said[session].len() - at).min(page.len().max(1)), "at least one record if there is one");
        assert!(page == said[session][at..at + page.len()], "a page of session {session} from {from:?} differs");
    }
    drop(log);
    let log = open();
    for (session, said) in said.iter().enumerate() {
        assert_eq!(log.last(id(session as u8)).unwrap(), said.last().map(|r| r.seq));
        assert!(page_through(&*log, id(session as u8), Seq(0), 256 * 1024) == *said, "session {session} differs");
        for _ in 0..50 {
            let at = dice.roll(said.len() as u64) as usize;
            let before = at.checked_sub(1).map_or(Seq(0), |b| said[b].seq.next()); // in a jump of the numbering, or exact
            assert!(log.read(id(session as u8), before, 1).unwrap() == said[at..=at], "from {before:?}");
        }
    }
    assert_eq!(log.last(id(9)).unwrap(), None);
}

#[test]
fn the_memory_store_keeps_the_contract() {
    let store = MemoryStore::default();
    contract(&|| Arc::new(store.clone()));
}

#[test]
fn the_segment_store_keeps_the_contract_and_makes_no_blobs() {
    let state = tempfile::tempdir().unwrap();
    let mut options = small();
    options.segment_bytes = amount() as u64 / 6;
    contract(&|| Arc::new(SegmentStore::open(state.path(), options.clone()).unwrap()));
    let segments = folders(&state.path().join("segments"));
    assert!(segments.len() >= 3, "{} segments", segments.len());
    for segment in segments {
        assert_eq!(fs::read_dir(segment.join("blobs")).unwrap().count(), 0, "blobs are never synced");
    }
}

fn folders(dir: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect()
}

/// Set in the child that is going to be killed: its folder.
const CHILD: &str = "STORE_TEST_CHILD";

/// Not a test: what the killed child runs. Says after each append how many records are in.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Ok(state) = std::env::var(CHILD) else { return };
    let log = SegmentStore::open(Path::new(&state), small()).unwrap();
    let mut dice = Dice(3);
    let mut seq = log.last(id(1)).unwrap().map_or(0, |s| s.0);
    loop {
        let batch: Vec<_> =
            (0..1 + dice.roll(60)).map(|i| (id(1), record(seq + 1 + i, vec![seq as u8; 3000]))).collect();
        seq += batch.len() as u64;
        log.append(&batch).unwrap();
        use std::io::Write;
        if writeln!(std::io::stdout(), "in {seq}").is_err() {
            return; // the parent has gone
        }
    }
}

#[test]
fn what_was_appended_survives_sigkill() {
    let state = tempfile::tempdir().unwrap();
    let mut dice = Dice(4);
    let mut kept = 0;
    for _ in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_appends_until_it_is_killed", "--nocapture"])
            .env(CHILD, state.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines.map(|l| l.unwrap()).filter_map(|l| l.strip_prefix("in ")?.parse::<u64>().ok());
        let mut said = said.skip(dice.roll(40) as usize);
        let mut last = said.next().expect("the child appends");
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        last = said.last().unwrap_or(last); // what it said before it died
        let log = SegmentStore::open(state.path(), small()).unwrap();
        assert!(log.last(id(1)).unwrap() >= Some(Seq(last)), "{last} was said, {:?} is there", log.last(id(1)));
        let all = page_through(&log, id(1), Seq(0), 256 * 1024);
        assert!(all.iter().map(|r| r.seq.0).eq(1..=log.last(id(1)).unwrap().unwrap().0), "no hole");
        assert!(all.iter().all(|r| r.body.len() == 3000 && r.body.iter().all(|b| *b == r.body[0])));
        assert!(last > kept);
        kept = last;
    }
}
