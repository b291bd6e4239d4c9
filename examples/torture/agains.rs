//! A session that is started again whenever it ends: its runs are numbered without a gap, each happened once, and each ended
//! as its program did.

use crate::{
    checks::{check_status, events, output, rising},
    host::Host,
    oracle::{Broken, Oracle},
    program::{again_status, journal},
};
use serde_json::Value;

/// See the module.
pub(crate) struct Again {
    pub(crate) name: String,
    pub(crate) seed: u64,
}

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
        if let Err(why) = host.ok(&["kill", &self.name]) {
            return oracle.broke(Broken::Client, why.to_string());
        }
        let ran = journal(&host.work, &self.name);
        let Some(events) = events(host, oracle, &self.name) else { return };
        rising(oracle, &self.name, &events);
        let of = |word: &str| events.iter().filter(|event| event["event"] == word).collect::<Vec<&Value>>();
        let started = of("started");
        let mut exited = of("exited");
        // one that was killed between two runs says once more how the last one ended, and that it was the last
        let again = |one: &Value, next: &Value| {
            let differ = |name: &str| one[name] != next[name];
            one["last"] == false
                && next["last"] == true
                && !["run", "exit_code", "signal"].iter().any(|name| differ(name))
        };
        if let [.., one, next] = exited[..]
            && again(one, next)
        {
            exited.pop();
        }
        let numbers = |events: &[&Value]| events.iter().map(|event| event["run"].as_u64()).collect::<Vec<_>>();
        let expected: Vec<Option<u64>> = (1..=started.len() as u64).map(Some).collect();
        if numbers(&started) != expected || numbers(&exited) != expected {
            let got = (numbers(&started), numbers(&exited));
            oracle.broke(Broken::Twice, format!("{}: runs {got:?}", self.name));
            return;
        }
        self.check_runs(oracle, &ran, &started, &exited);
        self.check_output(oracle, &ran, &events);
        oracle.count("sessions that ended", started.len() as u64);
        if started.len() < 2 {
            oracle.broke(Broken::Lost, format!("{} was never started again", self.name));
        }
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
            let status = again_status(self.seed, n as u64 + 1);
            if n < whole {
                check_status(oracle, &format!("{} run {}", self.name, n + 1), exited[n], i64::from(status));
            }
        }
    }

    /// What each whole run printed, once and in order.
    fn check_output(&self, oracle: &Oracle, ran: &[String], events: &[Value]) {
        let text = String::from_utf8_lossy(&output(events)).into_owned();
        let whole = ran.len().saturating_sub(1);
        let expected: String = (1..=whole).map(|n| format!("run {n}\r\nend of run {n}\r\n")).collect();
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
