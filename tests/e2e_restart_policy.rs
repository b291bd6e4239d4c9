//! `--restart`: back-off and limit, judged by what stands in the log, not by a clock.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use serde_json::json;
use support::{Host, wait_for};

/// Fails so many times, then stays.
fn fails(times: u32) -> String {
    format!(
        "n=$(cat count 2>/dev/null || echo 0); echo $((n+1)) >count; echo run $n; [ $n -lt {times} ] && exit 1; exec cat"
    )
}

#[test]
fn it_comes_back_with_growing_delays() {
    let host = Host::start();
    host.ok(["new", "s", "--restart", "on-failure", "--backoff", "50ms..10s", "--", "sh", "-c", &fails(3)]);
    host.wait_row("s", "run 3");
    let session = host.session("s").unwrap();
    assert_eq!((&session["state"], &session["run"], &session["restarts"]), (&json!("running"), &json!(4), &json!(3)));
    let delays = delays(&host, "s");
    assert_eq!(delays.len(), 3, "{delays:?}");
    assert!(delays[2] > delays[0], "growing, jitter aside: {delays:?}");
    assert_eq!(host.ok(["logs", "s", "--since", "start"]), "run 0\nrun 1\nrun 2\nrun 3\n");
}

#[test]
fn over_the_limit_it_is_failed_and_said() {
    let host = Host::start();
    let args =
        ["new", "s", "--restart", "on-failure", "--backoff", "20ms..50ms", "--max-restarts", "2", "--within", "10m"];
    host.cmd(args).args(["--", "sh", "-c", "echo up; exit 1"]).run().expect_code(0);
    let session = host.wait_state("s", "failed");
    assert_eq!((&session["restarts"], &session["exit_code"]), (&json!(2), &json!(1)));
    assert!(session["reason"].as_str().is_some_and(|reason| reason.contains('2')), "why: {session}");
    assert_eq!(host.ok(["ls", "-q"]), "");
    assert!(host.ok(["ls", "--all"]).contains("failed"));
    host.ok(["restart", "s"]);
    host.wait_session("s", "a person may start it again", |s| s["run"].as_u64() >= Some(4));
}

#[test]
fn a_policy_restarts_what_it_names() {
    let host = Host::start();
    for (name, policy, code, runs) in [
        ("never", "never", 1, 1),
        ("done", "on-failure", 0, 1),
        ("always", "always", 0, 3),
        ("failure", "on-failure", 1, 3),
    ] {
        let script = format!("exit {code}");
        let args = ["new", name, "--restart", policy, "--backoff", "20ms..20ms", "--max-restarts", "2"];
        host.cmd(args).args(["--", "sh", "-c", &script]).run().expect_code(0);
        let ended = host.wait_session(name, "ended for good", |s| s["state"] == "exited" || s["state"] == "failed");
        assert_eq!(ended["run"], runs, "{name}: {ended}");
    }
}

#[test]
fn kill_is_final() {
    let host = Host::start();
    host.ok(["new", "live", "--restart", "always", "--", "cat"]);
    host.ok(["new", "waits", "--restart", "always", "--backoff", "1h..1h", "--", "false"]);
    host.wait_state("waits", "restarting");
    host.ok(["kill", "live", "waits"]);
    for name in ["live", "waits"] {
        let session = host.session(name).unwrap();
        assert_eq!((&session["state"], &session["run"]), (&json!("exited"), &json!(1)), "{session}");
    }
}

#[test]
fn a_policy_survives_the_host() {
    let host = Host::start();
    host.ok(["new", "s", "--restart", "always", "--backoff", "20ms..20ms", "--max-restarts", "1000", "--", "cat"]);
    host.ok(["new", "waits", "--restart", "always", "--backoff", "2s..2s", "--", "sh", "-c", "echo up; exit 1"]);
    host.wait_state("waits", "restarting");
    let generation = host.generation();
    host.kill_host();
    host.wait_next_generation(generation);
    let pid = host.session("s").unwrap()["pid"].as_u64().unwrap();
    support::kill_hard(u32::try_from(pid).unwrap());
    host.wait_session("s", "runs again", |s| s["run"] == 2 && s["state"] == "running");
    wait_for("the back-off that was begun to be kept", || (host.session("waits")?["run"].as_u64()? >= 2).then_some(()));
}

/// The delays of the `restarting` events, in milliseconds.
fn delays(host: &Host, name: &str) -> Vec<f64> {
    let lines = host.run(["logs", name, "--since", "start", "--json", "--events", "all"]).expect_code(0).json_lines();
    lines.iter().filter(|line| line["event"] == "restarting").map(|line| line["after_ms"].as_f64().unwrap()).collect()
}
