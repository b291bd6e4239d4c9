//! A limit on the log while sessions are busy: the folder stays small, the memory flat, readers see what went, and nothing
//! else is missing: one that comes afterwards, and one that follows and is too slow.
//!
//! `TERMALIVE_TEST_RETENTION_MINUTES`: how long, 0 (until every session has lost something twice) by default;
//! `TERMALIVE_TEST_RETENTION_MIB`: the limit, 8 by default; `TERMALIVE_TEST_RETENTION_SESSIONS`: 20 by default.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use rustix::process::Signal;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use support::{Host, env_number, send_signal, wait_for};

/// What the host may have more resident at its end than when the limit was reached first, bytes: caches of the newest segments
/// and of readers come and go.
const HOST_BYTES: u64 = 32 * 1024 * 1024;
/// The follower stands still until its session has lost so many records that it hasn't read, more than are on their way to it;
/// then it goes on for a while, in looks.
const BEHIND: u64 = 300;
const SPELL: u32 = 10;

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

/// Up to which record each session that has lost something has lost it.
fn lost(state: &Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(state.join("retention.json")).unwrap_or_default();
    let file: Value = serde_json::from_str(&text).unwrap_or_default();
    let sessions = file["sessions"].as_object().into_iter().flatten();
    sessions.map(|(id, lost)| (id.clone(), lost["upto"].as_u64().expect("a number"))).collect()
}

/// Reads lines of `logs --json` of a session that counts, as they come: each row is the one after the last, but for what a gap
/// names.
#[derive(Default)]
struct Reading {
    seq: u64,
    last: Option<u64>,
    row: String,
    /// The row that is begun is cut: its beginning went.
    cut: bool,
    /// The last row isn't the next number: its end went.
    half: Option<String>,
    gaps: u64,
    ended: bool,
}

impl Reading {
    fn take(&mut self, line: &Value) {
        match line["event"].as_str().expect("an event") {
            "gap" => {
                let (from, to) = (line["from_seq"].as_u64().unwrap(), line["to_seq"].as_u64().unwrap());
                assert_eq!(line["reason"], "retention", "{line}");
                assert!(
                    self.seq < from && from <= to,
                    "what was shown is said to have gone, after {}: {line}",
                    self.seq
                );
                let next = self.last.map_or_else(String::new, |last| (last + 1).to_string());
                let half = self.half.take().unwrap_or_default() + &std::mem::take(&mut self.row);
                assert!(self.last.is_none() || next.starts_with(&half), "{half:?} before a gap, where {next} begins");
                (self.seq, self.last, self.cut) = (to, None, true);
                self.gaps += 1;
            }
            "data" => {
                let seq = line["seq"].as_u64().unwrap();
                assert!(self.seq <= seq, "an event that goes back: {line}");
                self.seq = seq;
                self.text(line["content"].as_str().unwrap());
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        for part in text.split_inclusive('\n') {
            self.row.push_str(part);
            if !part.ends_with('\n') {
                continue;
            }
            let row = std::mem::take(&mut self.row);
            let row = row.trim_end();
            assert_eq!(self.half, None, "{row:?} after a row that isn't {:?} + 1", self.last);
            let number = row.parse::<u64>().ok();
            match row {
                _ if std::mem::take(&mut self.cut) => {}
                "end" => self.ended = true,
                _ if number.is_some() && self.last.is_none_or(|last| Some(last + 1) == number) => self.last = number,
                _ => self.half = Some(row.to_owned()),
            }
        }
    }
}

/// A command that follows, and is judged beside the test.
struct Follower {
    child: Child,
    /// How many gaps it has seen, and the last record.
    gaps: Arc<AtomicU64>,
    seq: Arc<AtomicU64>,
    /// It goes on for so many looks; 0: it stands still.
    looks: u32,
    thread: Option<JoinHandle<Reading>>,
}

impl Follower {
    fn start(mut child: Child) -> Follower {
        let (gaps, seq) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let stream = BufReader::new(child.stdout.take().expect("piped"));
        let (gaps_seen, seq_seen) = (gaps.clone(), seq.clone());
        let thread = std::thread::spawn(move || {
            let mut reading = Reading::default();
            for line in stream.lines() {
                let line = line.expect("text");
                reading.take(&serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}")));
                gaps_seen.store(reading.gaps, Ordering::Relaxed);
                seq_seen.store(reading.seq, Ordering::Relaxed);
            }
            reading
        });
        Follower { child, gaps, seq, looks: SPELL, thread: Some(thread) }
    }

    /// Is too slow, for a session that has lost all up to here.
    fn lag(&mut self, lost: u64) {
        match self.looks {
            0 if lost > self.seq.load(Ordering::Relaxed) + BEHIND => self.go_on(),
            0 => {}
            1 => {
                send_signal(self.child.id(), Signal::STOP);
                self.looks = 0;
            }
            _ => self.looks -= 1,
        }
    }

    fn go_on(&mut self) {
        self.looks = SPELL;
        send_signal(self.child.id(), Signal::CONT);
    }

    /// How many gaps it has seen; panics when it has ended, which it shouldn't.
    fn gaps(&self) -> u64 {
        assert!(
            self.thread.as_ref().is_some_and(|thread| !thread.is_finished()),
            "the follower ended, or saw what it shouldn't"
        );
        self.gaps.load(Ordering::Relaxed)
    }

    fn finish(mut self) -> Reading {
        self.go_on();
        let reading = self.thread.take().unwrap().join().expect("the follower saw what it should");
        assert_eq!(reading.half, None, "its last row");
        let mut said = String::new();
        drop(self.child.stderr.take().unwrap().read_to_string(&mut said));
        assert!(self.child.wait().unwrap().success(), "{said}");
        reading
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.child.kill()); // gone already in most cases
        drop(self.child.wait());
    }
}

/// What was measured while sessions were busy.
#[derive(Default, Debug)]
struct Seen {
    /// The most in the folder, without what is kept against a full disk.
    folder: u64,
    /// The most resident until the limit was reached, and in the last quarter.
    memory: [u64; 2],
}

/// Looks at folder, memory and losses for so long at least, and until every session has lost something twice and the follower
/// has heard of a loss; then ends the sessions.
fn look_on(host: &Host, follower: &mut Follower, time: Duration, sessions: u64) -> Seen {
    let (state, pid) = (host.state_dir(), host.host_pid());
    let ballast = fs::metadata(state.join("ballast")).map_or(0, |m| m.len());
    let folder = || folder_bytes(&state).saturating_sub(ballast);
    let begun = Instant::now();
    let followed = host.session("s0").unwrap()["id"].as_str().unwrap().to_owned();
    let (mut seen, mut first) = (Seen::default(), None);
    let mut look = || {
        seen.folder = seen.folder.max(folder());
        let lost = lost(&state);
        follower.lag(lost.get(&followed).copied().unwrap_or_default());
        match &first {
            None => seen.memory[0] = seen.memory[0].max(resident(pid)),
            Some(_) if begun.elapsed() < time * 3 / 4 => {}
            Some(_) => seen.memory[1] = seen.memory[1].max(resident(pid)),
        }
        if first.is_none() && lost.len() as u64 == sessions {
            first = Some(lost.clone());
        }
        let twice = first.as_ref().is_some_and(|first| first.iter().all(|(id, upto)| lost.get(id) > Some(upto)));
        begun.elapsed() >= time && twice && follower.gaps() > 0
    };
    while begun.elapsed() < time {
        look();
        std::thread::park_timeout(Duration::from_millis(100));
    }
    wait_for("every session to lose something twice, and the follower to hear of it", || look().then_some(()));
    fs::write(host.path("stop"), "").unwrap();
    for n in 0..sessions {
        host.wait_state(&format!("s{n}"), "exited");
    }
    seen.folder = seen.folder.max(folder());
    seen
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
    let follow = ["logs", "s0", "-f", "--json", "--events", "all", "--since", "start"];
    let mut follower = Follower::start(host.cmd(follow).spawn_piped());
    let seen = look_on(&host, &mut follower, Duration::from_secs(60 * minutes), sessions);
    let followed = follower.finish();
    println!("{seen:?}, the limit was {limit}; {} gaps followed", followed.gaps);
    assert!(followed.ended && followed.gaps > 0, "the follower was too slow, and saw the end: {}", followed.gaps);
    assert!(seen.folder < 2 * limit, "{} bytes in the folder, the limit is {limit}", seen.folder);
    let [first, last] = seen.memory;
    assert!(last < first + HOST_BYTES, "{first} bytes resident when the limit was reached, {last} at the end");
    for n in 0..sessions {
        let mut reading = Reading::default();
        let out = host.run(["logs", &format!("s{n}"), "--json", "--since", "start"]).expect_code(0);
        out.json_lines().iter().for_each(|line| reading.take(line));
        assert!(reading.ended && reading.gaps > 0, "s{n}: {} gaps", reading.gaps); // more when a segment goes just now
    }
    host.ok(["log", "verify"]);
}
