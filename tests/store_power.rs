//! Power losses: every change of the files is recorded while sessions write, and images are made of what a disk may hold at
//! random moments. Every one opens; what was acknowledged is there; the rest is right, a gap, or ends.
//!
//! `STORE_TEST_POWER` is how many images, 15 by default. Needs a C compiler; without one it is skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic, its helpers too")]

#[path = "power/image.rs"]
mod image;
#[path = "support/skip.rs"]
mod skip;
#[path = "store_common/mod.rs"]
mod store;

use image::Op;
use std::{
    collections::HashMap,
    fs::{self, File},
    io::Write,
    path::Path,
    process::Command,
    sync::Arc,
};
use store::{Dice, id, record, session, small};
use termalive::{
    log::{EventLog, Feed, KeyEntry, Meta, MetaBatch, Options, SegmentStore, Writer, WriterOptions},
    model::{Key, Kind, MIB, Record, Seq, Wall},
};

/// Set in the child that is recorded: its state folder.
const CHILD: &str = "STORE_TEST_POWER_CHILD";
const SESSIONS: u8 = 4;
/// A ring's worth: what is pushed and not written.
const AHEAD: u64 = 60;

fn options() -> Options {
    Options { segment_bytes: MIB as u64, ballast_bytes: 0, ..small() }
}

/// Record `seq` of session `n`, the same each time.
fn nth(n: u8, seq: u64) -> Record {
    record(seq, Dice(seq * 256 + u64::from(n)).body())
}

/// Not a test: what the recorded child runs. Writes what is acknowledged to a file, in the order of its changes.
#[test]
fn child_that_writes_and_says_what_is_durable() {
    let Ok(state) = std::env::var(CHILD) else { return };
    let state = Path::new(&state);
    let mut said = File::create(state.join("acknowledged")).unwrap();
    let meta = Arc::new(Meta::open(state, &options()).unwrap());
    let log = Arc::new(SegmentStore::open(state, options()).unwrap());
    let writer = Writer::start(log, meta, WriterOptions::default(), |down| panic!("{down}")).unwrap();
    let feeds: Vec<_> = (0..SESSIONS).map(|n| Feed::new(id(n), Seq(0))).collect();
    feeds.iter().for_each(|feed| writer.attach(feed));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut dice = Dice(77);
        let mut next = [1u64; SESSIONS as usize];
        for round in 0..600u64 {
            let n = dice.roll(u64::from(SESSIONS)) as u8;
            let (feed, next) = (&feeds[usize::from(n)], &mut next[usize::from(n)]);
            for _ in 0..1 + dice.roll(20) {
                feed.push(nth(n, *next));
                feed.written().wait_for(|w| w.0 + AHEAD > *next).await.unwrap();
                *next += 1;
            }
            match dice.roll(5) {
                0 => {
                    writer.durable_upto(feed, Seq(*next - 1)).await.unwrap();
                    writeln!(said, "log {n} {}", *next - 1).unwrap();
                }
                1 => {
                    let answer = KeyEntry { request: "r".into(), answer: round.into(), wall: Wall(round as i64) };
                    let entry = session(100 + (round % 50) as u8, &format!("s{round}"), 3);
                    let batch = MetaBatch::new().put_session(&entry).put_key(&Key(format!("k{round}")), &answer);
                    writer.commit(batch).await.unwrap();
                    writeln!(said, "meta {round}").unwrap();
                }
                _ => {}
            }
        }
    });
    writer.shutdown().unwrap();
}

#[test]
fn what_was_acknowledged_survives_every_power_loss() {
    let images = std::env::var("STORE_TEST_POWER").ok().and_then(|n| n.parse().ok()).unwrap_or(15);
    let dir = tempfile::tempdir().unwrap();
    let (library, trace, state) = (dir.path().join("record.so"), dir.path().join("trace"), dir.path().join("state"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/power/record.c");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").output();
    if !compiled.is_ok_and(|out| out.status.success()) {
        return skip::skipped("no C compiler");
    }
    fs::create_dir(&state).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_writes_and_says_what_is_durable", "--nocapture"])
        .env(CHILD, &state)
        .env("RECORD_DIR", &state)
        .env("RECORD_LOG", &trace)
        .env("LD_PRELOAD", &library)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    let (ops, _) = image::read(&trace);
    let syncs = ops.iter().filter(|op| matches!(op, Op::Sync { .. })).count();
    assert!(ops.len() > 1000 && syncs > 100, "{} changes, {syncs} syncs: not everything was recorded", ops.len());
    let mut dice = Dice(9);
    for n in 0..images {
        let moment = dice.roll(ops.len() as u64 + 1) as usize;
        let place = dir.path().join("image");
        fs::create_dir(&place).unwrap();
        image::make(&ops[..moment], state.to_str().unwrap(), &place, &mut dice);
        check(&place, &acknowledged(&ops[..moment]), &format!("image {n}, after {moment} of {} changes", ops.len()));
        fs::remove_dir_all(&place).unwrap();
    }
}

/// What the child had said.
fn acknowledged(ops: &[Op]) -> String {
    let said = ops.iter().filter_map(|op| match op {
        Op::Write { path, data, .. } if path.ends_with("/acknowledged") => {
            Some(String::from_utf8(data.clone()).unwrap())
        }
        _ => None,
    });
    let said: String = said.collect();
    said[..said.rfind('\n').map_or(0, |end| end + 1)].to_owned() // a line is written in pieces
}

fn check(state: &Path, said: &str, what: &str) {
    let meta = Meta::open(state, &options()).unwrap_or_else(|down| panic!("{what}: {down}"));
    let log = SegmentStore::open(state, options()).unwrap_or_else(|down| panic!("{what}: {down}"));
    let aside: Vec<_> =
        fs::read_dir(state.join("quarantine")).into_iter().flatten().map(|e| e.unwrap().path()).collect();
    assert!(aside.is_empty(), "{what}: a power loss is no damage: {aside:?}");
    let mut durable: HashMap<u8, u64> = HashMap::new();
    for line in said.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["log", n, seq] => drop(durable.insert(n.parse().unwrap(), seq.parse().unwrap())),
            ["meta", round] => {
                assert!(meta.key(&Key(format!("k{round}"))).unwrap().is_some(), "{what}: a key is lost");
                let entry = 100 + (round.parse::<u64>().unwrap() % 50) as u8;
                assert!(meta.session(id(entry)).unwrap().is_some(), "{what}: a session is lost");
            }
            _ => panic!("{line}"),
        }
    }
    for n in 0..SESSIONS {
        let durable = durable.get(&n).copied().unwrap_or(0);
        let (mut next, mut from) = (1, Seq(0));
        loop {
            let page = log.read(id(n), from, MIB).unwrap_or_else(|down| panic!("{what}: {down}"));
            let Some(last) = page.last() else { break };
            from = last.seq.next();
            for record in page {
                if record.kind == Kind::Gap {
                    assert!(next > durable, "{what}: session {n}: a gap at {next}, acknowledged up to {durable}");
                } else {
                    assert!(
                        record == nth(n, record.seq.0),
                        "{what}: session {n}: record {} is another one",
                        record.seq.0
                    );
                    assert_eq!(record.seq.0, next, "{what}: session {n}: a hole without a gap");
                }
                next = record.seq.0 + 1;
            }
        }
        assert!(next > durable, "{what}: session {n} ends at {next}, acknowledged up to {durable}");
        let on = Record { seq: Seq(next + (1 << 24)), ..nth(n, 1) };
        log.append(&[(id(n), on.clone())]).unwrap();
        assert_eq!(log.read(id(n), on.seq, 1).unwrap(), [on], "{what}: it doesn't go on");
    }
}
