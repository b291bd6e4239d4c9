//! What one session's policy can say: what later runs execute, how a run is asked to end, how often it comes back.
//!
//! `TERMALIVE_TEST_STORM_BACKOFF` is the back-off in the storm, 1ms..20ms by default.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use serde_json::{Value, json};
use std::{
    fs,
    time::{Duration, Instant},
};
use support::{Host, processor_time, wait_for};

/// Sessions of a restart storm.
const STORM: usize = 50;

fn lines_of(host: &Host, file: &str) -> usize {
    fs::read_to_string(host.path(file)).unwrap_or_default().lines().count()
}

fn events(host: &Host, name: &str, word: &str) -> Vec<Value> {
    let lines = host.run(["logs", name, "--since", "start", "--json", "--events", "all"]).expect_code(0).json_lines();
    lines.into_iter().filter(|line| line["event"] == word).collect()
}

#[test]
fn later_runs_execute_the_restart_command() {
    let host = Host::start();
    let policy = ["--restart", "always", "--backoff", "20ms..20ms", "--max-restarts", "100"];
    let again = ["--restart-command", "echo again; exec cat"];
    host.cmd(["new", "s"]).args(policy).args(again).args(["--", "sh", "-c", "echo first"]).run().expect_code(0);
    let second = host.wait_session("s", "runs again", |s| s["run"] == 2 && s["state"] == "running");
    host.wait_row("s", "again");
    assert_eq!(second["restart_command"], "echo again; exec cat");
    assert_eq!(second["command"], "sh -c 'echo first'", "what was asked for stays");
    let generation = host.generation();
    host.kill_host();
    host.wait_next_generation(generation);
    host.ok(["restart", "s"]);
    host.wait_session("s", "runs again", |s| s["run"] == 3 && s["state"] == "running");
    wait_for("the third run's row", || (host.ok(["logs", "s"]) == "first\nagain\nagain\n").then_some(()));
    host.ok(["kill", "s"]);
    let other = ["--restart-command", "echo other again; exec cat"];
    host.cmd(["new", "s"]).args(other).args(["--", "sh", "-c", "echo other"]).run().expect_code(0);
    host.wait_state("s", "exited");
    host.ok(["restart", "s"]);
    host.wait_row("s", "other again");
    assert_eq!(host.ok(["logs", "s"]), "first\nagain\nagain\nother\nother again\n", "a new command runs first");
}

#[test]
fn a_run_is_asked_to_end_as_it_wants() {
    let host = Host::cold();
    host.ok(["start", "-d", "--set", "session.stop_grace=1m"]); // longer than any command of a test may take
    let traps = "for s in HUP INT TERM USR1; do trap \"echo got $s; [ $s = $0 ] && exit 7\" $s; done; echo up; \
                 while :; do read -r line; done";
    for (name, signal) in [("int", "INT"), ("usr1", "sigusr1")] {
        let number = signal.to_uppercase().replace("SIG", "");
        host.cmd(["new", name, "--stop-signal", signal])
            .args(["--", "bash", "-c", traps, &number])
            .run()
            .expect_code(0);
        host.wait_row(name, "up");
        host.ok(["kill", name]);
        assert_eq!(host.ok(["logs", name]), format!("up\ngot {number}\n"));
        assert_eq!(host.session(name).unwrap()["exit_code"], 7);
    }
    for (name, args) in
        [("deaf", &["--stop-signal", "INT", "--stop-timeout", "50ms"][..]), ("usual", &["--stop-timeout", "50ms"])]
    {
        let deaf = "trap '' HUP INT TERM; echo up; while :; do sleep 0.05; done";
        host.cmd(["new", name]).args(args).args(["--", "sh", "-c", deaf]).run().expect_code(0);
        host.wait_row(name, "up");
        host.ok(["kill", name]);
        assert_eq!(host.session(name).unwrap()["signal"], 9, "killed after its own time");
    }
    let shown = host.json(["show", "deaf", "--json"]);
    assert_eq!((&shown["stop_signal"], &shown["stop_timeout_ms"]), (&json!("INT"), &json!(50)));
}

#[test]
fn bad_values_are_refused_in_one_line() {
    let host = Host::start();
    for (args, code, word) in [
        (&["--watchdog", "0"][..], 64, "watchdog"),
        (&["--watchdog", "soon"], 64, "watchdog"),
        (&["--stop-signal", "NOPE"], 64, "NOPE"),
        (&["--stop-timeout", "long"], 64, "stop-timeout"),
        (&["--restart-command", " "], 64, "restart command"),
        (&["--restart-command", "nonesuch-program x"], 1, "nonesuch-program"),
    ] {
        let out = host.cmd(["new", "s"]).args(args).args(["--", "cat"]).run();
        out.expect_error(code, &[word]);
    }
    assert_eq!(host.ok(["ls", "--all", "-q"]), "");
}

/// All wait at the same gate, and end at once when it is opened; so do their later runs, without waiting.
#[test]
fn a_storm_ends_in_failed_after_as_many_runs_as_allowed_and_stays_under_one_core() {
    let host = Host::start();
    let backoff = std::env::var("TERMALIVE_TEST_STORM_BACKOFF").unwrap_or_else(|_| "1ms..20ms".to_owned());
    host.program(&["mkfifo", "gate"]).run().expect_code(0);
    let names: Vec<String> = (0..STORM).map(|n| format!("s{n}")).collect();
    for name in &names {
        let policy = ["--restart", "always", "--backoff", &backoff, "--max-restarts", "4"];
        let script = format!("echo x >>{name}; [ -p gate ] && read -r line <gate; exit 1");
        host.cmd(["new", name]).args(policy).args(["--", "sh", "-c", &script]).run().expect_code(0);
        wait_for("its first run", || (lines_of(&host, name) == 1).then_some(()));
    }
    let failed = host.cmd(["events", "-f", "--type", "failed", "--quiet"]).spawn(); // polling would be work for the host
    let pids = [host.host_pid(), host.keeper_pid()];
    let used = || pids.into_iter().map(processor_time).sum::<Duration>();
    let (begun, before) = (Instant::now(), used());
    let gate = fs::OpenOptions::new().write(true).open(host.path("gate")).unwrap();
    fs::remove_file(host.path("gate")).unwrap();
    drop(gate);
    let said = || failed.stdout_so_far().iter().filter(|byte| **byte == b'\n').count();
    wait_for("every session to have failed", || (said() == STORM).then_some(()));
    let (took, used) = (begun.elapsed(), used() - before);
    println!("{STORM} sessions, back-off {backoff}: {used:?} of host and keeper in {took:?}");
    assert!(used < took, "host and keeper took {used:?} in {took:?}: more than a core");
    assert_eq!([host.host_pid(), host.keeper_pid()], pids);
    for name in &names {
        let ended = host.wait_state(name, "failed");
        assert_eq!((&ended["run"], &ended["restarts"]), (&json!(5), &json!(4)), "{ended}");
        assert_eq!(lines_of(&host, name), 5, "{name}");
    }
}

#[test]
fn a_restart_that_waits_for_its_time_survives_hosts_and_happens_once() {
    let host = Host::start();
    let policy = ["--restart", "on-failure", "--backoff", "2s..2s"];
    let script = "echo x >>runs; [ $(wc -l <runs) -gt 1 ] && exec cat; exit 1";
    host.cmd(["new", "s"]).args(policy).args(["--", "sh", "-c", script]).run().expect_code(0);
    host.wait_state("s", "restarting");
    for _ in 0..2 {
        let generation = host.generation();
        host.kill_host();
        host.wait_next_generation(generation);
    }
    host.wait_session("s", "runs again", |s| s["run"] == 2 && s["state"] == "running");
    let generation = host.generation();
    host.kill_host();
    host.wait_next_generation(generation);
    let runs: Vec<_> = events(&host, "s", "started").iter().map(|event| event["run"].clone()).collect();
    assert_eq!((runs, lines_of(&host, "runs")), (vec![json!(1), json!(2)], 2));
    assert_eq!(events(&host, "s", "restarting").len(), 1);
}
