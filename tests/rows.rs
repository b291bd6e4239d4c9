//! Rows of bytes, as tables through one check function.

mod rows_common;

use rows_common::{Reading, check};
use termalive::model::Size;

const SMALL: Size = Size { cols: 20, rows: 5 };

#[test]
fn forward() {
    check(
        SMALL,
        &[
            ("one\r\ntwo\r\n", "F0 one|F1 two"),
            ("one\r\ntwo", "F0 one|F1 two"),
            ("one  \r\n\r\n  two \r\n", "F0 one|F1 |F2   two"),
            // A line feed alone goes down in its column.
            ("one\ntwo\r\n", "F0 one|F1    two"),
            ("a\tb\r\n", "F0 a       b"),
            ("\x1b[1;31mred\x1b[0m\r\n\x1b]0;title\x07x\r\n", "F0 red|F1 x"),
            ("日本語\r\ne\u{301}\r\n", "F0 日本語|F1 e\u{301}"),
            // Soft-wrapped lines are one row.
            ("aaaaaaaaaabbbbbbbbbbcccccccccc\r\nd\r\n", "F0 aaaaaaaaaabbbbbbbbbbcccccccccc|F1 d"),
            ("aaaaaaaaaabbbbbbbbbb\r\nd\r\n", "F0 aaaaaaaaaabbbbbbbbbb|F1 d"),
            ("aaaaaaaaaabbbbbbbbb日\r\nd\r\n", "F0 aaaaaaaaaabbbbbbbbb日|F1 d"),
            ("1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7\r\n", "F0 1|F1 2|F2 3|F3 4|F4 5|F5 6|F6 7"),
            ("a\x1b[3Bb\r\n", "F0 a|F1 |F2 |F3  b"),
        ],
    );
}

#[test]
fn rewritten_in_place() {
    check(
        SMALL,
        &[
            ("10%\r50%\r100%\r\nok\r\n", "J0 10%|J0 50%|F0 100%|F1 ok"),
            ("10%\x1b[2K\r50%\x1b[K\r\n", "J0 10%|F0 50%"),
            ("|\x08/\x08-\x08\\\x08 \x08\r\n", "J0 ||J0 /|J0 -|J0 \\|F0 "),
            ("abc\rabc\rabc\r\n", "F0 abc"),
            ("long text\rx\x1b[K\r\n", "J0 long text|F0 x"),
            ("a b c\x1b[1K\r\n", "J0 a b c|F0 "),
            // Typing and taking back.
            ("$ lx\x08 \x08s\r\n", "J0 $ lx|F0 $ ls"),
        ],
    );
}

#[test]
fn wrapped_input_is_repainted() {
    // What readline does: up to the first line, all again, down by line feeds.
    let long = "$ aaaaaaaaaabbbbbbbbbbcc";
    check(
        SMALL,
        &[
            (
                &format!("{long}\x1b[A\r$ Xaaaaaaaaaabbbbbbb\n\rbbbcc\r\nout\r\n")[..],
                "J0 $ aaaaaaaaaabbbbbbbbbbcc|F0 $ Xaaaaaaaaaabbbbbbbbbbcc|F1 out",
            ),
            (
                &format!("{long}\x1b[A\r\x1b[K$ \n\r\x1b[K\x1b[A\r\x1b[2Cls\r\nout\r\n"),
                "J0 $ aaaaaaaaaabbbbbbbbbbcc|F0 $ ls|F1 out",
            ),
        ],
    );
}

/// What bash wrote on 40 columns while a long line was typed, edited at its beginning and end, recalled, and pasted.
#[test]
fn bash_edits_wrapped_input() {
    let mut reading = Reading::new(Size { cols: 40, rows: 8 });
    reading.feed(include_bytes!("recordings/bash.raw"));
    reading.finish();
    let shown = reading.take();
    let finals: Vec<_> = shown.split('|').filter_map(|event| event.strip_prefix('F')?.split_once(' ')).collect();
    let long = "cho aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb dd";
    let digits = "1111111111111111111111111111111111111111111 22222";
    let expected = [
        &format!("$ X{long}"),
        "bash: Xcho: command not found",
        "$ echo short",
        "short",
        &format!("$ X{long}"),
        "bash: Xcho: command not found",
        &format!("$ echo pasted {digits}"),
        &format!("pasted {digits}"),
        "$ printf \"no newline\"",
        "no newline$ exit",
        "exit",
    ];
    assert_eq!(finals.iter().map(|(_, text)| *text).collect::<Vec<_>>(), expected);
    assert!(finals.iter().enumerate().all(|(i, (id, _))| *id == i.to_string()), "{finals:?}");
}
