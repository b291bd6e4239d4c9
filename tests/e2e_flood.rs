//! A flood: every byte in order, live, from the log and after restarts of the host, in little memory.
//!
//! `TERMALIVE_TEST_FLOOD_MB` is its size, 64 by default. Memory is judged on the binary that users get, `TERMALIVE_BIN`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use std::{fs, path::Path, time::Duration};
use support::{Host, Pattern, env_number, peak_memory_kib, wait_for};

const PATTERN_BYTES: usize = 8 * 1024 * 1024;
const HOST_KIB: u64 = 120 * 1024;
const KEEPER_KIB: u64 = 8 * 1024;

#[test]
fn a_flood_is_whole_everywhere() {
    let times = env_number("TERMALIVE_TEST_FLOOD_MB", 64).div_ceil(8);
    let host = Host::start();
    let pattern = Pattern::write_to(&host.path("pattern"), PATTERN_BYTES, 7);
    let script = format!(
        "stty raw -echo; while [ ! -e go ]; do sleep 0.01; done; for i in $(seq {times}); do cat pattern; done"
    );
    host.sh("flood", &script);
    let follower = pattern.check_beside(host.cmd(["logs", "flood", "--raw", "-f"]).spawn_piped());
    fs::write(host.path("go"), "").unwrap();
    let whole = times * PATTERN_BYTES as u64;
    while follower.seen() < whole {
        follower.wait_for_more(1); // it may take minutes, but it goes on
    }
    assert_eq!(follower.finish(), whole, "live");
    host.wait_state("flood", "exited");
    let peaks = [("host", host.host_pid(), HOST_KIB), ("keeper", host.keeper_pid(), KEEPER_KIB)];
    let shipped = std::env::var_os("TERMALIVE_BIN").is_some();
    for (name, pid, bound) in peaks {
        let peak = peak_memory_kib(pid);
        assert!(!shipped || peak < bound, "{name}: {peak} KiB at most resident, more than {bound}");
    }
    assert_eq!(from_the_log(&host, &pattern), whole, "from the log");
    let generation = host.generation();
    host.kill_host();
    host.wait_next_generation(generation);
    assert_eq!(from_the_log(&host, &pattern), whole, "after a crash of the host");
    let state = host.state_dir();
    host.ok(["stop", "-y"]);
    wait_for("the host to be gone", || host.status().is_none().then_some(()));
    assert_eq!(from_the_log(&host, &pattern), whole, "from a new host");
    assert_eq!(blobs_under(&state), Vec::<String>::new(), "sled's blobs are never synced: there must be none");
}

/// Checks `logs --raw`; its length.
fn from_the_log(host: &Host, pattern: &Pattern) -> u64 {
    let out = host.cmd(["logs", "flood", "--raw"]).bound(Duration::from_secs(300)).run().expect_code(0);
    pattern.check(&out.stdout[..])
}

fn blobs_under(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        if path.file_name().is_some_and(|name| name == "blobs") {
            found.extend(fs::read_dir(&path).unwrap().map(|blob| blob.unwrap().path().display().to_string()));
        } else {
            found.extend(blobs_under(&path));
        }
    }
    found
}
