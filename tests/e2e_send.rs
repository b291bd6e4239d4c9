//! What `send` types, byte for byte, and what it says about it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use serde_json::{Value, json};
use support::{Host, wait_for};

/// Shows each byte it gets.
const SHOWS: &str = "stty raw -echo; echo up; exec cat -v";

#[test]
fn bytes_arrive_as_the_contract_says() {
    // Arguments of send, stdin, what `cat -v` shows of it.
    let cases: [(&[&str], Option<&str>, &str); 13] = [
        (&["one", "two"], None, "one two^M"),
        (&["-n", "text"], None, "text"),
        (&["ü and tab\t."], None, "M-CM-< and tab\t.^M"),
        (&[], Some("from stdin"), "from stdin^M"),
        (&["-"], Some("from stdin"), "from stdin^M"),
        (&["--raw"], Some("a\u{1}b\u{1b}[A"), "a^Ab^[[A"),
        (&["--keys", "up"], None, "^[[A"),
        (&["--keys", "ctrl+c"], None, "^C"),
        (&["--keys", "enter"], None, "^M"),
        (&["--keys", "escape"], None, "^["),
        (&["--keys", "tab"], None, "\t"),
        (&["--keys", "ctrl+c", "down", "enter"], None, "^C^[[B^M"),
        (&["--", "-n is text here"], None, "-n is text here^M"),
    ];
    let host = Host::start();
    for (n, (args, stdin, shown)) in cases.into_iter().enumerate() {
        let name = format!("s{n}");
        host.sh(&name, SHOWS);
        host.wait_text(&name, "up");
        let mut send = host.cmd(["send", &name]).args(args);
        if let Some(text) = stdin {
            send = send.stdin(text);
        }
        assert_eq!(send.run().expect_code(0).text(), "", "prints nothing");
        host.ok(["send", &name, "--keys", "ctrl+d"]);
        let raw = wait_for("all that was typed", || {
            let raw = String::from_utf8(host.run(["logs", &name, "--raw"]).stdout).unwrap();
            raw.ends_with("^D").then_some(raw)
        });
        assert_eq!(raw.strip_prefix("up\n"), Some(&*format!("{shown}^D")), "{args:?}");
    }
}

#[test]
fn a_key_is_what_the_program_asked_its_terminal_for() {
    let host = Host::start();
    host.sh(
        "s",
        "stty raw -echo; for mode in h l h; do printf '\\033[?1%s' $mode; echo up; head -c 3 | cat -v; echo; done",
    );
    for (n, shown) in ["^[OA", "^[[A", "^[OA"].into_iter().enumerate() {
        wait_for("the mode", || (host.ok(["logs", "s"]).matches("up").count() == n + 1).then_some(()));
        host.ok(["send", "s", "--keys", "up"]);
        wait_for("the key", || (host.ok(["logs", "s"]).matches(shown).count() == n / 2 + 1).then_some(()));
    }
}

#[test]
fn a_text_of_several_lines_is_a_paste_where_the_program_takes_one() {
    let host = Host::start();
    host.sh("s", &format!("printf '\\033[?2004h'; {SHOWS}"));
    host.wait_text("s", "up");
    host.ok(["send", "s", "one\ntwo"]);
    host.wait_text("s", r"\^\[\[201~\^M");
    let raw = host.ok(["logs", "s", "--raw"]);
    assert!(raw.contains("^[[200~one") && raw.contains("two^[[201~^M"), "{raw:?}");
}

#[test]
fn arguments_come_before_stdin() {
    let host = Host::start();
    host.sh("s", &format!("printf '\\033[?2004h'; {SHOWS}"));
    host.wait_text("s", "up");
    host.cmd(["send", "s", "Summarise this:", "-"]).stdin("line 1\nline 2").run().expect_code(0);
    host.wait_text("s", r"\^\[\[201~\^M");
    let raw = host.ok(["logs", "s", "--raw"]).replace("^M", "\n").replace("\r\n", "\n");
    assert!(raw.contains("Summarise this:\n\nline 1\nline 2"), "{raw:?}");
}

#[test]
fn receipts_and_turns() {
    let host = Host::start();
    host.sh("s", "stty -echo; echo up; while read -r line; do echo \"got $line\"; done");
    host.wait_text("s", "^up$");
    for turn in 1..=2 {
        let receipt = host.json(["send", "s", "hello", "--json"]);
        assert_eq!((&receipt["session"], &receipt["turn"], &receipt["run"]), (&json!("s"), &json!(turn), &json!(1)));
        assert!(receipt["id"].is_string() && receipt["seq"].is_u64() && receipt["state"] == "typed", "{receipt}");
    }
    let receipt = host.json(["send", "s", "-n", "no turn", "--json"]);
    assert_eq!(receipt["turn"], Value::Null);
    host.ok(["send", "s", "--keys", "enter"]);
    host.wait_text("s", "^got no turn$");
    assert_eq!(host.session("s").unwrap()["last_turn"], 2);
}

#[test]
fn there_must_be_something_to_type_into() {
    let host = Host::start();
    host.sh("s", "exit 3");
    host.wait_state("s", "exited");
    host.run(["send", "s", "hello"]).expect_error(4, &["s"]);
    host.run(["send", "nobody", "hello"]).expect_error(66, &["nobody"]);
}

#[test]
fn control_bytes_are_refused_with_their_place() {
    let host = Host::start();
    host.ok(["new", "s", "--", "cat"]);
    for text in ["abc\u{1b}[A", "\u{3}", "tab\tis fine\u{7f}"] {
        let out = host.run(["send", "s", text]).expect_error(64, &[]);
        assert!(out.stderr.contains(|c: char| c.is_ascii_digit()), "the place is named: {}", out.stderr);
    }
    assert_eq!(host.ok(["logs", "s"]), "", "nothing was typed");
}

#[test]
fn writers_never_interleave() {
    let host = Host::start();
    host.sh("s", "stty raw -echo; echo up; exec cat");
    host.wait_text("s", "up");
    let letters: Vec<char> = ('a'..='h').collect();
    let text = |letter: &char| letter.to_string().repeat(3000);
    let running: Vec<_> = letters.iter().map(|letter| host.cmd(["send", "s", &text(letter)]).spawn()).collect();
    running.into_iter().for_each(|send| drop(send.wait().expect_code(0)));
    let raw = wait_for("all of it to come back", || {
        Some(host.ok(["logs", "s", "--raw"]))
            .filter(|raw| letters.iter().all(|letter| raw.contains(&format!("{letter}\r"))))
    });
    for letter in &letters {
        assert!(raw.contains(&text(letter)), "{letter} in one piece");
    }
}

#[test]
fn a_password_is_recorded_by_its_length() {
    let host = Host::start();
    host.sh("s", "stty -echo; echo Password:; read -r line; stty echo; echo thanks; exec cat");
    host.wait_text("s", "Password:");
    host.ok(["send", "s", "hunter2hunter2"]);
    host.wait_text("s", "^thanks$");
    let all = host.ok(["logs", "s", "--json", "--events", "all", "--since", "start"]);
    assert!(!all.contains("hunter2"), "{all}");
    assert!(all.contains("\"input\"") && all.contains("14"), "{all}");
    let files =
        std::process::Command::new("grep").args(["-rl", "hunter2hunter2"]).arg(host.state_dir()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&files.stdout), "", "not on disk either");
}
