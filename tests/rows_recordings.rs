//! Recordings of real agents (asciicast v2): what a person reads of them, when the answer's end is seen, and that neither
//! rows nor screen depend on how the bytes are cut.
#![allow(clippy::unwrap_used, reason = "a test")]

mod rows_common;

use proptest::prelude::*;
use rows_common::{Reading, show};
use std::{fmt::Write, fs, path::Path};
use termalive::{
    model::{LogTime, Size},
    terminal::{RowEvent, Shown, Vt},
};

/// What the answer ends with; it stands in the question, too.
const MARKER: &str = "PLAN_DONE";

#[test]
fn llm() {
    recording("llm");
}

#[test]
fn aider() {
    recording("aider");
}

#[test]
fn codex() {
    recording("codex");
}

#[test]
fn opencode() {
    recording("opencode");
}

/// Two turns with the same answer, word for word: the second one's end is new, and not before it stands there.
#[test]
fn codex_gives_the_same_answer_again() {
    let cast = fs::read_to_string("tests/recordings/codex-again.cast").unwrap();
    let mut reading = Reading::new(Size { cols: 80, rows: 24 });
    let (mut turn, mut marked) = (0, Vec::new());
    let mut collect = |reading: &mut Reading, turn: usize| {
        let (ms, events) = (reading.now.0 / 1_000_000, reading.take_events());
        marked.extend(events.iter().filter_map(marker_row).map(|_| (turn, ms)));
    };
    for line in cast.lines().skip(1) {
        let (seconds, kind, data): (f64, String, String) = serde_json::from_str(line).unwrap();
        reading.now = LogTime((seconds * 1e9) as u64);
        if kind == "o" {
            reading.feed(data.as_bytes());
        } else {
            reading.wait(0);
            turn += 1;
        }
        collect(&mut reading, turn - usize::from(kind == "i"));
        if kind == "i" {
            reading.rows.baseline();
        }
    }
    reading.wait(1000);
    collect(&mut reading, turn);
    let of = |turn| marked.iter().filter(|(t, _)| *t == turn).map(|(_, ms)| *ms).collect::<Vec<u64>>();
    let (first, second) = (of(1), of(2));
    assert!(first.first().is_some_and(|ms| (4500..4540).contains(ms)), "the first turn: {first:?}");
    assert!(second.first().is_some_and(|ms| (7860..8000).contains(ms)), "the second turn: {second:?}");
    assert!(of(0).is_empty(), "nothing before the first prompt");
}

/// Reads a recording, with the reading's start where the prompt is typed, and compares with its `.rows` file.
fn recording(name: &str) {
    let folder = Path::new("tests/recordings");
    let cast = fs::read_to_string(folder.join(format!("{name}.cast"))).unwrap();
    let mut reading = Reading::new(Size { cols: 80, rows: 24 });
    let (mut shown, mut after) = (String::new(), Vec::new());
    for line in cast.lines().skip(1) {
        let (seconds, kind, data): (f64, String, String) = serde_json::from_str(line).unwrap();
        reading.now = LogTime((seconds * 1e9) as u64);
        match kind.as_str() {
            "o" => reading.feed(data.as_bytes()),
            "i" if data.contains(MARKER) => {
                reading.wait(0);
                section(&mut shown, "before the prompt", &reading.take_events());
                reading.rows.baseline();
                writeln!(shown, "# open: {:?}", reading.rows.open_text()).unwrap();
            }
            _ => (),
        }
    }
    reading.wait(1000);
    for title in ["after the prompt", "at the end"] {
        let events = reading.take_events();
        section(&mut shown, title, &events);
        after.extend(events);
        reading.finish();
    }
    let mut marked: Vec<u64> = after.iter().filter_map(marker_row).collect();
    marked.dedup();
    assert_eq!(marked.len(), 1, "one row is the marker, judged or final: {marked:?}");
    let file = folder.join(format!("{name}.rows"));
    if std::env::var_os("UPDATE_ROWS").is_some() {
        fs::write(&file, &shown).unwrap();
    }
    assert_eq!(shown, fs::read_to_string(&file).unwrap_or_default(), "UPDATE_ROWS=1 writes {file:?} anew");
}

fn marker_row(event: &RowEvent) -> Option<u64> {
    let (RowEvent::Judged(row) | RowEvent::Final(row)) = event else { return None };
    (row.text.trim() == MARKER).then_some(row.id)
}

fn section(shown: &mut String, title: &str, events: &[RowEvent]) {
    writeln!(shown, "# {title}").unwrap();
    for event in events {
        writeln!(shown, "{}", rows_common::show(std::slice::from_ref(event)).trim_end()).unwrap();
    }
}

/// What a recording wrote, with the times.
fn written(name: &str) -> Vec<(LogTime, Vec<u8>)> {
    let cast = fs::read_to_string(Path::new("tests/recordings").join(format!("{name}.cast"))).unwrap();
    let output = |line: &str| {
        let (seconds, kind, data): (f64, String, String) = serde_json::from_str(line).unwrap();
        (kind == "o").then(|| (LogTime((seconds * 1e9) as u64), data.into_bytes()))
    };
    cast.lines().skip(1).filter_map(output).collect()
}

/// Rows, the screen, and how it is drawn again, when each record is cut into pieces of these lengths in turn.
fn cut_up(records: &[(LogTime, Vec<u8>)], size: Size, lengths: &[usize]) -> (Vec<RowEvent>, Shown, Vec<u8>) {
    let (mut reading, mut vt) = (Reading::new(size), Vt::new(size));
    let mut lengths = lengths.iter().copied().cycle();
    for (now, bytes) in records {
        reading.now = *now;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(lengths.next().unwrap().min(rest.len()));
            reading.feed(piece);
            vt.feed(*now, piece);
            rest = after;
        }
    }
    reading.wait(1000);
    reading.finish();
    vt.settle(reading.now);
    (reading.take_events(), vt.shown(), vt.dump())
}

const SIZES: [Size; 2] = [Size { cols: 80, rows: 24 }, Size { cols: 120, rows: 40 }];
const RECORDINGS: [&str; 5] = ["llm", "aider", "codex", "codex-again", "opencode"];

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 30 } else { 500 }, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_gives_the_same(
        name in prop::sample::select(&RECORDINGS[..]),
        size in prop::sample::select(&SIZES[..]),
        lengths in prop::collection::vec(prop_oneof![1usize..9, 1usize..300, 1usize..9000], 1..40),
        in_one in any::<bool>(),
    ) {
        let mut records = written(name);
        if in_one {
            let all = records.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
            records = vec![(LogTime(1), all)];
        }
        let (rows, shown, drawn) = cut_up(&records, size, &[usize::MAX]);
        let (rows_in_pieces, shown_in_pieces, drawn_in_pieces) = cut_up(&records, size, &lengths);
        prop_assert_eq!(show(&rows), show(&rows_in_pieces));
        prop_assert_eq!(rows, rows_in_pieces, "places, too");
        prop_assert_eq!(shown, shown_in_pieces);
        prop_assert_eq!(drawn, drawn_in_pieces, "colours and modes, too");
    }
}
