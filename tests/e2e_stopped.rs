//! A follower that is stopped while a flood goes on: the session, other followers and other commands go on as fast as before,
//! memory stays bounded, and when it runs again it gets every byte.
//!
//! `TERMALIVE_TEST_STOPPED_MB` is how much passes meanwhile, 48 by default, `TERMALIVE_TEST_STOPPED_SECONDS` how long it lasts
//! at least. Memory is judged on the binary that users get, `TERMALIVE_BIN`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use rustix::process::Signal;
use std::{
    fs,
    time::{Duration, Instant},
};
use support::{Follower, Host, Pattern, env_number, memory_kib, peak_memory_kib, send_signal};

const PATTERN_BYTES: usize = 1024 * 1024;
const FLOOD: &str = "stty raw -echo; while [ ! -e stop ]; do cat pattern; done";
/// Answers each line once.
const ANSWERS: &str = "stty -echo; echo up; while read -r line; do echo \"got $line\"; done";
/// Far more than pipes, sockets and one host's buffers hold.
const STEP: u64 = 8 * 1024 * 1024;
/// What following a flood may add to the host's memory at its peak, KiB: pages of the store in its cache.
const HOST_KIB: u64 = 120 * 1024;
/// How much passes before, with which the rest is compared.
const FREE_STEPS: u64 = 3;
/// A flood, or its reader, that is slower than one part of so many of what it was before is slowed.
const SLOWED: f64 = 4.0;

/// What the host has read from programs, bytes.
fn read_bytes(host: &Host) -> u64 {
    let socket = host.status().unwrap()["socket"].as_str().unwrap().to_owned();
    let curl = host.program(&["curl", "-sS", "--unix-socket", &socket, "http://localhost/metrics"]);
    let metrics = curl.run().expect_code(0).text();
    let number = metrics.lines().find_map(|line| line.strip_prefix("termalive_read_bytes_total "));
    number.unwrap_or_else(|| panic!("no number in {metrics}")).parse::<f64>().unwrap() as u64
}

/// What happens while the flood goes on: its reader gets on, and others ask and are answered. For so many steps and so long.
/// MB a second of the flood, and of its reader.
fn meanwhile(host: &Host, reader: &Follower, steps: u64, time: Duration) -> [f64; 2] {
    let (begin, read, seen) = (Instant::now(), read_bytes(host), reader.seen());
    for n in 1.. {
        reader.wait_for_more(STEP);
        assert_eq!(host.ok(["list", "-q"]).lines().count(), 2);
        host.ok(["send", "other", &format!("question {n}")]);
        host.ok(["logs", "other", "--until", &format!("^got question {n}$"), "--timeout", "30s"]);
        if n >= steps && begin.elapsed() >= time {
            break;
        }
    }
    let mb = |bytes: u64| bytes as f64 / 1e6 / begin.elapsed().as_secs_f64();
    [mb(read_bytes(host) - read), mb(reader.seen() - seen)]
}

#[test]
fn a_stopped_follower_slows_nobody_and_misses_nothing() {
    let steps = (env_number("TERMALIVE_TEST_STOPPED_MB", 48) * 1024 * 1024).div_ceil(STEP);
    let time = Duration::from_secs(env_number("TERMALIVE_TEST_STOPPED_SECONDS", 0));
    let host = Host::start();
    let pattern = Pattern::write_to(&host.path("pattern"), PATTERN_BYTES, 23);
    host.sh("flood", FLOOD);
    host.sh("other", ANSWERS);
    host.wait_text("other", "^up$");
    let follow = || pattern.check_beside(host.cmd(["logs", "flood", "--raw", "-f", "--since", "start"]).spawn_piped());
    let (stopped, other) = (follow(), follow());
    stopped.wait_for_more(STEP);
    let free = meanwhile(&host, &other, FREE_STEPS, time / 3);
    let before = memory_kib(host.host_pid(), "VmRSS:");
    send_signal(stopped.pid(), Signal::STOP);
    let seen = stopped.seen();
    let held = meanwhile(&host, &other, steps, time);
    assert!(stopped.seen() < seen + STEP, "it was stopped");
    let (after, peak) = (memory_kib(host.host_pid(), "VmRSS:"), peak_memory_kib(host.host_pid()));
    println!("MB/s of the flood and of its reader: {free:.0?}, while a follower is stopped {held:.0?}");
    println!("the host's memory: {before} KiB, then {after}, at most {peak}");
    let as_fast = free.iter().zip(held).all(|(free, held)| held * SLOWED > *free);
    assert!(as_fast, "MB/s of the flood and of its reader: {free:?}, while a follower is stopped {held:?}");
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
