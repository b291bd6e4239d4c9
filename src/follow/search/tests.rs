//! Hits of small logs, and the same ones however the bytes come.

use super::*;
use crate::model::{LogTime, RawString, Seq, Stamp, Status};
use proptest::prelude::*;

const SIZE: Size = Size { cols: 40, rows: 5 };

fn record(seq: u64, event: &Event) -> Record {
    let (kind, body) = event.encode();
    let at = Stamp { wall: Wall(seq as i64), log: LogTime(seq * 1_000_000_000) };
    Record { seq: Seq(seq), kind, at, body }
}

fn output(seq: u64, text: &str) -> Record {
    record(seq, &Event::Output(text.as_bytes().to_vec().into()))
}

fn input(seq: u64, turn: Option<u64>, part: (u16, u16), text: InputText) -> Record {
    let from = "cli".into();
    record(
        seq,
        &Event::Input {
            turn,
            part,
            key: None,
            digest: 0,
            from,
            submit: true,
            echo: true,
            at_enter: false,
            text,
            asked: None,
        },
    )
}

fn begin(seq: u64) -> Begin {
    Begin { at: Cursor::at(Seq(seq)), run: 1, turn: None, size: SIZE }
}

fn search(pattern: &str, side: Side, context: usize, begin: Begin, records: &[Record]) -> Vec<Found> {
    let mut search = Search::new(Pattern::parse(pattern).unwrap(), side, context, begin);
    let mut out = Vec::new();
    records.iter().for_each(|record| search.record(record, &mut out));
    search.finish(&mut out);
    out
}

fn shown(found: &Found) -> String {
    let Found { at, run, turn, row, before, after, .. } = found;
    format!("{at} {run} {} {} <{row}> {}", turn.unwrap_or(0), before.join("|"), after.join("|"))
}

fn check(found: &[Found], expected: &[&str]) {
    assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), expected);
}

#[test]
fn rows_are_found_where_they_begin() {
    let records = [
        record(1, &Event::Starting { run: 1, size: SIZE }),
        output(2, "one\r\nne"),
        output(3, "edle\r\n\x1b[1mnee\x1b[0mdle here\r\nthree\r\n"),
        input(4, Some(1), (0, 1), InputText::Shown("needle".into())),
        output(5, "$ needle"),
        record(6, &Event::Exited { run: 1, status: Status::Code(0), last: false }),
        record(7, &Event::Starting { run: 2, size: SIZE }),
        output(8, "a needle at the end, unfinished"),
    ];
    let found = search("ne{2}dle", Side::Output, 0, begin(1), &records);
    let expected = [
        "@2.5 1 0  <needle> ",
        "@3.6 1 0  <needle here> ",
        "@3.34 1 1  <$ needle> ",
        "@8 2 1  <a needle at the end, unfinished> ",
    ];
    check(&found, &expected);
    assert_eq!(found[0].wall, Wall(3));
}

#[test]
fn neighbours_come_with_it_and_overlap() {
    let records = [output(1, "a\r\nx1\r\nx2\r\nb\r\nc\r\nd\r\nx3\r\n")];
    let found = search("^x", Side::Output, 2, begin(1), &records);
    let places = ["@1.3 1 0 a <x1> x2|b", "@1.7 1 0 a|x1 <x2> b|c", "@1.20 1 0 c|d <x3> "];
    check(&found, &places);
}

#[test]
fn what_was_typed_is_found_and_a_password_is_not() {
    let records = [
        input(1, Some(1), (0, 2), InputText::Shown("first sec".into())),
        output(2, "secret"),
        input(3, Some(1), (1, 2), InputText::Shown("ret\nsecret too".into())),
        input(4, None, (0, 1), InputText::Hidden { len: 6 }),
        input(5, Some(2), (0, 1), InputText::Shown(RawString(b"\xffsecret".to_vec()))),
    ];
    let found = search("secret", Side::Input, 1, begin(1), &records);
    check(
        &found,
        &["@1 1 1  <first secret> secret too", "@1 1 1 first secret <secret too> ", "@5 1 2  <\u{fffd}secret> "],
    );
}

#[test]
fn what_stands_before_the_beginning_is_known_and_not_found() {
    let records = [output(1, "needle 1\r\n$ nee"), output(2, "dle\r\nneedle 3")];
    check(&search("needle", Side::Output, 0, begin(2), &records), &["@2 1 0  <$ needle> ", "@2.5 1 0  <needle 3> "]);
    check(&search("needle", Side::Output, 0, begin(3), &records), &[]);
}

#[test]
fn blanks_where_no_byte_stands_are_found() {
    let records = [output(1, "first\r\nabc\nneedle\r\nlast\r\n")];
    check(&search("^   needle", Side::Output, 0, begin(1), &records), &["@1.11 1 0  <   needle> "]);
    check(&search("  +needle", Side::Output, 0, begin(1), &records), &["@1.11 1 0  <   needle> "]);
}

#[test]
fn a_needle_is_in_all_that_matches() {
    let table = [
        ("abc", Some("abc")),
        ("^ab(cde)+f?$", Some("cde")),
        (r"\d+ errors? in", Some("error")),
        ("^  abc ", Some("abc ")),
        (" +", None),
        ("(?i)abc", None),
        ("abc|abd", None),
        ("a*", None),
    ];
    for (source, expected) in table {
        let needle = Pattern::parse(source).unwrap().needle;
        let needle = needle.as_ref().map(|finder| String::from_utf8_lossy(finder.needle()).into_owned());
        assert_eq!(needle.as_deref(), expected, "{source}");
    }
    assert!(Pattern::parse("a(").is_err());
}

proptest! {
    /// With a needle or without, and however the bytes were cut: the same hits.
    #[test]
    fn looking_at_bytes_first_changes_nothing(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "nee", "dle", "needle", "n", "e", "x", " ", "\r\n", "\r\n", "\n", "\r", "\x1b[1m", "\x1b[A", "\x1b[2J", "ä", "abc\r\ndef\r\n",
        ]), 0..60),
        cuts in prop::collection::vec(1usize..9, 1..20),
    ) {
        let bytes = pieces.concat().into_bytes();
        let (mut rest, mut cuts, mut records) = (&bytes[..], cuts.iter().cycle(), Vec::new());
        while !rest.is_empty() {
            let (some, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            records.push(record(records.len() as u64 + 1, &Event::Output(some.to_vec().into())));
            rest = later;
        }
        let fast = search("needle", Side::Output, 0, begin(1), &records);
        let slow = search("needle|needle", Side::Output, 0, begin(1), &records);
        let slower = search("(?:n|n)eedle|needl[e]", Side::Output, 1, begin(1), &records);
        prop_assert_eq!(&fast, &slow);
        prop_assert_eq!(fast.iter().map(|f| (f.at, &f.row)).collect::<Vec<_>>(), slower.iter().map(|f| (f.at, &f.row)).collect::<Vec<_>>());
    }
}
