//! `screen`: what stands there now, what stood there, and what the terminal answers while nobody looks.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use serde_json::{Value, json};
use std::fs;
use support::Host;

/// Asks its terminal in raw mode, prints what comes, and asks again when it is told to. Each round ends with the answer to
/// the last question.
const ASKS: &str = r#"
import os, re, sys, termios, tty
tty.setraw(0)
def ask(questions, last):
    os.write(1, questions)
    answer = b""
    while not re.search(last, answer):
        answer += os.read(0, 100)
    os.write(1, b"\r\n" + repr(answer).encode() + b"\r\n")
ask(b"\x1b[2J\x1b[4;7H\x1b[6n\x1b[c\x1b]10;?\x07\x1b]11;?\x1b\\\x1b[5n", rb"\x1b\[0n")
os.write(1, b"READY\r\n")
os.read(0, 1)
ask(b"\x1b[9;9H\x1b[6n\x1b[18t", rb"t$")
os.write(1, b"END\r\n")
os.read(0, 1)
"#;
const FIRST: &str = r"b'\x1b[4;7R\x1b[?6c\x1b]10;rgb:d8d8/d8d8/d8d8\x07\x1b]11;rgb:1818/1818/1818\x1b\\\x1b[0n'";
const SECOND: &str = r"b'\x1b[9;9R\x1b[8;24;80t'";

fn answers(host: &Host, name: &str) -> Vec<Value> {
    let lines = host.run(["logs", name, "--json", "--events", "all"]).expect_code(0).json_lines();
    lines.into_iter().filter(|line| line["event"] == "typed" && line["step"] == "answer").collect()
}

#[test]
fn what_stands_on_the_screen() {
    let host = Host::start();
    host.sh("a", r"printf 'one\r\n\033[1;31mred\033[0m \033[5;3Hfive\033[?25l\033]0;a title\007'; read x; printf '\033[?1049h\033[2J\033[Hfull'; read x");
    host.wait_text("a", "five");
    assert_eq!(host.ok(["screen", "a"]), "one\nred\n\n\n  five\n");
    let before = host.json(["screen", "a", "--json"]);
    assert_eq!((&before["cols"], &before["rows"], &before["title"]), (&json!(80), &json!(24), &json!("a title")));
    assert_eq!(before["cursor"], json!({"x": 6, "y": 4, "visible": false}));
    assert_eq!((before["alternate"].clone(), before["lines"].as_array().unwrap().len()), (json!(false), 24));
    assert_eq!(host.ok(["screen", "a", "--ansi"]), "one\n\x1b[0;1;31mred\x1b[0m\n\n\n  five\n");
    host.ok(["resize", "a", "40x10"]);
    host.ok(["send", "a", "--keys", "enter"]);
    support::wait_for("the alternate screen", || (host.ok(["screen", "a"]) == "full\n").then_some(()));
    let after = host.json(["screen", "a", "--json"]);
    assert_eq!((&after["alternate"], &after["cols"]), (&json!(true), &json!(40)));
    let at = format!("@{}", before["seq"]);
    assert_eq!(host.json(["screen", "a", "--json", "--at", &at]), before, "as it was");
    host.kill_host();
    assert_eq!(host.json(["screen", "a", "--json"])["lines"], after["lines"], "the same from another host");
    host.ok(["send", "a", "--keys", "enter"]);
    host.wait_state("a", "exited");
    assert_eq!(host.json(["screen", "a", "--json"])["lines"], after["lines"], "also when it has ended");
    assert_eq!(host.json(["screen", "a", "--json", "--at", &at]), before);
}

#[test]
fn a_time_is_a_moment_of_the_log() {
    let host = Host::start();
    host.sh("a", "stty -echo; echo first; for word in second third; do read x; echo $word; done; read x");
    for word in ["first", "second", "third"] {
        host.wait_row("a", word);
        host.ok(["send", "a", "next"]);
    }
    host.wait_state("a", "exited");
    let log = host.run(["logs", "a", "--json", "--events", "all"]).expect_code(0).json_lines();
    let times: Vec<&str> =
        log.iter().filter(|line| line["event"] == "input").map(|line| line["ts"].as_str().unwrap()).collect();
    let screens: Vec<String> = times.iter().map(|time| host.ok(["screen", "a", "--at", time])).collect();
    assert_eq!(screens, ["first\n", "first\nsecond\n", "first\nsecond\nthird\n"], "{times:?}");
}

#[test]
fn a_moment_that_never_was() {
    let host = Host::start();
    host.sh("a", "echo up; read x");
    host.wait_text("a", "up");
    host.run(["screen", "b"]).expect_error(66, &["no session \"b\""]);
    host.run(["screen", "a", "--at", "yesterday"]).expect_error(64, &["--at", "2026-02-01T03:40:00Z"]);
    host.run(["screen", "a", "--at", "@9999"]).expect_error(64, &["@9999", "ends with @"]);
    host.run(["screen", "a", "--at", "2020-01-01T00:00:00Z"]).expect_error(64, &["began later"]);
    host.run(["screen", "a", "--json", "--ansi"]).expect_error(64, &["--json", "--ansi"]);
    assert_eq!(host.ok(["screen", "a", "--at", "2999-01-01T00:00:00Z"]), "up\n");
    assert_eq!(host.ok(["screen", "a", "--at", "@1"]), "");
}

#[test]
fn what_a_program_asks_is_answered_once() {
    let host = Host::start();
    let program = host.path("asks.py");
    fs::write(&program, ASKS).unwrap();
    host.ok(["new", "a", "--", "python3", &program]);
    host.wait_row("a", "READY");
    assert!(host.ok(["logs", "a"]).contains(FIRST), "{}", host.ok(["logs", "a"]));
    let first = answers(&host, "a");
    assert_eq!(first.len(), 5);
    host.kill_host();
    host.wait_row("a", "READY");
    assert_eq!(host.ok(["screen", "a"]).lines().last(), Some("READY"), "its screen has read the old questions again");
    assert_eq!(answers(&host, "a"), first, "old questions are not answered again");
    host.ok(["send", "a", "--keys", "x"]);
    host.wait_row("a", "END");
    assert!(host.ok(["logs", "a"]).contains(SECOND), "{}", host.ok(["logs", "a"]));
    let all = answers(&host, "a");
    let bytes: Vec<u64> = all.iter().map(|answer| answer["n"].as_u64().unwrap()).collect();
    assert_eq!(bytes, [6, 5, 24, 25, 4, 6, 10]);
    assert!(all.windows(2).all(|pair| pair[0]["of"].as_u64() <= pair[1]["of"].as_u64()));
}

#[test]
fn a_long_log_shows_its_end_and_its_middle() {
    let host = Host::start();
    // plain lines, then coloured ones: 20 MB, so that a keyframe is made on the way
    host.sh("a", r"seq -w 1 1000000; seq -f ' [32m%08.0f [0m' 1 500000 | tr ' ' '\033'; echo END");
    host.wait_state("a", "exited");
    let screen = host.json(["screen", "a", "--json"]);
    let lines: Vec<&str> = screen["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!((lines[0], lines[21], lines[22], lines[23]), ("00499979", "00500000", "END", ""));
    let half = format!("@{}", screen["seq"].as_u64().unwrap() / 2);
    let middle = host.ok(["screen", "a", "--at", &half]);
    assert_eq!(middle, host.ok(["screen", "a", "--at", &half]), "again, from a keyframe");
    let numbers: Vec<u64> = middle.lines().take(23).map(|line| line.parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{middle}");
    assert_eq!(host.json(["screen", "a", "--json"]), screen);
}

/// Reads a little, asks, reads the rest slowly; prints where the answer came.
const ASKS_WHILE_READING: &str = r#"
import os, tty
tty.setraw(0)
os.write(1, b"UP\r\n")
text = os.read(0, 100)
os.write(1, b"\x1b[6n")
while not text.endswith(b"R"):
    text += os.read(0, 1000)
os.write(1, b"\r\n%d before %r\r\nEND\r\n" % (text.index(b"\x1b"), text[text.index(b"\x1b"):]))
os.read(0, 1)
"#;

#[test]
fn an_answer_comes_after_the_text_that_is_on_its_way() {
    let host = Host::start();
    let program = host.path("asks.py");
    fs::write(&program, ASKS_WHILE_READING).unwrap();
    host.ok(["new", "a", "--", "python3", &program]);
    host.wait_row("a", "UP");
    host.cmd(["send", "a", "-n", "-"]).stdin("y".repeat(200_000)).run().expect_code(0);
    host.wait_row("a", "END");
    host.wait_text("a", r"^200000 before b'\\x1b\[2;1R'$");
}

#[test]
fn a_removed_session_leaves_no_screen() {
    let host = Host::start();
    host.sh("a", "echo first");
    host.wait_state("a", "exited");
    assert_eq!(host.ok(["screen", "a"]), "first\n");
    host.ok(["rm", "a"]);
    host.run(["screen", "a"]).expect_error(66, &["no session"]);
    host.sh("a", "echo second; read x");
    host.wait_text("a", "second");
    assert_eq!(host.ok(["screen", "a"]), "second\n");
    host.ok(["restart", "a"]);
    support::wait_for("the next run", || (host.json(["screen", "a", "--json"])["lines"][0] == "second").then_some(()));
    assert_eq!(host.ok(["screen", "a"]), "second\n", "a run begins with a blank screen");
}
