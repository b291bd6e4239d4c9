//! `--watchdog`: who is at work and silent is restarted, who waits for somebody never is. Judged by what stands in the log.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use serde_json::{Value, json};
use std::fs;
use support::{Host, wait_for};

/// Reads lines at a prompt: hangs, works for a while, asks, or answers.
const AGENT: &str = r#"
printf '> '
while read -r line; do
    case $line in
        hang) sleep 1000 ;;
        work) for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 0.25; echo "step $n"; done ;;
        ask) printf 'Really? '; read -r answer; echo "you said $answer" ;;
        *) echo "got $line" ;;
    esac
    printf '> '
done"#;

fn agent(host: &Host, name: &str, args: &[&str]) {
    host.cmd(["new", name, "--backoff", "20ms..20ms", "--max-restarts", "100"])
        .args(["--restart", "on-failure"])
        .args(args)
        .args(["--", "sh", "-c", AGENT])
        .run()
        .expect_code(0);
    host.wait_text(name, "^> ");
}

fn hang(host: &Host, name: &str, next_run: u32) {
    host.ok(["send", name, "hang"]);
    host.wait_session(name, "was restarted", |s| s["run"] == next_run && s["state"] == "running");
    host.ok(["logs", name, "--until", "^> $", "--timeout", "50s"]);
}

fn history(host: &Host, name: &str) -> Vec<Value> {
    let lines = host.run(["logs", name, "--since", "start", "--json", "--events", "all"]).expect_code(0).json_lines();
    let told = ["hung", "exited", "restarting", "started"];
    lines.into_iter().filter(|line| told.iter().any(|word| line["event"] == *word)).collect()
}

#[test]
fn who_hangs_is_restarted_and_who_waits_is_not() {
    let host = Host::start();
    for name in ["hangs", "fresh", "answered", "asks", "byhand"] {
        agent(&host, name, &["--watchdog", "600ms"]);
    }
    host.ok(["ask", "answered", "hello"]);
    host.ok(["send", "asks", "ask"]);
    host.wait_text("asks", "^Really\\? ");
    host.cmd(["send", "byhand", "--no-submit", "hang"]).run().expect_code(0);
    host.ok(["send", "byhand", "--keys", "enter"]);
    let watching = host.cmd(["events", "-f", "--type", "hung", "--json"]).spawn();
    for run in 2..5 {
        hang(&host, "hangs", run);
    }
    for name in ["fresh", "answered", "asks", "byhand"] {
        let session = host.session(name).unwrap();
        assert_eq!((&session["state"], &session["run"]), (&json!("running"), &json!(1)), "{name}: {session}");
    }
    let history = history(&host, "hangs");
    let words: Vec<_> = history.iter().map(|line| line["event"].as_str().unwrap()).collect();
    let round = ["started", "hung", "exited", "restarting"];
    assert_eq!(words, [&round[..], &round, &round, &["started"]].concat(), "{history:?}");
    assert!(history[1]["quiet_ms"].as_u64() >= Some(600), "{}", history[1]);
    let changes = wait_for("three changes", || {
        let text = String::from_utf8(watching.stdout_so_far()).unwrap();
        Some(text).filter(|text| text.matches('\n').count() == 3)
    });
    for (line, run) in changes.lines().zip(1..) {
        let change: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&change["event"], &change["session"], &change["run"]),
            (&json!("hung"), &json!("hangs"), &json!(run))
        );
    }
    let shown = host.json(["show", "hangs", "--json"]);
    assert_eq!((&shown["watchdog_ms"], &shown["restarts"]), (&json!(600), &json!(3)));
}

#[test]
fn output_is_progress() {
    let host = Host::start();
    agent(&host, "s", &["--watchdog", "2500ms"]); // the work takes longer, and is never silent for so long
    host.ok(["send", "s", "work"]);
    host.ok(["logs", "s", "--until-line", "step 12", "--timeout", "50s"]);
    assert_eq!(host.session("s").unwrap()["run"], 1);
    hang(&host, "s", 2);
}

#[test]
fn it_goes_on_under_the_next_host() {
    let host = Host::start();
    agent(&host, "s", &["--watchdog", "2s"]);
    host.ok(["send", "s", "hang"]);
    let generation = host.generation();
    host.kill_host();
    host.wait_next_generation(generation);
    assert_eq!(history(&host, "s").len(), 1, "the host was killed first");
    host.wait_session("s", "was restarted", |s| s["run"] == 2 && s["state"] == "running");
}

#[test]
fn a_program_that_ends_gracefully_when_it_is_asked_has_failed_all_the_same() {
    let host = Host::start();
    let script = "trap 'exit 0' HUP; printf '> '; read -r line; while :; do sleep 0.05; done";
    let policy = ["--watchdog", "300ms", "--restart", "on-failure", "--backoff", "20ms..20ms"];
    host.cmd(["new", "s"]).args(policy).args(["--", "sh", "-c", script]).run().expect_code(0);
    host.wait_text("s", "^> ");
    host.ok(["send", "s", "go"]);
    host.wait_session("s", "was restarted", |s| s["run"] == 2 && s["state"] == "running");
    let exited = history(&host, "s").into_iter().find(|line| line["event"] == "exited").unwrap();
    assert_eq!((&exited["exit_code"], &exited["last"]), (&json!(0), &json!(false)));
}

#[test]
fn without_a_policy_it_restarts_and_with_never_it_ends_and_says_why() {
    let host = Host::start();
    let quick = ["--backoff", "20ms..20ms", "--max-restarts", "3", "--within", "1h"];
    host.cmd(["new", "alone", "--watchdog", "300ms"]).args(quick).args(["--", "sh", "-c", AGENT]).run().expect_code(0);
    let file = format!("[sessions.fleet]\nargv = [\"sh\", \"-c\", '''{AGENT}''']\nwatchdog = \"300ms\"\n");
    fs::write(host.path("team.toml"), file).unwrap();
    host.ok(["up", "team.toml"]);
    host.cmd(["new", "never", "--watchdog", "300ms", "--restart", "never", "--", "sh", "-c", AGENT])
        .run()
        .expect_code(0);
    for name in ["alone", "never", "fleet"] {
        host.wait_text(name, "^> ");
        host.ok(["send", name, "hang"]);
    }
    for name in ["alone", "fleet"] {
        host.wait_session(name, "was restarted", |s| s["run"] == 2 && s["state"] == "running");
    }
    let ended = host.wait_state("never", "failed");
    assert!(ended["reason"].as_str().unwrap().contains("watchdog"), "{ended}");
    let generation = host.generation();
    host.kill_host();
    host.wait_next_generation(generation);
    assert_eq!(host.session("never").unwrap()["reason"], ended["reason"], "said by later hosts, too");
}
