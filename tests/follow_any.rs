//! Any log, read in any way: going on after a broken connection, looking often, and asking later change nothing.

#![allow(clippy::unwrap_used, reason = "a case that can't be made fails its test")]

#[path = "follow/scenario.rs"]
#[allow(dead_code, reason = "shared with the other readings")]
mod scenario;

use proptest::prelude::*;
use scenario::{Case, cases, ended, input, printed, read, stamp};
use termalive::{
    follow::Frame,
    model::{Cursor, Event, Record, Seq, Status, Step},
    wire::{EndReason, Line},
};

/// What happens, and how many milliseconds after what happened before.
#[derive(Clone, Debug)]
enum Happens {
    Out(String),
    In(Sent),
    Typed(Step),
    Resize(u16, u16),
    Restart,
}

/// A text, whether the terminal echoes, and whether the program gets it with Enter alone.
type Sent = (&'static str, bool, bool);

fn sent() -> impl Strategy<Value = Sent> {
    (prop::sample::select(vec!["say DONE", "hello", "x", "DONE", "hello\nDONE"]), any::<bool>(), any::<bool>())
}

fn output() -> impl Strategy<Value = Happens> {
    let piece = prop::sample::select(vec![
        "DONE",
        "\r\n",
        "\r\n",
        "\r\n",
        "\r",
        "say DONE",
        "hello",
        "x",
        " ",
        "$ ",
        "ö→",
        "\u{1b}[1m",
        "\u{1b}[A",
        "\u{1b}[2J\u{1b}[H",
        "\u{1b}[K",
        "a long row that has to be wrapped by the terminal, as it is longer than a row of eighty columns ",
    ]);
    prop::collection::vec(piece, 1..8).prop_map(|pieces| Happens::Out(pieces.concat()))
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => output(),
        1 => sent().prop_map(Happens::In),
        2 => prop::sample::select(vec![Step::Text, Step::Enter, Step::EnterDone, Step::Abandoned]).prop_map(Happens::Typed),
        1 => (20_u16..100, 2_u16..30).prop_map(|(cols, rows)| Happens::Resize(cols, rows)),
        1 => Just(Happens::Restart),
    ]
}

const OPTIONS: [&str; 9] = [
    "",
    "no-follow\n",
    "until DONE\n",
    "until ^hello$\nidle 1s\n",
    "turn\nuntil DONE\n",
    "turn\nidle 500ms\nfirst 3s\nevents\n",
    "content raw\nuntil DONE\n",
    "content chars\nno-follow\nto @6.3\n",
    "line DONE\nlines 3\n",
];

fn case(options: &str, (text, echo, at_enter): Sent, log: &[(u64, Happens)]) -> Case {
    let mut case = cases(&format!("\n## any\n{options}")).remove(0);
    if case.plan.from_turn {
        case.push(stamp(0), &input(text, Some(1), echo, at_enter));
    }
    let (mut now, mut run) = (0, 1);
    for (after, what) in log {
        now += after;
        let at = stamp(now);
        match what {
            Happens::Out(text) => case.push(at, &Event::Output(text.clone().into())),
            Happens::In((text, echo, at_enter)) => case.push(at, &input(text, Some(now), *echo, *at_enter)),
            Happens::Typed(step) => case.push(at, &Event::Typed { of: Seq(1), step: *step, n: 1 }),
            Happens::Resize(cols, rows) => case.push(at, &Event::Resize(format!("{cols}x{rows}").parse().unwrap())),
            Happens::Restart => {
                case.push(at, &Event::Exited { run, status: Status::Code(1), last: false });
                run += 1;
                case.push(at, &Event::Starting { run, size: case.plan.size });
            }
        }
    }
    case.now = stamp(now + 50);
    case
}

fn is_known(frame: &Frame, next: Cursor) -> bool {
    matches!(frame, Frame::Line(Line::Other(event)) if Cursor::at(event.seq) < next)
}

fn going_on(case: &Case) -> Result<(), TestCaseError> {
    let (frames, end) = case.read(None);
    let places = frames.iter().enumerate().filter_map(|(index, frame)| match frame {
        Frame::Line(Line::Data(data)) => Some((index, data.next?)),
        Frame::Raw { at, bytes } => Some((index, Cursor { byte: at.byte + bytes.len() as u32, ..*at })),
        _ => None,
    });
    for (index, next) in places {
        if case.plan.lines.is_some() && next <= case.plan.start {
            continue;
        }
        let mut plan = case.plan.clone();
        plan.after = next;
        let (rest, rest_end) = read(&plan, &case.records, case.now, case.live, None);
        let wanted: Vec<Frame> = frames[index + 1..].iter().filter(|frame| !is_known(frame, next)).cloned().collect();
        prop_assert_eq!(printed(&rest), printed(&wanted), "after frame {}, at {}", index, next);
        prop_assert_eq!(&rest_end, &end);
    }
    Ok(())
}

fn asking_later(case: &mut Case) -> Result<(), TestCaseError> {
    let (frames, end) = case.read(None);
    let decided = matches!(end.line.reason, EndReason::Pattern | EndReason::Idle | EndReason::Exit);
    if decided && case.plan.conditions.is_wait() {
        let later = stamp(case.now.log.0 / 1_000_000 + 3_600_000);
        case.push(later, &Event::Output("DONE\r\nhello\r\n".into()));
        case.now = later;
        prop_assert_eq!(case.read(None), (frames, end));
    }
    Ok(())
}

/// The same output, cut into other records where it is plain text.
fn one_by_one(records: &[Record]) -> Vec<Record> {
    let mut out: Vec<Record> = vec![];
    for record in records {
        let step = if matches!(record.event(), Ok(Event::Output(_))) { 1 } else { record.body.len() };
        for at in (0..record.body.len()).step_by(step) {
            let seq = Seq(out.len() as u64 + 1);
            out.push(Record { seq, body: record.body.slice(at..at + step), ..record.clone() });
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_log_in_any_way(
        options in prop::sample::select(&OPTIONS[..]),
        sent in sent(),
        log in prop::collection::vec((prop::sample::select(vec![0_u64, 0, 20, 150, 700, 1500]), happens()), 1..12),
    ) {
        let mut case = case(options, sent, &log);
        going_on(&case)?;
        let (frames, end) = case.read(None);
        let (often, often_end) = case.read(Some(13));
        prop_assert_eq!(printed(&often), printed(&frames));
        prop_assert_eq!(&often_end, &end);
        if !options.contains('@') {
            let (other, other_end) = read(&case.plan, &one_by_one(&case.records), case.now, case.live, None);
            prop_assert_eq!(ended(&other_end, false), ended(&end, false));
            if end.line.reason != EndReason::Pattern {
                prop_assert_eq!(printed(&other), printed(&frames));
            }
        }
        asking_later(&mut case)?;
    }
}
