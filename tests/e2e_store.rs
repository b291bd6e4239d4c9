//! A damaged store and a full disk, as a user meets them: a clear line, nothing hangs, what isn't damaged is there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use support::{Host, skipped, wait_for};
use termalive::log::{Meta, Options};

/// Damages every copy of a frame: sled moves them about, and one is enough.
fn damage(file: &Path, needle: &[u8]) {
    let mut bytes = fs::read(file).unwrap();
    let places: Vec<usize> = memchr::memmem::find_iter(&bytes, needle).collect();
    assert!(!places.is_empty(), "the frame is there");
    places.into_iter().for_each(|at| bytes[at] ^= 0x10);
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_damaged_log_is_said_and_saved() {
    let host = Host::start();
    host.sh("hurt", "for i in 1 2 3; do echo needle-$i-4k2j9x; sleep 0.3; done");
    host.sh("well", "echo nothing happened to me");
    host.wait_state("hurt", "exited");
    host.wait_state("well", "exited");
    let state = host.state_dir();
    host.ok(["log", "verify"]);
    host.ok(["stop", "-y"]);
    let whole: serde_json::Value = host.json(["log", "verify", "--json"]);
    assert_eq!((&whole["whole"], &whole["live"]), (&true.into(), &false.into()), "{whole}");
    assert_eq!(host.run(["log", "salvage"]).expect_code(0).text(), "nothing is damaged\n");
    damage(&state.join("segments/1/db"), b"needle-2-4k2j9x");
    host.run(["log", "verify"]).expect_error(1, &["damaged", "segment 1", "are missing", "log salvage"]);
    let out = host.run(["log", "verify", "--json"]).expect_code(1);
    assert_eq!(out.json_lines()[0]["whole"], false);
    assert!(host.ok(["log", "salvage"]).starts_with("segment 1: put into quarantine, "));
    let after = host.json(["log", "verify", "--json"]);
    assert_eq!((&after["whole"], &after["quarantine"]), (&true.into(), &serde_json::json!(["1.1"])), "{after}");
    assert_eq!(host.ok(["logs", "well"]), "nothing happened to me\n");
    let lines = host.run(["logs", "hurt", "--json"]).expect_code(0).json_lines();
    let gap = lines.iter().find(|line| line["event"] == "gap").expect("a gap");
    assert_eq!(gap["reason"], "corrupt");
    let text: String = lines.iter().filter_map(|line| line["content"].as_str()).collect();
    assert_eq!(text.replace("\r\n", "\n"), "needle-1-4k2j9x\nneedle-3-4k2j9x\n");
    host.run(["log", "salvage"]).expect_error(1, &["a host runs", "stop"]);
    assert_eq!(host.session("hurt").unwrap()["exit_code"], 0);
    host.ok(["restart", "hurt"]);
    host.wait_state("hurt", "exited");
}

#[test]
fn of_a_removed_session_only_who_it_was_is_kept() {
    let host = Host::start();
    host.ok(["new", "gone", "--env", "WORD=zebra", "--label", "k=v", "--", "cat"]);
    host.ok(["new", "kept", "--env", "WORD=zebra", "--", "cat"]);
    host.ok(["rm", "-f", "gone"]);
    let (state, options) = (host.state_dir(), Options { min_free: 0, ..Options::default() });
    host.ok(["stop", "-y"]);
    let sessions = Meta::open(&state, &options).unwrap().sessions().unwrap();
    let of = |name: &str| sessions.iter().find(|session| session.name.as_str() == name).unwrap();
    let (gone, kept) = (of("gone"), of("kept"));
    assert!(gone.removed && gone.spec.env.is_empty() && gone.spec.labels.is_empty() && gone.spec.argv.is_empty());
    assert!(!kept.removed && !kept.spec.env.is_empty());
}

#[test]
fn a_host_starts_on_what_is_left() {
    let host = Host::start();
    host.sh("one", "echo first; exit 3");
    host.wait_state("one", "exited");
    let state = host.state_dir();
    host.ok(["stop", "-y"]);
    fs::write(state.join("meta/db"), "no database").unwrap();
    fs::write(state.join("segments/1/db"), "nothing of it").unwrap();
    host.run(["log", "verify"]).expect_error(1, &["damaged", "1 more places"]);
    assert_eq!(host.session("one").unwrap()["name"], "one", "from the copy of its entry");
    let lines = host.run(["logs", "one", "--json"]).expect_code(0).json_lines();
    assert!(lines.iter().any(|line| line["event"] == "gap" && line["reason"] == "corrupt"), "{lines:?}");
    host.ok(["new", "one", "--", "echo", "on"]);
    host.wait_state("one", "exited");
    assert_eq!(host.ok(["logs", "one"]), "on\n");
    host.sh("two", "echo new");
    host.wait_state("two", "exited");
    assert_eq!(host.ok(["logs", "two"]), "new\n");
}

/// A small disk of its own. None where that isn't allowed.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(bytes: u64) -> Option<Disk> {
        let dir = tempfile::Builder::new().prefix("td").tempdir().unwrap();
        let size = format!("size={bytes},mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        mounted.is_ok_and(|out| out.status.success()).then(|| Disk(dir))
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// Leaves so many bytes.
    fn fill(&self, left: u64) {
        let stat = rustix::fs::statvfs(self.0.path()).unwrap();
        let free = stat.f_bavail * stat.f_frsize;
        fs::write(self.0.path().join("filler"), vec![1; usize::try_from(free.saturating_sub(left)).unwrap()]).unwrap();
    }

    /// Another program takes all that is left, to the last byte.
    fn take_all(&self) {
        let mut filler = fs::File::create(self.0.path().join("filler")).unwrap();
        for size in [1 << 20, 4096, 1] {
            while filler.write_all(&vec![1; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).output());
    }
}

const MIB: u64 = 1024 * 1024;

#[test]
fn a_full_disk_stops_the_log_and_nothing_else() {
    let Some(disk) = Disk::new(192 * MIB) else { return skipped("a small disk can't be mounted: needs root") };
    let mut host = Host::cold();
    host.set_env("TERMALIVE_STATE_DIR", disk.state().to_str().unwrap());
    host.set_env("TERMALIVE_CFG_STORE__MIN_FREE", "16MiB");
    host.sh("flood", "i=1; while [ ! -e stop ]; do seq $i $((i + 999)); i=$((i + 1000)); done; echo end");
    host.sh("calm", "while read -r line; do echo \"got $line\"; done");
    host.wait_text("flood", "^5000$");
    let session = host.session("flood").unwrap();
    let generation = host.generation();
    disk.fill(4 * MIB);
    // in a flood, in a state change: said in a line, in bounded time
    wait_for("the host to say that the disk is full", || {
        let said = fs::read_to_string(disk.state().join("host.log")).unwrap_or_default();
        said.contains("MiB have to be: make room").then_some(())
    });
    host.run(["new", "more", "--", "true"]).expect_error(1, &["MiB are free", "make room"]);
    let pid = u32::try_from(session["pid"].as_u64().unwrap()).unwrap();
    assert!(support::alive(pid), "the session waits");
    disk.free();
    host.wait_next_generation(generation);
    assert_eq!(host.session("flood").unwrap()["pid"], session["pid"], "it is the same process");
    host.ok(["send", "calm", "hello"]);
    host.wait_text("calm", "^got"); // the text that was sent doesn't count
    fs::write(host.path("stop"), "").unwrap();
    host.wait_state("flood", "exited");
    let text = host.ok(["logs", "flood"]);
    let rows: Vec<&str> = text.lines().collect();
    let numbers = rows[..rows.len() - 1].iter().map(|row| row.parse::<u64>().expect("a number"));
    assert!(numbers.eq(1..rows.len() as u64) && rows.last() == Some(&"end"), "a row is missing or doubled");
    // at a start
    host.ok(["stop", "-y"]);
    disk.fill(4 * MIB);
    let refused = host.cmd(["start", "-d"]).bound(Duration::from_secs(90)).run();
    refused.expect_error(1, &["MiB are free", "make room"]);
    disk.free();
    assert_eq!(
        host.cmd(["logs", "calm"]).bound(Duration::from_secs(90)).run().expect_code(0).text(),
        "hello\ngot hello\n"
    );
}

/// What a user tries while nothing can be stored: each ends by itself, well or with a line that says what is wrong.
fn try_all(host: &Host) {
    let tries: [&[&str]; 6] = [
        &["status"],
        &["list", "--all"],
        &["send", "calm", "while it is full"],
        &["kill", "victim"],
        &["rm", "old"],
        &["new", "more", "--", "true"],
    ];
    for (args, tried) in tries.map(|args| (args, host.cmd(args).spawn())) {
        let out = tried.wait();
        let said = ["make room", "the host is ending", "made durable by this host"]
            .iter()
            .any(|words| out.stderr.contains(words));
        let clear = out.code == 1 && said && out.stderr.trim_end().lines().count() == 1;
        assert!(out.code == 0 || clear, "{args:?}: {} {}", out.code, out.stderr);
    }
}

#[test]
fn a_disk_that_another_program_fills_to_the_last_byte() {
    let Some(disk) = Disk::new(192 * MIB) else { return }; // needs root
    let mut host = Host::cold();
    host.set_env("TERMALIVE_STATE_DIR", disk.state().to_str().unwrap());
    host.set_env("TERMALIVE_CFG_STORE__MIN_FREE", "16MiB");
    host.sh("flood", "i=1; while [ ! -e stop ]; do seq $i $((i + 999)); i=$((i + 1000)); done; echo end");
    host.sh("calm", "while read -r line; do echo \"got $line\"; done");
    host.sh("ends", "while [ ! -e end ]; do sleep 0.05; done; exit 3");
    host.sh("victim", "exec cat");
    host.sh("old", "true");
    host.wait_state("old", "exited");
    host.wait_text("flood", "^5000$");
    let pids = ["flood", "calm"].map(|name| host.session(name).unwrap()["pid"].as_u64().unwrap());
    let own = host.host_pid();
    disk.take_all();
    wait_for("the end of the host that can't write", || (!support::alive(own)).then_some(()));
    fs::write(host.path("end"), "").unwrap(); // ends while nobody can write that down
    try_all(&host);
    assert!(pids.iter().all(|pid| support::alive(u32::try_from(*pid).unwrap())), "the sessions wait");
    disk.free();
    host.ok(["status"]);
    assert_eq!(host.wait_state("ends", "exited")["exit_code"], 3);
    host.ok(["kill", "victim"]);
    host.ok(["rm", "-f", "old"]);
    host.ok(["send", "calm", "hello"]);
    host.wait_row("calm", "got hello");
    fs::write(host.path("stop"), "").unwrap();
    host.wait_state("flood", "exited");
    let still = ["flood", "calm"].map(|name| host.session(name).unwrap()["run"].clone());
    assert_eq!(still, [1, 1], "they are the same processes");
    let text = host.ok(["logs", "flood"]);
    let rows: Vec<&str> = text.lines().collect();
    let numbers = rows[..rows.len() - 1].iter().map(|row| row.parse::<u64>().expect("a number"));
    assert!(numbers.eq(1..rows.len() as u64) && rows.last() == Some(&"end"), "a row is missing or doubled");
    // at a start
    host.ok(["stop", "-y"]);
    disk.take_all();
    let refused = host.cmd(["start", "-d"]).bound(Duration::from_secs(90)).run();
    assert_eq!((refused.code, refused.stderr.trim_end().lines().count()), (1, 1), "{}", refused.stderr);
    disk.free();
    assert!(host.ok(["logs", "calm"]).ends_with("got hello\n"));
}
