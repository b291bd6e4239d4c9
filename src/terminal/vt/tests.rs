//! Dumps that draw the same terminal, chunks that make no difference, answers in order, bounds.

use super::*;
use crate::terminal::text::wraps;
use alacritty_terminal::{
    grid::{Cursor, Grid},
    index::{Column, Line},
    term::cell::{Cell, Flags},
};
use pen::Pen;
use proptest::prelude::*;

const SIZE: Size = Size { cols: 12, rows: 5 };
const NOW: LogTime = LogTime(1);

fn fed(size: Size, bytes: &[u8]) -> Vt {
    let mut vt = Vt::new(size);
    vt.feed(NOW, bytes);
    vt
}

fn pen(cell: &Cell) -> String {
    let mut out = Vec::new();
    Pen::of(cell).write(&Pen::default(), &mut out);
    let text = out.escape_ascii().to_string();
    match text.split_once("_alacritty") {
        Some((before, after)) => format!("{}{after}", before.trim_end_matches(|c: char| c.is_ascii_digit())), // as it came
        None => text,
    }
}

/// Fails with the first line that differs.
fn same(a: &mut Vt, b: &mut Vt) -> Result<(), TestCaseError> {
    let (a, b) = (state(a), state(b));
    for (line, (a, b)) in a.lines().zip(b.lines()).enumerate() {
        prop_assert_eq!(a, b, "line {}", line);
    }
    prop_assert_eq!(a.len(), b.len());
    Ok(())
}

/// A dump that puts the cursor there writes the last cell again, and the line isn't a wrapped one any more.
fn waits_at_a_wrapped_end(vt: &mut Vt) -> bool {
    vt.catch_up();
    let grids = [Some(vt.machine.term.grid()), vt.machine.main.as_ref()];
    let waits = |grid: &Grid<Cell>| {
        [&grid.cursor, &grid.saved_cursor].iter().any(|c| c.input_needs_wrap && wraps(grid, c.point.line.0))
    };
    grids.into_iter().flatten().any(waits)
}

/// All that a terminal is, in a form that can be compared: without what a dump can't tell.
fn state(vt: &mut Vt) -> String {
    use std::fmt::Write;
    vt.catch_up();
    let m = &vt.machine;
    let mut out = String::new();
    let mut screen = |grid: &Grid<Cell>| {
        let bottom = grid.screen_lines() as i32 - 1;
        for line in 0..=bottom {
            for cell in &grid[Line(line)][..] {
                let marks: String = cell.zerowidth().into_iter().flatten().collect();
                let c = if cell.c == '\t' { ' ' } else { cell.c };
                let wide = cell.flags & (Flags::WIDE_CHAR | Flags::WIDE_CHAR_SPACER);
                let _ = write!(out, "{c}{marks}{}{}", pen(cell), if wide.is_empty() { "" } else { "w" });
            }
            let waits = |c: &Cursor<Cell>| c.input_needs_wrap && c.point.line.0 == line;
            let told = bottom > 0 && !waits(&grid.cursor) && !waits(&grid.saved_cursor);
            let _ = writeln!(out, "|{}", if told && wraps(grid, line) { "~" } else { "" });
        }
        for c in [&grid.cursor, &grid.saved_cursor] {
            let _ = writeln!(out, "{:?} {} {:?} {}", c.point, pen(&c.template), c.charsets, c.input_needs_wrap);
        }
    };
    screen(m.term.grid());
    if let Some(main) = &m.main {
        screen(main);
    }
    let colors: Vec<_> = (0..269).filter_map(|i| Some((i, m.term.colors()[i]?))).collect();
    let _ = writeln!(out, "{:?} {:?} {:?} {:?} {colors:?}", m.region, m.tabs, m.shifted, m.term.mode());
    let _ = writeln!(out, "{:?} {:?} {:?} {:?}", m.style, m.title, m.titles, m.keys);
    let waits = [&vt.begun[..], &vt.held, &vt.torn].concat();
    // an update that follows another, or is prolonged, holds its own signs or not
    let waits = String::from_utf8_lossy(&waits).replace("\x1b[?2026h", "");
    let _ = writeln!(out, "{waits:?} {}", vt.due.is_some());
    out
}

const WORDS: &[&str] = &[
    "a",
    "word ",
    "        ",
    "\t",
    "日本",
    "本",
    "e\u{301}",
    "\u{301}",
    "\u{1F600}",
    "ÄÖ",
    "a line that is longer",
    "\r\n",
    "\r\n",
    "\n",
    "\r",
    "\x08",
    "\x0b",
    "\x1b[A",
    "\x1b[B",
    "\x1b[C",
    "\x1b[3D",
    "\x1b[H",
    "\x1b[3;4H",
    "\x1b[5;12H",
    "\x1b[5;11H",
    "\x1b[K",
    "\x1b[1K",
    "\x1b[2K",
    "\x1b[J",
    "\x1b[1J",
    "\x1b[2J",
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
    "\x1b[9;10r",
    "\x1b[?6h",
    "\x1b[?6l",
    "\x1b[?7l",
    "\x1b[?7h",
    "\x1b[4h",
    "\x1b[4l",
    "\x1b[20h",
    "\x1b7",
    "\x1b8",
    "\x1bc",
    "\x1b[?1049h",
    "\x1b[?1049l",
    "\x1b[?2026h",
    "\x1b[?2026l",
    "\x1b[31m",
    "\x1b[1;4:3;97m",
    "\x1b[48;5;200m",
    "\x1b[38;2;1;2;3m",
    "\x1b[58:5:9m",
    "\x1b[58:2::1:2:3m",
    "\x1b[59m",
    "\x1b[7;9m",
    "\x1b[m",
    "\x1b[44m",
    "\x1b[21;22;27m",
    "\x1b]8;;http://x/\x1b\\",
    "\x1b]8;id=a;http://y/;z\x07",
    "\x1b]8;;\x07",
    "\x1b]0;title\x07",
    "\x1b]2;ä\x1b\\",
    "\x1b[22;0t",
    "\x1b[23;0t",
    "\x1b]11;#102030\x07",
    "\x1b]4;7;rgb:1/2/3\x07",
    "\x1b]104\x07",
    "\x1b]50;CursorShape=1\x07",
    "\x1bP+q\x1b\\",
    "\x1b(0",
    "\x1b(B",
    "\x1b)0",
    "\x0e",
    "\x0f",
    "\x1b#8",
    "\x1b[?3h",
    "\x1b[I",
    "\x1b[Z",
    "\x1b[3g",
    "\x1bH",
    "\x1b[0g",
    "\x1b[?1h",
    "\x1b=",
    "\x1b>",
    "\x1b[?25l",
    "\x1b[?12h",
    "\x1b[4 q",
    "\x1b[0 q",
    "\x1b[?1000h",
    "\x1b[?1002h",
    "\x1b[?1003l",
    "\x1b[?1006h",
    "\x1b[?1004h",
    "\x1b[?2004h",
    "\x1b[?1007l",
    "\x1b[>1u",
    "\x1b[>5u",
    "\x1b[<u",
    "\x1b[=2;2u",
    "\x1b[6n",
    "\x1b[c",
    "\x1b[",
    "\x1b]0;un",
    "3",
    ";",
    "\u{e4}",
    "\x18",
];

fn words() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        20 => prop::sample::select(WORDS).prop_map(|w| w.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    // 8-bit string terminators end some strings and not others; what REP repeats can't be told to a terminal
    prop::collection::vec(word, 0..40).prop_map(|words| {
        let bytes = words.concat();
        bytes.into_iter().filter(|b| !matches!(b, 0x9c | b'b')).collect()
    })
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: if cfg!(debug_assertions) { 1500 } else { 50_000 }, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_dump_draws_the_same_terminal(before in words(), after in words()) {
        let mut vt = fed(SIZE, &before);
        prop_assume!(!waits_at_a_wrapped_end(&mut vt));
        let dump = vt.dump();
        let mut again = fed(SIZE, &dump);
        same(&mut vt, &mut again)?;
        vt.feed(NOW, &after);
        again.feed(NOW, &after);
        prop_assert_eq!(state(&mut vt), state(&mut again), "after more; dump {:?}", String::from_utf8_lossy(&dump));
    }

    #[test]
    fn any_chunking_gives_the_same(bytes in words(), cut in 1usize..9) {
        let mut parts = Vt::new(SIZE);
        bytes.chunks(cut).for_each(|part| parts.feed(NOW, part));
        let mut whole = fed(SIZE, &bytes);
        prop_assert_eq!(whole.answers(), parts.answers());
        // The library holds the beginning of an update back, with what it ends before it: a title without its terminator.
        [&mut whole, &mut parts].into_iter().for_each(|vt| vt.feed(NOW, b"\x1b[?2026l"));
        same(&mut whole, &mut parts)?;
    }

    #[test]
    fn text_that_is_not_drawn_at_once_is_the_same(
        (begin, wide) in begun(), lines in lines(0..60), times in 1usize..40, end in words(),
    ) {
        let text = lines.concat().repeat(times);
        not_drawn_at_once(&begin, wide, &text, &[text.len()], &end)?;
    }

    #[test]
    fn sizes_change_without_harm(parts in prop::collection::vec((words(), 3u16..20, 1u16..8), 1..5)) {
        let mut vt = Vt::new(SIZE);
        for (bytes, cols, rows) in parts {
            vt.feed(NOW, &bytes);
            vt.resize(Size { cols, rows });
            let shown = vt.shown();
            prop_assert!((shown.x < shown.cols) && (shown.y < shown.rows) && shown.lines.len() == usize::from(shown.rows));
            let mut again = fed(Size { cols: shown.cols, rows }, &vt.dump());
            same(&mut vt, &mut again)?;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases().cases / 30, ..ProptestConfig::default() })]

    #[test]
    fn a_flood_that_is_not_drawn_at_once_is_the_same(
        (begin, wide) in begun(), lines in lines(1..30), parts in prop::collection::vec(1usize..20_000, 1..9), end in words(),
    ) {
        let text = lines.concat();
        let text = text.repeat(300_000 / text.len());
        not_drawn_at_once(&begin, wide, &text, &parts, &end)?;
    }
}

/// What rows begin on: modes, tab stops, a cursor at the end of a row; or, true, one that waits for the next row within its
/// own, as after a change of sizes.
fn begun() -> impl Strategy<Value = (Vec<u8>, bool)> {
    let last = [
        "",
        "\x1b[?7l",
        "\x1b[4h",
        "\x1b[3g\x1b[4G\x1bH",
        "\r123456789012",
        "\x1b[44m\x1b[H",
        "\r\x1b[?7l123456789012",
    ];
    let joined = |(words, last): (Vec<u8>, &str)| [&words[..], last.as_bytes()].concat();
    ((words(), prop::sample::select(last.to_vec())).prop_map(joined), prop::bool::weighted(0.1))
}

/// Lines of one kind, or of all.
fn lines(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<&'static [u8]>> {
    let returns: [&[u8]; 7] =
        [b"x\r\n", b"a longer line than it\r\n", "日本\r\n".as_bytes(), b"\t\r\n", b"\n", b"\r", "e\u{301}".as_bytes()];
    let feeds: [&[u8]; 9] = [
        b"x\n",
        b"y",
        b"a longer line than it\n",
        "日本\n".as_bytes(),
        b"\t",
        b"\x08",
        b"\x0b",
        b"\xe6\x97\n",
        b"\x85\xff\n",
    ];
    let long: [&[u8]; 4] = [b"word ", b"a line that is longer than two of them", b"x\r\n", b"z\n"];
    let all = [&returns[..], &feeds[..], &long[..]].concat();
    let one_of = |words: Vec<&'static [u8]>| prop::collection::vec(prop::sample::select(words), count.clone());
    prop_oneof![one_of(returns.to_vec()), one_of(feeds.to_vec()), one_of(long.to_vec()), one_of(all)]
}

/// Text in parts as long as these, again and again, and drawn bit by bit.
fn not_drawn_at_once(begin: &[u8], wide: bool, text: &[u8], parts: &[usize], end: &[u8]) -> Result<(), TestCaseError> {
    let start = || match wide {
        false => fed(SIZE, begin),
        true => {
            let mut vt = fed(SIZE, b"123456789012\x1b7");
            vt.resize(Size { cols: 15, ..SIZE });
            vt.feed(NOW, b"\x1b8");
            vt
        }
    };
    let (mut late, mut rest) = (start(), text);
    for len in parts.iter().cycle() {
        let (part, more) = rest.split_at((*len).min(rest.len()));
        late.feed(NOW, part);
        rest = more;
        if rest.is_empty() {
            break;
        }
    }
    let mut drawn = start();
    text.chunks(7).for_each(|part| {
        drawn.feed(NOW, part);
        drawn.catch_up();
    });
    late.feed(NOW, end);
    drawn.feed(NOW, end);
    same(&mut late, &mut drawn)
}

#[test]
fn what_is_shown() {
    let table: &[(&str, &[&str], (u16, u16))] = &[
        ("one\r\ntwo", &["one", "two"], (3, 1)),
        ("日本\tx", &["日本    x"], (9, 0)),
        ("\x1b[?25l\x1b[3;3Hx\x1b[2;1H", &["", "", "  x"], (0, 1)),
        ("main\x1b[?1049h\x1b[Halt", &["alt"], (3, 0)),
        ("e\u{301}", &["e\u{301}"], (1, 0)),
        ("123456789012", &["123456789012"], (11, 0)),
    ];
    for (bytes, lines, cursor) in table {
        let shown = fed(SIZE, bytes.as_bytes()).shown();
        let whole: Vec<String> = (0..5).map(|i| lines.get(i).unwrap_or(&"").to_string()).collect();
        assert_eq!((&shown.lines, (shown.x, shown.y)), (&whole, *cursor), "{bytes:?}");
        assert_eq!(shown.visible, !bytes.contains("25l"));
        assert_eq!(shown.alternate, bytes.contains("1049"));
    }
    assert_eq!(fed(SIZE, b"\x1b]0;here\x07").shown().title, "here");
}

#[test]
fn an_update_shows_when_it_is_whole_or_late() {
    let mut vt = fed(SIZE, b"old\x1b[?2026h\rnew");
    assert_eq!(vt.shown().lines[0], "old");
    let due = vt.deadline().unwrap();
    assert_eq!(due, NOW.after(SYNC_MAX));
    let mut late = fed(SIZE, &vt.dump());
    late.settle(due);
    assert_eq!(late.shown().lines[0], "new");
    vt.feed(NOW, b"er\x1b[?2026l");
    assert_eq!((vt.shown().lines[0].as_str(), vt.deadline()), ("newer", None));
}

#[test]
fn answers_come_in_the_order_asked() {
    let table: &[(&str, &[&str])] = &[
        ("\x1b[6n", &["\x1b[1;1R"]),
        ("ab\r\nc\x1b[6n\x1b[c\x1b]11;?\x07", &["\x1b[2;2R", "\x1b[?6c", "\x1b]11;rgb:1818/1818/1818\x07"]),
        ("\x1b[5n\x1b[>c\x1bZ", &["\x1b[0n", "\x1b[>0;1;1c", "\x1b[?6c"]),
        ("\x1b]10;?\x1b\\", &["\x1b]10;rgb:d8d8/d8d8/d8d8\x1b\\"]),
        (
            "\x1b]4;1;?\x07\x1b]4;21;#102030\x07\x1b]4;21;?\x07",
            &["\x1b]4;1;rgb:cdcd/0000/0000\x07", "\x1b]4;21;rgb:1010/2020/3030\x07"],
        ),
        ("\x1b[14t\x1b[18t", &["\x1b[4;80;96t", "\x1b[8;5;12t"]),
        (
            "\x1b[?2004h\x1b[?2004$p\x1b[?1$p\x1b[?9999$p\x1b[4$p\x1b[?2026$p",
            &["\x1b[?2004;1$y", "\x1b[?1;2$y", "\x1b[?9999;0$y", "\x1b[4;2$y", "\x1b[?2026;2$y"],
        ),
        ("\x1b[2;4r\x1b[?6h\x1b[2;3H\x1b[6n", &["\x1b[2;3R"]),
        ("\x1b[?u\x1b]52;c;?\x07\x1b[0n\x1b[?6c\x1b[1;1R", &[]),
    ];
    for (bytes, expected) in table {
        let mut vt = fed(SIZE, bytes.as_bytes());
        assert_eq!(vt.answers(), *expected, "{bytes:?}");
        assert!(vt.answers().is_empty());
    }
}

#[test]
fn memory_is_bounded() {
    let mut vt = Vt::new(SIZE);
    for part in ["\u{301}", "\x1b[>1u", "\x1b[22t", "\x1b[6n", "\x1b]2;long\x07"] {
        (0..10_000).for_each(|_| vt.feed(NOW, part.as_bytes()));
    }
    let marks = vt.machine.term.grid()[Line(0)][Column(0)].zerowidth().map_or(0, <[char]>::len);
    assert!(marks < 32 && vt.machine.keys.stack.len() < 64 && vt.answers().len() < 100);
    vt.feed(NOW, b"\x1b]0;");
    (0..40).for_each(|_| vt.feed(NOW, &vec![b'x'; 1 << 20]));
    assert!(vt.begun.len() < 32 << 20);
}

#[test]
fn what_scrolls_off_undrawn_leaves_the_cursor_at_the_left() {
    for begin in ["abc", "123456789012", "\x1b[44mab"] {
        let text = "x\r\n".repeat(40_000);
        let mut late = fed(SIZE, begin.as_bytes());
        late.feed(NOW, text.as_bytes());
        let mut drawn = fed(SIZE, begin.as_bytes());
        for part in text.as_bytes().chunks(3) {
            drawn.feed(NOW, part);
            drawn.catch_up();
        }
        same(&mut late, &mut drawn).unwrap();
    }
}
