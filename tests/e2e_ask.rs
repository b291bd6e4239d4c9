//! A reply is exactly what the program printed in answer: now, asked again later, and over a crash of the host.
//!
//! `TERMALIVE_ASK_ROUNDS`: how many questions each program is asked.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation is a failed test")]

#[path = "ask/questions.rs"]
mod questions;
mod support;

use questions::{Dice, Question, bash, llm, python, sqlite};
use std::{
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    path::PathBuf,
};
use support::{Host, env_number, project_file, skipped};

/// Asks one after the other; then all replies are read again.
fn rounds(host: &Host, name: &str, question: fn(&mut Dice, usize) -> Question) {
    let rounds = usize::try_from(env_number("TERMALIVE_ASK_ROUNDS", 12)).unwrap();
    let mut dice = Dice::new(env_number("TERMALIVE_ASK_SEED", 1));
    let (mut wrong, mut replies) = (vec![], vec![]);
    for n in 1..=rounds {
        let Question { text, answer } = question(&mut dice, n);
        let reply = host.json(["ask", name, "--json", "--timeout", "50s", "--", &text]);
        if reply["reply"] != answer.as_str() || reply["reason"] != "complete" || reply["complete"] != true {
            wrong.push(format!("{name} {n}: {text:?}\n  found  {reply}\n  wanted {answer:?}"));
        }
        replies.push(reply);
    }
    for reply in &replies {
        let again = host.json(["reply", name, "--json", "--turn", &reply["turn"].to_string()]);
        if again != *reply {
            wrong.push(format!("{name}, later:\n  found  {again}\n  before {reply}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {rounds} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn bash_with_a_plain_prompt() {
    let host = Host::start();
    host.ok(["new", "b", "-e", "PS1=$ ", "--", "bash", "--norc"]);
    rounds(&host, "b", bash);
}

#[test]
fn bash_with_a_coloured_prompt_of_several_rows() {
    let host = Host::start();
    let prompt = r"PS1=\n\[\e[1;32m\]\u@\h\[\e[0m\] \[\e[34m\]\w\[\e[0m\] (\#)\n\[\e[35m\]❯\[\e[0m\] ";
    host.ok(["new", "b", "-e", prompt, "--size", "60x20", "--", "bash", "--norc"]);
    rounds(&host, "b", bash);
}

#[test]
fn the_python_prompt() {
    let host = Host::start();
    host.ok(["new", "p", "--", "python3", "-q"]);
    rounds(&host, "p", python);
}

#[test]
fn sqlite_shell() {
    let host = Host::start();
    host.ok(["new", "s", "--", "sqlite3"]);
    rounds(&host, "s", sqlite);
}

/// A real `llm chat` with a scripted model; left out where llm isn't there and can't be installed.
#[test]
fn llm_chat() {
    let agent = project_file("tests/agents/agent");
    let agents = std::env::var_os("AGENTS_DIR")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/termalive-agents"));
    let host = Host::start();
    if !agents.join("llm/bin/llm").exists() {
        let install = host.program(&[&agent, "install", "llm"]).env("AGENTS_DIR", agents.to_str().unwrap());
        if install.run().code != 0 {
            return skipped("llm isn't there and can't be installed");
        }
    }
    symlink(agents.join("llm"), host.path("llm")).unwrap();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    drop(socket);
    let log = host.path("requests");
    let model = host.program(&[&agent, "model", "--log", &log]).env("FAKE_PORT", &port).spawn_piped();
    let mut model = Model(model);
    let mut said = String::new();
    BufReader::new(model.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("listening"), "{said}");
    let dir = format!("AGENTS_DIR={}", host.scratch().display());
    host.ok(["new", "l", "-e", &dir, "-e", &format!("FAKE_PORT={port}"), "--", &agent, "run", "llm"]);
    host.ok(["logs", "l", "--until", "^> ?$", "--timeout", "50s"]);
    rounds(&host, "l", llm);
}

struct Model(std::process::Child);

impl Drop for Model {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
