//! Each command that waits or reads is begun, the host or its keeper is killed, and it ends as if nothing had been.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

mod support;

use rustix::process::Signal;
use std::{
    fs,
    io::Read,
    process::{Child, ChildStdout},
};
use support::{Cmd, Host, Running, Terminal, wait_for};

/// What is killed between the beginning of the commands and their end.
fn kill_the_host(host: &Host) {
    let generation = host.generation();
    host.kill_host();
    host.wait_next_generation(generation);
}

fn kill_the_keeper(host: &Host) {
    let keeper = host.keeper_pid();
    host.kill_keeper();
    wait_for("another keeper", || host.status().filter(|status| status["keeper_pid"] != keeper));
}

fn kill_three_hosts(host: &Host) {
    for _ in 0..3 {
        host.kill_host(); // as soon as there is one
    }
}

fn kill_both_in_turn(host: &Host) {
    kill_the_keeper(host);
    kill_the_host(host);
}

/// Says `up`, goes on when there is a file `go`, says `done`.
const WORK: &str = "echo up; while [ ! -e go ]; do sleep 0.05; done; echo done";
/// Answers each line when there is a file `go`, then prompts again.
const ANSWERS: &str = "printf '> '; while read -r line; do echo \"begun $line\"; \
                       while [ ! -e go ]; do sleep 0.05; done; printf \"got $line\\nEND\\n> \"; done";
/// Draws a clock until there is a file `go`.
const CLOCK: &str = "n=0; while [ ! -e go ]; do n=$((n+1)); printf \"\\033[H$n\"; sleep 0.02; done; \
                     printf '\\033[2;1Hat rest'; exec sleep 1000";

/// A command, its exit code, what it prints.
type Row = (&'static [&'static str], i32, &'static str);

const WAITS: &[Row] = &[
    (&["logs", "work", "-f"], 0, "up\ndone\n"),
    (&["logs", "work", "-f", "--raw"], 0, "up\r\ndone\r\n"),
    (&["logs", "work", "--until", "^done$"], 0, "up\ndone\n"),
    (&["logs", "work", "--until", "never"], 4, "up\ndone\n"),
    (&["logs", "stays", "--until", "^done$", "--wait-idle", "1000s"], 0, "up\ndone\n"),
    (&["wait", "clock", "--wait-idle", "1s"], 3, "clock\n"),
    (&["wait", "clock", "--until", "never", "--timeout", "4s"], 2, ""),
    (&["wait", "work", "--exit"], 0, "3\n"),
    (&["wait", "stays", "--until", "^done$"], 0, "stays\n"),
    (&["wait", "work", "--until", "never"], 4, ""),
    (&["wait", "work", "stays", "--until", "^done$"], 0, "stays\nwork\n"),
    (&["wait", "work", "other", "--exit"], 0, "other 4\nwork 3\n"),
    (&["wait", "stays", "work", "--any", "--exit"], 0, "work 3\n"),
    (&["wait", "clock", "--screen", "^at rest$"], 0, "clock\n"),
    (&["wait", "clock", "--no-screen", "^[0-9]+$", "--until", "at rest"], 0, "clock\n"),
    (&["wait", "clock", "--stable", "700ms"], 0, "clock\n"),
    (&["ask", "asked", "a question", "--until-line", "END"], 0, "begun a question\ngot a question\n"),
    (&["ask", "prompts", "a question"], 0, "begun a question\ngot a question\nEND\n"),
    (&["reply", "replies", "--wait", "--until-line", "END"], 0, "begun earlier\ngot earlier\n"),
    (&["run", "ran", "--wait", "--", "sh", "-c", "echo up; while [ ! -e go ]; do sleep 0.05; done; exit 7"], 7, "up\n"),
];

/// The same text in any order of lines: sessions that are waited for come as they are ready.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// Sessions to wait for, each at the place where the waits begin.
fn scene() -> Host {
    let host = Host::start();
    host.sh("work", &format!("{WORK}; exit 3"));
    host.sh("other", &format!("{WORK}; exit 4"));
    host.sh("stays", &format!("{WORK}; exec sleep 1000"));
    host.sh("clock", CLOCK);
    host.sh("typed", "stty raw -echo; echo up; dd bs=1 count=6 2>/dev/null; exit 5");
    for name in ["asked", "prompts", "replies", "http"] {
        host.sh(name, ANSWERS);
        host.wait_text(name, "^>");
    }
    for name in ["work", "other", "stays", "typed"] {
        host.wait_text(name, "^up$");
    }
    host.ok(["send", "replies", "earlier"]);
    host
}

/// An ask of a program that speaks HTTP: what is cut off it sends again, under the same key.
fn http_ask(host: &Host) -> Cmd {
    let socket = host.status().unwrap()["socket"].as_str().unwrap().to_owned();
    host.program(&[
        "curl",
        "-sS",
        "--unix-socket",
        &socket,
        "--retry",
        "50",
        "--retry-all-errors",
        "--retry-delay",
        "1",
    ])
    .args(["-H", "idempotency-key: this-question", "-H", "content-type: application/json"])
    .args(["--data", r#"{"text":"a question","wait":true,"until_line":["END"]}"#])
    .arg_url("/v1/sessions/http/turns")
}

trait Url {
    fn arg_url(self, path: &str) -> Cmd;
}

impl Url for Cmd {
    fn arg_url(self, path: &str) -> Cmd {
        self.args([format!("http://localhost{path}")])
    }
}

fn begin(host: &Host) -> Vec<Running> {
    let begun: Vec<_> = WAITS.iter().map(|(args, ..)| host.cmd(*args).spawn()).collect();
    for ((args, ..), running) in WAITS.iter().zip(&begun) {
        match args {
            ["logs" | "run", ..] => running.wait_for_output("up"),
            ["ask", name, ..] => drop(host.wait_text(name, "begun")),
            _ => {}
        }
    }
    begun
}

fn goes_on(kill: fn(&Host)) {
    let host = scene();
    let waits = begin(&host);
    let events = host.cmd(["events", "-f", "--json"]).spawn();
    let http = http_ask(&host).spawn();
    let mut attached = Terminal::run(host.cmd(["attach", "typed"]), 80, 24);
    attached.wait_for("up");
    attached.type_in(b"abc");
    attached.wait_for("abc");
    host.wait_text("http", "begun");
    kill(&host);
    attached.type_in(b"xyz");
    fs::write(host.path("go"), "").unwrap();
    for ((args, code, text), running) in WAITS.iter().zip(waits) {
        let out = running.wait().expect_code(*code);
        assert_eq!(sorted(&out.text()), sorted(text), "{args:?}: {}", out.stderr);
        let not_met = out.stderr.contains("ended first") || out.stderr.contains("wasn't ready in time");
        assert!(out.stderr.is_empty() || (not_met && text.is_empty()), "{args:?}: {}", out.stderr);
    }
    let reply: serde_json::Value = serde_json::from_str(&http.wait().expect_code(0).text()).unwrap();
    assert_eq!((&reply["reply"], &reply["turn"]), (&"begun a question\ngot a question".into(), &1.into()), "{reply}");
    assert_eq!(host.json(["turns", "http", "--json"]).as_array().unwrap().len(), 1, "it was typed once");
    assert_eq!(attached.code(), 0);
    attached.wait_for("typed exited with 5");
    assert_eq!(host.run(["logs", "typed", "--raw"]).text(), "up\r\nabcxyz".replace("\r\n", "\n"));
    for name in ["work", "other", "ran", "typed"] {
        let count = |event: &str| told(&events, name).iter().filter(|told| *told == event).count();
        // who comes to a host that has seen the end already hears how the session stands
        wait_for(&format!("the end of {name} among the events"), || {
            (count("exited") + count("session exited") > 0).then_some(())
        });
        assert!(count("exited") <= 1, "{name}: {:?}", told(&events, name));
    }
    events.signal(Signal::INT);
    events.wait().expect_code(130);
}

/// What was told of a session: changes, and states.
fn told(events: &Running, session: &str) -> Vec<String> {
    let text = String::from_utf8(events.stdout_so_far()).unwrap();
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let lines = whole.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let event = |line: serde_json::Value| {
        let word = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
        format!("{} {}", word("event"), word("state")).trim_end().to_owned()
    };
    lines.filter(|line| line["session"] == session).map(event).collect()
}

#[test]
fn waits_go_on_when_the_host_is_killed() {
    goes_on(kill_the_host);
}

#[test]
fn waits_go_on_when_the_keeper_is_killed() {
    goes_on(kill_the_keeper);
}

#[test]
fn waits_go_on_when_three_hosts_are_killed_in_a_row() {
    goes_on(kill_three_hosts);
}

#[test]
fn waits_go_on_when_keeper_and_host_are_killed_in_turn() {
    goes_on(kill_both_in_turn);
}

/// A command whose output isn't read until it is wanted: so it is in the middle when it is.
struct Slow {
    child: Child,
    stdout: ChildStdout,
    read: Vec<u8>,
}

impl Slow {
    fn begin(cmd: Cmd) -> Slow {
        let mut child = cmd.spawn_piped();
        let stdout = child.stdout.take().unwrap();
        Slow { child, stdout, read: Vec::new() }
    }

    fn read_more(&mut self, bytes: u64) {
        let n = (&mut self.stdout).take(bytes).read_to_end(&mut self.read).unwrap();
        assert_eq!(n as u64, bytes, "it ended early");
    }

    fn finish(mut self) -> Vec<u8> {
        self.stdout.read_to_end(&mut self.read).unwrap();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((self.child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
        std::mem::take(&mut self.read)
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        drop(self.child.kill()); // it has ended in most cases
        drop(self.child.wait());
    }
}

const READINGS: &[&[&str]] = &[
    &["logs", "big"],
    &["logs", "big", "--raw"],
    &["logs", "big", "--json", "--events", "all"],
    &["export", "big"],
    &["export", "big", "--format", "text"],
    &["export", "big", "--format", "raw"],
    &["replay", "big"],
    &["search", "row"],
    &["search", "row", "--json", "big"],
    &["search", "row", "-C", "1", "big", "small"],
];

/// Without the first line, which tells when it was asked.
fn comparable<'a>(args: &[&str], out: &'a [u8]) -> &'a [u8] {
    let tells = args.starts_with(&["logs"]) && args.contains(&"--json");
    let first = if tells { memchr::memchr(b'\n', out).unwrap() } else { 0 };
    let last = if tells { memchr::memrchr(b'\n', &out[..out.len() - 1]).unwrap() } else { out.len() };
    &out[first..last]
}

#[test]
fn readings_that_are_cut_in_the_middle_go_on_there() {
    let host = Host::start();
    host.sh("big", "seq 1 60000 | sed 's/$/ some words that make a row/'");
    host.sh("small", "echo a row");
    for name in ["big", "small"] {
        host.wait_state(name, "exited");
    }
    let whole: Vec<_> = READINGS.iter().map(|args| host.run(*args).expect_code(0).stdout).collect();
    let mut slow: Vec<_> = READINGS.iter().map(|args| Slow::begin(host.cmd(*args))).collect();
    for kill in [kill_the_host, kill_the_keeper, kill_three_hosts] {
        slow.iter_mut().for_each(|slow| slow.read_more(250_000));
        kill(&host);
    }
    for ((args, whole), slow) in READINGS.iter().zip(&whole).zip(slow) {
        assert!(whole.len() > 1_500_000, "{args:?}: too short to be cut: {}", whole.len());
        let out = slow.finish();
        assert!(comparable(args, &out) == comparable(args, whole), "{args:?}: {} of {}", out.len(), whole.len());
    }
}

/// Whoever can't resume is told: an answer that is cut off doesn't look whole.
#[test]
fn an_answer_over_http_that_is_cut_off_does_not_look_whole() {
    let host = Host::start();
    host.sh("big", "seq 1 60000 | sed 's/$/ some words that make a row/'");
    host.wait_state("big", "exited");
    let socket = host.status().unwrap()["socket"].as_str().unwrap().to_owned();
    for path in ["/v1/sessions/big/log", "/v1/search?re=row"] {
        let curl = host.program(&["curl", "-sS", "--unix-socket", &socket, &format!("http://localhost{path}")]);
        let mut slow = Slow::begin(curl);
        slow.read_more(100_000);
        kill_the_host(&host);
        slow.stdout.read_to_end(&mut slow.read).unwrap();
        assert_eq!(slow.child.wait().unwrap().code(), Some(18), "curl: transfer closed with data remaining");
    }
}

#[test]
fn a_search_whose_host_is_stopped_says_so() {
    let host = Host::start();
    host.sh("big", "seq 1 60000 | sed 's/$/ some words that make a row/'");
    host.wait_state("big", "exited");
    let mut slow = Slow::begin(host.cmd(["search", "row", "--json"]).env("TERMALIVE_NO_AUTOSTART", "1"));
    slow.read_more(100_000);
    host.ok(["stop", "-y"]);
    slow.stdout.read_to_end(&mut slow.read).unwrap();
    let mut said = String::new();
    slow.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(slow.child.wait().unwrap().code(), Some(69), "{said}");
    assert!(said.contains("ended before it answered"), "{said}");
    assert!(serde_json::from_slice::<serde_json::Value>(&slow.read).is_err(), "what broke off doesn't look whole");
}
