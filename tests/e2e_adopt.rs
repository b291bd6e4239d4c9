//! A host that dies, stops or is started twice at the worst moments: nothing is lost, doubled or taken by two.
//!
//! Moments are named places in the program (`failpoint`, debug builds only), or a few milliseconds after a kill.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use rustix::process::Signal;
use serde_json::json;
use std::{fs, time::Duration};
use support::{Follower, Host, Pattern, alive, binary, is_stopped, kill_hard, processes_with, send_signal, wait_for};

const PATTERN_BYTES: usize = 256 * 1024;
const SEEN_BETWEEN: u64 = 256 * 1024;
/// Floods until there is a file `stop`, and ends with 9. The pauses bound how much there is to check.
const FLOOD: &str = "stty raw -echo; while [ ! -e stop ]; do cat pattern; sleep 0.05; done; exit 9";
/// Answers each line once.
const ANSWERS: &str = "stty -echo; echo up; while read -r line; do echo \"got $line\"; done";
/// Ends with 7 when told.
const ENDS: &str = "echo born; while [ ! -e \"go-$TERMALIVE_SESSION\" ]; do sleep 0.02; done; echo gone; exit 7";

/// Counts until there is a file `stop`: never so fast that its ring is full.
const COUNTS: &str = "i=0; while [ ! -e stop ]; do echo $i; i=$((i+1)); sleep 0.01; done";

struct Scene {
    host: Host,
    pattern: Pattern,
    follower: Follower,
}

fn scene(host: Host, seed: u64) -> Scene {
    let pattern = Pattern::write_to(&host.path("pattern"), PATTERN_BYTES, seed);
    host.sh("flood", FLOOD);
    host.sh("counts", COUNTS);
    host.sh("other", ANSWERS);
    host.wait_text("other", "^up$");
    let follower = pattern.check_beside(host.cmd(["logs", "flood", "--raw", "-f"]).spawn_piped());
    Scene { host, pattern, follower }
}

impl Scene {
    /// Another text each time; how it ended.
    fn ask(&self, n: usize) -> i32 {
        self.host.run(["send", "other", &format!("question {n}.")]).code
    }

    /// Ends the flood and looks at every byte once more.
    fn finish(self) {
        fs::write(self.host.path("stop"), "").unwrap();
        let session = self.host.wait_state("flood", "exited");
        let live = self.follower.finish();
        let out = self.host.cmd(["logs", "flood", "--raw"]).bound(Duration::from_secs(300)).run().expect_code(0);
        assert_eq!(self.pattern.check(&out.stdout[..]), live, "live and from the log");
        assert_eq!((&session["exit_code"], &session["run"]), (&json!(9), &json!(1)));
        self.host.wait_state("counts", "exited");
        let counted = self.host.ok(["logs", "counts"]);
        counted.lines().enumerate().for_each(|(n, line)| assert_eq!(line, n.to_string(), "no row is missing or twice"));
    }
}

/// Places in the order in which a host comes to them: taking over, …
#[cfg(debug_assertions)]
const TAKING_OVER: [&str; 10] = [
    "handed over",
    "a terminal taken",
    "read in the interim",
    "terminals taken",
    "meta open",
    "store open",
    "sessions known",
    "adopting",
    "adopted",
    "ready",
];
/// … and at work.
#[cfg(debug_assertions)]
const AT_WORK: [&str; 14] = [
    "start recorded",
    "spawned",
    "started",
    "about to type",
    "typed",
    "written",
    "synced",
    "segment closed",
    "segment made",
    "run over",
    "exit recorded",
    "removed",
    "read in the interim", // of a session that is just being started, too
    "adopting",
];

#[cfg(debug_assertions)]
#[test]
fn the_host_is_killed_at_every_step() {
    let host = Host::cold();
    let order = host.path("kill-at");
    let start = host.program(&[env!("CARGO_BIN_EXE_termalive"), "start", "-d", "--set", "store.segment_bytes=1MiB"]);
    start.env("TERMALIVE_DEBUG_KILL_AT", &order).run().expect_code(0);
    let scene = scene(host, 29);
    let host = &scene.host;
    let places =
        || TAKING_OVER.iter().map(|p| (p, true)).chain(AT_WORK.iter().map(|p| (p, *p == "read in the interim")));
    let mut sent = Vec::new();
    for (n, (place, at_start)) in places().enumerate() {
        scene.follower.wait_for_more(SEEN_BETWEEN);
        fs::write(&order, place).unwrap();
        if at_start || *place == "adopting" {
            host.kill_host();
        }
        let name = format!("n{n}");
        let new = host.cmd(["new", &name, "--", "sh", "-c", ENDS]).spawn();
        sent.push((place, scene.ask(n)));
        new.wait().expect_code(0);
        let session = host.session(&name).unwrap();
        assert_eq!((&session["state"], &session["run"]), (&json!("running"), &json!(1)), "{place}: {session}");
        if let Some(n) = n.checked_sub(1) {
            let name = format!("n{n}");
            fs::write(host.path(&format!("go-{name}")), "").unwrap();
            let session = host.wait_state(&name, "exited");
            assert_eq!(session["exit_code"], 7, "{place}: {session}");
            assert_eq!(
                host.ok(["logs", &name]),
                "born\ngone\n",
                "{place}: one process was started, and heard to its end"
            );
        }
        if let Some(n) = n.checked_sub(2) {
            let name = format!("n{n}");
            let code = host.run(["rm", &name]).code;
            assert!(code == 0 || code == 66, "{place}: {code}"); // 66: a retry after the host had removed it
            assert!(host.session(&name).is_none(), "{place}");
        }
        wait_for(&format!("a host that dies at {place:?}"), || (!fs::exists(&order).unwrap()).then_some(()));
    }
    host.ok(["send", "other", "LAST"]);
    let heard = host.wait_text("other", "^got LAST$");
    for (n, (place, code)) in sent.into_iter().enumerate() {
        // a text without its Enter stands before the next one: what came of it couldn't be known, and its send said so
        let times = heard.matches(&format!("question {n}.")).count();
        assert!(code == 0 || code == 1, "{place}: send ended with {code}");
        assert!(
            times == 1 || (times == 0 && code == 1),
            "{place}: send ended with {code} and was heard {times} times in\n{heard}"
        );
    }
    scene.finish();
}

/// The keeper misses its signs of life, and another host goes on; what the stopped one would have read or typed is not
/// touched by it any more.
#[test]
fn a_stopped_host_is_replaced() {
    let scene = scene(Host::start(), 31);
    scene.follower.wait_for_more(SEEN_BETWEEN);
    let (stopped, generation) = (scene.host.host_pid(), scene.host.generation());
    wait_for("the keeper to have heard of it", || scene.host.status().filter(|s| s["uptime_ms"].as_u64() > Some(3000)));
    send_signal(stopped, Signal::STOP);
    wait_for("the end of the stopped host", || (!alive(stopped)).then_some(()));
    scene.host.wait_next_generation(generation);
    assert_eq!(scene.ask(1), 0);
    scene.host.ok(["logs", "other", "--until", "^got question 1[.]$", "--timeout", "30s"]);
    scene.follower.wait_for_more(SEEN_BETWEEN);
    scene.finish();
}

/// Nobody is there who could end it, and it alone holds the terminals: the folder stays its own, so that no second pair comes
/// beside it. When it wakes it makes a keeper, and all goes on.
#[test]
fn a_stopped_host_whose_keeper_dies_wakes_late_and_is_alone() {
    let scene = scene(Host::start(), 37);
    let host = &scene.host;
    scene.follower.wait_for_more(SEEN_BETWEEN);
    let (pid, generation, first) = (host.host_pid(), host.generation(), host.keeper_pid());
    host.kill_keeper(); // the end of a parent would make a stopped child go on; the next keeper is a child of the host
    let second = wait_for("another keeper", || Some(host.keeper_pid()).filter(|pid| *pid != first));
    let dir = host.state_dir();
    let socket = host.status().unwrap()["socket"].as_str().unwrap().to_owned();
    let place = ["--state-dir", dir.to_str().unwrap(), "--socket", &socket];
    send_signal(pid, Signal::STOP);
    wait_for("the host to stop", || is_stopped(pid).then_some(()));
    kill_hard(second);
    host.cmd(["__keeper"]).args(place).run().expect_error(1, &["is in use by another host"]);
    let asked = host.cmd(["send", "other", "question late."]).spawn();
    let started = host.cmd(["start", "-d"]).spawn();
    assert!(is_stopped(pid) && ours(host) == 1, "a second one beside the stopped one");
    send_signal(pid, Signal::CONT);
    started.wait().expect_code(0);
    asked.wait().expect_code(0);
    host.wait_text("other", "^got question late[.]$");
    assert_eq!((host.host_pid(), host.generation()), (pid, generation));
    wait_for("a keeper beside it", || (ours(host) == 2).then_some(()));
    scene.follower.wait_for_more(SEEN_BETWEEN);
    scene.finish();
}

/// Processes of this host that are keeper or host.
fn ours(host: &Host) -> usize {
    let is_one = |pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        [&b"__keeper"[..], b"__host", b"\0host"].iter().any(|verb| memchr::memmem::find(&words, verb).is_some())
    };
    let exe = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == binary());
    processes_with(host.home().to_str().unwrap()).iter().filter(|pid| exe(pid) && is_one(pid)).count()
}

#[test]
fn a_second_start_leaves_the_first_alone() {
    let host = Host::start();
    host.sh("s", ANSWERS);
    host.wait_text("s", "^up$");
    let (pid, keeper, dir) = (host.host_pid(), host.keeper_pid(), host.state_dir());
    let (dir, socket) = (dir.to_str().unwrap(), host.status().unwrap()["socket"].as_str().unwrap().to_owned());
    let place = ["--state-dir", dir, "--socket", &socket];
    host.ok(["start", "-d"]);
    host.run(["host"]).expect_error(1, &["a host runs already"]);
    host.cmd(["__keeper"]).args(place).run().expect_error(1, &["is in use by another host"]);
    host.cmd(["__host"]).args(place).run().expect_code(1);
    assert_eq!((host.host_pid(), host.keeper_pid(), ours(&host)), (pid, keeper, 2));
    host.ok(["send", "s", "there?"]);
    host.wait_text("s", "^got there.$");
}

#[test]
fn of_twenty_started_at_once_one_stays() {
    let host = Host::cold();
    let started: Vec<_> = (0..10).map(|_| host.cmd(["start", "-d"]).spawn()).collect();
    let foreground: Vec<_> = (0..10).map(|_| host.cmd(["host"]).spawn()).collect();
    for start in started {
        start.wait().expect_code(0);
    }
    let mut lasting = Vec::new();
    for mut one in foreground {
        wait_for("a host that stays or says why not", || (!one.is_running() || ours(&host) == 2).then_some(()));
        if one.is_running() {
            lasting.push(one);
        } else {
            one.wait().expect_error(1, &[]);
        }
    }
    assert!(host.status().is_some());
    host.ok(["stop", "-y"]);
    lasting.into_iter().for_each(|one| drop(one.wait())); // the one that stayed, or who came a moment too late
}

/// Both at about the same time, in both orders: whatever is left of them, the next command finds or starts a host that works.
#[test]
fn keeper_and_host_die_within_moments() {
    let host = Host::start();
    for n in 0..12u64 {
        let name = format!("s{n}");
        host.sh(&name, "echo said; exec cat");
        host.wait_text(&name, "^said$");
        host.ok(["send", &name, "this"]); // all before its receipt is on disk
        let pids = [host.keeper_pid(), host.host_pid()];
        let [first, second] = if n % 2 == 0 { pids } else { [pids[1], pids[0]] };
        send_signal(first, Signal::KILL);
        std::thread::park_timeout(Duration::from_millis(n * n / 4)); // another moment each time; nothing is waited for
        send_signal(second, Signal::KILL);
        // one that reaches the dying host in its last moment says so
        wait_for("a start", || (host.run(["start", "-d"]).code == 0).then_some(()));
        wait_for("an end of the two", || (!alive(first) && !alive(second)).then_some(()));
        wait_for("a status", || host.status());
        let session = wait_for("the sessions", || host.run(["ls"]).code.eq(&0).then(|| host.session(&name))).unwrap();
        assert!(["running", "exited", "lost"].contains(&session["state"].as_str().unwrap()), "{n}: {session}");
        assert!(host.ok(["logs", &name]).starts_with("said\n"), "{n}");
        wait_for("one keeper and one host", || (ours(&host) == 2).then_some(()));
    }
}
