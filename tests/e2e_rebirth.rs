//! A session's actor panics: that session alone is made again from ring and log, nothing is lost, nothing is doubled.
//! The failpoint is in debug builds only.

#![cfg(debug_assertions)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use std::fs;
use support::Host;

const WORD: &str = "fall-over-now";
/// Answers each line once; what panics comes by itself when there is a file `go`, as a request under way would fail.
const ANSWERS: &str = "stty -echo; echo up; (while [ ! -e go ]; do sleep 0.01; done; echo $1) & \
                       while read -r line; do echo \"got $line\"; done";

/// A host of the build that has the failpoint, whatever `TERMALIVE_BIN` is.
fn host() -> Host {
    let host = Host::cold();
    let start = host.program(&[env!("CARGO_BIN_EXE_termalive"), "start", "-d"]);
    start.env("TERMALIVE_DEBUG_PANIC_ON", WORD).run().expect_code(0);
    host
}

fn ask(host: &Host, name: &str, text: &str) {
    host.ok(["send", name, text]);
    host.ok(["logs", name, "--until", &format!("^got {text}$"), "--timeout", "30s"]);
}

#[test]
fn one_actor_panics_and_goes_on() {
    let host = host();
    for name in ["falls", "stands"] {
        let word = if name == "falls" { WORD } else { "" };
        host.ok(["new", name, "--", "sh", "-c", ANSWERS, "sh", word]);
        host.wait_text(name, "^up$");
    }
    ask(&host, "falls", "first");
    let follower = host.cmd(["logs", "falls", "-f", "--since", "start"]).spawn();
    follower.wait_for_output("got first");
    let before = (host.generation(), host.session("falls").unwrap()["pid"].clone());
    fs::write(host.path("go"), "").unwrap();
    follower.wait_for_output(WORD); // said by the next actor
    ask(&host, "stands", "second");
    ask(&host, "falls", "third");
    let after = (host.generation(), host.session("falls").unwrap()["pid"].clone());
    assert_eq!(before, after, "the same host, the same process");
    host.ok(["kill", "falls"]);
    let expected = format!("up\ngot first\n{WORD}\ngot third\n");
    assert_eq!(host.ok(["logs", "falls"]), expected);
    assert_eq!(follower.wait().expect_code(0).text(), expected, "a follower sees it once");
}

#[test]
fn an_exit_while_the_actor_is_made_again_is_heard() {
    let host = host();
    for n in 0..3 {
        let name = format!("s{n}");
        host.sh(&name, &format!("while [ ! -e {name} ]; do sleep 0.01; done; echo {WORD}; exit 7"));
        fs::write(host.path(&name), "").unwrap();
        assert_eq!(host.wait_state(&name, "exited")["exit_code"], 7);
        assert_eq!(host.ok(["logs", &name]), format!("{WORD}\n"));
    }
}

#[test]
fn a_session_that_falls_again_and_again_takes_the_next_host() {
    let host = host();
    host.sh(
        "falls",
        &format!("while [ ! -e go ]; do sleep 0.01; done; for i in 1 2 3 4; do echo {WORD}; sleep 0.2; done; cat"),
    );
    let generation = host.generation();
    fs::write(host.path("go"), "").unwrap();
    host.wait_next_generation(generation);
    ask_cat(&host);
    assert_eq!(host.ok(["logs", "falls"]).matches(WORD).count(), 4, "each once");
}

fn ask_cat(host: &Host) {
    host.ok(["send", "falls", "still here"]);
    host.wait_row("falls", "still here");
}
