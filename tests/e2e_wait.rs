//! `wait`: several sessions, any or all of them, ends and their statuses, and its exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use support::{Host, wait_for};

/// Lines that a command has printed, sorted: those of several sessions come in any order.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn the_exit_status_is_printed() {
    let host = Host::start();
    for (name, script, status) in [("zero", "exit 0", "0"), ("three", "exit 3", "3"), ("killed", "kill -9 $$", "137")] {
        host.sh(name, script);
        for how in [&["--exit"][..], &[], &["--exit", "--timeout", "50s"]] {
            let out = host.cmd(["wait", name]).args(how).run().expect_code(0);
            assert_eq!(out.text(), format!("{status}\n"), "{name} {how:?}");
        }
        host.wait_state(name, "exited");
        let now = host.run(["wait", name, "--exit", "--timeout", "0"]).expect_code(0);
        assert_eq!(now.text(), format!("{status}\n"), "an ended session answers at once");
    }
    let all = host.ok(["wait", "zero", "three", "killed", "--exit"]);
    assert_eq!(sorted(&all), ["killed 137", "three 3", "zero 0"]);
    let json = host.run(["wait", "killed", "--exit", "--json"]).expect_code(0).json_lines().remove(0);
    let fields = (&json["session"], &json["reason"], &json["status"], &json["signal"], &json["run"]);
    assert_eq!(fields, (&"killed".into(), &"exit".into(), &137.into(), &9.into(), &1.into()), "{json}");
    assert!(json["exit_code"].is_null() && json["id"].as_str().unwrap().len() == 32, "{json}");
    assert_eq!(host.ok(["wait", "zero", "--exit", "-q"]), "zero\n");
}

#[test]
fn an_end_is_waited_for() {
    let host = Host::start();
    host.sh("s", "read -r n; exit $n");
    let waiting = host.cmd(["wait", "s", "--exit"]).spawn();
    host.ok(["send", "s", "7"]);
    assert_eq!(waiting.wait().expect_code(0).text(), "7\n");
    // of the run that goes on
    host.ok(["restart", "s"]);
    host.run(["wait", "s", "--exit", "--timeout", "0"]).expect_error(2, &["s wasn't ready in time"]);
    host.ok(["send", "s", "8"]);
    assert_eq!(host.ok(["wait", "s", "--exit"]), "8\n");
}

#[test]
fn any_and_all() {
    let host = Host::start();
    for name in ["a", "b", "c"] {
        host.ok(["new", name, "--label", "team=x", "--", "sh", "-c", "read -r x; echo got $x; exec cat"]);
    }
    let any = host.cmd(["wait", "a", "b", "--any", "--until", "^got"]).spawn();
    let all = host.cmd(["wait", "--label", "team=x", "--until", "^got"]).spawn();
    host.ok(["send", "b", "1"]);
    assert_eq!(any.wait().expect_code(0).text(), "b\n");
    all.wait_for_output("b\n");
    host.ok(["send", "c", "2"]);
    all.wait_for_output("c\n");
    host.ok(["send", "a", "3"]);
    assert_eq!(all.wait().expect_code(0).text(), "b\nc\na\n");
    // asked again it is the same
    let again = host.ok(["wait", "a", "b", "c", "b", "--until", "^got", "--timeout", "0"]);
    assert_eq!(sorted(&again), ["a", "b", "c"]);
    let json = host.run(["wait", "a", "--until", "^got", "--json"]).expect_code(0).json_lines().remove(0);
    assert_eq!((&json["match"], &json["turn"]), (&"got".into(), &1.into()), "{json}");
}

#[test]
fn codes_of_what_didnt_come() {
    let host = Host::start();
    host.sh("live", "echo hello; exec cat");
    host.sh("dead", "echo hello; exit 5");
    host.wait_text("live", "^hello");
    host.wait_state("dead", "exited");
    let until = ["--until", "never"];
    let run = |args: &[&str]| host.cmd(["wait"]).args(args).args(until).run();
    run(&["dead"]).expect_error(4, &["dead ended first (exit status 5)"]);
    run(&["live", "--timeout", "200ms"]).expect_error(2, &["live wasn't ready in time"]);
    run(&["live", "--timeout", "0"]).expect_error(2, &["live"]);
    run(&["live", "--wait-idle", "200ms"]).expect_error(3, &["live is idle"]);
    // all: one that can't come any more ends it; any: the others may still
    run(&["live", "dead"]).expect_error(4, &["dead ended first"]);
    run(&["live", "dead", "--any", "--timeout", "300ms"]).expect_error(4, &["dead ended first", "live wasn't"]);
    run(&["live", "nobody"]).expect_error(66, &["nobody"]);
    host.run(["wait", "--label", "no=one", "--exit"]).expect_error(66, &["no session has this label"]);
    // idleness that is all that is waited for is no failure of one of several, but has its code
    let idle = host.run(["wait", "live", "--wait-idle", "200ms"]).expect_code(3);
    assert_eq!((idle.text(), idle.stderr.as_str()), ("live\n".to_owned(), ""));
    let json = host.cmd(["wait", "dead", "--json"]).args(until).run().expect_code(4);
    let error: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!((&error["error"]["code"], &error["error"]["exit"]), (&"not_met".into(), &4.into()));
    assert!(json.stdout.is_empty());
    // a pattern that came before the end
    host.run(["wait", "dead", "--until", "hello"]).expect_code(0);
    host.run(["wait", "dead", "--until", "hello", "--exit"]).expect_code(0);
}

#[test]
fn a_wait_goes_on_over_a_crash() {
    let host = Host::start();
    host.sh("a", "read -r n; exit $n");
    host.sh("b", "read -r n; echo got $n; exec cat");
    let exit = host.cmd(["wait", "a", "--exit"]).spawn();
    let row = host.cmd(["wait", "b", "--until", "^got"]).spawn();
    for _ in 0..2 {
        let generation = host.generation();
        host.kill_host();
        host.wait_next_generation(generation);
    }
    host.ok(["send", "a", "6"]);
    host.ok(["send", "b", "6"]);
    assert_eq!(exit.wait().expect_code(0).text(), "6\n");
    assert_eq!(row.wait().expect_code(0).text(), "b\n");
}

#[test]
fn an_interrupted_wait_is_130() {
    let host = Host::start();
    host.sh("s", "exec cat");
    let mut waiting = host.cmd(["wait", "s", "--exit"]).spawn();
    wait_for("the reading", || {
        // the signal's handler stands before the reading does
        let fds = std::fs::read_dir(format!("/proc/{}/fd", waiting.pid())).ok()?;
        let sockets = fds.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
        sockets.filter(|link| link.to_string_lossy().starts_with("socket:")).nth(1).map(|_| ())
    });
    assert!(waiting.is_running());
    waiting.signal(rustix::process::Signal::INT);
    waiting.wait().expect_code(130);
}
