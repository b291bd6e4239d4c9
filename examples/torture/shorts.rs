//! Sessions that live for a moment and end as foreseen: each is started once, its end is told right to everybody who waits,
//! and what was removed stays away.

use crate::{
    chats::same_receipt,
    checks::{check_status, events, output, rising},
    dice::Dice,
    host::Host,
    http::Answer,
    oracle::{Broken, Oracle},
    program::{journal, short_rows},
};
use serde_json::{Value, json};
use std::process::{Child, Stdio};

/// How they end: codes, and 128 and a signal.
const STATUSES: [i64; 10] = [0, 1, 3, 42, 100, 127, 128 + 9, 128 + 15, 128 + 1, 128 + 10];
/// Ended ones that are kept; the oldest is removed.
const KEPT: usize = 12;

/// One worker.
pub(crate) struct Shorts<'a> {
    pub(crate) host: &'a Host,
    pub(crate) oracle: &'a Oracle,
    pub(crate) dice: Dice,
    pub(crate) name: String,
    kept: Vec<(String, Option<i64>)>,
    removed: Vec<String>,
}

impl<'a> Shorts<'a> {
    pub(crate) fn new(host: &'a Host, oracle: &'a Oracle, dice: Dice, name: &str) -> Shorts<'a> {
        Shorts { host, oracle, dice, name: name.to_owned(), kept: Vec::new(), removed: Vec::new() }
    }

    /// One after the other until the run is over, then looks at all of them again.
    pub(crate) fn work(mut self) {
        for n in 0.. {
            if self.oracle.is_over() {
                break;
            }
            let name = format!("{}-{n}", self.name);
            let status = STATUSES[self.dice.below(STATUSES.len() as u64) as usize];
            match self.dice.below(10) {
                0..2 => self.run_and_wait(name, status),
                2 => self.kill(name, false),
                3 => self.kill(name, true),
                _ => self.live(name, status),
            }
            if self.kept.len() > KEPT {
                self.remove();
            }
        }
        if self.oracle.cases().is_empty() {
            for (name, status) in &self.kept {
                self.check(name, *status);
            }
            for name in &self.removed {
                self.is_gone(name);
            }
        }
    }

    fn program(&self, name: &str, status: i64) -> Vec<String> {
        let sum = name.bytes().fold(0u64, |sum, byte| crate::dice::mix(sum ^ u64::from(byte)));
        self.host.program("short", name, sum, &[status.to_string()])
    }

    /// `run --wait`: exits as the program did.
    fn run_and_wait(&mut self, name: String, status: i64) {
        let program = self.program(&name, status);
        let mut words = vec!["run", "--wait", &name, "--"];
        words.extend(program.iter().map(String::as_str));
        let output = match self.host.run(&words) {
            Ok(output) => output,
            Err(why) => return self.oracle.broke(Broken::Client, format!("run --wait {name}: {why}")),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code().map(i64::from) != Some(status) {
            let told = format!("run --wait {name}: {}, but it was {status}: {}", output.status, said.trim());
            self.oracle.broke(Broken::Status, told);
        }
        self.oracle.count("waits", 1);
        self.ended(name, Some(status));
    }

    fn create(&mut self, name: &str, program: &[String]) -> bool {
        if self.dice.chance(40) {
            if let Err(why) = self.host.new_session(name, &[], program) {
                self.oracle.broke(Broken::Client, why.to_string());
            }
            return !self.oracle.is_over();
        }
        let body = json!({ "name": name, "argv": program, "cwd": "/" });
        let first = self.host.call("POST", "/v1/sessions", Some(name), Some(&body));
        let Some(first) = first.filter(Answer::is_success) else {
            self.oracle.broke(Broken::Client, format!("POST {name}: not created"));
            return false;
        };
        if self.dice.chance(25) {
            self.oracle.count("requests repeated under their key", 1);
            let second = self.host.call("POST", "/v1/sessions", Some(name), Some(&body));
            let id = |answer: &Answer| answer.json()["session"]["id"].clone();
            if second.as_ref().map(id) != Some(id(&first)) {
                same_receipt(self.oracle, name, &first, second.as_ref());
            }
        }
        true
    }

    fn live(&mut self, name: String, status: i64) {
        let program = self.program(&name, status);
        if !self.create(&name, &program) {
            return;
        }
        let wait = self.host.command(&["wait", &name, "--exit", "--timeout", "120s"]).stdout(Stdio::piped()).spawn();
        let Some(told) = self.told(wait, &name) else { return };
        self.oracle.count("waits", 1);
        if told.trim() != status.to_string() {
            let value = json!({ "exit_code": told.trim().parse::<i64>().ok(), "wait": told });
            check_status(self.oracle, &format!("wait {name} --exit"), &value, status);
        }
        self.ended(name, Some(status));
    }

    fn told(&self, wait: std::io::Result<Child>, name: &str) -> Option<String> {
        match wait.and_then(Child::wait_with_output) {
            Ok(output) if output.status.success() => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
            other => {
                self.oracle.broke(Broken::Client, format!("wait {name} --exit: {other:?}"));
                None
            }
        }
    }

    /// Killed while it runs: the process, and in a tree all that have left it, are gone when the command is back.
    fn kill(&mut self, name: String, tree: bool) {
        let program = if tree { self.host.program("tree", &name, 0, &[]) } else { self.program(&name, 0) };
        if !self.create(&name, &program) {
            return;
        }
        let grown = ["logs", &name, "--until", "^ready$", "--timeout", "100s"];
        let asked = if tree && self.dice.chance(70) { self.host.ok(&grown).map(drop) } else { Ok(()) };
        if let Err(why) = asked.and_then(|()| self.host.ok(&["kill", &name])) {
            return self.oracle.broke(Broken::Client, why.to_string());
        }
        let left = self.host.programs_of(&name);
        if !left.is_empty() {
            self.oracle.broke(Broken::Left, format!("{name} was killed, and there are still {left:?}"));
        }
        self.oracle.count("trees killed", u64::from(tree));
        self.ended(name, None);
    }

    fn ended(&mut self, name: String, status: Option<i64>) {
        self.check(&name, status);
        self.oracle.count("sessions that ended", 1);
        self.kept.push((name, status));
    }

    /// Session, output and log are as the program was.
    fn check(&self, name: &str, status: Option<i64>) {
        let session = self.get(name);
        let json = session.as_ref().map(Answer::json).unwrap_or_default();
        if json["state"] != "exited" || json["run"] != 1 {
            self.oracle.broke(Broken::Lost, format!("{name} has ended, but is {json}"));
            return;
        }
        let Some(events) = events(self.host, self.oracle, name) else { return };
        rising(self.oracle, name, &events);
        let of = |word: &str| events.iter().filter(|event| event["event"] == word).collect::<Vec<&Value>>();
        let (started, exited) = (of("started"), of("exited"));
        if started.len() != 1 || exited.len() != 1 {
            self.oracle.broke(Broken::Twice, format!("{name}: started {started:?}, exited {exited:?}"));
            return;
        }
        let runs = journal(&self.host.work, name);
        let pid = started[0]["pid"].to_string();
        if runs != [pid] && !(runs.is_empty() && status.is_none()) {
            self.oracle.broke(Broken::Twice, format!("{name}: ran {} times: {runs:?}", runs.len()));
        }
        let Some(status) = status else { return };
        check_status(self.oracle, name, &json, status);
        check_status(self.oracle, &format!("{name} in the log"), exited[0], status);
        let expected = short_rows(name).join("\r\n") + &format!("\r\nends with {status}\r\n");
        if output(&events) != expected.as_bytes() {
            let got = String::from_utf8_lossy(&output(&events)).into_owned();
            self.oracle.broke(Broken::Hole, format!("{name} printed {expected:?}, its log has {got:?}"));
        }
    }

    fn get(&self, name: &str) -> Option<Answer> {
        self.host.call("GET", &format!("/v1/sessions/{name}"), None, None)
    }

    fn remove(&mut self) {
        let (name, _) = self.kept.remove(0);
        if let Err(why) = self.host.ok(&["rm", &name]) {
            return self.oracle.broke(Broken::Client, why.to_string());
        }
        self.is_gone(&name);
        self.removed.push(name);
    }

    fn is_gone(&self, name: &str) {
        let status = self.get(name).map(|answer| answer.status);
        if status != Some(404) {
            self.oracle.broke(Broken::Lost, format!("{name} was removed, and answers {status:?}"));
        }
    }
}
