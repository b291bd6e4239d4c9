//! kill -9 of the host and of the keeper: no hole, no double, nothing done twice, the others answer.
//!
//! `TERMALIVE_TEST_HOST_KILLS` (10) and `TERMALIVE_TEST_KEEPER_KILLS` (3) are how often.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use serde_json::json;
use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};
use support::{Follower, Host, Pattern, alive, env_number, wait_for};

const PATTERN_BYTES: usize = 256 * 1024;
const SEEN_BETWEEN: u64 = 512 * 1024; // the kill falls into a flood that goes on
/// Floods until there is a file `stop`, and ends with 9. The pauses bound how much there is to check.
const FLOOD: &str = "stty raw -echo; while [ ! -e stop ]; do cat pattern; sleep 0.02; done; exit 9";
/// Answers each line once.
const ANSWERS: &str = "stty -echo; echo up; while read -r line; do echo \"got $line\"; done";

struct Scene {
    host: Host,
    pattern: Pattern,
    follower: Follower,
}

fn scene(seed: u64) -> Scene {
    let host = Host::start();
    let pattern = Pattern::write_to(&host.path("pattern"), PATTERN_BYTES, seed);
    host.sh("flood", FLOOD);
    host.sh("other", ANSWERS);
    host.wait_text("other", "^up$");
    let follower = pattern.check_beside(host.cmd(["logs", "flood", "--raw", "-f"]).spawn_piped());
    Scene { host, pattern, follower }
}

impl Scene {
    /// The other session answers.
    fn ask(&self, n: u64) {
        self.host.ok(["send", "other", &format!("question {n}")]);
        self.host.ok(["logs", "other", "--until", &format!("^got question {n}$"), "--timeout", "30s"]);
    }

    /// Ends the flood and looks at everything once more.
    fn finish(self, asked: u64) -> serde_json::Value {
        fs::write(self.host.path("stop"), "").unwrap();
        let session = self.host.wait_state("flood", "exited");
        let live = self.follower.finish();
        let out = self.host.cmd(["logs", "flood", "--raw"]).bound(Duration::from_secs(300)).run().expect_code(0);
        assert_eq!(self.pattern.check(&out.stdout[..]), live, "live and from the log");
        let expected = (1..=asked).map(|n| format!("got question {n}\n")).collect::<String>();
        assert_eq!(self.host.ok(["logs", "other"]), format!("up\n{expected}"));
        session
    }
}

#[test]
fn the_host_is_killed_under_a_flood() {
    let scene = scene(11);
    let kills = env_number("TERMALIVE_TEST_HOST_KILLS", 10);
    for n in 1..=kills {
        scene.follower.wait_for_more(SEEN_BETWEEN);
        let generation = scene.host.generation();
        scene.host.kill_host();
        scene.ask(n);
        assert!(scene.host.generation() > generation);
    }
    scene.follower.wait_for_more(SEEN_BETWEEN);
    let session = scene.finish(kills);
    assert_eq!((&session["exit_code"], &session["run"]), (&json!(9), &json!(1)));
}

#[test]
fn the_keeper_is_killed_under_a_flood() {
    let scene = scene(13);
    let kills = env_number("TERMALIVE_TEST_KEEPER_KILLS", 3);
    for n in 1..=kills {
        scene.follower.wait_for_more(SEEN_BETWEEN);
        let keeper = scene.host.keeper_pid();
        scene.host.kill_keeper();
        wait_for("another keeper", || scene.host.status().filter(|status| status["keeper_pid"] != keeper));
        scene.ask(n);
    }
    let session = scene.finish(kills);
    let code = session["exit_code"].as_i64();
    assert!(
        code == Some(9) || (code.is_none() && !kernel_tells_exits()),
        "right, or unknown on an old kernel: {session}"
    );
    assert!(session["signal"].is_null(), "never wrong: {session}");
}

#[test]
fn keeper_and_host_are_killed_in_turn() {
    let scene = scene(17);
    for n in 1..=3 {
        scene.follower.wait_for_more(SEEN_BETWEEN);
        let keeper = scene.host.keeper_pid();
        scene.host.kill_keeper();
        wait_for("another keeper", || scene.host.status().filter(|status| status["keeper_pid"] != keeper));
        scene.host.kill_host();
        scene.ask(n);
    }
    scene.finish(3);
}

#[test]
fn an_exit_while_no_host_runs_is_kept() {
    let host = Host::start();
    host.sh("s", "echo up; while [ ! -e go ]; do sleep 0.01; done; echo last words; exit 5");
    host.wait_text("s", "^up$");
    fs::write(host.path("go"), "").unwrap();
    host.kill_host();
    let session = host.wait_state("s", "exited");
    assert_eq!(session["exit_code"], 5);
    assert_eq!(host.ok(["logs", "s"]), "up\nlast words\n");
}

#[test]
fn waits_go_on_over_a_crash() {
    let host = Host::start();
    host.sh(
        "s",
        "stty -echo; echo up; read x; echo begun; while [ ! -e go ]; do sleep 0.01; done; echo TASK_DONE; exec cat",
    );
    host.wait_text("s", "^up$");
    host.ok(["send", "s", "go"]);
    let wait = host.cmd(["logs", "s", "--until", "TASK_DONE", "--timeout", "50s"]).spawn();
    let follow = host.cmd(["logs", "s", "-f"]).spawn();
    wait.wait_for_output("begun");
    follow.wait_for_output("begun");
    host.kill_host();
    fs::write(host.path("go"), "").unwrap();
    assert_eq!(wait.wait().expect_code(0).text(), "begun\nTASK_DONE\n");
    follow.wait_for_output("TASK_DONE");
    host.ok(["kill", "s"]);
    assert_eq!(follow.wait().expect_code(0).text(), "up\nbegun\nTASK_DONE\n");
}

#[test]
fn what_a_kill_cuts_off_happens_once() {
    let host = Host::start();
    host.sh("other", ANSWERS);
    host.wait_text("other", "^up$");
    let kills = env_number("TERMALIVE_TEST_HOST_KILLS", 10);
    let mut sent = Vec::new();
    for n in 1..=kills {
        let process = host.host_pid();
        let send = host.cmd(["send", "other", &format!("once {n}.")]).spawn();
        let new = host.cmd(["new", &format!("n{n}"), "--", "sh", "-c", "echo born; exec cat"]).spawn();
        std::thread::park_timeout(Duration::from_millis(n * 3 % 17)); // another moment each time; nothing is waited for
        support::kill_hard(process);
        sent.push(send.wait().code);
        new.wait().expect_code(0);
    }
    host.ok(["send", "other", "LAST"]);
    let heard = host.wait_text("other", "^got LAST$");
    for (n, code) in (1..).zip(sent) {
        let times = heard.matches(&format!("got once {n}.")).count();
        assert!(code == 0 || code == 1, "send {n}: exit {code}");
        assert!(times == 1 || (times == 0 && code == 1), "send {n} ended with {code} and was heard {times} times");
        let name = format!("n{n}");
        assert_eq!(host.wait_text(&name, "^born$"), "born\n");
        let session = host.session(&name).unwrap();
        assert_eq!((&session["run"], &session["state"]), (&json!(1), &json!("running")));
        assert_eq!(host.ok(["logs", &name]), "born\n", "one process was started");
    }
}

#[test]
fn a_dead_host_and_keeper_leave_a_socket_that_is_no_trouble() {
    let host = Host::start();
    host.sh("s", "echo said; exec cat");
    host.wait_text("s", "^said$");
    host.ok(["send", "s", "this"]); // its receipt says that all before it is on disk: with both dead, nothing else has it
    let pid = u32::try_from(host.session("s").unwrap()["pid"].as_u64().unwrap()).unwrap();
    let (keeper, process) = (host.keeper_pid(), host.host_pid());
    for _ in 0..100 {
        host.cmd(["status"]).env("TERMALIVE_NO_AUTOSTART", "1").run(); // whoever comes first starts the other again
        if !alive(keeper) && !alive(process) {
            break;
        }
        for pid in [keeper, process] {
            support::send_signal(pid, rustix::process::Signal::KILL);
        }
    }
    host.ok(["start", "-d"]);
    assert!(host.ok(["logs", "s"]).starts_with("said\n"));
    let session = host.session("s").unwrap();
    assert!(["running", "exited", "lost"].contains(&session["state"].as_str().unwrap()), "{session}");
    assert!(session["state"] != "running" || alive(pid), "{session}");
}

/// What a session remembers of its newest sends, and some more.
const LATER_SENDS: u64 = 80;

#[test]
fn a_key_is_kept_though_the_host_was_killed_before_it_was_saved() {
    let mut host = Host::cold();
    host.set_env("TERMALIVE_CFG_STORE__COMMIT_INTERVAL", "10s"); // what isn't waited for is saved so late
    host.ok(["start", "-d"]);
    host.sh("s", "stty -echo -icanon; echo up; exec cat");
    host.wait_text("s", "^up$");
    let input = |key: &str| post(&host, "/v1/sessions/s/input", key, r#"{"text": "x", "raw": true}"#);
    let process = host.host_pid();
    let first = input("first");
    support::kill_hard(process);
    for n in 0..LATER_SENDS {
        input(&format!("later-{n}"));
    }
    assert_eq!(input("first"), first, "the receipt is given again, and nothing typed");
}

/// A request under a key, on the local socket, again until a host answers.
fn post(host: &Host, path: &str, key: &str, body: &str) -> String {
    let socket = host.home().join("termalive.sock");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Idempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    wait_for("an answer", || {
        let mut stream = UnixStream::connect(&socket).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        Some(body.to_owned())
    })
}

/// `PIDFD_GET_INFO` tells how a process ended, whoever its parent is, from 6.15 on.
fn kernel_tells_exits() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}
