//! Bits flipped and files cut anywhere in a state folder, and a whole host started on it: it starts, or says in a line why not
//! and ends. Sessions that aren't hurt are read whole, what is missing of others is named, and everything goes on.
//!
//! `STORE_TEST_DAMAGES` is how many of them, 15 by default; `STORE_TEST_SEED` repeats the random choices of a run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a failed expectation is a failed test"
)]

#[path = "store_common/mod.rs"]
mod store;
mod support;
#[allow(missing_docs, reason = "shared")]
mod tcp_common;

use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};
use store::{
    Dice,
    damage::{copy, damage},
};
use support::{Host, env_number, processes_with, wait_for};

/// Of each session: what it prints at the end of its log, and the status it ends with.
const SESSIONS: [(&str, &str, i64); 5] = [
    ("rows", "seq 1 3000", 3),
    ("noise", "i=0; while [ $i -lt 10 ]; do i=$((i+1)); head -c 140000 /dev/urandom | base64; done; echo whole", 4),
    ("short", "echo once", 5),
    ("more", "head -c 600000 /dev/urandom | base64; seq 1 500", 0),
    ("last", "echo the newest", 7),
];

fn host_on(state: &Path) -> Host {
    let mut host = Host::cold();
    host.set_env("TERMALIVE_STATE_DIR", state.to_str().unwrap());
    host.set_env("TERMALIVE_CFG_STORE__SEGMENT_BYTES", "1MiB");
    host.set_env("TERMALIVE_CFG_HTTP__LISTEN", &tcp_common::free_address().to_string());
    host
}

/// What a reader sees of a session: each event by its number, all output, where something is said to be missing.
struct Read {
    events: BTreeMap<u64, Value>,
    output: String,
    gaps: Vec<u64>,
}

fn read(host: &Host, name: &str) -> Read {
    let out = host.run(["logs", name, "--since", "start", "--json", "--raw", "--events", "all"]).expect_code(0);
    let mut read = Read { events: BTreeMap::new(), output: String::new(), gaps: Vec::new() };
    for line in out.json_lines() {
        match (line["event"].as_str(), line["seq"].as_u64()) {
            (Some("gap"), _) => read.gaps.push(line["from_seq"].as_u64().unwrap()),
            (Some("data"), _) => read.output += line["content"].as_str().unwrap(),
            (_, Some(seq)) => drop(read.events.insert(seq, line)),
            _ => {}
        }
    }
    read
}

/// A state folder with segments, closed and newest, and all that a host keeps beside them. What is in it.
fn make(state: &Path) -> BTreeMap<&'static str, Read> {
    let host = host_on(state);
    for (name, script, status) in SESSIONS {
        host.sh(name, &format!("{script}; exit {status}"));
        assert_eq!(host.wait_state(name, "exited")["exit_code"], status);
    }
    let said = SESSIONS.map(|(name, ..)| (name, read(&host, name)));
    host.ok(["stop", "-y"]);
    let segments = fs::read_dir(state.join("segments")).unwrap().count();
    assert!(segments >= 3 && state.join("token.read").exists(), "{segments} segments");
    BTreeMap::from(said)
}

/// Where it ends as it should: how many sessions are hurt. None where it said why it doesn't start.
fn check(state: &Path, said: &BTreeMap<&str, Read>, what: &str) -> Option<usize> {
    let host = host_on(state);
    let started = host.run(["start", "-d"]);
    if started.code != 0 {
        eprintln!("{what}: {}", started.stderr.trim_end());
        started.expect_error(1, &[]);
        let home = host.home();
        wait_for(&format!("{what}: its processes to end"), || {
            processes_with(home.to_str().unwrap()).is_empty().then_some(())
        });
        return None;
    }
    let list = host.json(["list", "--all", "--json"]);
    let known: BTreeMap<&str, &Value> =
        list.as_array().unwrap().iter().map(|session| (session["name"].as_str().unwrap(), session)).collect();
    let mut hurt = 0;
    for (name, _, status) in SESSIONS {
        let session = known.get(name).unwrap_or_else(|| panic!("{what}: {name} isn't known any more"));
        let (was, is) = (&said[name], read(&host, name));
        let last = was.events.last_key_value().map_or(0, |(last, _)| *last); // its end
        if is.gaps.iter().all(|from| *from > last) {
            // behind its end nothing was; a damaged `meta` can't prove it
            let same = was.events == is.events && was.output == is.output;
            assert!(same, "{what}: {name} is another one, and nothing is said to be missing");
            assert_eq!(session["exit_code"], status, "{what}: {session}");
            continue;
        }
        hurt += 1;
        for (seq, event) in &is.events {
            // behind: it was lost that the run had ended
            assert!(*seq > last || was.events.get(seq) == Some(event), "{what}: {name}: {event}");
        }
        assert!(is.output.len() <= was.output.len(), "{what}: {name}: there is more than there was");
    }
    host.ok(["new", "on", "--", "echo", "goes on"]);
    host.wait_state("on", "exited");
    assert_eq!(host.ok(["logs", "on"]), "goes on\n", "{what}");
    Some(hurt)
}

#[test]
fn a_host_starts_on_a_damaged_folder_or_says_why_not() {
    let damages = env_number("STORE_TEST_DAMAGES", 15);
    let seed = env_number("STORE_TEST_SEED", u64::from(std::process::id()));
    eprintln!("STORE_TEST_SEED={seed}");
    let dir = tempfile::Builder::new().prefix("tg").tempdir().unwrap();
    let (pristine, state) = (dir.path().join("pristine"), dir.path().join("state"));
    let said = make(&pristine);
    let mut dice = Dice(seed);
    let (mut hurt, mut refused) = (0, 0);
    for n in 0..damages {
        copy(&pristine, &state);
        let (done, one_bit) = damage(&state, 2, &mut dice);
        let what = format!("seed {seed}, damage {n}, {done}");
        match check(&state, &said, &what) {
            Some(sessions) => {
                assert!(!one_bit || sessions <= 1, "{what}: one bit has hurt {sessions} sessions");
                hurt += usize::from(sessions > 0);
            }
            None => refused += 1,
        }
        fs::remove_dir_all(&state).unwrap();
    }
    eprintln!("{damages} damages: in {hurt} records were lost, and said to be; {refused} times the host said why not");
}
