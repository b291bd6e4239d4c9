//! The marker in what was sent is never taken for the answer, whoever echoes it; the answer always is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a failed expectation is a failed test"
)]

mod support;

use serde_json::json;
use std::path::Path;
use support::{Host, project_file, skipped};

/// A conversation with one program: its command, the row it shows when it is ready, and what is said.
struct Program {
    name: &'static str,
    argv: &'static [&'static str],
    ready: &'static str,
    says: &'static [Exchange],
}

/// What is sent, waited for, and the row that must be the last one printed.
type Exchange = (&'static str, &'static str, &'static str);

const COOKED: &str = "echo up; while read -r line; do echo \"you said: $line\"; sleep 0.2; echo 'ANSWER DONE'; done";
const BASH: [&str; 4] = ["bash", "--norc", "--noprofile", "-i"];
const BASH_PROMPT: &str = r"[$#]\s*$";

#[test]
fn a_cooked_program() {
    check(&Program {
        name: "cooked",
        argv: &["sh", "-c", COOKED],
        ready: "^up$",
        says: &[
            ("please end with DONE", "DONE", "ANSWER DONE"),
            ("the DONE of an earlier turn is no answer to DONE", "DONE", "ANSWER DONE"),
            ("whole rows: DONE", "^ANSWER DONE$", "ANSWER DONE"),
        ],
    });
}

#[test]
fn bash_at_its_prompt() {
    check(&Program {
        name: "bash",
        argv: &BASH,
        ready: BASH_PROMPT,
        says: &[
            ("sleep 0.3 && echo BUILD_DONE", "BUILD_DONE", "BUILD_DONE"),
            ("sleep 0.3; printf '%s %s\\n' second BUILD_DONE", "BUILD_DONE", "second BUILD_DONE"),
            ("sleep 0.3; echo BUILD_DONE", "^BUILD_DONE$", "BUILD_DONE"),
            (
                ": a long command that goes over the edge of an eighty column terminal and further; sleep 0.3; echo WRAP_DONE",
                "WRAP_DONE",
                "WRAP_DONE",
            ),
            ("sleep 0.3\necho 'of two lines:' MULTI_DONE", "MULTI_DONE", "of two lines: MULTI_DONE"),
        ],
    });
}

#[test]
fn python_at_its_prompt() {
    let Some(python) = ["/usr/bin/python3", "/usr/local/bin/python3"].into_iter().find(|path| Path::new(path).exists())
    else {
        return skipped("no python3");
    };
    let says: &[Exchange] = &[
        ("import time; time.sleep(0.3); print('PY' + '_DONE') # PY_DONE", "PY_DONE", "PY_DONE"),
        ("time.sleep(0.3); print('once more', 'PY_DONE')", "PY_DONE", "once more PY_DONE"),
    ];
    check(&Program { name: "python", argv: vec![python, "-q", "-i"].leak(), ready: ">>>$", says });
}

fn check(program: &Program) {
    let host = Host::start();
    host.cmd(["new", "s", "-e", "PS1=$ ", "--"]).args(program.argv).run().expect_code(0);
    host.wait_text("s", program.ready);
    for (text, until, last) in program.says {
        host.ok(["send", "s", text]);
        let out = host.run(["logs", "s", "--until", until, "--timeout", "30s"]).expect_code(0);
        let printed = out.text();
        assert_eq!(printed.lines().last(), Some(*last), "{}: {text:?} printed\n{printed}", program.name);
    }
}

#[test]
fn bash_while_it_is_busy() {
    let host = Host::start();
    host.cmd(["new", "s", "-e", "PS1=$ ", "--"]).args(BASH).run().expect_code(0);
    host.wait_text("s", BASH_PROMPT);
    host.ok(["send", "s", "echo busy; sleep 1"]);
    host.ok(["logs", "s", "--until", "^busy$", "--timeout", "30s"]);
    host.ok(["send", "s", "sleep 0.3 && echo BUILD_DONE"]);
    let out = host.run(["logs", "s", "--until", "BUILD_DONE", "--timeout", "30s"]).expect_code(0);
    assert_eq!(
        out.text().lines().last(),
        Some("BUILD_DONE"),
        "neither the driver's echo nor readline's: {}",
        out.text()
    );
}

#[test]
fn an_echo_alone_is_never_an_answer() {
    let host = Host::start();
    host.ok(["new", "cat", "--", "cat"]);
    host.sh("mute", "echo up; exec sleep 1000");
    host.wait_text("mute", "^up$");
    for name in ["cat", "mute"] {
        host.ok(["send", name, "say DONE"]);
        host.run(["logs", name, "--until", "DONE", "--timeout", "1s"]).expect_code(2);
    }
    assert_eq!(host.ok(["logs", "cat"]), "say DONE\nsay DONE\n", "the whole log shows the echo");
    assert_eq!(
        host.run(["logs", "cat", "--wait-idle", "200ms", "--timeout", "20s", "--wait-first", "200ms"]).text(),
        "say DONE\n"
    );
}

#[test]
fn an_echo_torn_by_output_is_still_one() {
    let host = Host::start();
    host.sh("s", "echo up; sh -c 'while [ ! -e stop ]; do echo noise; done'; read -r x; echo 'ANSWER DONE'; exec cat");
    host.wait_text("s", "^noise$");
    host.ok(["send", "s", "among the noise DONE"]);
    std::fs::write(host.path("stop"), "").unwrap();
    let end = host.run(["logs", "s", "--until", "DONE", "--timeout", "30s", "--json"]).expect_code(0);
    let lines = end.json_lines();
    let data = lines.iter().rev().find(|line| line["event"] == "data").unwrap();
    assert!(data["content"].as_str().unwrap().ends_with("ANSWER DONE\n"), "{data}");
}

#[test]
fn the_shipped_agents() {
    for manner in ["cooked", "readline", "fullscreen"] {
        let host = Host::start();
        host.ok(["new", "planner", "--", &project_file("scripts/agents/agent"), manner, "planner"]);
        host.wait_text("planner", r"^\W*>\W*$");
        for subject in ["sort a list of dates", "read a table; say which rows are odd"] {
            let prompt = format!("{subject} SLEEP=200. Leave out nothing that was asked for. End with PLAN_DONE");
            host.ok(["send", "planner", &prompt]);
            let out =
                host.run(["logs", "planner", "--until", "PLAN_DONE", "--timeout", "30s", "--json"]).expect_code(0);
            let end = out.end_line();
            assert_eq!((&end["reason"], &end["match"]), (&json!("pattern"), &json!("PLAN_DONE")), "{manner}");
            let content = |line: &serde_json::Value| line["content"].as_str().map(str::to_owned);
            let text: String = out.json_lines().iter().filter_map(content).collect();
            assert!(!text.contains("Leave out nothing"), "{manner}, the echo isn't printed: {text}");
            assert!(text.contains("3. Call them in order"), "{manner}, the answer: {text}");
            assert_eq!(text.lines().last().map(str::trim), Some("PLAN_DONE"), "{manner}: {text}");
        }
    }
}

#[test]
fn the_same_answer_again_and_again() {
    let prompt = "sort a list SLEEP=400. End with SORT_DONE";
    for size in ["80x24", "80x50"] {
        let host = Host::start();
        let agent = project_file("scripts/agents/agent");
        host.ok(["new", "planner", "--size", size, "--", &agent, "fullscreen", "planner"]);
        host.wait_text("planner", r"^\W*>\W*$");
        for turn in 1..=3 {
            host.ok(["send", "planner", prompt]);
            let until = ["logs", "planner", "--until-line", "SORT_DONE", "--timeout"];
            host.run([&until[..], &["300ms"]].concat()).expect_code(2);
            let printed = host.ok([&until[..], &["30s"]].concat());
            assert_eq!(printed.lines().last().map(str::trim), Some("SORT_DONE"), "{size}, turn {turn}: {printed}");
            assert_eq!(printed.matches("3. Call them in order").count(), 1, "{size}, turn {turn}: {printed}");
        }
    }
}
