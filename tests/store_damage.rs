//! Bits flipped and files cut anywhere in a store: it opens, or says in a line why not; what isn't damaged is read whole, the
//! rest is a named gap, and everything goes on.
//!
//! `STORE_TEST_DAMAGES` is how many of them, 60 by default.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic, its helpers too")]

#[path = "store_common/mod.rs"]
mod store;

use std::{collections::BTreeMap, fs, path::Path};
use store::{
    Dice,
    damage::{copy, damage},
    id, record, session, small,
};
use termalive::{
    log::{EventLog, KeyEntry, Meta, MetaBatch, Options, SegmentStore},
    model::{Event, KIB, Key, Kind, Record, Seq, Wall},
};

const SESSIONS: u8 = 6;

fn options() -> Options {
    Options { segment_bytes: 700 * KIB as u64, ballast_bytes: 0, ..small() }
}

/// A store of several segments and a `meta`; what was put in.
fn make(state: &Path) -> BTreeMap<u8, Vec<Record>> {
    let meta = Meta::open(state, &options()).unwrap();
    for n in 0..SESSIONS {
        let entry = session(n, &format!("s{n}"), usize::from(n) * 8);
        meta.apply(&MetaBatch::new().put_session(&entry).save_summary(id(n), b"{}").put_turn(id(n), 1, b"{}")).unwrap();
        let answer = KeyEntry { request: "r".into(), answer: n.into(), wall: Wall(1) };
        meta.apply(&MetaBatch::new().put_key(&Key(format!("k{n}")), &answer)).unwrap();
    }
    let log = SegmentStore::open(state, options()).unwrap();
    let mut dice = Dice(11);
    let mut said: BTreeMap<u8, Vec<Record>> = BTreeMap::new();
    while log.stats().segments < 4 || log.stats().bytes < 4 * 700 * KIB as u64 {
        let mut batch = Vec::new();
        for _ in 0..1 + dice.roll(30) {
            let n = dice.roll(u64::from(SESSIONS)) as u8;
            let said = said.entry(n).or_default();
            let next = record(said.last().map_or(1, |r| r.seq.0 + 1), dice.body());
            said.push(next.clone());
            batch.push((id(n), next));
        }
        log.append(&batch).unwrap();
    }
    // so that where frames stand is kept beside closed segments, and is damaged, too
    said.iter().for_each(|(n, said)| assert_eq!(compare(&log, *n, said, "nothing"), (0, false)));
    assert!(state.join("segments/1/places").exists());
    log.close().unwrap();
    said
}

/// Reads a session page by page and compares it; how many records are in gaps, and whether the end is missing.
fn compare(log: &SegmentStore, n: u8, said: &[Record], what: &str) -> (usize, bool) {
    let (mut from, mut expected, mut lost) = (Seq(0), 0, 0);
    loop {
        let page = log.read(id(n), from, 64 * KIB).unwrap();
        let Some(last) = page.last() else { break };
        from = last.seq.next();
        for record in page {
            if record.kind == Kind::Gap {
                let Ok(Event::Gap { from, to, .. }) = record.event() else { panic!("{what}: a bad gap") };
                assert_eq!(Some(from), said.get(expected).map(|r| r.seq), "{what}: a gap where nothing is missing");
                let end = said.iter().position(|r| r.seq == to).unwrap() + 1;
                assert!(end > expected);
                lost += end - expected;
                expected = end;
            } else {
                assert!(said.get(expected) == Some(&record), "{what}: session {n} differs at {:?}", record.seq);
                expected += 1;
            }
        }
    }
    (lost, expected < said.len())
}

#[test]
fn damage_is_named_and_all_else_is_whole() {
    let damages = std::env::var("STORE_TEST_DAMAGES").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let (pristine, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let said = make(pristine.path());
    let mut dice = Dice(5);
    let (mut refused, mut hurt, mut quarantined) = (0, 0, 0);
    for round in 0..damages {
        let state = place.path().join(round.to_string());
        copy(pristine.path(), &state);
        let (what, one_bit) = damage(&state, 3, &mut dice);
        let opened = Meta::open(&state, &options()).and_then(|meta| Ok((meta, SegmentStore::open(&state, options())?)));
        let (meta, log) = match opened {
            Ok(opened) => opened,
            Err(down) => {
                assert_eq!(down.to_string().lines().count(), 1, "{what}: {down}");
                assert!(what.starts_with("version"), "{what}: only the version's file is beyond repair: {down}");
                refused += 1;
                continue;
            }
        };
        let mut entries = meta.sessions().unwrap();
        entries.sort_by_key(|s| s.id);
        let wanted: Vec<_> = (0..SESSIONS).map(|n| session(n, &format!("s{n}"), usize::from(n) * 8)).collect();
        assert!(entries == wanted, "{what}: {} of {} sessions are known", entries.len(), wanted.len());
        let mut losses = Vec::new();
        for (n, said) in &said {
            let (lost, cut) = compare(&log, *n, said, &what);
            assert!(!cut || log.is_tail_unknown(), "{what}: session {n}: its end is missing without a word");
            losses.push(lost + usize::from(cut));
            let next = record(said.last().unwrap().seq.0 + (1 << 32), "on");
            log.append(&[(id(*n), next.clone())]).unwrap();
            assert_eq!(log.read(id(*n), next.seq, 1).unwrap(), [next], "{what}: it doesn't go on");
        }
        let hurt_here = losses.iter().filter(|lost| **lost > 0).count();
        assert!(!one_bit || hurt_here <= 1, "{what}: one bit has hurt {hurt_here} sessions: {losses:?}");
        hurt += usize::from(hurt_here > 0);
        quarantined += usize::from(state.join("quarantine").exists());
        drop((log, meta));
        fs::remove_dir_all(&state).unwrap();
    }
    assert!(damages < 60 || hurt > 0 && quarantined > 0, "{hurt} hurt, {quarantined} put aside, {refused} refused");
}

#[test]
fn a_meta_that_is_gone_comes_back_without_its_keys() {
    let state = tempfile::tempdir().unwrap();
    make(state.path());
    let gone = MetaBatch::new().put_session(&termalive::log::SessionMeta { removed: true, ..session(2, "s2", 16) });
    Meta::open(state.path(), &options()).unwrap().apply(&gone).unwrap();
    for damage in ["db", "folder"] {
        match damage {
            "db" => fs::write(state.path().join("meta/db"), "nothing of it").unwrap(),
            _ => fs::remove_dir_all(state.path().join("meta")).unwrap(),
        }
        let meta = Meta::open(state.path(), &options()).unwrap();
        assert_eq!(meta.sessions().unwrap().len(), usize::from(SESSIONS), "{damage}");
        assert_eq!(meta.removed().into_iter().collect::<Vec<_>>(), [id(2)], "{damage}: what was removed stays so");
        assert_eq!(meta.key(&Key("k1".into())).unwrap(), None);
    }
    assert!(state.path().join("quarantine/meta.1").exists());
}
