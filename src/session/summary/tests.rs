//! The fold, record by record.

use super::*;
use crate::model::InputText;

const SIZE: Size = Size { cols: 80, rows: 24 };

fn record(seq: u64, event: Event) -> Record {
    let (kind, body) = event.encode();
    Record { seq: Seq(seq), kind, at: Stamp { wall: Wall(seq as i64), log: LogTime(seq) }, body }
}

fn input(turn: Option<u64>) -> Event {
    let text = InputText::Shown("hi".into());
    Event::Input {
        turn,
        part: (0, 1),
        key: None,
        digest: 0,
        from: "cli".into(),
        submit: turn.is_some(),
        echo: true,
        at_enter: false,
        text,
        asked: None,
    }
}

#[test]
fn a_turn_knows_the_inputs_before_it_in_its_run() {
    let mut sum = Summary::new(SIZE);
    let events = [
        Event::Starting { run: 1, size: SIZE },
        Event::Started { run: 1, pid: 9, start_time: 1 },
        input(None),
        input(Some(1)),
    ];
    let marks: Vec<_> = events.into_iter().zip(1..).filter_map(|(e, n)| sum.apply(&record(n, e))).collect();
    assert_eq!(marks.len(), 1);
    assert_eq!((marks[0].turn, marks[0].seq, marks[0].run), (1, Seq(4), 1));
    assert_eq!(marks[0].inputs, [Seq(3)]);
    assert_eq!(sum.turn.as_ref(), marks.last());
    sum.apply(&record(5, Event::Starting { run: 2, size: SIZE }));
    let mark = sum.apply(&record(6, input(Some(2)))).unwrap();
    assert!(mark.inputs.is_empty(), "another run's inputs are not repainted");
}

#[test]
fn what_attached_clients_typed_is_counted_and_pushes_nothing_out() {
    let mut sum = Summary::new(SIZE);
    sum.apply(&record(1, input(None)));
    for (n, client, upto) in [(2, "a", 1), (3, "b", 7), (4, "a", 3)] {
        let mut typed = input(None);
        if let Event::Input { key, .. } = &mut typed {
            *key = Some(Key::keystrokes(client, upto));
        }
        sum.apply(&record(n, typed));
    }
    assert_eq!(sum.keystrokes, [("b".to_owned(), 7), ("a".to_owned(), 3)]);
    assert_eq!((sum.inputs.len(), sum.sent.len()), (1, 0));
}

#[test]
fn a_send_is_pending_until_its_last_step() {
    let mut sum = Summary::new(SIZE);
    sum.apply(&record(1, input(Some(1))));
    for (n, step, pending) in
        [(2, Step::Text, true), (3, Step::TextDone, true), (4, Step::Enter, true), (5, Step::EnterDone, false)]
    {
        sum.apply(&record(n, Event::Typed { of: Seq(1), step, n: 2 }));
        assert_eq!(sum.pending.is_some(), pending, "{step:?}");
    }
}

#[test]
fn work_begins_with_a_submitted_text_and_output_is_progress() {
    let mut sum = Summary::new(SIZE);
    let mut n = 0;
    let mut step = |sum: &mut Summary, event| {
        n += 1;
        sum.apply(&record(n, event));
        sum.work.map(|work| (work.turn, work.progress.0))
    };
    let typed = |of, step| Event::Typed { of: Seq(of), step, n: 2 };
    let output = || Event::Output(b"x".to_vec().into());
    assert_eq!(step(&mut sum, Event::Starting { run: 1, size: SIZE }), None);
    assert_eq!(step(&mut sum, output()), None, "nothing was sent");
    assert_eq!(step(&mut sum, input(Some(1))), None);
    assert_eq!(step(&mut sum, typed(3, Step::Enter)), None);
    assert_eq!(step(&mut sum, typed(3, Step::EnterDone)), Some((1, 5)));
    assert_eq!(step(&mut sum, output()), Some((1, 6)));
    assert_eq!(step(&mut sum, Event::Resize(SIZE)), Some((1, 6)));
    assert_eq!(step(&mut sum, input(None)), None, "somebody types by hand");
    assert_eq!(step(&mut sum, typed(8, Step::TextDone)), None);
    step(&mut sum, input(Some(2)));
    assert_eq!(step(&mut sum, typed(10, Step::EnterDone)), Some((2, 11)));
    step(&mut sum, Event::Hung { run: 1, quiet: std::time::Duration::from_secs(1) });
    assert_eq!(step(&mut sum, Event::Exited { run: 1, status: Status::Code(0), last: false }), None);
    assert!(sum.hung);
    step(&mut sum, Event::Starting { run: 2, size: SIZE });
    assert!(!sum.hung);
}

#[test]
fn the_preroll_stays_between_its_bounds() {
    let mut sum = Summary::new(SIZE);
    for n in 1..2000 {
        sum.apply(&record(n, Event::Output(vec![b'x'; 3840].into())));
        let back = (n + 1 - sum.preroll().seq.0) * 3840;
        assert!(
            back <= PREROLL + TRAIL_STEP + 2 * 3840 && (back >= PREROLL || sum.preroll().seq == Seq(1)),
            "{back} at {n}"
        );
    }
}

#[test]
fn folding_twice_changes_nothing_and_it_survives_being_saved() {
    let mut sum = Summary::new(SIZE);
    let records = [record(1, Event::Starting { run: 1, size: SIZE }), record(2, Event::Output(b"x".to_vec().into()))];
    records.iter().chain(&records).for_each(|r| drop(sum.apply(r)));
    assert_eq!(sum.output, 1);
    assert_eq!(Summary::load(&serde_json::to_vec(&sum).unwrap()), Some(sum));
}

#[test]
fn a_leader_is_known_after_its_end_until_the_next_run_begins() {
    let mut sum = Summary::new(SIZE);
    let leader = Some(Process { pid: 9, start_time: 77 });
    for (n, event, wanted) in [
        (1, Event::Starting { run: 1, size: SIZE }, None),
        (2, Event::Started { run: 1, pid: 9, start_time: 77 }, leader),
        (3, Event::Exited { run: 1, status: Status::Unknown, last: true }, leader),
        (4, Event::Starting { run: 2, size: SIZE }, None),
    ] {
        sum.apply(&record(n, event));
        assert_eq!(sum.leader, wanted, "after record {n}");
    }
}
