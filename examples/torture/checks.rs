//! What is looked at in the log of any session, and at the end of a run.

use crate::{
    host::Host,
    oracle::{Broken, Oracle},
};
use serde_json::Value;
use std::{fs, time::Duration};

/// All of a session's log as lines; nothing, and a broken promise, when it can't be read whole.
pub(crate) fn events(host: &Host, oracle: &Oracle, name: &str) -> Option<Vec<Value>> {
    let text = match host.ok(&["logs", name, "--json", "--events", "all", "--base64", "--since", "start"]) {
        Ok(text) => text,
        Err(why) => {
            oracle.broke(Broken::Client, why.to_string());
            return None;
        }
    };
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap_or_default()).collect();
    if lines.last().is_none_or(|line| line["event"] != "end") {
        oracle.broke(Broken::Client, format!("logs {name} --json: no end line: {:?}", lines.last()));
    }
    Some(lines)
}

/// Numbers rise, and nothing is said to be lost: the machine didn't go down.
pub(crate) fn rising(oracle: &Oracle, name: &str, events: &[Value]) {
    let mut last = 0;
    for event in events.iter().filter(|event| event["seq"].is_u64()) {
        let seq = event["seq"].as_u64().unwrap_or(0);
        if event["event"] == "gap" {
            oracle.broke(Broken::Hole, format!("{name}: {event}"));
        } else if seq <= last {
            oracle.broke(Broken::Double, format!("{name}: seq {seq} after {last}: {event}"));
        }
        last = last.max(seq);
    }
}

/// The bytes of its output.
pub(crate) fn output(events: &[Value]) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let parts = events.iter().filter(|event| event["event"] == "data");
    parts.flat_map(|event| STANDARD.decode(event["content"].as_str().unwrap_or_default()).unwrap_or_default()).collect()
}

/// An exit status as the shell has it; nothing when it is unknown.
pub(crate) fn status_of(value: &Value) -> Option<i64> {
    value["exit_code"].as_i64().or_else(|| value["signal"].as_i64().map(|signal| 128 + signal))
}

/// How a status stands to what the program did; one that isn't known is allowed where the kernel doesn't tell.
pub(crate) fn check_status(oracle: &Oracle, whose: &str, value: &Value, expected: i64) {
    match status_of(value) {
        Some(status) if status == expected => {}
        Some(status) => oracle.broke(Broken::Status, format!("{whose}: {status}, but it was {expected}: {value}")),
        None if kernel_tells_exits() || oracle.counted("keeper kills") == 0 => {
            oracle.broke(Broken::Status, format!("{whose}: unknown, but it was {expected}: {value}"));
        }
        None => oracle.count("unknown statuses", 1),
    }
}

/// `PIDFD_GET_INFO` tells how a process ended, whoever its parent is, from 6.15 on.
pub(crate) fn kernel_tells_exits() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

/// When a beating session's records were read, in microseconds since 1970.
pub(crate) fn beats(host: &Host, oracle: &Oracle, name: &str) -> Vec<u64> {
    let Some(events) = events(host, oracle, name) else { return Vec::new() };
    rising(oracle, name, &events);
    let times = events.iter().filter(|event| event["event"] == "data");
    times.filter_map(|event| micros(event["ts"].as_str()?)).collect()
}

fn micros(ts: &str) -> Option<u64> {
    let time: jiff::Timestamp = ts.parse().ok()?;
    u64::try_from(time.as_microsecond()).ok()
}

/// When the rows of an idle session were printed, as they say themselves, and when they were read.
pub(crate) fn idle_reads(host: &Host, oracle: &Oracle, name: &str) -> Vec<(u64, u64)> {
    let Some(events) = events(host, oracle, name) else { return Vec::new() };
    rising(oracle, name, &events);
    let data = events.iter().filter(|event| event["event"] == "data");
    let rows = data.filter_map(|event| {
        let text = String::from_utf8(output(std::slice::from_ref(event))).ok()?;
        Some((text.lines().next()?.parse().ok()?, micros(event["ts"].as_str()?)?))
    });
    rows.collect()
}

/// When terminals were read.
#[derive(Default)]
pub(crate) struct Adoption {
    /// Of the beating sessions, each.
    pub(crate) beats: Vec<Vec<u64>>,
    /// Of the idle ones: printed and read.
    pub(crate) idle: Vec<Vec<(u64, u64)>>,
}

/// How long after a blow terminals were read again.
pub(crate) struct Adopted {
    /// The slowest of the beating sessions.
    pub(crate) beats: Duration,
    /// The slowest of all of which it is known.
    pub(crate) all: Duration,
}

/// What a dying host may still read. A new one can't be up so soon.
const DYING: u64 = 5_000;
/// A row that waits longer than this waits because nobody reads, and not for its turn on the processor.
const WAITED: u64 = 100_000;

impl Adoption {
    /// Nothing when the beats ended before.
    pub(crate) fn after(&self, at_us: u64) -> Option<Adopted> {
        let of_one = |times: &Vec<u64>| {
            let next = times.partition_point(|time| *time <= at_us + DYING);
            times.get(next).map(|time| time - at_us)
        };
        let beats = self.beats.iter().map(of_one).collect::<Option<Vec<u64>>>()?.into_iter().max()?;
        // an idle session tells of it when a row was printed before its terminal was read again
        let waited = |rows: &Vec<(u64, u64)>| {
            let (printed, read) = *rows.get(rows.partition_point(|(_, read)| *read <= at_us + DYING))?;
            (printed <= at_us + beats || read.saturating_sub(printed) > WAITED).then_some(read - at_us)
        };
        let all = self.idle.iter().filter_map(waited).max().unwrap_or(0).max(beats);
        Some(Adopted { beats: Duration::from_micros(beats), all: Duration::from_micros(all) })
    }
}

/// After `stop`: no process, no socket.
pub(crate) fn leftovers(host: &Host, oracle: &Oracle) {
    let left = host.processes();
    if !left.is_empty() {
        oracle.broke(Broken::Left, format!("processes: {left:?}"));
    }
    if host.socket.exists() {
        oracle.broke(Broken::Left, format!("{}", host.socket.display()));
    }
}

/// Bytes of the files in a folder.
pub(crate) fn bytes_in(folder: &std::path::Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_in(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
