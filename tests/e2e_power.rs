//! Power losses under a whole host: every change of its files is recorded while sessions print, are typed to, end and are
//! removed. Images are made of what a disk may hold at random moments, and a host is started on each. What was acknowledged to
//! a client is there, output is right up to what a disk had, and no number means another thing than a reader saw under it.
//!
//! `STORE_TEST_POWER` is how many images, 10 by default; `STORE_TEST_SEED` repeats the random choices of a run. Needs a C
//! compiler; without one it is skipped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a failed expectation is a failed test"
)]

#[path = "power/image.rs"]
mod image;
#[path = "store_common/mod.rs"]
mod store;
mod support;

use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    io::{BufRead, BufReader},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};
use store::Dice;
use support::{Host, env_number, project_file};

/// As large as the host wants it, so that it isn't written, nor recorded.
const BALLAST: u64 = 16 << 20;
const ROUNDS: u64 = 14;
/// Numbered rows, of text that doesn't compress to nothing.
const ROWS: &str =
    "i=1; while :; do echo \"row $i $(head -c 300 /dev/urandom | od -An -tx1 | tr -d ' \\n')\"; i=$((i+1)); done";
const CHAT: &str = "echo up; while read -r line; do echo \"got $line\"; done";
/// Ends, and leaves one that prints.
const LATE: &str = "trap '' HUP; (for i in 1 2 3 4 5 6 7 8 9; do sleep 0.3; echo late $i; done) & echo up";

/// What a client was told.
#[derive(Clone, Debug)]
enum Said {
    Made(String),
    Typed(String, u64),
    Ended(String, u64),
    Killed(String),
    Removed(String),
    Sized(String, u64),
}

/// Something said, between these places in the recording.
struct Ack {
    asked: u64,
    answered: u64,
    said: Said,
}

/// A line that a reader had at a place in the recording.
struct Seen {
    at: u64,
    seq: u64,
    line: Value,
}

/// A host that is recorded.
struct Scene {
    host: Host,
    state: PathBuf,
    trace: PathBuf,
    acks: Vec<Ack>,
    readers: BTreeMap<String, Reader>,
}

/// Follows one session from its first record on.
struct Reader {
    seen: Arc<Mutex<Vec<Seen>>>,
    child: Child,
    thread: Option<JoinHandle<()>>,
}

fn length(trace: &Path) -> u64 {
    fs::metadata(trace).map_or(0, |m| m.len())
}

fn ballast(state: &Path) {
    File::create(state.join("ballast")).unwrap().set_len(BALLAST).unwrap();
}

fn host_on(state: &Path) -> Host {
    let mut host = Host::cold();
    host.set_env("TERMALIVE_STATE_DIR", state.to_str().unwrap());
    host.set_env("TERMALIVE_CFG_STORE__SEGMENT_BYTES", "1MiB");
    host.set_env("TERMALIVE_CFG_SESSION__STOP_GRACE", "100ms");
    host
}

impl Scene {
    /// None where there is no compiler.
    fn start(dir: &Path) -> Option<Scene> {
        let (library, trace, state) = (dir.join("record.so"), dir.join("trace"), dir.join("state"));
        let source = project_file("tests/power/record.c");
        let compiled =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").output();
        if !compiled.is_ok_and(|out| out.status.success()) {
            return None;
        }
        fs::create_dir(&state).unwrap();
        ballast(&state);
        let host = host_on(&state);
        let recorded = [("LD_PRELOAD", &library), ("RECORD_DIR", &state), ("RECORD_LOG", &trace)];
        let start = host.cmd(["start", "-d"]);
        let start = recorded.iter().fold(start, |start, (name, path)| start.env(name, path.to_str().unwrap()));
        start.run().expect_code(0);
        Some(Scene { host, state, trace, acks: Vec::new(), readers: BTreeMap::new() })
    }

    /// Does something that is answered.
    fn ask(&mut self, args: &[&str], said: impl FnOnce(Value) -> Said) {
        let asked = length(&self.trace);
        let out = self.host.run(args).expect_code(0);
        let answered = length(&self.trace);
        let answer = serde_json::from_str(&out.text()).unwrap_or_default();
        self.acks.push(Ack { asked, answered, said: said(answer) });
    }

    fn make(&mut self, name: &str, options: &[&str], script: &str) {
        let args = [&["new", name, "--cwd", "/"][..], options, &["--", "sh", "-c", script]].concat();
        self.ask(&args, |_| Said::Made(name.into()));
        let child = self.host.cmd(["logs", name, "-f", "--since", "start", "--json", "--raw", "--events", "all"]);
        let mut child = child.spawn_piped();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (into, trace) = (seen.clone(), self.trace.clone());
        let thread = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap();
                if let Some(seq) = line["seq"].as_u64() {
                    into.lock().unwrap().push(Seen { at: length(&trace), seq, line });
                }
            }
        });
        self.readers.insert(name.into(), Reader { seen, child, thread: Some(thread) });
    }

    fn work(&mut self) {
        self.make("rows", &[], ROWS);
        self.make("chat", &[], CHAT);
        self.make(
            "again",
            &["--restart", "always", "--backoff", "200ms..200ms", "--max-restarts", "100"],
            "echo on; sleep 0.3",
        );
        self.make("late", &[], LATE);
        for n in 0..ROUNDS {
            self.ask(&["send", "chat", &format!("text {n}"), "--json"], |receipt| {
                Said::Typed("chat".into(), receipt["seq"].as_u64().unwrap())
            });
            let (ends, dies, size) = (format!("ends{n}"), format!("dies{n}"), format!("{}x24", 80 + n));
            self.make(&ends, &[], &format!("echo {n}; exit {n}"));
            self.ask(&["wait", "--exit", &ends], |status| Said::Ended(ends.clone(), status.as_u64().unwrap()));
            self.ask(&["resize", "chat", &size], |_| Said::Sized("chat".into(), 80 + n));
            self.make(&dies, &[], "exec cat");
            self.ask(&["kill", &dies], |_| Said::Killed(dies.clone()));
            if n % 2 == 1 {
                self.ask(&["rm", &dies], |_| Said::Removed(dies.clone()));
            }
        }
    }

    /// The power goes. What was recorded, and what was said.
    fn end(self) -> Recording {
        let end = length(&self.trace);
        drop(self.host);
        let seen = self.readers.into_iter().map(|(name, mut reader)| {
            drop(reader.child.kill());
            drop(reader.child.wait());
            reader.thread.take().unwrap().join().unwrap();
            let mut seen = std::mem::take(&mut *reader.seen.lock().unwrap());
            seen.retain(|seen| seen.at <= end);
            (name, seen)
        });
        let seen = seen.collect();
        let (mut ops, mut ends) = image::read(&self.trace);
        let all = ends.partition_point(|at| *at <= end);
        ops.truncate(all);
        ends.truncate(all);
        Recording { ops, ends, state: self.state, acks: self.acks, seen }
    }
}

struct Recording {
    ops: Vec<image::Op>,
    ends: Vec<u64>,
    state: PathBuf,
    acks: Vec<Ack>,
    seen: BTreeMap<String, Vec<Seen>>,
}

/// What is counted over all images.
#[derive(Default, Debug)]
struct Counts {
    acknowledged: usize,
    sessions: usize,
    lines: usize,
    gaps: usize,
    /// Segments put aside: of writes that weren't synced one may be missing and a later one be there.
    aside: usize,
}

/// A host that was started on an image.
struct Image<'a> {
    host: Host,
    recording: &'a Recording,
    /// The moment, as a place in the recording.
    at: u64,
    what: String,
}

/// What a reader sees of a session, by number.
fn lines(host: &Host, name: &str) -> Vec<(u64, Value)> {
    let out = host.run(["logs", name, "--since", "start", "--json", "--raw", "--events", "all"]).expect_code(0);
    out.json_lines().into_iter().filter_map(|line| Some((line["seq"].as_u64()?, line))).collect()
}

fn output<'a>(lines: impl Iterator<Item = &'a Value>) -> String {
    lines.filter_map(|line| line["content"].as_str()).collect()
}

/// Numbers that a gap takes.
fn lost_in(line: &Value) -> Option<RangeInclusive<u64>> {
    (line["event"] == "gap").then(|| line["from_seq"].as_u64().unwrap()..=line["to_seq"].as_u64().unwrap())
}

impl Image<'_> {
    fn said(&self) -> impl Iterator<Item = &Ack> {
        self.recording.acks.iter().filter(|ack| ack.answered <= self.at)
    }

    /// Removed, or perhaps so.
    fn going(&self) -> HashSet<&str> {
        let acks = self.recording.acks.iter().filter(|ack| ack.asked <= self.at);
        acks.filter_map(|ack| if let Said::Removed(name) = &ack.said { Some(&**name) } else { None }).collect()
    }

    fn check(&self, counts: &mut Counts, dice: &mut Dice) {
        let what = &self.what;
        let all = self.host.json(["list", "--all", "--json"]);
        let sessions: BTreeMap<&str, &Value> =
            all.as_array().unwrap().iter().map(|session| (session["name"].as_str().unwrap(), session)).collect();
        let going = self.going();
        for Ack { said, .. } in self.said() {
            counts.acknowledged += 1;
            let (Said::Made(name) | Said::Typed(name, _) | Said::Ended(name, _) | Said::Killed(name)) = said else {
                if let Said::Removed(name) = said {
                    assert!(!sessions.contains_key(&**name), "{what}: {name} was removed");
                }
                continue;
            };
            let Some(session) = sessions.get(&**name) else {
                assert!(going.contains(&**name), "{what}: {name} is gone: {said:?}");
                continue;
            };
            match said {
                Said::Ended(_, code) => assert_eq!(session["exit_code"], json!(code), "{what}: {session}"),
                Said::Killed(_) => assert_eq!(session["state"], "exited", "{what}: {session}"),
                _ => {}
            }
        }
        counts.sessions += sessions.len();
        let rounds = [dice.roll(ROUNDS), dice.roll(ROUNDS)]; // of what ended some
        let short = rounds.iter().flat_map(|n| [format!("ends{n}"), format!("dies{n}")]);
        for name in ["rows", "chat", "again", "late"].map(String::from).into_iter().chain(short) {
            if sessions.contains_key(&*name) {
                self.check_log(&name, counts);
            }
        }
    }

    /// What its log says now, and after it has gone on.
    fn check_log(&self, name: &str, counts: &mut Counts) {
        let what = format!("{}: {name}", self.what);
        let empty = Vec::new();
        let seen: Vec<&Seen> =
            self.recording.seen.get(name).unwrap_or(&empty).iter().filter(|seen| seen.at <= self.at).collect();
        let newest = seen.last().map_or(0, |seen| seen.seq);
        let was: BTreeMap<u64, &Value> = seen.iter().map(|seen| (seen.seq, &seen.line)).collect();
        let before = lines(&self.host, name);
        counts.lines += before.len();
        counts.gaps += before.iter().filter(|(_, line)| line["event"] == "gap").count();
        // what was read before somebody asked for something that was acknowledged is on disk
        let synced = self.said().filter(|ack| matches!(ack.said, Said::Made(_) | Said::Typed(..) | Said::Killed(_)));
        let durable = synced.map(|ack| ack.asked).max().unwrap_or(0);
        for Seen { seq, line, .. } in seen.iter().filter(|seen| seen.at < durable && seen.line["event"] != "data") {
            assert!(before.iter().any(|(n, is)| n == seq && is == line), "{what}: {seq} is lost: {line}");
        }
        let rows = output(seen.iter().filter(|seen| seen.at < durable).map(|seen| &seen.line));
        let has = output(before.iter().map(|(_, line)| line));
        assert!(has.starts_with(&rows), "{what}: output is lost: {} of {} bytes", has.len(), rows.len());
        for Ack { said, .. } in self.said() {
            let found = match said {
                Said::Typed(to, at) if to == name => before.iter().any(|(seq, l)| seq == at && l["event"] == "input"),
                Said::Sized(of, cols) if of == name => before.iter().any(|(_, l)| l["cols"] == json!(cols)),
                _ => true,
            };
            assert!(found, "{what}: lost: {said:?}");
        }
        if name != "again" {
            self.host.run(["restart", name]).expect_code(0);
        }
        let after = lines(&self.host, name);
        let numbers = after.windows(2).all(|pair| pair[0].0 < pair[1].0);
        assert!(numbers, "{what}: numbers rise");
        let lost: Vec<RangeInclusive<u64>> = after.iter().filter_map(|(_, line)| lost_in(line)).collect();
        let is_lost = |seq: u64| lost.iter().any(|range| range.contains(&seq));
        if let Some(seen) = seen.iter().find(|seen| seen.at < durable && is_lost(seen.seq)) {
            panic!("{what}: {} was on disk and lies in a gap: {}", seen.seq, seen.line);
        }
        let known = after.iter().filter(|(seq, line)| *seq <= newest && line["event"] != "data" && !is_lost(*seq));
        for (seq, line) in known {
            assert_eq!(was.get(seq), Some(&line), "{what}: {seq} was another one");
        }
        let all = output(seen.iter().filter(|seen| !is_lost(seen.seq)).map(|seen| &seen.line));
        let still = output(after.iter().filter(|(seq, _)| *seq <= newest).map(|(_, line)| line));
        assert!(all.starts_with(&still), "{what}: output under numbers that had been seen differs");
    }
}

#[test]
fn what_was_acknowledged_survives_every_power_loss_of_a_host() {
    let images = env_number("STORE_TEST_POWER", 10);
    let seed = env_number("STORE_TEST_SEED", u64::from(std::process::id()));
    eprintln!("STORE_TEST_SEED={seed}");
    let dir = tempfile::Builder::new().prefix("tp").tempdir().unwrap();
    let Some(mut scene) = Scene::start(dir.path()) else { return };
    scene.work();
    let recording = scene.end();
    let syncs = recording.ops.iter().filter(|op| matches!(op, image::Op::Sync { .. })).count();
    assert!(recording.ops.len() > 500 && syncs > 100, "{} changes, {syncs} syncs", recording.ops.len());
    let (mut dice, mut counts) = (Dice(seed), Counts::default());
    for n in 0..images {
        let moment = dice.roll(recording.ops.len() as u64 + 1) as usize;
        let what = format!("seed {seed}, image {n}, after {moment} of {} changes", recording.ops.len());
        let state = dir.path().join("image");
        fs::create_dir(&state).unwrap();
        image::make(&recording.ops[..moment], recording.state.to_str().unwrap(), &state, &mut dice);
        ballast(&state);
        let at = moment.checked_sub(1).map_or(0, |last| recording.ends[last]);
        let host = host_on(&state);
        host.ok(["start", "-d"]);
        let aside = fs::read_dir(state.join("quarantine")).map_or(0, Iterator::count);
        counts.aside += aside;
        let gaps = counts.gaps;
        Image { host, recording: &recording, at, what: what.clone() }.check(&mut counts, &mut dice);
        assert!(aside == 0 || counts.gaps > gaps, "{what}: {aside} segments were put aside and nothing is missing");
        fs::remove_dir_all(&state).unwrap();
    }
    eprintln!("{images} images of {} changes, {syncs} syncs: {counts:?}", recording.ops.len());
}
