//! `events`: how sessions stand, then what happens, also over a crash of the host.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use serde_json::Value;
use std::collections::HashSet;
use support::{Host, Running, wait_for};

fn lines(running: &Running) -> Vec<Value> {
    let text = String::from_utf8_lossy(&running.stdout_so_far()).into_owned();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn events(lines: &[Value], session: &str) -> Vec<String> {
    let of = lines.iter().filter(|line| line["session"] == session);
    of.map(|line| line["event"].as_str().unwrap().to_owned()).collect()
}

fn wait_events(running: &Running, session: &str, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} events of {session}"), || {
        Some(lines(running)).filter(|lines| events(lines, session).len() >= count)
    })
}

#[test]
fn levels_come_first_then_changes() {
    let host = Host::start();
    host.ok(["new", "a", "--", "cat"]);
    host.sh("over", "exit 3");
    host.wait_state("over", "exited");
    let levels = host.run(["events", "--json"]).expect_code(0).json_lines();
    assert_eq!(levels.len(), 2);
    assert_eq!((levels[0]["event"].as_str(), levels[0]["state"].as_str()), (Some("session"), Some("running")));
    assert_eq!((levels[1]["state"].as_str(), levels[1]["info"]["exit_code"].as_u64()), (Some("exited"), Some(3)));
    assert!(levels.iter().all(|line| line["id"].is_string() && line["seq"].is_u64() && line["session_id"].is_string()));

    let watching = host.cmd(["events", "-f", "--json"]).spawn();
    wait_events(&watching, "over", 1);
    host.ok(["new", "b", "--", "sh", "-c", "read x; exit 4"]);
    host.ok(["resize", "b", "100x30"]);
    host.ok(["send", "b", "go"]);
    host.wait_state("b", "exited");
    host.ok(["rm", "b"]);
    let seen = wait_events(&watching, "b", 7);
    assert_eq!(events(&seen, "b"), ["created", "starting", "started", "resized", "turn", "exited", "removed"]);
    assert_eq!(events(&seen, "a"), ["session"]);
    let ids: HashSet<String> = seen[2..].iter().map(|line| line["id"].to_string()).collect();
    assert_eq!(ids.len(), seen.len() - 2, "each change has an id of its own");
    let exited = seen.iter().find(|line| line["event"] == "exited").unwrap();
    assert_eq!((exited["exit_code"].as_u64(), exited["last"].as_bool()), (Some(4), Some(true)));

    let since = seen.iter().find(|line| line["event"] == "turn").unwrap()["id"].as_str().unwrap().to_owned();
    let rest = host.run(["events", "--json", "--since", &since]).expect_code(0).json_lines();
    assert_eq!(events(&rest, "b"), ["exited", "removed"]);
    assert_eq!(rest.len(), 2, "no levels when nothing was missed");
    let some = host.run(["events", "--json", "--since", &since, "--type", "removed,turn"]).expect_code(0).json_lines();
    assert_eq!(events(&some, "b"), ["removed"]);
    let again = host.run(["events", "--json", "--since", "0-77"]).expect_code(0).json_lines();
    assert_eq!(again.iter().map(|line| line["event"].as_str().unwrap()).collect::<Vec<_>>(), ["session", "session"]);
    host.run(["events", "--type", "exitd"]).expect_error(64, &["exitd", "exited"]);
    let text = host.ok(["events"]);
    assert!(text.contains(" a is running run=1 cat"), "{text}");
}

#[test]
fn a_policy_that_gives_up_is_told() {
    let host = Host::start();
    host.ok(["new", "a", "--", "cat"]);
    let watching = host.cmd(["events", "-f", "--json"]).spawn();
    wait_events(&watching, "a", 1);
    host.ok(["new", "f", "--restart", "always", "--max-restarts", "1", "--backoff", "10ms..10ms", "--", "false"]);
    let seen = wait_for("failed", || {
        Some(lines(&watching)).filter(|lines| events(lines, "f").iter().any(|event| event == "failed"))
    });
    let run = ["starting", "started", "exited"];
    let expected: Vec<_> = [&["created"][..], &run, &["restarting"], &run, &["failed"]].concat();
    assert_eq!(events(&seen, "f"), expected);
    assert!(seen.last().unwrap()["reason"].as_str().unwrap().contains("given up"));
}

#[test]
fn a_crash_of_the_host_brings_levels_again() {
    let host = Host::start();
    host.ok(["new", "a", "--", "cat"]);
    let watching = host.cmd(["events", "-f", "--json"]).spawn();
    wait_events(&watching, "a", 1);
    let generation = host.generation();
    host.kill_host();
    host.wait_next_generation(generation);
    let seen = wait_events(&watching, "a", 2);
    assert_eq!(events(&seen, "a"), ["session", "session"]);
    assert_ne!(seen[0]["id"], seen[1]["id"]);
    host.ok(["kill", "a"]);
    assert_eq!(events(&wait_events(&watching, "a", 3), "a")[2], "exited");
}
