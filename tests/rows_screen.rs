//! Programs that paint the screen: what is new in a frame, what is final, what is old.

mod rows_common;

use rows_common::{Reading, check};
use termalive::model::Size;

const SMALL: Size = Size { cols: 20, rows: 5 };

#[test]
fn repainted_screens() {
    check(
        SMALL,
        &[
            // Up into rows that were final: what changes is handed out again at the end.
            ("a 10%\r\nb 20%\r\n\x1b[2Aa 90%\r\nb 20%\r\n", "F0 a 10%|F1 b 20%|F5 a 90%"),
            // A repaint of the same.
            ("\x1b[Hone\r\ntwo\x1b[Hone\r\ntwo\x1b[H", "F0 one|J1 two|F1 two"),
            // Scrolled by repainting: one row is new.
            (
                "\x1b[Ha\x1b[K\r\nb\x1b[K\r\nc\x1b[K\x1b[Hb\x1b[K\r\nc\x1b[K\r\nd\x1b[K\x1b[H",
                "F0 a|F1 b|J2 c|J5 d|F2 c|F5 d",
            ),
            // Scrolled off: final, the rest at the end.
            ("x\r\ny\x1b[Aa\r\n\r\n1\r\n2\r\n3\r\n4\r\n5", "F0 x|J1 y|F3 xa|F1 y|F4 1|F5 2|F6 3|F7 4|F8 5"),
            // Blank rows count between two rows of which the one above was final before, by a line feed or by scrolling off.
            ("x\r\ny\r\n\x1b[A\x1b[5;1Hlow", "F0 x|F1 y|F6 |F7 |F5 low"),
            (
                "\x1b[2;1H\x1b[Ax\r\n1\r\n2\r\n3\r\n4\r\n5\x1b[H\x1b[J\x1b[3;1Hlow",
                "F0 |F2 x|J3 1|J4 2|J5 3|J6 4|J7 5|F8 |F9 |F5 low",
            ),
            // A line feed at the end of a scroll region that doesn't begin at the top: nothing is final.
            ("\x1b[2;4r\x1b[1;1Htop\x1b[4;1Ha\nb\nc\nd\ne", "J1 top|J2 a|J3  b|J4   c|F1 top|F4   c|F3    d|F5     e"),
        ],
    );
}

#[test]
fn alternate_screen() {
    check(
        SMALL,
        &[
            ("$ vi\r\n\x1b[?1049h\x1b[Hfile\r\n~\x1b[2;1H:q\x1b[?1049l$ \r\n", "F0 $ vi|J2 file|J3 ~|J3 :q|F1 $"),
            // The reading ends in it: what stands there is what a person sees.
            ("$ vi\r\n\x1b[?1049h\x1b[Hfile\r\n~", "F0 $ vi|F2 file|F3 ~"),
            // Rows of the main screen go on where they were.
            ("a\x1b[?1049hxyz\x1b[?1049lb\r\n", "J0 a|J1  xyz|F0 ab"),
            // Rows that scroll off it are looked at, but not printed.
            ("\x1b[?1049h\x1b[H1\r\n2\r\n3\r\n4\r\n5\r\n6\x1b[?1049l", "J1 1|J2 2|J3 3|J4 4|J5 5|J6 6"),
        ],
    );
}

#[test]
fn synchronized_updates() {
    check(
        SMALL,
        &[
            // In the middle of one nothing is looked at, also when the cursor goes up.
            (
                "\x1b[?2026h\x1b[2;1Hhalf\x1b[1;1Hother\x1b[2;1Hwhole\x1b[?2026l\x1b[3;1H",
                "F0 |J2 other|J3 whole|F2 other|F3 whole",
            ),
            // A marker in two frames, with a cursor move between.
            (
                "\x1b[?2026h\x1b[2;1HPLAN_DO\x1b[1;1H\x1b[?2026l\x1b[?2026h\x1b[2;8HNE\x1b[1;1H\x1b[?2026l",
                "F0 |J2 PLAN_DO|J2 PLAN_DONE|F2 PLAN_DONE",
            ),
        ],
    );
}

/// A screen program's frame.
fn frame(rows: &[&str]) -> Vec<u8> {
    format!("\x1b[H{}\x1b[J\x1b[1;1H", rows.iter().map(|r| format!("{r}\x1b[K\r\n")).collect::<String>()).into_bytes()
}

/// Events after each of some frames painted on the alternate screen, the first being old.
fn frames(frames: &[&[&str]]) -> Vec<String> {
    painted(frames, frame)
}

/// The same of a program that says where a frame begins and ends.
fn whole_frames(frames: &[&[&str]]) -> Vec<String> {
    painted(frames, |rows| [b"\x1b[?2026h", &frame(rows)[..], b"\x1b[?2026l"].concat())
}

fn painted(frames: &[&[&str]], frame: impl Fn(&[&str]) -> Vec<u8>) -> Vec<String> {
    let mut reading = Reading::new(Size { cols: 20, rows: 8 });
    reading.feed(b"\x1b[?1049h");
    let mut shown = Vec::new();
    for (i, rows) in frames.iter().enumerate() {
        reading.feed(&frame(rows));
        reading.wait(20);
        if i == 0 {
            reading.rows.baseline();
            reading.take();
            continue;
        }
        shown.push(texts(&reading.take()));
    }
    reading.wait(200);
    shown.push(texts(&reading.take()));
    shown
}

fn texts(events: &str) -> String {
    events.split('|').filter_map(|e| e.split_once(' ')).map(|(_, text)| text).collect::<Vec<_>>().join("|")
}

#[test]
fn an_old_marker_is_not_new() {
    // Repainted in place, and scrolled away by what is new.
    assert_eq!(frames(&[&["q", "DONE", "> "], &["q", "DONE", "> ask"]]), ["> ask", ""]);
    assert_eq!(frames(&[&["q", "DONE", ">"], &["DONE", "ask", ">"], &["ask", "answer", ">"]]), ["ask", "answer", ""]);
    assert_eq!(frames(&[&["q", "DONE", ">"], &["DONE", "ask", "DONE", ">"]]), ["ask", "DONE"]);
    // A second one while the first still stands: judged when both have stood for a while.
    assert_eq!(frames(&[&["DONE", ">"], &["DONE", "ask", ">"], &["DONE", "ask", "DONE", ">"]]), ["ask", "", "DONE"]);
    // A new one in the frame in which the old one goes.
    assert_eq!(frames(&[&["DONE", "a", "b", ">"], &["a", "b", "DONE", ">"]]), ["DONE", ""]);
    // Cleared and painted again a moment later.
    assert_eq!(frames(&[&["q", "DONE", ">"], &[], &["q", "DONE", ">"]]), ["", "", ""]);
    // Scrolled back by a line and on again.
    assert_eq!(
        frames(&[
            &["DONE", "a", "b", "c", ">"],
            &["a", "b", "c", "d", ">"],
            &["DONE", "a", "b", "c", ">"],
            &["a", "b", "c", "d", ">"]
        ]),
        ["d", "", "", ""]
    );
    // A state that was left for longer than a moment is new when it comes back.
    assert_eq!(
        frames(&[&["ready"], &["busy 1"], &["busy 2"], &["busy 3"], &["busy 4"], &["ready"]]),
        ["busy 1", "busy 2", "busy 3", "busy 4", "ready", ""]
    );
}

#[test]
fn the_same_row_again_is_new() {
    // The old one goes while the new one hasn't stood for long.
    let scrolled: &[&[&str]] =
        &[&["DONE", "a", ">"], &["DONE", "a", "ask", "DONE", ">"], &["a", "ask", "DONE", "end", ">"]];
    assert_eq!(frames(scrolled), ["ask", "end", "DONE"]);
    assert_eq!(whole_frames(scrolled), ["ask|DONE", "end", ""]);
    // It goes for a moment and comes back.
    let back: &[&[&str]] = &[
        &["h", "DONE", "ask"],
        &["h", "DONE", "ask", "DONE"],
        &["h", "x", "DONE", "ask"],
        &["h", "DONE", "ask", "DONE"],
        &["h", "ask", "DONE", "end"],
    ];
    assert_eq!(frames(back), ["", "x", "", "end", "DONE"]);
    assert_eq!(whole_frames(back), ["DONE", "x", "", "end", ""]);
    // The third one comes when the first one goes.
    let third: &[&[&str]] = &[&["DONE", "a", "DONE", "b", ">"], &["a", "DONE", "b", "DONE", ">"]];
    assert_eq!(frames(third), ["", "DONE"]);
    assert_eq!(whole_frames(third), ["DONE", ""]);
    // Said again word for word: the old one has gone, and what stood below it has moved up.
    assert_eq!(
        whole_frames(&[
            &["first", "a", "b", "c", "DONE", "again", "first", ">"],
            &["again", "first", "a", "b", "c", "DONE", ">"]
        ]),
        ["a|b|c|DONE", ""]
    );
    // Old ones move, in a frame that says that it is whole.
    assert_eq!(whole_frames(&[&["q", "DONE", ">"], &["DONE", "ask", ">"], &["x", "DONE", "ask"]]), ["ask", "x", ""]);
}

/// A line editor that has filled its last line stands in a blank one that goes on from it, and leaves it with Enter.
#[test]
fn a_row_can_begin_where_a_full_line_goes_on() {
    for (break_it, wanted) in [(true, "F2 answer"), (false, "F1 12345678answer")] {
        let mut reading = Reading::new(Size { cols: 8, rows: 4 });
        reading.feed(b"12345678 \r");
        if break_it {
            reading.rows.new_row();
        }
        reading.rows.baseline();
        reading.take();
        reading.feed(b"answer\r\n");
        assert_eq!(reading.take(), wanted);
    }
    let mut reading = Reading::new(Size { cols: 8, rows: 4 });
    reading.feed(b"1234567\r");
    reading.rows.new_row();
    reading.feed(b"\x1b[7C8\r\n");
    assert_eq!(reading.take(), "F0 12345678", "a row with text in it goes on");
}

/// A line editor that has lost count draws a row too high, over its own text: nothing of that is the program's.
#[test]
fn what_a_line_editor_leaves_below_can_be_taken_away() {
    for (clear_it, wanted) in [(true, "F5 #ok|F6 next"), (false, "F8 #okend|F9 next below")] {
        let mut reading = Reading::new(SMALL);
        reading.feed(b"$ question\r\ntheend\r\ndown below\x1b[A\r");
        reading.take();
        if clear_it {
            reading.rows.clear_below();
            reading.rows.new_row();
        }
        reading.rows.baseline();
        reading.feed(b"#ok\r\nnext\r\n");
        reading.finish();
        assert_eq!(reading.take(), wanted);
    }
    let mut reading = Reading::new(SMALL);
    reading.feed(b"$ half");
    reading.rows.clear_below();
    reading.feed(b" a row\r\n");
    assert_eq!(reading.take(), "F0 $ half a row", "in the middle of a row nothing is taken away");
}

#[test]
fn a_baseline_leaves_out_what_stood_there() {
    let mut reading = Reading::new(SMALL);
    reading.feed(b"one\r\ntwo\r\n$ ");
    reading.rows.baseline();
    reading.take();
    assert_eq!(reading.rows.open_text(), "$ ");
    reading.finish();
    assert_eq!(reading.take(), "", "nothing came");
    reading.rows.baseline();
    reading.feed(b"ls\r\nfile\r\n$ ");
    reading.finish();
    assert_eq!(texts(&reading.take()), "$ ls|file|$");

    // Of a screen program.
    let mut reading = Reading::new(SMALL);
    reading.feed(b"\x1b[?1049h\x1b[Hold\r\nline\x1b[H");
    reading.rows.baseline();
    reading.take();
    reading.feed(b"\x1b[2;1Hnew row\x1b[H");
    reading.finish();
    assert_eq!(texts(&reading.take()), "new row|new row");
}

#[test]
fn rows_settle() {
    let mut reading = Reading::new(SMALL);
    reading.feed(b"$ ");
    reading.wait(99);
    assert_eq!(reading.take(), "");
    reading.wait(1);
    assert_eq!(reading.take(), "J0 $");
    assert_eq!(reading.rows.deadline(), None);
    reading.wait(500);
    reading.feed(b"l");
    reading.wait(60);
    reading.feed(b"s");
    reading.wait(60);
    assert_eq!(reading.take(), "", "each byte begins it again");
    // The next bytes tell that time has passed, as settling would have.
    reading.now.0 += 1_000_000_000;
    reading.feed(b"\r\n");
    assert_eq!(reading.take(), "J0 $ ls|F0 $ ls");
}

#[test]
fn sizes_change() {
    let mut reading = Reading::new(SMALL);
    reading.feed(b"1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7\r\nthe open row is longer than a line");
    reading.take();
    for (cols, rows) in [(10, 3), (40, 10), (7, 2), (20, 5), (80, 24), (3, 1)] {
        reading.rows.resize(Size { cols, rows }, &mut reading.out);
        assert_eq!(reading.rows.open_text(), "the open row is longer than a line", "{cols}x{rows}");
    }
    reading.feed(b"!\r\n");
    reading.finish();
    assert_eq!(texts(&reading.take()), "the open row is longer than a line|the open row is longer than a line!");

    // A painted screen: what is pushed off is final, once.
    let mut reading = Reading::new(SMALL);
    reading.feed(b"\x1b[2;1H\x1b[Ha\r\nb\r\nc\r\nd\r\ne");
    for (cols, rows) in [(20, 3), (20, 8), (5, 2), (20, 5)] {
        reading.rows.resize(Size { cols, rows }, &mut reading.out);
    }
    reading.finish();
    let finals: Vec<_> = reading.take().split('|').filter(|e| e.starts_with('F')).map(|e| e[3..].to_owned()).collect();
    assert_eq!(finals, ["", "a", "b", "c", "d", "e"]);
}

#[test]
fn a_wiped_screen_is_printed_if_it_has_stood() {
    let mut reading = Reading::new(SMALL);
    reading.feed(b"\r\n\x1b[H\x1b[2Jfirst\r\nrow\r\n\x1b[1;1H");
    reading.wait(2000);
    reading.feed(b"\x1b[2J\x1b[Hsecond\r\n\x1b[1;1H");
    reading.wait(10);
    reading.feed(b"\x1b[2J\x1b[Hthird\r\n\x1b[1;1H");
    reading.finish();
    let finals: Vec<_> = reading.take().split('|').filter(|e| e.starts_with('F')).map(|e| e[3..].to_owned()).collect();
    assert_eq!(finals, ["", "first", "row", "third"]);
}
