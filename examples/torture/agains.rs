//! A session that is started again whenever it ends: its runs are numbered without a gap, each happened once, and each ended
//! as its program did.

use crate::{
    checks::{check_status, events, output, rising, status_of},
    host::{Host, wait_for},
    oracle::{Broken, Oracle},
    program::{again_status, journal},
};
use serde_json::Value;

/// See the module.
pub(crate) struct Again {
    pub(crate) name: String,
    pub(crate) seed: u64,
}

/// A host was killed before the keeper heard of a run.
pub(crate) const CUT_OFF: &str = "runs cut off before they began";

/// So short that a kill often falls between two runs, and so many that none is ever `failed`.
const POLICY: [&str; 8] =
    ["--restart", "always", "--backoff", "50ms..400ms", "--max-restarts", "1000000", "--within", "2s"];

impl Again {
    pub(crate) fn begin(host: &Host, name: &str, seed: u64) -> crate::Result<Again> {
        host.new_session(name, &POLICY, &host.program("again", name, seed, &[]))?;
        Ok(Again { name: name.to_owned(), seed })
    }

    /// Ends it, and looks at all its runs.
    pub(crate) fn check(&self, host: &Host, oracle: &Oracle) {
        let path = format!("/v1/sessions/{}", self.name);
        let run = || host.call("GET", &path, None, None).and_then(|answer| answer.json()["run"].as_u64());
        if wait_for(|| run().filter(|run| *run > 1)).is_none() {
            return oracle.broke(Broken::Lost, format!("{} was never started again", self.name));
        }
        if let Err(why) = host.ok(&["kill", &self.name]) {
            return oracle.broke(Broken::Client, why.to_string());
        }
        let Some(events) = events(host, oracle, &self.name) else { return };
        rising(oracle, &self.name, &events);
        let of = |word: &str| events.iter().filter(|event| event["event"] == word).collect::<Vec<&Value>>();
        let (started, exited) = (of("started"), last_said_twice(of("exited")));
        // a host that was killed before the keeper heard of a run leaves one that never was: its end is unknown
        let never = |run: &&Value| status_of(run).is_none() && started.iter().all(|event| event["run"] != run["run"]);
        let (never, exited): (Vec<&Value>, Vec<&Value>) = exited.into_iter().partition(never);
        oracle.count(CUT_OFF, never.len() as u64);
        let mut numbers: Vec<u64> = started.iter().chain(&never).filter_map(|event| event["run"].as_u64()).collect();
        numbers.sort_unstable();
        let same = |(one, other): (&&Value, &&Value)| one["run"] == other["run"];
        let whole = started.len() == exited.len() && started.iter().zip(&exited).all(same);
        if !whole || numbers != (1..=numbers.len() as u64).collect::<Vec<_>>() {
            let odd = |run: &&u64| started.iter().chain(&never).filter(|e| e["run"] == **run).count() != 1;
            let all: Vec<u64> = (1..=numbers.last().copied().unwrap_or(0)).collect();
            let odd: Vec<&u64> = all.iter().filter(odd).collect();
            let counts = (started.len(), exited.len(), never.len());
            let name = &self.name;
            oracle.broke(Broken::Twice, format!("{name}: started, exited, never begun: {counts:?}; not once: {odd:?}"));
            return;
        }
        let pids: Vec<String> = started.iter().map(|event| event["pid"].to_string()).collect();
        let is_known = |line: &String| line.split(' ').nth(2).is_some_and(|pid| pids.iter().any(|known| known == pid));
        let (ran, anew): (Vec<String>, Vec<String>) = journal(&host.work, &self.name).into_iter().partition(is_known);
        for line in &anew {
            oracle.broke(Broken::Twice, format!("{}: ran, and isn't in the log: {line}", self.name));
        }
        self.check_runs(oracle, &ran, &started, &exited);
        self.check_output(oracle, &ran, &events);
        oracle.count("sessions that ended", started.len() as u64);
    }

    /// Pids and statuses; the last run was killed, perhaps before it wrote its journal.
    fn check_runs(&self, oracle: &Oracle, ran: &[String], started: &[&Value], exited: &[&Value]) {
        let whole = started.len().saturating_sub(1);
        if ran.len() > started.len() || ran.len() < whole {
            let told = format!("{}: {} runs in the log, {} in its journal", self.name, started.len(), ran.len());
            return oracle.broke(Broken::Twice, told);
        }
        for (n, line) in ran.iter().enumerate() {
            let pid = line.split(' ').nth(2).and_then(|pid| pid.parse::<u64>().ok());
            if started[n]["pid"].as_u64() != pid {
                oracle.broke(Broken::Lost, format!("{}: {} ran as {line:?}", self.name, started[n]));
            }
            let number = line.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
            let status = again_status(self.seed, number);
            if n < whole {
                check_status(oracle, &format!("{} run {}", self.name, n + 1), exited[n], i64::from(status));
            }
        }
    }

    /// What each whole run printed, once and in order.
    fn check_output(&self, oracle: &Oracle, ran: &[String], events: &[Value]) {
        let text = String::from_utf8_lossy(&output(events)).into_owned();
        let numbers = ran.iter().map(|line| line.split(' ').next().unwrap_or_default());
        let whole = numbers.take(ran.len().saturating_sub(1));
        let expected: String = whole.map(|n| format!("run {n}\r\nend of run {n}\r\n")).collect();
        if !text.starts_with(&expected) {
            let at =
                text.bytes().zip(expected.bytes()).position(|(a, b)| a != b).unwrap_or(text.len().min(expected.len()));
            let around =
                |text: &str| text.get(at.saturating_sub(60)..(at + 60).min(text.len())).unwrap_or("").to_owned();
            let told = format!(
                "{}: its output differs at byte {at}: {:?}, not {:?}",
                self.name,
                around(&text),
                around(&expected)
            );
            oracle.broke(Broken::Hole, told);
        }
    }
}

/// One that was killed between two runs says once more how the last one ended, and that it was the last.
fn last_said_twice(mut exited: Vec<&Value>) -> Vec<&Value> {
    if let [.., one, next] = exited[..] {
        let same = ["run", "exit_code", "signal"].iter().all(|name| one[name] == next[name]);
        if same && one["last"] == false && next["last"] == true {
            exited.pop();
        }
    }
    exited
}
