//! The same bytes at the same times give the same rows, however they are cut; and plain text taken from the bytes is what
//! the emulator would show.

mod rows_common;

use proptest::prelude::*;
use rows_common::{Reading, show};
use termalive::{
    model::{Cursor, Size},
    terminal::{ROW_CUT, RowEvent},
};

/// What programs write, in pieces that make sense together.
const WORDS: &[&str] = &[
    "a",
    "word ",
    "      ",
    "\t",
    "日本",
    "e\u{301}",
    "\u{1F600}",
    "a line of text that is longer than a screen line",
    "\r\n",
    "\r\n",
    "\n",
    "\r",
    "\x08",
    "\x0b",
    "\x1b[A",
    "\x1b[2A",
    "\x1b[B",
    "\x1b[C",
    "\x1b[3D",
    "\x1b[H",
    "\x1b[3;4H",
    "\x1b[9;1H",
    "\x1b[K",
    "\x1b[1K",
    "\x1b[2K",
    "\x1b[J",
    "\x1b[1J",
    "\x1b[2J",
    "\x1b[3J",
    "\x1b[L",
    "\x1b[2M",
    "\x1b[P",
    "\x1b[2@",
    "\x1b[3X",
    "\x1b[S",
    "\x1b[2T",
    "\x1bM",
    "\x1bD",
    "\x1bE",
    "\x1b[2;4r",
    "\x1b[r",
    "\x1b[?6h",
    "\x1b[?6l",
    "\x1b[?7l",
    "\x1b[?7h",
    "\x1b[4h",
    "\x1b[4l",
    "\x1b7",
    "\x1b8",
    "\x1bc",
    "\x1b[?1049h",
    "\x1b[?1049l",
    "\x1b[?2026h",
    "\x1b[?2026l",
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\x1bP+q\x1b\\",
    "\x1b(0",
    "\x1b(B",
    "\x0e",
    "\x0f",
    "\x1b#8",
    "\x1b[?3h",
    "\x1b[5b",
    "\x1b[I",
    "\x1b[Z",
    "\x1b[3g",
    "\x1bH",
];

fn words() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        8 => prop::sample::select(WORDS).prop_map(|w| w.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

/// Feeds records, each cut into chunks, with a pause after each.
fn read(records: &[Vec<u8>], cut: usize, pause: u64, settle: bool) -> Vec<RowEvent> {
    let mut reading = Reading::new(Size { cols: 12, rows: 5 });
    for record in records {
        record.chunks(cut.max(1)).for_each(|chunk| reading.feed(chunk));
        reading.now.0 += pause * 1_000_000;
        if settle {
            reading.wait(0);
        }
    }
    reading.wait(0);
    reading.finish();
    reading.take_events()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 400 } else { 20_000 }, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_gives_the_same(records in prop::collection::vec(words(), 1..4), cut in 1usize..9, pause in 0u64..400) {
        let whole = read(&records, usize::MAX, pause, true);
        let parts = read(&records, cut, pause, true);
        prop_assert_eq!(show(&whole), show(&parts));
        prop_assert_eq!(whole, parts, "places, too");
    }

    #[test]
    fn the_time_of_settling_says_nothing(records in prop::collection::vec(words(), 1..4), pause in 0u64..400) {
        prop_assert_eq!(read(&records, usize::MAX, pause, true), read(&records, usize::MAX, pause, false));
    }

    #[test]
    fn plain_text_is_the_same_row(
        lines in prop::collection::vec(prop_oneof![3 => "[ -~]{0,30}", 1 => prop::collection::vec(prop::sample::select(WORDS), 0..20).prop_map(|w| w.concat())], 1..30),
        cut in 1usize..50,
    ) {
        let text = lines.join("\r\n").into_bytes();
        // A colour at each line's beginning keeps it from being plain, and changes nothing.
        let coloured = format!("\x1b[m{}", lines.join("\r\n\x1b[m")).into_bytes();
        let (plain, drawn) = (read(&[text], cut, 0, true), read(&[coloured], cut, 0, true));
        prop_assert_eq!(show(&plain), show(&drawn));
    }

    /// Also where a line feed alone leaves the cursor where it is, over widths, screens, and what comes afterwards.
    #[test]
    fn plain_text_is_the_same_row_at_any_column(
        before in words(),
        lines in prop::collection::vec((prop_oneof![3 => "[ -~]{0,9}", 1 => "[ -~]{10,60}"], prop::sample::select(&["\n", "\n", "\n", "\r\n"][..])), 1..60),
        after in words(),
        cut in 1usize..200,
        size in (1u16..20, 1u16..8),
    ) {
        let size = Size { cols: size.0, rows: size.1 };
        // A colour at each line's beginning keeps it from being plain, and changes nothing.
        let joined = |mark: &str| lines.iter().map(|(text, end)| format!("{mark}{text}{end}")).collect::<String>();
        let read = |text: String| {
            let mut reading = Reading::new(size);
            reading.feed(&before);
            reading.feed(b"\x1b[m");
            text.into_bytes().chunks(cut).for_each(|chunk| reading.feed(chunk));
            let open = reading.rows.open_text();
            reading.feed(&after);
            reading.wait(200);
            reading.finish();
            (show(&reading.take_events()), open)
        };
        prop_assert_eq!(read(joined("")), read(joined("\x1b[m")));
    }

    #[test]
    fn places_rise_and_sizes_change(records in prop::collection::vec(words(), 1..5), sizes in prop::collection::vec((1u16..30, 1u16..9), 5)) {
        let mut reading = Reading::new(Size { cols: 12, rows: 5 });
        for (record, (cols, rows)) in records.iter().zip(sizes) {
            reading.feed(record);
            reading.rows.resize(Size { cols, rows }, &mut reading.out);
            reading.rows.open_text();
        }
        reading.finish();
        let ends: Vec<Cursor> = reading.out.iter().filter_map(|e| match e {
            RowEvent::Final(row) => Some(row.end),
            RowEvent::Judged(_) | RowEvent::Wiped => None,
        }).collect();
        prop_assert!(ends.is_sorted(), "{ends:?}");
        let whole = |e: &RowEvent| match e {
            RowEvent::Final(row) if !row.more => Some(row.id),
            _ => None,
        };
        let ids: Vec<u64> = reading.out.iter().filter_map(whole).collect();
        let unique: std::collections::HashSet<_> = ids.iter().collect();
        prop_assert_eq!(unique.len(), ids.len(), "a row is final once: {:?}", ids);
    }
}

#[test]
fn a_row_without_end_comes_in_parts() {
    let long: Vec<u8> = (0..3 * ROW_CUT + 77).map(|i| b'a' + (i % 23) as u8).collect();
    for cut in [4095, 70_000] {
        let mut reading = Reading::new(Size { cols: 80, rows: 24 });
        for chunk in long.chunks(cut) {
            reading.feed(chunk);
        }
        reading.feed(b"\r\nnext");
        reading.finish();
        let (mut text, mut place) = (String::new(), 0);
        let events = reading.take_events();
        for event in &events[..events.len() - 1] {
            let RowEvent::Final(row) = event else { panic!("{event:?}") };
            assert_eq!(row.id, 0);
            text.push_str(&row.text);
            place += row.text.len();
            // Where the next part begins; parts that are final together end together.
            let end = row.end.byte as usize;
            assert!(end == place && row.more || end == long.len() + 2, "{place} {end}");
        }
        assert_eq!(text.as_bytes(), long);
        assert_eq!(show(&events[events.len() - 1..]), "F1 next");
    }
}

#[test]
fn a_run_without_end_has_more_than_one_place() {
    let long = "x日本é".repeat(25_000).into_bytes(); // a character stands over 128 KiB
    let records = [b"\x1b[2J\x1b[3;3H\x1b[A".to_vec(), [&long[..], b"\xe6", &long[..1000]].concat()];
    let whole = read(&records, usize::MAX, 0, true);
    for cut in [1, 7, 4096, 65_536, 65_537] {
        assert_eq!(whole, read(&records, cut, 0, true), "cut into {cut}");
    }
    let mut ends: Vec<_> = whole
        .iter()
        .filter_map(|event| match event {
            RowEvent::Final(row) => Some(row.end),
            RowEvent::Judged(_) | RowEvent::Wiped => None,
        })
        .collect();
    assert!(ends.is_sorted());
    ends.dedup();
    assert!(ends.len() >= long.len() / 65_536, "{ends:?}");
}

#[test]
fn places_are_exact() {
    let bytes = b"one\r\ntwo\n\x1b[31mthree\x1b[0m\r\nfour\x1b[2Bseven\x0beight\r\n";
    let mut reading = Reading::new(Size { cols: 20, rows: 9 });
    reading.feed(bytes);
    let shown: Vec<_> = reading
        .take_events()
        .iter()
        .map(|event| match event {
            RowEvent::Final(row) | RowEvent::Judged(row) => {
                format!(
                    "{}>{}",
                    row.text.trim(),
                    String::from_utf8_lossy(&bytes[row.end.byte as usize..]).escape_debug()
                )
            }
            RowEvent::Wiped => unreachable!("nothing is wiped"),
        })
        .collect();
    assert_eq!(
        shown,
        [
            r"one>two\n\u{1b}[31mthree\u{1b}[0m\r\nfour\u{1b}[2Bseven\u{b}eight\r\n",
            r"two>\u{1b}[31mthree\u{1b}[0m\r\nfour\u{1b}[2Bseven\u{b}eight\r\n",
            r"three>four\u{1b}[2Bseven\u{b}eight\r\n",
            r"four>seven\u{b}eight\r\n",
            r">seven\u{b}eight\r\n",
            r"seven>eight\r\n",
            r"eight>",
        ]
    );
}
