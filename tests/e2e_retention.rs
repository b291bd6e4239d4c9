//! A limit on the log while sessions are busy: the folder stays small, the memory flat, readers see what went, and nothing
//! else is missing.
//!
//! `TERMALIVE_TEST_RETENTION_MINUTES`: how long, 0 (until every session has lost something) by default;
//! `TERMALIVE_TEST_RETENTION_MIB`: the limit, 8 by default; `TERMALIVE_TEST_RETENTION_SESSIONS`: 20 by default.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use support::{Host, env_number, wait_for};

/// More than this, and memory grows with the log; bytes resident.
const HOST_BYTES: u64 = 300 * 1024 * 1024;

fn folder_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => folder_bytes(&entry.path()),
        _ => entry.metadata().map_or(0, |m| m.len()), // it may be gone just now
    };
    entries.map(bytes).sum()
}

fn resident(pid: u32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// How many sessions have lost something.
fn losers(state: &Path) -> usize {
    let text = fs::read_to_string(state.join("retention.json")).unwrap_or_default();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    file["sessions"].as_object().map_or(0, serde_json::Map::len)
}

#[test]
fn a_limit_is_kept_while_sessions_are_busy() {
    let minutes = env_number("TERMALIVE_TEST_RETENTION_MINUTES", 0);
    let limit = env_number("TERMALIVE_TEST_RETENTION_MIB", 8) * 1024 * 1024;
    let sessions = env_number("TERMALIVE_TEST_RETENTION_SESSIONS", 20);
    let mut host = Host::cold();
    host.set_env("TERMALIVE_CFG_LOG__KEEP_BYTES", &limit.to_string());
    let script = "i=1; while [ ! -e stop ]; do seq $i $((i + 9999)); i=$((i + 10000)); done; echo end";
    for n in 0..sessions {
        host.sh(&format!("s{n}"), script);
    }
    let (state, pid) = (host.state_dir(), host.host_pid());
    let ballast = fs::metadata(state.join("ballast")).map_or(0, |m| m.len());
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let (mut worst, mut peak) = (0, 0);
    wait_for_long(minutes, || {
        worst = worst.max(folder_bytes(&state).saturating_sub(ballast));
        peak = peak.max(resident(pid));
        Instant::now() >= until && losers(&state) as u64 == sessions
    });
    fs::write(host.path("stop"), "").unwrap();
    for n in 0..sessions {
        host.wait_state(&format!("s{n}"), "exited");
    }
    worst = worst.max(folder_bytes(&state).saturating_sub(ballast));
    assert!(worst < 2 * limit, "{worst} bytes in the folder, the limit is {limit}");
    assert!(peak < HOST_BYTES, "{peak} bytes resident");
    for n in 0..sessions {
        let name = format!("s{n}");
        let out = host.run(["logs", &name, "--json", "--since", "start"]).expect_code(0);
        let lines = out.json_lines();
        let gaps: Vec<_> = lines.iter().filter(|line| line["event"] == "gap").collect();
        assert_eq!(gaps.len(), 1, "{name}: {gaps:?}");
        assert_eq!((&gaps[0]["reason"], &gaps[0]["from_seq"]), (&"retention".into(), &1.into()), "{name}");
        let text: String = lines.iter().filter_map(|line| line["content"].as_str()).collect();
        let rows: Vec<&str> = text.lines().skip(1).collect(); // the first one begins in what went
        assert_eq!(rows.last(), Some(&"end"), "{name}");
        let numbers: Vec<u64> = rows[..rows.len() - 1].iter().map(|row| row.parse().expect("a number")).collect();
        assert!(!numbers.is_empty() && numbers.is_sorted_by(|a, b| a + 1 == *b), "{name}: a row is missing");
    }
    host.ok(["log", "verify"]);
}

/// As `wait_for`, for as long as was asked.
fn wait_for_long(minutes: u64, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60 * minutes) {
        if holds() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    wait_for("every session to lose something", || holds().then_some(()));
}
