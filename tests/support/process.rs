//! Processes, by way of /proc: who is alive, who belongs to a test, how much memory they took.

use rustix::process::{Pid, Signal, kill_process};
use std::{path::Path, time::Duration};

/// Of `utime` and `stime` in /proc (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// True while the process runs (a zombie is gone). Of one that was killed the first thread may be gone before those that still
/// hold its files.
pub fn alive(pid: u32) -> bool {
    let threads = || std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    match stat(pid).as_ref().and_then(|stat| stat.first()?.chars().next()) {
        None | Some('X') => false,
        Some('Z') => threads() > 1,
        Some(_) => true,
    }
}

/// What `/proc/PID/stat` says behind the name: state, parent, …
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split_whitespace().map(str::to_owned).collect())
}

/// True when all its threads have stopped.
pub fn is_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let stopped = |stat: std::io::Result<String>| {
        stat.is_ok_and(|s| s.rsplit_once(") ").is_some_and(|(_, s)| s.starts_with('T')))
    };
    threads.map(|thread| std::fs::read_to_string(thread.path().join("stat"))).all(stopped)
}

/// Processor time it has taken so far, without that of its children.
pub fn processor_time(pid: u32) -> Duration {
    let stat = stat(pid).expect("the process runs");
    let ticks = |at: usize| stat[at].parse::<f64>().expect("a number");
    Duration::from_secs_f64((ticks(11) + ticks(12)) / TICKS_PER_SECOND)
}

/// The most memory it ever had resident (VmHWM).
pub fn peak_memory_kib(pid: u32) -> u64 {
    memory_kib(pid, "VmHWM:")
}

/// A line of a process's status that counts KiB.
pub fn memory_kib(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with(name)).expect("the line");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

/// Processes whose environment holds `text`, but for the test itself.
pub fn processes_with(text: &str) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id() && alive(*pid))
        .filter(|pid| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            memchr::memmem::find(&environ, text.as_bytes()).is_some()
        })
        .collect()
}

/// A signal to a process that may be gone already.
pub fn send_signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = kill_process(pid, signal); // gone already: what was wanted
}

/// kill -9; returns when it is gone.
pub fn kill_hard(pid: u32) {
    send_signal(pid, Signal::KILL);
    super::wait_for(&format!("the end of process {pid}"), || (!alive(pid)).then_some(()));
}

/// Ends every process that has `home` in its environment: keeper, host, sessions, commands. New ones may appear meanwhile
/// (the keeper starts hosts), so it looks until there is none.
pub(super) fn kill_all_with(home: &Path) {
    let text = home.to_str().unwrap();
    for _ in 0..100 {
        let left = processes_with(text);
        if left.is_empty() {
            return;
        }
        left.into_iter().for_each(|pid| send_signal(pid, Signal::KILL));
    }
}
