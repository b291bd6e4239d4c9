//! Many sessions at once: made, written to, read, ended, removed, and nothing of them is left.
//!
//! `TERMALIVE_TEST_SESSIONS` is how many, 300 by default.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};
use support::{Host, binary, env_number, processes_with, wait_for};

/// Commands at once: more than a person runs, as many as a script may.
const AT_ONCE: usize = 8;
/// Far fewer than the sessions need: host and keeper raise it for themselves, programs get it back.
const SOFT_FILES: u64 = 256;

/// What a host holds, apart from its log.
#[derive(PartialEq, Eq, Debug)]
struct Held {
    host_files: usize,
    host_rings: usize,
    keeper_files: usize,
    keeper_rings: usize,
    processes: usize,
    runtime_files: Vec<String>,
    state_files: Vec<String>,
}

fn held(host: &Host) -> Held {
    let (pid, keeper) = (host.host_pid(), host.keeper_pid());
    let home = host.home();
    let socket = host.status().unwrap()["socket"].as_str().unwrap().to_owned();
    let mut runtime_files: Vec<String> = fs::read_dir(Path::new(&socket).parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    runtime_files.sort();
    Held {
        host_files: files(pid).len(),
        host_rings: files(pid).iter().filter(|target| target.contains("memfd:")).count(),
        keeper_files: files(keeper).len(),
        keeper_rings: files(keeper).iter().filter(|target| target.contains("memfd:")).count(),
        processes: processes_with(home.to_str().unwrap()).len(),
        runtime_files,
        state_files: files_below(&host.state_dir()),
    }
}

/// The files of a folder. Those that the store writes anew under other names now and then count as one.
fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files_below(&entry.path()).into_iter().map(|below| format!("{name}/{below}"))),
            false => found.push(if name.starts_with("snap.") { "snap".to_owned() } else { name }),
        }
    }
    found.sort();
    found.dedup();
    found
}

/// What the descriptors of a process lead to.
fn files(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.map(|target| target.to_string_lossy().into_owned()).collect()
}

/// Does something for each number, several at a time.
fn each(count: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    work(n);
                }
            });
        }
    });
}

#[test]
fn many_sessions_leave_nothing_behind() {
    let count = env_number("TERMALIVE_TEST_SESSIONS", 300);
    let host = Host::cold();
    let start = format!("ulimit -Sn {SOFT_FILES} && exec {} start -d", binary().display());
    host.program(&["sh", "-c", &start]).run().expect_code(0);
    round(&host, 8); // threads, caches and connections are there from here on
    let before = held(&host);
    round(&host, count);
    wait_for("everything to be given back", || {
        let after = held(&host);
        (after.host_files <= before.host_files && after.processes <= before.processes).then_some(())
    });
    assert_eq!(held(&host), before);
    assert_eq!(host.ok(["list", "--all", "-q"]), "");
}

#[test]
fn many_sessions_end_with_their_host() {
    let count = env_number("TERMALIVE_TEST_SESSIONS", 300);
    let host = Host::start();
    each(count, |n| drop(host.ok(["new", &format!("s{n}"), "--", "sleep", "1000"])));
    let home = host.home();
    host.ok(["stop", "-y"]);
    let left = || processes_with(home.to_str().unwrap());
    wait_for("the last process to be gone", || left().is_empty().then_some(()));
}

#[test]
fn a_host_without_descriptors_to_spare_refuses_and_goes_on() {
    let host = Host::cold();
    let start = format!("ulimit -n {SOFT_FILES} && exec {} start -d", binary().display());
    host.program(&["sh", "-c", &start]).run().expect_code(0);
    let full = (0..SOFT_FILES).find(|n| {
        let out = host.run(["new", &format!("s{n}"), "--", "sleep", "1000"]);
        if out.code != 0 {
            out.expect_error(1, &["cannot start", "too many open files", "ulimit"]);
            return true;
        }
        false
    });
    let full = full.expect("the limit is reached");
    assert_eq!(host.ok(["list", "--all", "-q"]).lines().count() as u64, full, "no session is left of a refused one");
    host.ok(["kill", "--force", "s0", "s1", "s2", "s3"]);
    host.ok(["new", "again", "--", "sleep", "1000"]);
}

/// The whole life of so many sessions at once.
fn round(host: &Host, count: u64) {
    let names: Vec<String> = (0..count).map(|n| format!("s{n}")).collect();
    let all = |verb: &str| host.ok([verb].into_iter().chain(names.iter().map(String::as_str)));
    each(count, |n| {
        let script = "stty -echo; echo up $(ulimit -Sn); read -r line; echo \"got $line\"; exec sleep 1000";
        host.ok(["new", &names[n as usize], "--", "sh", "-c", script]);
    });
    assert_eq!(host.ok(["list", "-q"]).lines().count() as u64, count);
    each(count, |n| {
        let name = names[n as usize].as_str();
        host.wait_text(name, &format!("^up {SOFT_FILES}$"));
        host.ok(["send", name, &format!("number {n}")]);
        host.ok(["logs", name, "--until", &format!("^got number {n}$"), "--timeout", "30s"]);
    });
    all("kill");
    assert_eq!(host.ok(["list", "-q"]), "");
    all("rm");
}
