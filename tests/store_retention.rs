//! Limits of the store: what is beyond goes, readers see that it went, and nothing else is missing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic, its helpers too")]

#[path = "store_common/mod.rs"]
mod store;

use std::{collections::HashSet, fs, path::Path, sync::Arc, time::Duration};
use store::{Dice, id, record, session, small};
use termalive::{
    log::{EventLog, Limits, Meta, MetaBatch, Options, SegmentStore, SessionMeta, Sweeper},
    model::{Event, GapReason, KIB, Kind, MIB, Record, Seq, SessionId, Wall},
};

fn options(limits: Limits) -> Options {
    Options { limits, ballast_bytes: 0, ..small() }
}

fn fill(log: &SegmentStore, session: u8, from: u64, bytes: usize, dice: &mut Dice) -> u64 {
    let mut seq = from;
    let mut left = bytes;
    while left > 0 {
        let batch: Vec<_> = (0..16).map(|i| (id(session), record(seq + i, dice.noise(3840)))).collect();
        log.append(&batch).unwrap();
        seq += 16;
        left = left.saturating_sub(16 * 3840);
    }
    seq
}

/// Reads from `from` on; the gap it begins with, if any, and how many records follow, without a hole.
fn read(log: &dyn EventLog, session: SessionId, from: u64) -> (Option<(u64, u64)>, u64) {
    let (mut gap, mut next, mut count) = (None, Seq(from), 0);
    loop {
        let page: Vec<Record> = log.read(session, next, 256 * KIB).unwrap();
        let Some(last) = page.last() else { return (gap, count) };
        for record in &page {
            match record.event().unwrap() {
                Event::Gap { from, to, reason } => {
                    assert_eq!((reason, from, count), (GapReason::Retention, next, 0));
                    gap = Some((from.0, to.0));
                }
                _ => {
                    assert_eq!(record.seq, next, "a hole without a gap");
                    count += 1;
                }
            }
            next = record.seq.next();
        }
        assert_eq!(last.seq.next(), next);
    }
}

fn segments(state: &Path) -> usize {
    fs::read_dir(state.join("segments")).unwrap().count()
}

#[test]
fn the_oldest_go_first_and_readers_see_it() {
    let state = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: Some(8 * MIB as u64), ..Limits::default() };
    let log = SegmentStore::open(state.path(), options(limits)).unwrap();
    let mut dice = Dice(3);
    let quiet = fill(&log, 9, 1, KIB, &mut dice) - 1;
    let mut next = 1;
    for _ in 0..24 {
        next = fill(&log, 1, next, MIB, &mut dice);
        log.sweep(&HashSet::new(), Wall(77)).unwrap();
        assert!(log.stats().bytes <= 10 * MIB as u64, "{:?}", log.stats());
    }
    let (gap, kept) = read(&log, id(1), 1);
    let (first, upto) = gap.expect("a gap");
    assert_eq!((first, upto + kept), (1, next - 1), "all is either lost by name or there");
    assert!(kept * 3840 > 2 * MIB as u64, "{kept} records are little of 8 MiB, {:?}", log.stats());
    assert_eq!(read(&log, id(1), upto - 5), (Some((upto - 5, upto)), kept), "from a cursor in what is gone");
    assert_eq!(read(&log, id(1), upto + 1), (None, kept));
    assert_eq!(read(&log, id(9), 1), (Some((1, quiet)), 0), "a session of which nothing is left");
    assert_eq!(log.last(id(9)).unwrap(), Some(Seq(quiet)), "its numbers aren't given again");
    assert_eq!(log.read(id(9), Seq(1), 1).unwrap()[0].at.wall, Wall(77), "the time when it went");
    drop(log);
    let log = SegmentStore::open(state.path(), options(limits)).unwrap();
    assert_eq!((read(&log, id(1), 1).1, log.last(id(9)).unwrap()), (kept, Some(Seq(quiet))), "after a restart");
    fill(&log, 9, quiet + 1, KIB, &mut dice);
    assert_eq!(read(&log, id(9), 1).0, Some((1, quiet)));
}

#[test]
fn one_session_is_limited_and_others_stay() {
    let state = tempfile::tempdir().unwrap();
    let limits = Limits { session_bytes: Some(8 * MIB as u64), ..Limits::default() };
    let log = SegmentStore::open(state.path(), options(limits)).unwrap();
    let mut dice = Dice(4);
    let (mut next, mut calm) = (1, 1);
    for _ in 0..20 {
        next = fill(&log, 1, next, MIB, &mut dice);
        calm = fill(&log, 2, calm, 64 * KIB, &mut dice);
    }
    log.sweep(&HashSet::new(), Wall(1)).unwrap();
    let (gap, kept) = read(&log, id(1), 1);
    assert_eq!(gap.unwrap().1 + kept, next - 1);
    assert!((6 * MIB..=8 * MIB).contains(&(kept as usize * 3900)), "{kept}");
    assert_eq!(read(&log, id(2), 1), (None, calm - 1), "the other one is whole");
    drop(log);
    let log = SegmentStore::open(state.path(), options(limits)).unwrap();
    log.sweep(&HashSet::new(), Wall(1)).unwrap();
    assert_eq!(read(&log, id(1), 1).1, kept, "counted again after a restart");
}

#[test]
fn segments_of_removed_sessions_go_at_once_and_age_takes_the_rest() {
    let state = tempfile::tempdir().unwrap();
    let limits = Limits { age: Some(Duration::ZERO), ..Limits::default() };
    let without = Options { segment_bytes: MIB as u64, ..options(Limits::default()) };
    let mut dice = Dice(5);
    let log = Arc::new(SegmentStore::open(state.path(), without).unwrap());
    fill(&log, 1, 1, 4 * MIB, &mut dice);
    let calm = fill(&log, 2, 1, 2 * MIB, &mut dice);
    let before = segments(state.path());
    let meta = Arc::new(Meta::open(state.path(), &options(Limits::default())).unwrap());
    meta.apply(&MetaBatch::new().put_session(&SessionMeta { removed: true, ..session(1, "gone", 0) })).unwrap();
    let sweeper = Sweeper::start(log.clone(), meta).unwrap();
    while segments(state.path()) > before - 3 {
        std::thread::yield_now(); // the sweeper's first look comes at once
    }
    drop(sweeper);
    assert_eq!(read(&*log, id(2), 1), (None, calm - 1));
    drop(log);
    let log = SegmentStore::open(state.path(), options(limits)).unwrap();
    log.sweep(&HashSet::new(), Wall(1)).unwrap();
    log.sweep(&HashSet::new(), Wall(1)).unwrap();
    assert_eq!(read(&log, id(2), 1), (Some((1, calm - 1)), 0));
    assert_eq!((log.stats().segments, segments(state.path())), (1, 1));
}

#[test]
fn readers_of_segments_that_go_see_a_gap_or_records() {
    let state = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: Some(4 * MIB as u64), ..Limits::default() };
    let log = SegmentStore::open(state.path(), options(limits)).unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut next = Seq(1);
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    for record in log.read(id(1), next, 16 * KIB).unwrap() {
                        match record.kind {
                            Kind::Gap => {
                                let Ok(Event::Gap { from, to, reason }) = record.event() else { panic!("a bad gap") };
                                assert_eq!((from, to, reason), (next, record.seq, GapReason::Retention));
                            }
                            _ => assert_eq!(record.seq, next, "a hole without a gap"),
                        }
                        next = record.seq.next();
                    }
                }
            });
        }
        let (mut next, mut dice) = (1, Dice(8));
        for _ in 0..60 {
            next = fill(&log, 1, next, 512 * KIB, &mut dice);
            log.sweep(&HashSet::new(), Wall(1)).unwrap();
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
