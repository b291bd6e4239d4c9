//! Every command that talks to a host does it over TCP as on the socket, and the token for looking on is enough to look on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a failed expectation is a failed test"
)]
#![allow(unreachable_pub, missing_docs, reason = "test code")]

mod support;
mod tcp_common;

use std::{collections::BTreeSet, fs};
use support::{Host, Terminal, wait_for};
use tcp_common::Tcp;

/// Shows a prompt, and does what each line says.
const SHELL: &str = r#"while printf '? ' && read -r line; do eval "$line"; done"#;
const FLEET: &str = "[sessions.one]\ncommand = \"cat\"\n";
const DETACH: &[u8] = b"\x02d";

/// In their order: arguments, the exit code, what the output holds.
const STEPS: [(&[&str], i32, &str); 28] = [
    (&["new", "s", "--label", "team=a", "--", "sh", "-c", SHELL], 0, "s\n"),
    (&["ask", "s", "echo $((6 * 7))"], 0, "42\n"),
    (&["ask", "s", "echo DONE", "--until", "^DONE$", "--json"], 0, r#""reason":"pattern""#),
    (&["reply", "s", "--turn", "1"], 0, "42\n"),
    (&["turns", "s", "--json"], 0, r#""prompt":"echo $((6 * 7))""#),
    (&["wait", "s", "--screen", "^42$", "--stable", "50ms"], 0, "s\n"),
    (&["logs", "s", "--since", "turn:1", "--until", "^42$"], 0, "42\n"),
    (&["screen", "s"], 0, "42\n"),
    (&["screen", "s", "--json", "--at", "@1"], 0, r#""cols":80"#),
    (&["search", "^42$", "--json"], 0, r#""turn":1"#),
    (&["search", "^never$", "--json"], 1, "[]\n"),
    (&["events", "--json"], 0, r#""state":"running""#),
    (&["export", "s"], 0, r#""version":2"#),
    (&["replay", "s"], 0, "42\r\n"),
    (&["list", "--label", "team=a", "-q"], 0, "s\n"),
    (&["show", "s", "--json"], 0, r#""last_turn":2"#),
    (&["send", "s", "--keys", "enter"], 0, ""),
    (&["resize", "s", "100x30"], 0, ""),
    (&["restart", "s"], 0, ""),
    (&["wait", "s", "--screen", "^\\? $"], 0, "s\n"),
    (&["kill", "--label", "team=a"], 0, ""),
    (&["wait", "s", "--exit"], 0, "129\n"),
    (&["rm", "s"], 0, ""),
    (&["run", "short", "--wait", "--rm", "--", "sh", "-c", "echo hi; exit 3"], 3, "hi\n"),
    (&["up", "fleet.toml"], 0, "created one\n"),
    (&["down", "fleet.toml"], 0, "ended one\n"),
    (&["reload"], 0, "has taken over"),
    (&["status", "--json"], 0, r#""generation":2"#),
];
/// In `attach_…`, and at the end.
const ELSEWHERE: [&str; 2] = ["attach", "stop"];
/// They are about this machine.
const LOCAL: [&str; 6] = ["log", "host", "start", "doctor", "completions", "help"];

#[test]
fn every_verb_works_over_tcp() {
    let tcp = Tcp::start(&[]);
    fs::write(tcp.host.path("fleet.toml"), FLEET).unwrap();
    for (args, code, printed) in STEPS {
        let out = tcp.cmd(args).run().expect_code(code);
        assert!(out.text().contains(printed), "{args:?}: {printed:?} in {:?}", out.text());
    }
    tcp.cmd(&["stop", "-y"]).run().expect_code(0);
    wait_for("the end of the host", || tcp.host.status().is_none().then_some(()));
}

#[test]
fn no_verb_is_left_out() {
    let help = Host::cold().ok(["--help"]);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let lines = commands.lines().take_while(|line| !line.is_empty());
    let verbs: BTreeSet<&str> =
        lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|verb| !verb.is_empty())).collect();
    let tried = STEPS.iter().map(|(args, ..)| args[0]).chain(ELSEWHERE).chain(LOCAL);
    assert_eq!(tried.collect::<BTreeSet<_>>(), verbs);
}

#[test]
fn attach_types_over_tcp_and_goes_on_over_a_crash() {
    let tcp = Tcp::start(&[]);
    tcp.host.sh("s", "echo ready; while read -r line; do echo \"got $line\"; done");
    let mut terminal = Terminal::run(tcp.cmd(&["attach", "s"]), 80, 24);
    terminal.wait_for("ready");
    terminal.type_in(b"one\r");
    terminal.wait_for("got one");
    let generation = tcp.host.generation();
    tcp.host.kill_host();
    tcp.host.wait_next_generation(generation);
    terminal.type_in(b"two\r");
    terminal.wait_for("got two");
    terminal.type_in(DETACH);
    assert_eq!(terminal.code(), 0);
    terminal.wait_for("detached from s");
}

#[test]
fn the_read_token_attaches_and_reads_and_asks_nothing() {
    let tcp = Tcp::start(&[]);
    tcp.host.sh("s", SHELL);
    tcp.host.ok(["ask", "s", "echo $((6 * 7))"]);
    let reader = |args: &[&str]| tcp.cmd(args).env("TERMALIVE_TOKEN", &tcp.read_token);
    let mut terminal = Terminal::run(reader(&["attach", "s", "--read-only"]), 80, 24);
    terminal.wait_for("42");
    terminal.type_in(b"echo typed\r");
    terminal.type_in(DETACH);
    assert_eq!(terminal.code(), 0);
    assert_eq!(reader(&["reply", "s"]).run().expect_code(0).text(), "42\n");
    for (args, text) in [
        (&["turns", "s"][..], "6 * 7"),
        (&["screen", "s"], "42"),
        (&["search", "^42$"], "42"),
        (&["events"], "running"),
        (&["export", "s"], "42"),
        (&["replay", "s"], "42"),
    ] {
        assert!(reader(args).run().expect_code(0).text().contains(text), "{args:?}");
    }
    reader(&["wait", "s", "--screen", "^42$"]).run().expect_code(0);
    reader(&["ask", "s", "echo typed"]).run().expect_error(77, &["looking on"]);
    reader(&["send", "s", "--keys", "enter"]).run().expect_error(77, &["looking on"]);
    let mut refused = Terminal::run(reader(&["attach", "s"]), 80, 24);
    assert_eq!(refused.code(), 77);
    refused.wait_for("looking on");
    let turns = tcp.host.json(["turns", "s", "--json"]);
    assert_eq!(turns.as_array().unwrap().len(), 1, "{turns}");
    assert!(!tcp.host.ok(["logs", "s"]).contains("typed"), "nothing was typed");
}
