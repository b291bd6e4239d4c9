//! `run --wait`: output and exit status of a session as those of a command, and what becomes of the session.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use rustix::process::Signal;
use support::Host;

#[test]
fn it_prints_and_exits_as_the_command() {
    let host = Host::start();
    for (script, code, printed) in [
        ("echo one; echo two", 0, "one\ntwo\n"),
        ("printf x; exit 3", 3, "x\n"),
        ("kill -9 $$", 137, ""),
        ("kill -TERM $$", 143, ""),
        ("seq 20000; exit 1", 1, ""),
    ] {
        let out = host.run(["run", "s", "--wait", "--rm", "--", "sh", "-c", script]).expect_code(code);
        assert_eq!(out.stderr, "", "{script}");
        match printed {
            "" if code == 1 => assert_eq!(out.text().lines().count(), 20000),
            _ => assert_eq!(out.text(), printed, "{script}"),
        }
        assert!(host.session("s").is_none(), "--rm removes it");
    }
    // without --rm it stays, and the next run prints its own output only
    for n in ["1", "2"] {
        let out = host.run(["run", "kept", "--wait", "--", "sh", "-c", &format!("echo run {n}; exit {n}")]);
        let code = n.parse().unwrap();
        assert_eq!(out.expect_code(code).text(), format!("run {n}\n"));
    }
    assert_eq!(host.session("kept").unwrap()["run"], 2);
    let restarted = ["--restart", "on-failure", "--backoff", "10ms..10ms"];
    let twice = "echo try; test -e again || { touch again; exit 1; }";
    let out = host.cmd(["run", "twice", "--wait"]).args(restarted).args(["--", "sh", "-c", twice]).run();
    assert_eq!(out.expect_code(0).text(), "try\ntry\n", "it waits until the session has ended for good");
    let json = host.run(["run", "json", "--wait", "--json", "--", "sh", "-c", "echo a; exit 4"]).expect_code(4);
    assert_eq!((&json.end_line()["reason"], &json.end_line()["exit_code"]), (&"exit".into(), &4.into()));
}

#[test]
fn a_signal_ends_the_command() {
    let host = Host::start();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let run = |more: &[&str]| {
            let running =
                host.cmd(["run", "s", "--wait"]).args(more).args(["--", "sh", "-c", "echo up; exec cat"]).spawn();
            running.wait_for_output("up");
            running.signal(signal);
            running.wait().expect_code(code).stderr
        };
        let said = run(&["--rm"]);
        assert!(said.contains("s was ended and removed"), "{said}");
        assert!(host.session("s").is_none());
        let said = run(&[]);
        assert!(said.contains("s goes on (termalive logs s -f"), "{said}");
        assert_eq!(host.session("s").unwrap()["state"], "running");
        host.ok(["rm", "-f", "s"]);
    }
}

#[test]
fn a_reader_that_goes_away_takes_the_session_along_where_it_should() {
    let host = Host::start();
    let command = ["--", "sh", "-c", "while echo y; do sleep 0.01; done"];
    for (more, lives) in [(&["--rm"][..], false), (&[], true)] {
        let mut child = host.cmd(["run", "s", "--wait"]).args(more).args(command).spawn_piped();
        let mut byte = [0; 1];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(host.session("s").is_some(), lives);
    }
}

#[test]
fn it_goes_on_over_a_crash() {
    let host = Host::start();
    let running =
        host.cmd(["run", "s", "--wait", "--rm", "--", "sh", "-c", "echo up; read -r n; echo got $n; exit $n"]).spawn();
    running.wait_for_output("up");
    let generation = host.generation();
    host.kill_host();
    host.wait_next_generation(generation);
    host.ok(["send", "s", "5"]);
    let out = running.wait().expect_code(5);
    assert!(out.text().ends_with("got 5\n"), "{}", out.text());
    assert!(host.session("s").is_none());
}

#[test]
fn what_cant_start_is_said() {
    let host = Host::start();
    host.run(["run", "s", "--wait", "--rm", "--", "/nonexistent/x"]).expect_error(1, &["/nonexistent/x"]);
    host.run(["run", "s", "--rm", "--", "true"]).expect_error(64, &["--wait"]);
    host.run(["run", "other", "--wait", "--attach", "--", "true"]).expect_error(64, &["--wait", "--attach"]);
    assert!(host.session("other").is_none(), "nothing was started");
    host.ok(["new", "s", "--", "cat"]);
    host.run(["run", "s", "--wait", "--rm", "--", "cat"]).expect_error(1, &["is live"]);
    assert_eq!(host.session("s").unwrap()["state"], "running", "one that was there already isn't removed");
}
