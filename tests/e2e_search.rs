//! `search`: what is in any log is found, and nothing else is read.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use serde_json::{Value, json};
use std::fs;
use support::{Host, wait_for};

fn hits(host: &Host, args: &[&str]) -> Vec<Value> {
    serde_json::from_str(&host.cmd(["search", "--json"]).args(args).run().expect_code(0).text()).unwrap()
}

fn rows(hits: &[Value]) -> Vec<(&str, &str)> {
    hits.iter().map(|hit| (hit["session"].as_str().unwrap(), hit["row"].as_str().unwrap())).collect()
}

/// The example of the documentation: read last week's transcript, and look for something in it.
#[test]
fn last_weeks_transcript_is_read_and_searched() {
    let host = Host::start();
    host.ok(["new", "planner", "--", "cat"]);
    for text in ["plan the import", "the plan is done"] {
        host.ok(["send", "planner", text]);
        host.wait_row("planner", text);
    }
    host.ok(["kill", "planner"]);
    host.ok(["stop", "-y"]);
    let transcript = host.ok(["export", "planner", "-f", "text", "--since", "7d"]);
    let found = hits(&host, &["plan", "--since", "7d"]);
    let with_plan: Vec<_> = transcript.lines().filter(|line| line.contains("plan")).collect();
    assert_eq!(found.iter().map(|hit| hit["row"].as_str().unwrap()).collect::<Vec<_>>(), with_plan);
    for hit in &found {
        let from = host.ok(["logs", "planner", "--since", hit["seq"].as_str().unwrap()]);
        assert_eq!(from.lines().next(), hit["row"].as_str(), "a hit's place is where its row begins");
    }
    host.run(["search", "plan", "--since", "0s"]).expect_code(1);
    assert_eq!(host.run(["search", "no such thing"]).expect_code(1).text(), "");
    assert_eq!(host.run(["search", "no such thing", "--json"]).expect_code(1).text(), "[]\n");
    let bad = host.run(["search", "plan", "nobody", "--json"]).expect_code(66);
    assert_eq!(bad.text(), "", "an error leaves stdout empty");
}

#[test]
fn hits_say_where_they_are() {
    let host = Host::start();
    host.sh("one", r"echo alpha; printf 'nee\033[1mdle\033[0m in colours\n'; echo omega; read x; echo needle again");
    host.wait_row("one", "omega");
    host.ok(["send", "one", "go needle"]);
    host.wait_state("one", "exited");
    host.ok(["restart", "one"]);
    host.wait_session("one", "a second run", |s| s["run"] == 2);
    host.wait_text("one", "omega");
    host.sh("two", "printf 'a needle, not final'; exec sleep 1000");
    host.wait_text("two", "not final");

    let found = hits(&host, &["needle", "-C", "1"]);
    assert_eq!(
        rows(&found),
        [
            ("one", "needle in colours"),
            ("one", "go needle"),
            ("one", "needle again"),
            ("one", "needle in colours"),
            ("two", "a needle, not final"),
        ]
    );
    assert_eq!((&found[0]["before"], &found[0]["after"]), (&json!(["alpha"]), &json!(["omega"])));
    let field = |name: &str| found.iter().map(|hit| hit[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("run"), [1, 1, 1, 2, 1].map(|n| json!(n)));
    assert_eq!(field("turn"), [json!(null), json!(1), json!(1), json!(1), json!(null)]);
    assert_eq!(found[0]["id"], host.session("one").unwrap()["id"]);
    assert!(found.iter().all(|hit| hit["ts"].as_str().unwrap().ends_with('Z')));

    assert_eq!(rows(&hits(&host, &["^a needle", "two", "one"])), [("two", "a needle, not final")]);
    assert_eq!(rows(&hits(&host, &["needle", "--in", "input"])), [("one", "go needle")]);
    assert_eq!(host.ok(["search", "-q", "needle"]), "one\ntwo\n");
    let text = host.ok(["search", "colours", "one"]);
    assert!(text.lines().all(|line| line.ends_with(": needle in colours")), "{text}");
    let begins: Vec<String> = text.lines().map(|line| line.split(" 20").next().unwrap().to_owned()).collect();
    assert_eq!(begins, ["one run 1", "one run 2 turn 1"], "{text}");
    host.run(["search", "a(b"]).expect_error(64, &["a(b", "character 2"]);
    host.run(["search", "x", "nobody"]).expect_error(66, &["nobody"]);
    host.run(["search", "x", "--since", "yesterday"]).expect_error(64, &["yesterday", "7d"]);
    host.run(["search", "x", "-C", "101"]).expect_error(64, &["101"]);
}

/// A segment that can't be opened is put aside when it is: so it is seen who opens it.
#[test]
fn what_is_stored_elsewhere_is_not_read() {
    let host = Host::cold();
    host.ok(["start", "-d", "--set", "store.segment_bytes=256KiB"]);
    host.sh("old", "head -c 3000000 /dev/urandom | base64; echo the end");
    host.wait_state("old", "exited");
    host.sh("late", "echo a needle; exec sleep 1000");
    host.wait_text("late", "needle");
    let segments = host.state_dir().join("segments");
    let several = || fs::read_dir(&segments).unwrap().count() > 4;
    wait_for("several segments", || several().then_some(()));
    host.ok(["stop", "-y"]);
    fs::rename(segments.join("1/db"), segments.join("1/db.away")).unwrap();
    host.ok(["start", "-d", "--set", "store.segment_bytes=256KiB"]);
    let is_put_aside =
        || fs::read_dir(host.state_dir().join("quarantine")).is_ok_and(|mut there| there.next().is_some());

    assert_eq!(rows(&hits(&host, &["needle", "late"])), [("late", "a needle")]);
    host.run(["search", "never", "--since", "0s"]).expect_code(1);
    assert!(!is_put_aside(), "a log that isn't asked for, and what is too old, isn't read");
    assert_eq!(rows(&hits(&host, &["^the end$|a needle"])), [("late", "a needle"), ("old", "the end")]);
    assert!(is_put_aside(), "the whole of a log is");
}

#[test]
fn a_search_is_for_who_waits_for_it() {
    let host = Host::start();
    host.sh("big", "seq 1 300000 | sed 's/$/ some words that make a row/'");
    host.wait_state("big", "exited");
    let mut reader = host.cmd(["search", "row"]).spawn_piped();
    let mut first = [0; 64];
    std::io::Read::read_exact(reader.stdout.as_mut().unwrap(), &mut first).unwrap();
    assert!(first.starts_with(b"big run 1 20"));
    drop(reader.stdout.take()); // the reader goes
    assert_eq!(reader.wait().unwrap().code(), Some(0));
    assert_eq!(hits(&host, &["^299999 some"]).len(), 1);
}

/// What the host has done for searches: how many are under way, how many bytes of logs were read.
fn searches(host: &Host, socket: &str) -> (u64, u64) {
    let curl = host.program(&["curl", "-sS", "--unix-socket", socket, "http://localhost/metrics"]);
    let metrics = curl.run().expect_code(0).text();
    let number = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse::<f64>().unwrap() as u64
    };
    (number("termalive_searches"), number("termalive_search_read_bytes_total"))
}

#[test]
fn a_search_stops_when_its_client_leaves() {
    let host = Host::start();
    host.sh("big", "seq 1 300000 | sed 's/$/ some words that make a row/'");
    host.wait_state("big", "exited");
    let bytes = host.run(["logs", "big", "--raw"]).stdout.len() as u64;
    let socket = host.status().unwrap()["socket"].as_str().unwrap().to_owned();
    // nothing is found, so that nothing has to be read of the answer: the host goes on by itself
    let times = 60;
    let url = format!("http://localhost/v1/search?re=%5Enever{}", "&session=big".repeat(times as usize));
    let mut client = host.program(&["curl", "-sS", "--unix-socket", &socket, &url]).spawn();
    wait_for("the search to be under way", || (searches(&host, &socket).1 > 0).then_some(()));
    assert!(client.is_running(), "it has all before it");
    client.signal(rustix::process::Signal::KILL);
    assert_eq!(client.wait().code, 137);
    wait_for("the search to end", || (searches(&host, &socket).0 == 0).then_some(()));
    let (_, read) = searches(&host, &socket);
    assert!(read < times * bytes / 2, "{read} bytes were read of {bytes}, {times} times");
    assert_eq!(searches(&host, &socket), (0, read), "and nothing more is");
}
