//! A log of which parts are gone: what reads it says so, shows the rest, and takes nothing for what it isn't.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use serde_json::Value;
use std::fs;
use support::{Host, wait_for};

/// Shows a prompt, and does what each line says.
const SHELL: &str = r#"while printf '? ' && read -r line; do eval "$line"; done"#;

/// Damages every copy of a frame: sled moves them about, and one is enough.
fn damage(host: &Host, needle: &str) {
    let file = host.state_dir().join("segments/1/db");
    host.ok(["stop", "-y"]);
    let mut bytes = fs::read(&file).unwrap();
    let places: Vec<usize> = memchr::memmem::find_iter(&bytes, needle).collect();
    assert!(!places.is_empty(), "the frame is there");
    places.into_iter().for_each(|at| bytes[at] ^= 0x10);
    fs::write(&file, bytes).unwrap();
}

/// All lines of `logs --json` with events.
fn lines(host: &Host, name: &str) -> Vec<Value> {
    host.run(["logs", name, "--json", "--events", "all", "--since", "start"]).expect_code(0).json_lines()
}

fn gap<'a>(lines: &'a [Value], reason: &str) -> &'a Value {
    lines.iter().find(|line| line["event"] == "gap" && line["reason"] == reason).expect("a gap")
}

fn turn(host: &Host, name: &str, number: &str) -> Value {
    let out = host.run(["reply", name, "--turn", number, "--json"]);
    serde_json::from_str(&out.text()).unwrap_or_else(|e| panic!("{e}: {out:?}"))
}

#[test]
fn what_stands_around_a_damaged_part_is_found_and_shown() {
    let host = Host::start();
    host.sh(
        "s",
        "printf 'one before-4k2j9x'; sleep 0.6; printf 'hurt-4k2j9x'; sleep 0.6; printf ' after-4k2j9x\\ntwo\\n'",
    );
    host.wait_state("s", "exited");
    damage(&host, "hurt-4k2j9x");
    let lines = lines(&host, "s");
    let gap = gap(&lines, "corrupt");
    let (from, to) = (gap["from_seq"].as_u64().unwrap(), gap["to_seq"].as_u64().unwrap());
    // what stood before and what stands after it are not one row
    let hits = host.json(["search", "4k2j9x", "--json"]);
    let rows: Vec<&str> = hits.as_array().unwrap().iter().filter_map(|hit| hit["row"].as_str()).collect();
    assert_eq!(rows, ["one before-4k2j9x", " after-4k2j9x"], "{hits:?}");
    host.run(["search", "before-4k2j9x.*after"]).expect_code(1);
    for format in ["asciicast-v2", "text", "jsonl", "raw"] {
        let out = host.run(["export", "s", "--format", format]).expect_code(0);
        let text = out.text();
        assert!(text.contains("before-4k2j9x") && text.contains("after-4k2j9x"), "{format}: {text}");
        assert!(out.stderr.contains("corrupt"), "{format}: said to people: {}", out.stderr);
    }
    assert!(host.ok(["export", "s"]).contains(&format!("records {from} to {to} are lost (corrupt)")));
    assert!(host.ok(["screen", "s"]).contains("two"));
    let last = format!("@{}", from - 1);
    assert_eq!(host.ok(["screen", "s", "--at", &last]), "one before-4k2j9x\n");
    host.run(["screen", "s", "--at", &format!("@{from}")]).expect_error(1, &["lost", "corrupt"]);
    assert!(host.ok(["screen", "s", "--at", &format!("@{}", to + 1)]).contains("two"));
}

#[test]
fn turns_that_retention_took_are_no_other_turns() {
    let mut host = Host::cold();
    host.set_env("TERMALIVE_CFG_LOG__KEEP_BYTES", "4MiB");
    host.sh("s", SHELL);
    assert_eq!(host.ok(["ask", "s", "echo first"]), "first\n");
    assert_eq!(host.ok(["ask", "s", "echo second"]), "second\n");
    host.ok(["send", "s", "while [ ! -e stop ]; do echo tick; sleep 0.02; done; echo over"]);
    host.sh("flood", "i=1; while [ ! -e stop ]; do seq $i $((i + 9999)); i=$((i + 10000)); done");
    let third = host.json(["turns", "s", "--json"])[2]["seq_from"].as_u64().unwrap();
    let id = host.session("s").unwrap()["id"].as_str().unwrap().to_owned();
    wait_for("retention to take three turns' beginnings", || {
        let text = fs::read_to_string(host.state_dir().join("retention.json")).unwrap_or_default();
        let taken: Value = serde_json::from_str(&text).unwrap_or_default();
        (taken["sessions"][&id]["upto"].as_u64()? > third).then_some(())
    });
    fs::write(host.path("stop"), "").unwrap();
    host.wait_text("s", "^over$");
    host.wait_state("flood", "exited");
    assert_eq!(host.ok(["ask", "s", "echo last-4k2j9x"]), "last-4k2j9x\n");
    host.ok(["stop", "-y"]); // a host has the newest records of each session in memory, too
    let lines = lines(&host, "s");
    let to = gap(&lines, "retention")["to_seq"].as_u64().unwrap();
    let turns = host.json(["turns", "s", "--json"]);
    let numbers: Vec<u64> = turns.as_array().unwrap().iter().map(|turn| turn["turn"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [4], "what is kept: {turns}");
    host.run(["reply", "s", "--turn", "1"]).expect_error(66, &["turn 1", "lost"]);
    host.run(["reply", "s", "--turn", "2"]).expect_error(66, &["turn 2", "lost"]);
    let rest = turn(&host, "s", "3");
    assert_eq!(rest["gaps"][0]["reason"], "retention", "{rest}");
    let last = turn(&host, "s", "4");
    assert_eq!((&last["reply"], &last["gaps"]), (&"last-4k2j9x".into(), &Value::Array(Vec::new())), "{last}");
    let hits = host.json(["search", "^last-4k2j9x|^first", "--json"]);
    assert_eq!(hits.as_array().unwrap().len(), 1, "{hits}");
    assert_eq!(hits[0]["turn"], 4, "{hits:?}");
    for format in ["asciicast-v2", "text", "jsonl", "raw"] {
        let text = host.ok(["export", "s", "--format", format]);
        assert!(text.contains("last-4k2j9x") && !text.contains("second"), "{format}");
    }
    assert!(host.ok(["export", "s", "--since", &format!("@{}", to + 9)]).contains("last-4k2j9x"));
    assert!(host.ok(["screen", "s"]).contains("last-4k2j9x"));
    host.run(["screen", "s", "--at", "@2"]).expect_error(1, &["lost", "retention"]);
    assert!(!host.ok(["screen", "s", "--at", &format!("@{}", to + 9)]).is_empty());
}
