//! Full disks, damage, newer versions: said in a sentence, never a panic, never silence.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic, its helpers too")]

#[path = "store_common/mod.rs"]
mod store;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use store::{Dice, id, record, session, small};
use termalive::{
    log::{Desired, EventLog, KEYS, KeyEntry, Meta, MetaBatch, Options, SegmentStore, SessionMeta},
    model::{Event, GapReason, KIB, Key, Kind, MIB, Record, Seq, Wall},
};

fn open(state: &Path, options: &Options) -> SegmentStore {
    SegmentStore::open(state, options.clone()).unwrap()
}

fn refusal(state: &Path, options: Options) -> String {
    SegmentStore::open(state, options).map(|_| ()).unwrap_err().to_string()
}

/// Three segments, each with some MiB of session 1; the records of the second and later segments' firsts.
fn three_segments(state: &Path) -> Vec<u64> {
    let options = Options { segment_bytes: 2 * MIB as u64, ..small() };
    let log = open(state, &options);
    let mut firsts = vec![1];
    let mut dice = Dice(6);
    for seq in 1.. {
        log.append(&[(id(1), record(seq, dice.noise(3840)))]).unwrap();
        if log.stats().segments > firsts.len() {
            firsts.push(seq);
        }
        if log.stats().segments == 3 && seq > firsts[2] + 50 {
            return firsts;
        }
    }
    firsts
}

fn segment(state: &Path, n: u32) -> PathBuf {
    state.join("segments").join(n.to_string())
}

/// Numbers of session 1's records, without gaps made for what is lost.
fn seqs(log: &SegmentStore) -> Vec<u64> {
    let records = log.read(id(1), Seq(0), usize::MAX).unwrap();
    records.iter().filter(|r| r.kind == Kind::Output).map(|r| r.seq.0).collect()
}

/// From, to and reason of the gaps in session 1's log.
fn gaps(log: &SegmentStore) -> Vec<(u64, u64, GapReason)> {
    let records = log.read(id(1), Seq(0), usize::MAX).unwrap();
    let gap = |record: &Record| match record.event() {
        Ok(Event::Gap { from, to, reason }) => {
            assert_eq!(record.seq, to);
            Some((from.0, to.0, reason))
        }
        _ => None,
    };
    records.iter().filter_map(gap).collect()
}

#[test]
fn a_newer_or_foreign_folder_is_refused() {
    let state = tempfile::tempdir().unwrap();
    drop(open(state.path(), &small()));
    let file = state.path().join("version");
    assert_eq!(fs::read_to_string(&file).unwrap(), "termalive state, version 1\n");
    fs::write(&file, "termalive state, version 2\n").unwrap();
    let said = refusal(state.path(), small());
    assert!(said.contains("a newer termalive wrote it (version 2; this one reads up to 1)"), "{said}");
    assert!(Meta::open(state.path(), &small()).is_err());
    fs::write(&file, "PG_VERSION 15").unwrap();
    assert!(refusal(state.path(), small()).contains("is this the right folder?"));
}

#[test]
fn a_full_disk_is_seen_before_a_write() {
    let state = tempfile::tempdir().unwrap();
    let log = open(state.path(), &small());
    assert_eq!(fs::metadata(state.path().join("ballast")).unwrap().len(), MIB as u64);
    log.append(&[(id(1), record(1, "fits"))]).unwrap();
    drop(log);
    let said = refusal(state.path(), Options { min_free: u64::MAX / 2, ..small() });
    assert!(said.contains("have to be: make room (its file \"ballast\" may go: 1 MiB)"), "{said}");
    assert_eq!(seqs(&open(state.path(), &small())), [1]);
}

#[test]
fn an_old_segment_is_closed_and_a_lost_index_is_made_again() {
    let state = tempfile::tempdir().unwrap();
    let options = Options { segment_age: Duration::ZERO, ..small() };
    let log = open(state.path(), &options);
    for seq in 1..=6 {
        log.append(&[(id(1), record(seq, "x")), (id(2), record(seq, "y"))]).unwrap();
    }
    assert_eq!((seqs(&log), log.stats().segments), ((1..=6).collect(), 6));
    drop(log);
    for n in 1..6 {
        fs::write(segment(state.path(), n).join("index.json"), if n % 2 == 0 { "{\"v\":9}" } else { "" }).unwrap();
    }
    let log = open(state.path(), &options);
    assert_eq!((seqs(&log), log.last(id(2)).unwrap()), ((1..=6).collect(), Some(Seq(6))));
    assert!(fs::read_to_string(segment(state.path(), 1).join("index.json")).unwrap().contains("sessions"));
}

/// For the memory that it takes while it is open.
#[test]
fn a_large_newest_segment_is_closed_when_nothing_is_written() {
    let state = tempfile::tempdir().unwrap();
    let log = open(state.path(), &Options { cache_bytes: 2 * MIB as u64, ..small() });
    let mut dice = Dice(7);
    log.append(&[(id(1), record(1, "x"))]).unwrap();
    log.rest();
    assert_eq!(log.stats().segments, 1, "a small one stays");
    for seq in 2..=1000 {
        log.append(&[(id(1), record(seq, dice.noise(3840)))]).unwrap();
    }
    log.rest();
    log.rest();
    assert_eq!(log.stats().segments, 2);
    log.append(&[(id(1), record(1001, "y"))]).unwrap();
    assert_eq!(seqs(&log), (1..=1001).collect::<Vec<_>>());
    drop(log);
    assert_eq!(seqs(&open(state.path(), &small())), (1..=1001).collect::<Vec<_>>());
}

#[test]
fn a_damaged_closed_segment_is_put_aside_and_its_numbers_stay_used() {
    let state = tempfile::tempdir().unwrap();
    let firsts = three_segments(state.path());
    let all = seqs(&open(state.path(), &small()));
    fs::write(segment(state.path(), 2).join("db"), Dice(1).noise(900 * KIB)).unwrap();
    let log = open(state.path(), &small());
    let left: Vec<u64> = all.iter().copied().filter(|seq| !(firsts[1]..firsts[2]).contains(seq)).collect();
    assert_eq!(seqs(&log), left);
    assert!(state.path().join("quarantine/2.1/db").exists() && segment(state.path(), 2).join("salvaged").exists());
    assert_eq!(gaps(&log), [(firsts[1], firsts[2] - 1, GapReason::Corrupt)]);
    let next = log.read(id(1), Seq(firsts[1] + 1), 1).unwrap();
    assert_eq!((next[0].kind, next[1].seq), (Kind::Gap, Seq(firsts[2])), "from a cursor in what is lost");
    assert_eq!(next[0].at, next[1].at, "a gap has the time of what follows it");
}

#[test]
fn a_damaged_newest_segment_is_put_aside_and_a_new_one_begun() {
    let state = tempfile::tempdir().unwrap();
    let firsts = three_segments(state.path());
    fs::write(segment(state.path(), 3).join("db"), Dice(1).noise(900 * KIB)).unwrap();
    let log = open(state.path(), &small());
    assert_eq!(seqs(&log), (1..firsts[2]).collect::<Vec<_>>());
    log.append(&[(id(1), record(9999, "on"))]).unwrap();
    assert!(segment(state.path(), 4).exists() && log.is_tail_unknown());
    assert_eq!(gaps(&log), [], "what was lost behind the last record isn't known here");
    drop(log);
    fs::remove_file(segment(state.path(), 4).join("db")).unwrap();
    assert_eq!(open(state.path(), &small()).last(id(1)).unwrap(), Some(Seq(firsts[2] - 1)));
}

#[test]
fn the_last_number_of_a_segment_in_quarantine_is_known_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let options = Options { segment_age: Duration::ZERO, ..small() };
    let log = open(state.path(), &options);
    log.append(&[(id(1), record(7, "x"))]).unwrap();
    log.append(&[(id(2), record(1, "y"))]).unwrap();
    drop(log);
    fs::remove_file(segment(state.path(), 1).join("db")).unwrap();
    let log = open(state.path(), &options);
    assert_eq!(gaps(&log), [(1, 7, GapReason::Corrupt)]);
    assert_eq!(log.last(id(1)).unwrap(), Some(Seq(7)));
    drop(log);
    assert_eq!(open(state.path(), &options).last(id(1)).unwrap(), Some(Seq(7)));
}

/// As a host leaves it that is killed while it opens its store.
#[test]
fn an_unfinished_snapshot_is_no_damage() {
    let state = tempfile::tempdir().unwrap();
    let options = Options { fresh_segment: false, ..small() };
    let (key, answer) = (Key("k".into()), KeyEntry { request: "r".into(), answer: 1.into(), wall: Wall(1) });
    Meta::open(state.path(), &options).unwrap().apply(&MetaBatch::new().put_key(&key, &answer)).unwrap();
    open(state.path(), &options).append(&[(id(1), record(1, "one"))]).unwrap();
    let tables = [state.path().join("meta"), segment(state.path(), 1)];
    for unfinished in ["", "the beginning of one"] {
        for table in &tables {
            fs::write(table.join("snap.FFFFFFFFFFFFFFFF.generating"), unfinished).unwrap();
        }
        assert_eq!(Meta::open(state.path(), &options).unwrap().key(&key).unwrap(), Some(answer.clone()));
        let log = open(state.path(), &options);
        assert!(seqs(&log) == [1] && !log.is_tail_unknown());
        assert!(!state.path().join("quarantine").exists());
    }
}

#[test]
fn flipped_bits_never_give_wrong_records_nor_a_panic() {
    let state = tempfile::tempdir().unwrap();
    three_segments(state.path());
    let whole = open(state.path(), &small()).read(id(1), Seq(0), usize::MAX).unwrap();
    let (file, mut dice) = (segment(state.path(), 3).join("db"), Dice(2));
    let before = fs::read(&file).unwrap();
    for _ in 0..20 {
        let mut bytes = before.clone();
        let at = dice.roll(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << dice.roll(8);
        fs::write(&file, bytes).unwrap();
        let log = open(state.path(), &small());
        let read = log.read(id(1), Seq(0), usize::MAX).unwrap();
        for record in read.iter().filter(|r| r.kind == Kind::Output) {
            assert!(whole.binary_search_by_key(&record.seq, |w| w.seq).is_ok_and(|i| whole[i] == *record));
        }
        let lost: u64 = gaps(&log).iter().map(|(from, to, _)| to - from + 1).sum();
        assert!(lost <= 40, "one bit costs a frame's records at most, not {lost}: {:?}", gaps(&log));
        drop(log);
        fs::remove_dir_all(state.path().join("quarantine")).ok();
        fs::remove_dir_all(segment(state.path(), 4)).ok();
        fs::remove_file(segment(state.path(), 3).join("salvaged")).ok();
    }
}

#[test]
fn readers_of_more_segments_than_stay_open_get_everything() {
    let state = tempfile::tempdir().unwrap();
    let options = Options { segment_age: Duration::ZERO, open_older: 1, ..small() };
    let log = open(state.path(), &options);
    (1..=8).for_each(|seq| log.append(&[(id(1), record(seq, "x"))]).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..5).for_each(|_| assert_eq!(seqs(&log), (1..=8).collect::<Vec<_>>())));
        }
    });
}

#[test]
fn a_closed_segment_can_be_copied() {
    let (state, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let firsts = three_segments(state.path());
    let log = open(state.path(), &small());
    fs::create_dir_all(segment(other.path(), 1)).unwrap();
    for file in ["db", "conf"] {
        fs::copy(segment(state.path(), 1).join(file), segment(other.path(), 1).join(file)).unwrap();
    }
    drop(log);
    assert_eq!(seqs(&open(other.path(), &small())), (1..firsts[1]).collect::<Vec<_>>());
}

#[test]
fn meta_keeps_large_entries_without_blobs() {
    let state = tempfile::tempdir().unwrap();
    let mut sessions: Vec<SessionMeta> = (0..40).map(|n| session(n, &format!("s{n}"), usize::from(n) * 60)).collect();
    let meta = Meta::open(state.path(), &small()).unwrap();
    for round in 0..3 {
        for one in &mut sessions {
            one.spec.env.truncate(one.spec.env.len() / (round + 1)); // pieces of the longer one before must go
            one.desired = Desired::Ended;
            meta.apply(&MetaBatch::new().put_session(one).save_summary(one.id, &Dice(1).text(20_000))).unwrap();
        }
        assert!(meta.sessions().unwrap() == sessions);
    }
    drop(meta);
    let meta = Meta::open(state.path(), &small()).unwrap();
    assert!(meta.sessions().unwrap() == sessions && meta.session(id(99)).unwrap().is_none());
    assert_eq!(fs::read_dir(state.path().join("meta/blobs")).unwrap().count(), 0);
    sessions[0].v = 2;
    meta.apply(&MetaBatch::new().put_session(&sessions[0])).unwrap();
    assert!(meta.sessions().unwrap_err().why.contains("a newer termalive wrote a session"));
}

#[test]
fn turns_are_kept_and_dropped() {
    let state = tempfile::tempdir().unwrap();
    let meta = Meta::open(state.path(), &small()).unwrap();
    let batch = |n: u8| (0..50).fold(MetaBatch::new(), |b, turn| b.put_turn(id(n), turn, format!("{turn}").as_bytes()));
    for n in [1, 2, 255] {
        meta.apply(&batch(n)).unwrap();
    }
    meta.apply(&MetaBatch::new().put_turn(id(255), 50, b"new").drop_turns(id(255)).put_turn(id(255), 51, b"newer"))
        .unwrap();
    for (n, turn, expected) in [
        (1, 0, Some("0")),
        (2, 49, Some("49")),
        (2, 50, None),
        (255, 7, None),
        (255, 50, None),
        (255, 51, Some("newer")),
    ] {
        assert_eq!(meta.turn(id(n), turn).unwrap().as_deref(), expected.map(str::as_bytes), "turn {turn} of {n}");
    }
}

#[test]
fn idempotency_keys_are_bounded_by_age_and_number() {
    const DAY: i64 = 86_400_000_000;
    let state = tempfile::tempdir().unwrap();
    let meta = Meta::open(state.path(), &small()).unwrap();
    let put = |batch: MetaBatch, key: u64, wall: i64| {
        let entry = KeyEntry { request: format!("{key}"), answer: key.into(), wall: Wall(wall) };
        batch.put_key(&Key(format!("key-{key}")), &entry)
    };
    let there = |key: u64| meta.key(&Key(format!("key-{key}"))).unwrap().map(|e| e.wall.0);
    meta.apply(&put(put(MetaBatch::new(), 1, 0), 2, 1000)).unwrap();
    meta.apply(&put(MetaBatch::new(), 1, 2000)).unwrap(); // again: it is young now
    meta.apply(&put(MetaBatch::new(), 3, DAY + 1500)).unwrap();
    assert_eq!([1, 2, 3].map(there), [Some(2000), None, Some(DAY + 1500)]);
    let many = KEYS as u64 + 5000; // those from 10 on, and two before them: the oldest 5,002 have to go
    for from in (10..10 + many).step_by(5000) {
        meta.apply(&(from..from + 5000).fold(MetaBatch::new(), |b, n| put(b, n, DAY + 2000 + n as i64))).unwrap();
    }
    assert_eq!([1, 3, 10, 5009].map(there), [None; 4]);
    assert!(there(5010).is_some() && there(many + 9).is_some());
    drop(meta);
    let meta = Meta::open(state.path(), &small()).unwrap();
    meta.apply(&put(MetaBatch::new(), 5, 3 * DAY)).unwrap();
    assert_eq!(meta.key(&Key(format!("key-{}", many + 9))).unwrap(), None, "a day later they go together");
}

#[test]
fn keyframes_are_found_from_a_place_back() {
    let state = tempfile::tempdir().unwrap();
    let meta = Meta::open(state.path(), &small()).unwrap();
    let (one, two) = (id(1), id(2));
    let large = vec![b'x'; 20_000];
    let batch = MetaBatch::new().put_keyframe(one, Seq(10), b"ten").put_keyframe(one, Seq(300), &large);
    meta.apply(&batch.put_keyframe(two, Seq(5), b"of two")).unwrap();
    for (upto, found) in
        [(9, None), (10, Some(&b"ten"[..])), (299, Some(b"ten")), (300, Some(&large)), (u64::MAX - 1, Some(&large))]
    {
        assert_eq!(meta.keyframe(one, Seq(upto)).unwrap().as_deref(), found, "{upto}");
    }
    assert_eq!(meta.keyframe(two, Seq(4)).unwrap(), None, "not another session's");
    assert_eq!(meta.keyframes(one).unwrap(), [Seq(10), Seq(300)]);
    meta.apply(&MetaBatch::new().drop_keyframe(one, Seq(300))).unwrap();
    assert_eq!(meta.keyframes(one).unwrap(), [Seq(10)]);
    meta.apply(&MetaBatch::new().drop_turns(one)).unwrap();
    assert_eq!((meta.keyframes(one).unwrap(), meta.keyframes(two).unwrap()), (vec![], vec![Seq(5)]));
}
