//! Recordings of real agents (asciicast v2): what a person reads of them, and when the answer's end is seen.
#![allow(clippy::unwrap_used, reason = "a test")]

mod rows_common;

use rows_common::Reading;
use std::{fmt::Write, fs, path::Path};
use termalive::{
    model::{LogTime, Size},
    terminal::RowEvent,
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
