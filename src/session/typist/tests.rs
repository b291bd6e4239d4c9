//! The order of records and writes, on a PTY that takes as much as a case says.

use super::*;

const RAW: Reading = Reading { echo: false, canonical: false, bracketed: false };

fn job(ticket: u64, text: &[u8], manner: Manner) -> Job {
    Job { ticket, key: None, digest: 0, from: "cli".into(), text: text.to_vec(), manner, asked: None }
}

fn typist() -> Typist {
    Typist::new(0, Duration::from_millis(50))
}

/// Runs to the end on a PTY that takes `gulp` bytes a write; says what was done.
fn run(typist: &mut Typist, reading: Reading, gulp: usize) -> Vec<String> {
    let (mut now, mut seq, mut told) = (LogTime(0), Seq(0), vec![]);
    loop {
        match typist.next(now) {
            Act::Idle => return told,
            Act::Begin => {
                let text = typist.active.as_ref().unwrap().job.text.clone();
                typist.begin(reading, Ok(text));
            }
            Act::Record(Event::Input { turn, part, text, .. }) => {
                seq = seq.next();
                told.push(format!("input turn={turn:?} part={part:?} {}", matches!(text, InputText::Shown(_))));
                typist.recorded(seq);
            }
            Act::Record(Event::Typed { of, step, n }) => {
                seq = seq.next();
                told.push(format!("{step:?} of={} n={n}", of.0));
                typist.recorded(seq);
            }
            Act::Record(other) => panic!("{other:?}"),
            Act::Write(bytes) => {
                let n = bytes.len().min(gulp);
                told.push(format!("write {:?}", String::from_utf8_lossy(&bytes[..n.min(8)])));
                typist.wrote(n);
            }
            Act::Pause(until) => now = until,
            Act::Done { outcome, .. } => told.push(format!("{outcome:?}")),
        }
    }
}

#[test]
fn a_submitted_text_is_recorded_marked_typed_and_confirmed() {
    let mut typist = typist();
    typist.push(job(1, b"hello", Manner::Submit)).unwrap();
    assert_eq!(
        run(&mut typist, RAW, 3),
        [
            "input turn=Some(1) part=(0, 1) true",
            "Text of=1 n=0",
            "write \"hel\"",
            "write \"lo\"",
            "TextDone of=1 n=5",
            "Enter of=1 n=0",
            "write \"\\r\"",
            "EnterDone of=1 n=1",
            "Typed { seq: Seq(1), turn: Some(1), last: Seq(5) }",
        ]
    );
}

#[test]
fn the_log_says_where_a_program_gets_nothing_before_enter() {
    let cooked = Reading { echo: true, canonical: true, bracketed: false };
    let pastes = Reading { bracketed: true, ..RAW };
    for (reading, manner, text, at_enter) in [
        (pastes, Manner::Submit, "one\ntwo", true),
        (cooked, Manner::Submit, "one line", true),
        (cooked, Manner::Submit, "one\ntwo", false),
        (cooked, Manner::Submit, "\u{4}", false),
        (RAW, Manner::Submit, "y", false),
        (pastes, Manner::Paste, "one line", false),
        (cooked, Manner::Verbatim, "one line", false),
    ] {
        let mut typist = typist();
        typist.push(job(1, text.as_bytes(), manner)).unwrap();
        assert_eq!(typist.next(LogTime(0)), Act::Begin);
        typist.begin(reading, Ok(text.into()));
        let Act::Record(Event::Input { at_enter: told, .. }) = typist.next(LogTime(0)) else { panic!("no input") };
        assert_eq!(told, at_enter, "{text:?} {manner:?} {reading:?}");
    }
}

#[test]
fn texts_never_interleave_and_turns_count_submitted_ones() {
    let mut typist = typist();
    for (ticket, manner) in [(1, Manner::Paste), (2, Manner::Submit), (3, Manner::Verbatim), (4, Manner::Submit)] {
        typist.push(job(ticket, b"x", manner)).unwrap();
    }
    let told = run(&mut typist, RAW, 1);
    let turns: Vec<_> = told.iter().filter(|t| t.starts_with("input")).map(|t| &t[11..18]).collect();
    assert_eq!(turns, ["None pa", "Some(1)", "None pa", "Some(2)"]);
}

#[test]
fn a_password_is_recorded_as_its_length() {
    let mut typist = typist();
    typist.push(job(1, b"secret", Manner::Submit)).unwrap();
    let told = run(&mut typist, Reading { echo: false, canonical: true, bracketed: false }, 99);
    assert_eq!(told[0], "input turn=Some(1) part=(0, 1) false");
}

#[test]
fn a_line_the_kernel_would_cut_is_refused_and_later_texts_go_on() {
    let cooked = Reading { echo: true, canonical: true, bracketed: false };
    let mut typist = typist();
    typist.push(job(1, &vec![b'x'; 4096], Manner::Submit)).unwrap();
    typist.push(job(2, &[vec![b'x'; 4095], vec![b'\n'], vec![b'y'; 4095]].concat(), Manner::Submit)).unwrap();
    let told = run(&mut typist, cooked, usize::MAX);
    assert!(told[0].starts_with("Refused"), "{told:?}");
    assert!(told.last().unwrap().contains("turn: Some(1)"), "a refused text opens no turn: {told:?}");
}

#[test]
fn a_long_text_is_recorded_in_parts_before_it_is_typed() {
    let mut typist = typist();
    typist.push(job(1, &vec![b'x'; 20_000], Manner::Paste)).unwrap();
    let told = run(&mut typist, RAW, usize::MAX);
    assert_eq!(told[..3].iter().filter(|t| t.starts_with("input")).count(), 3, "{told:?}");
    assert!(told[4].starts_with("write"));
}

#[test]
fn giving_up_says_how_far_it_came() {
    let mut typist = typist();
    typist.push(job(1, b"hello", Manner::Submit)).unwrap();
    typist.push(job(2, b"waits", Manner::Submit)).unwrap();
    assert_eq!(typist.abandon(2), Some(Outcome::Abandoned { typed: 0, of: 5 }));
    assert_eq!(typist.next(LogTime(0)), Act::Begin);
    typist.begin(RAW, Ok(b"hello".to_vec()));
    while let Act::Record(_) = typist.next(LogTime(0)) {
        typist.recorded(Seq(1));
    }
    typist.wrote(2);
    assert_eq!(typist.abandon(1), None);
    assert!(matches!(typist.next(LogTime(0)), Act::Record(Event::Typed { step: Step::Abandoned, n: 2, .. })));
    typist.recorded(Seq(3));
    assert_eq!(typist.next(LogTime(0)), Act::Done { ticket: 1, outcome: Outcome::Abandoned { typed: 2, of: 5 } });
}

#[test]
fn after_a_crash_nothing_is_typed_twice() {
    for (step, goes_on, first) in [
        (None, true, "Text of=7"),
        (Some(Step::Text), false, ""),
        (Some(Step::TextDone), true, "Enter of=7"),
        (Some(Step::Enter), false, ""),
    ] {
        let mut typist = typist();
        let resumed = typist.resume(job(1, b"x", Manner::Submit), Bytes::from_static(b"x"), Seq(7), Some(1), step);
        assert_eq!(resumed, goes_on, "{step:?}");
        if goes_on {
            assert!(run(&mut typist, RAW, 9)[0].starts_with(first), "{step:?}");
        }
    }
}

#[test]
fn the_queue_has_a_bound() {
    let mut typist = typist();
    (0..MAX_WAITING as u64).for_each(|n| typist.push(job(n, b"x", Manner::Paste)).unwrap());
    assert!(typist.push(job(99, b"x", Manner::Paste)).is_err());
    assert_eq!(typist.end().len(), MAX_WAITING);
}

#[test]
fn nothing_comes_between_a_text_and_its_enter() {
    let mut typist = typist();
    typist.push(job(1, b"hello", Manner::Submit)).unwrap();
    assert!(!typist.is_in_a_text(), "it waits");
    let (mut now, mut seen) = (LogTime(0), vec![]);
    loop {
        match typist.next(now) {
            Act::Begin => typist.begin(RAW, Ok(b"hello".to_vec())),
            Act::Record(_) => typist.recorded(Seq(1)),
            Act::Write(_) => typist.wrote(2),
            Act::Pause(until) => now = until,
            Act::Done { .. } => break,
            Act::Idle => panic!("it isn't finished"),
        }
        seen.push(typist.is_in_a_text());
    }
    let (first, last) = (seen.iter().position(|s| *s).unwrap(), seen.iter().rposition(|s| *s).unwrap());
    assert!(first > 1 && last - first >= 4 && seen[first..last].iter().all(|s| *s), "{seen:?}");
    assert!(!typist.is_in_a_text(), "it is typed");
}

#[test]
fn keys_that_came_over_another_connection_are_left_out() {
    let mut typist = typist();
    let keys = |text: &[u8], upto| Job { key: Some(Key::keystrokes("me", upto)), ..job(1, text, Manner::Keystrokes) };
    for (known, left) in [(2, "write \"cd\""), (4, "Typed { seq: Seq(0), turn: None, last: Seq(0) }")] {
        typist.push(keys(b"abcd", 14)).unwrap();
        assert_eq!(typist.next(LogTime(0)), Act::Begin);
        assert_eq!(typist.keystrokes(), Some(("me", 10, 14)));
        assert_eq!(typist.leave_out(known), known < 4);
        let told = run(&mut typist, RAW, 9);
        assert!(told.iter().any(|line| line == left) && told.len() == if known < 4 { 5 } else { 1 }, "{told:?}");
    }
}
