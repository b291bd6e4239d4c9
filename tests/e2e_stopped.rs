//! A follower that is stopped while a flood goes on: the session, other followers and other commands go on, memory stays
//! bounded, and when it runs again it gets every byte.
//!
//! `TERMALIVE_TEST_STOPPED_MB` is how much passes meanwhile, 48 by default. Memory is judged on the binary that users get,
//! `TERMALIVE_BIN`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use rustix::process::Signal;
use std::{fs, time::Duration};
use support::{Host, Pattern, env_number, peak_memory_kib, send_signal};

const PATTERN_BYTES: usize = 1024 * 1024;
const FLOOD: &str = "stty raw -echo; while [ ! -e stop ]; do cat pattern; done";
/// Answers each line once.
const ANSWERS: &str = "stty -echo; echo up; while read -r line; do echo \"got $line\"; done";
/// Far more than pipes, sockets and one host's buffers hold.
const STEP: u64 = 8 * 1024 * 1024;
/// What following a flood may add to the host's memory at its peak, KiB: pages of the store in its cache.
const HOST_KIB: u64 = 120 * 1024;

#[test]
fn a_stopped_follower_slows_nobody_and_misses_nothing() {
    let steps = (env_number("TERMALIVE_TEST_STOPPED_MB", 48) * 1024 * 1024).div_ceil(STEP);
    let host = Host::start();
    let pattern = Pattern::write_to(&host.path("pattern"), PATTERN_BYTES, 23);
    host.sh("flood", FLOOD);
    host.sh("other", ANSWERS);
    host.wait_text("other", "^up$");
    let follow = || pattern.check_beside(host.cmd(["logs", "flood", "--raw", "-f", "--since", "start"]).spawn_piped());
    let (stopped, other) = (follow(), follow());
    stopped.wait_for_more(STEP);
    send_signal(stopped.pid(), Signal::STOP);
    let seen = stopped.seen();
    for n in 1..=steps {
        other.wait_for_more(STEP);
        assert_eq!(host.ok(["list", "-q"]).lines().count(), 2);
        host.ok(["send", "other", &format!("question {n}")]);
        host.ok(["logs", "other", "--until", &format!("^got question {n}$"), "--timeout", "30s"]);
    }
    assert!(stopped.seen() < seen + STEP, "it was stopped");
    let peak = peak_memory_kib(host.host_pid());
    let shipped = std::env::var_os("TERMALIVE_BIN").is_some();
    assert!(!shipped || peak < HOST_KIB, "{peak} KiB at most resident, more than {HOST_KIB}");
    send_signal(stopped.pid(), Signal::CONT);
    fs::write(host.path("stop"), "").unwrap();
    host.wait_state("flood", "exited");
    let whole = other.finish();
    while stopped.seen() < whole {
        stopped.wait_for_more(1); // it has much to catch up with, but it goes on
    }
    assert_eq!(stopped.finish(), whole, "every byte, as the one that ran all along");
    let out = host.cmd(["logs", "flood", "--raw"]).bound(Duration::from_secs(300)).run().expect_code(0);
    assert_eq!(pattern.check(&out.stdout[..]), whole, "and as in the log");
}
