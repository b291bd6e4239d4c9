//! Readings of logs, as tables: each case is read in several ways, which must all say the same.

#[path = "follow/scenario.rs"]
mod scenario;

use proptest::prelude::*;
use scenario::{Case, cases, ended, printed, read, stamp};
use termalive::{
    follow::Frame,
    model::{Event, InputText, Kind, Record, Seq, Status},
    wire::{Content, EndReason, Line},
};

fn all() -> Vec<Case> {
    cases(include_str!("follow/cases.txt"))
}

#[test]
fn every_reading_prints_and_ends_as_written() {
    let mut wrong = vec![];
    for case in all() {
        let (frames, end) = case.read(None);
        let short = |text: String| if text.len() > 300 { format!("{} bytes", text.len()) } else { text };
        let found = (short(printed(&frames)), ended(&end, true));
        let wanted = (short(case.printed.clone()), case.end.clone());
        if found != wanted {
            wrong.push(format!("{}\n  found  {found:?}\n  wanted {wanted:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn looking_often_changes_nothing() {
    for case in all().into_iter().filter(|case| case.plan.follow && case.now.log.0 < 20_000_000_000) {
        let (frames, end) = case.read(None);
        for step in [1, 7, 130] {
            let (often, often_end) = case.read(Some(step));
            assert_eq!((printed(&often), &often_end), (printed(&frames), &end), "{} every {step} ms", case.name);
        }
    }
}

/// What a log brings later changes no verdict that it has given.
#[test]
fn asking_later_gives_the_same() {
    for mut case in all() {
        let (frames, end) = case.read(None);
        if !matches!(end.line.reason, EndReason::Pattern | EndReason::Idle | EndReason::Exit)
            || !case.plan.conditions.is_wait()
        {
            continue;
        }
        let text = InputText::Shown("later".into());
        let input = Event::Input {
            turn: Some(99),
            part: (0, 1),
            key: None,
            digest: 0,
            from: "cli".into(),
            submit: true,
            echo: true,
            at_enter: false,
            text,
            asked: None,
        };
        let start = case.now.log.0 / 1_000_000 + 3_600_000;
        case.push(stamp(start), &input);
        case.push(stamp(start + 1), &Event::Output("later\r\nDONE\r\none two 100%\r\n$ ".into()));
        case.push(stamp(start + 2), &Event::Exited { run: 9, status: Status::Code(9), last: true });
        (case.now, case.live) = (stamp(start + 1000), false);
        let (again, again_end) = case.read(None);
        assert_eq!(again_end, end, "{}", case.name);
        assert_eq!(again, frames, "{}", case.name);
    }
}

#[test]
fn going_on_after_a_broken_connection_gives_exactly_the_rest() {
    for case in all() {
        check_resume(&case);
    }
}

fn check_resume(case: &Case) {
    let (frames, end) = case.read(None);
    let places = frames.iter().enumerate().filter_map(|(index, frame)| match frame {
        Frame::Line(Line::Data(data)) => Some((index, data.next?)),
        _ => None,
    });
    for (index, next) in places {
        let mut plan = case.plan.clone();
        plan.after = next;
        let (rest, rest_end) = read(&plan, &case.records, case.now, case.live, None);
        let seen = frames[index + 1..].iter().filter(|f| !is_known_event(f, next)).cloned().collect::<Vec<_>>();
        assert_eq!(printed(&rest), printed(&seen), "{} after frame {index} at {next}", case.name);
        assert_eq!(rest_end, end, "{} after frame {index}", case.name);
    }
}

fn is_known_event(frame: &Frame, next: termalive::model::Cursor) -> bool {
    matches!(frame, Frame::Line(Line::Other(event)) if termalive::model::Cursor::at(event.seq) < next)
}

/// The same bytes at the same times, in other records.
fn rechunked(case: &Case, cuts: &[usize]) -> Vec<Record> {
    let mut out: Vec<Record> = vec![];
    let mut cuts = cuts.iter().cycle();
    let mut push = |record: &Record, body: bytes::Bytes| {
        let seq = Seq(out.len() as u64 + 1);
        out.push(Record { seq, body, ..record.clone() });
    };
    for record in &case.records {
        let mut body = record.body.clone();
        if record.kind == Kind::Output {
            while let Some(cut) = cuts.next().copied().filter(|cut| *cut < body.len()) {
                push(record, body.split_to(cut));
            }
        }
        push(record, body);
    }
    out
}

/// Chunks of a log don't show: cases without places in their options.
fn unplaced(case: &Case) -> bool {
    case.records.iter().all(|record| record.body.len() < 10_000)
        && case.plan.start.seq == Seq(1)
        && case.plan.start.byte == 0
        && case.plan.to.is_none()
        && case.plan.content == Content::Rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_gives_the_same(cuts in prop::collection::vec(1_usize..12, 1..20)) {
        for case in all().into_iter().filter(unplaced) {
            let (frames, end) = case.read(None);
            let records = rechunked(&case, &cuts);
            let (other, other_end) = read(&case.plan, &records, case.now, case.live, None);
            prop_assert_eq!(printed(&other), printed(&frames), "{}", &case.name);
            prop_assert_eq!(ended(&other_end, false), ended(&end, false), "{}", &case.name);
        }
    }
}
