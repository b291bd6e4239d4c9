//! Sends with receipts, and replies that are waited for. Each text is sent once; the program's journal tells what it heard.

use crate::{
    checks::{events, rising},
    dice::Dice,
    host::Host,
    http::Answer,
    oracle::{Broken, Oracle},
    program::{answer, journal},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A session that answers, and all that was sent to it.
pub(crate) struct Chat {
    name: String,
    /// The line driver echoes and holds lines, as in most programs.
    plain: bool,
    sent: Vec<Sent>,
    /// Nothing is under way: the answer to the last text was read.
    settled: bool,
}

/// A text and what was said about it.
pub(crate) struct Sent {
    pub(crate) text: String,
    pub(crate) key: Option<String>,
    /// Its place in the log, where it was acknowledged; else it may have been typed or not.
    pub(crate) receipt: Option<Value>,
}

impl Chat {
    pub(crate) fn begin(host: &Host, name: &str, plain: bool, seed: u64) -> crate::Result<Chat> {
        let manner = if plain { "plain-chat" } else { "chat" };
        host.new_session(name, &[], &host.program(manner, name, seed, &[]))?;
        host.ok(&["logs", name, "--until", "^ready$", "--timeout", "60s"])?;
        Ok(Chat { name: name.to_owned(), plain, sent: Vec::new(), settled: true })
    }

    /// Sends and reads replies until the run is over; then looks whether everything stands in the log.
    pub(crate) fn talk(mut self, host: &Host, oracle: &Oracle, mut dice: Dice) {
        while !oracle.is_over() {
            let text = format!("q{} {:x}", self.sent.len(), dice.next());
            let doubtful = match dice.below(10) {
                0..3 => self.send_by_command(host, oracle, text),
                3..6 if self.settled => self.ask(host, oracle, text),
                _ => self.send_by_key(host, oracle, text, &mut dice),
            };
            if doubtful {
                self.clear(host, oracle, &mut dice);
            } else if dice.chance(60) {
                self.read_reply(host, oracle, &mut dice);
            } else if dice.chance(10) {
                self.resize(host, oracle, &mut dice);
            }
        }
        if oracle.cases().is_empty() {
            self.check(host, oracle);
        }
    }

    fn turns(&self) -> String {
        format!("/v1/sessions/{}/turns", self.name)
    }

    /// `send --json`. True when it isn't known whether it was typed.
    fn send_by_command(&mut self, host: &Host, oracle: &Oracle, text: String) -> bool {
        let output = match host.run(&["send", &self.name, &text, "--json"]) {
            Ok(output) => output,
            Err(why) => {
                oracle.broke(Broken::Client, format!("send {} {text}: {why}", self.name));
                return false;
            }
        };
        if output.status.success() {
            let receipt = serde_json::from_slice(&output.stdout).ok();
            self.note(oracle, Sent { text, key: None, receipt });
            return false;
        }
        let said: Value = serde_json::from_slice(&output.stderr).unwrap_or_default();
        self.refused(oracle, text, None, &said, &String::from_utf8_lossy(&output.stderr))
    }

    /// Over HTTP, under a key of ours; sometimes asked twice.
    fn send_by_key(&mut self, host: &Host, oracle: &Oracle, text: String, dice: &mut Dice) -> bool {
        let key = format!("{}-{}", self.name, self.sent.len());
        let body = json!({ "text": text });
        let Some(first) = host.call("POST", &self.turns(), Some(&key), Some(&body)) else {
            oracle.broke(Broken::Hang, format!("no answer to a send to {}: {text}", self.name));
            return false;
        };
        if dice.chance(20) {
            oracle.count("requests repeated under their key", 1);
            let second = host.call("POST", &self.turns(), Some(&key), Some(&body));
            same_receipt(oracle, &key, &first, second.as_ref());
        }
        if first.is_success() {
            self.note(oracle, Sent { text, key: Some(key), receipt: Some(first.json()) });
            return false;
        }
        self.refused(oracle, text, Some(key), &first.json(), &String::from_utf8_lossy(&first.body))
    }

    /// `ask --json`: the reply is all that the program said to this text, but for the row that was waited for.
    fn ask(&mut self, host: &Host, oracle: &Oracle, text: String) -> bool {
        let rows = answer(&text);
        let (last, before) = rows.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
        let output = match host.run(&["ask", &self.name, &text, "--until", &format!("^{last}$"), "--json"]) {
            Ok(output) => output,
            Err(why) => {
                oracle.broke(Broken::Client, format!("ask {} {text}: {why}", self.name));
                return false;
            }
        };
        if !output.status.success() {
            let said: Value = serde_json::from_slice(&output.stderr).unwrap_or_default();
            return self.refused(oracle, text, None, &said, &String::from_utf8_lossy(&output.stderr));
        }
        let reply: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if reply["reply"] != before.join("\n") || reply["complete"] != true || reply["match"] != last {
            oracle.broke(Broken::Client, format!("ask {} {text}: {reply}, not {before:?} and {last}", self.name));
        }
        oracle.count("asks", 1);
        let receipt = json!({ "turn": reply["turn"], "seq": reply["seq_from"] });
        self.note(oracle, Sent { text, key: None, receipt: Some(receipt) });
        self.settled = true;
        false
    }

    fn note(&mut self, oracle: &Oracle, sent: Sent) {
        self.settled = false;
        oracle.count("sends acknowledged", u64::from(sent.receipt.is_some()));
        self.sent.push(sent);
    }

    fn refused(&mut self, oracle: &Oracle, text: String, key: Option<String>, said: &Value, words: &str) -> bool {
        if said["error"]["code"] != "unknown" {
            oracle.broke(Broken::Client, format!("send {} {text}: {}", self.name, words.trim()));
        }
        oracle.count("sends of which it isn't known", 1);
        self.sent.push(Sent { text, key, receipt: None });
        self.settled = false;
        true
    }

    /// What stands half typed after a send of which nothing is known is ended, so that the next text has a line of its own.
    fn clear(&self, host: &Host, oracle: &Oracle, dice: &mut Dice) {
        let path = format!("/v1/sessions/{}/keys", self.name);
        while !oracle.is_over() {
            let key = format!("{}-clear-{:x}", self.name, dice.next());
            match host.call("POST", &path, Some(&key), Some(&json!({ "keys": ["enter"] }))) {
                Some(answer) if answer.is_success() => return,
                Some(answer) if answer.code() == "unknown" => {}
                other => return oracle.broke(Broken::Client, format!("keys {}: {other:?}", self.name)),
            }
        }
    }

    /// Waits for the answer to the last text, in one of two ways. Before it may stand what the program still had to say to the
    /// text before.
    fn read_reply(&mut self, host: &Host, oracle: &Oracle, dice: &mut Dice) {
        let Some(Sent { text, receipt: Some(receipt), .. }) = self.sent.last() else { return };
        let (turn, rows) = (&receipt["turn"], answer(text));
        let (last, before) = rows.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
        oracle.count("waits", 1);
        if dice.chance(50) {
            let (pattern, since) = (format!("^{last}$"), format!("turn:{turn}"));
            let words = ["logs", &self.name, "--since", &since, "--until", &pattern, "--timeout", "120s"];
            let read = host.run(&words).map(|output| {
                let printed = String::from_utf8_lossy(&output.stdout).into_owned();
                (output.status.success() && printed.ends_with(&(rows.join("\n") + "\n")), output)
            });
            self.settled = matches!(read, Ok((true, _)));
            if !self.settled {
                oracle.broke(Broken::Client, format!("{words:?}: {read:?}"));
            }
            return;
        }
        let path = format!("{}/{turn}?wait=1&until=%5E{}%24&timeout_ms=120000", self.turns(), last.replace(' ', "+"));
        let reply = host.call("GET", &path, None, None);
        let json = reply.as_ref().map(Answer::json).unwrap_or_default();
        let whole = json["reply"].as_str().is_some_and(|reply| reply.ends_with(&before.join("\n")));
        self.settled = whole && json["complete"] == true;
        if !self.settled {
            oracle.broke(Broken::Client, format!("GET {path}: {:?}", reply.map(|r| String::from_utf8(r.body))));
        }
    }

    fn resize(&self, host: &Host, oracle: &Oracle, dice: &mut Dice) {
        let size = (80 + dice.below(60), 24 + dice.below(20));
        let body = json!({ "size": { "cols": size.0, "rows": size.1 } });
        let answer = host.call("POST", &format!("/v1/sessions/{}/resize", self.name), None, Some(&body));
        let now = host.call("GET", &format!("/v1/sessions/{}", self.name), None, None);
        let is = now.as_ref().map(Answer::json).unwrap_or_default();
        oracle.count("resizes", 1);
        if !answer.is_some_and(|answer| answer.is_success()) || is["size"] != body["size"] {
            oracle.broke(Broken::Lost, format!("{}: resized to {}, but is {}", self.name, body["size"], is["size"]));
        }
    }

    /// Receipts once more, the journal, and the log.
    fn check(&self, host: &Host, oracle: &Oracle) {
        for sent in self.sent.iter().filter(|sent| sent.key.is_some()).step_by(7) {
            let body = json!({ "text": sent.text });
            let again = host.call("POST", &self.turns(), sent.key.as_deref(), Some(&body));
            let now = again.as_ref().filter(|answer| answer.is_success()).map(Answer::json);
            oracle.count("requests repeated under their key", 1);
            if now != sent.receipt {
                oracle.broke(Broken::Receipt, format!("{:?}: first {:?}, at the end {now:?}", sent.key, sent.receipt));
            }
        }
        // the last text must have been heard before the journal is read
        if let Some(Sent { text, receipt: Some(_), .. }) = self.sent.last() {
            let last = answer(text).pop().unwrap_or_default();
            let words =
                ["logs", &self.name, "--since", "last-send", "--until", &format!("^{last}$"), "--timeout", "60s"];
            if let Err(why) = host.ok(&words) {
                oracle.broke(Broken::Lost, why.to_string());
            }
        }
        check_heard(&self.name, &self.sent, host, oracle);
        self.check_log(host, oracle);
    }

    fn check_log(&self, host: &Host, oracle: &Oracle) {
        let Some(events) = events(host, oracle, &self.name) else { return };
        rising(oracle, &self.name, &events);
        let inputs: BTreeMap<u64, &Value> = events
            .iter()
            .filter(|event| event["event"] == "input")
            .filter_map(|event| Some((event["seq"].as_u64()?, event)))
            .collect();
        let mut done: BTreeMap<u64, u64> = BTreeMap::new();
        for typed in events.iter().filter(|event| event["event"] == "typed" && event["step"] == "enter-done") {
            *done.entry(typed["of"].as_u64().unwrap_or(0)).or_default() += 1;
        }
        for sent in self.sent.iter() {
            let Some(receipt) = &sent.receipt else { continue };
            let seq = receipt["seq"].as_u64().unwrap_or(0);
            let Some(input) = inputs.get(&seq) else {
                oracle.broke(Broken::Lost, format!("{}: no input at seq {seq}: {receipt}", self.name));
                continue;
            };
            let text = input["text"].as_str();
            let same = if self.plain { true } else { text == Some(sent.text.as_str()) };
            if input["turn"] != receipt["turn"] || !same {
                oracle.broke(Broken::Lost, format!("{}: {receipt} is {input} in the log", self.name));
            }
            if done.get(&seq) != Some(&1) {
                oracle.broke(
                    Broken::Lost,
                    format!("{}: Enter of {receipt} is {:?} times in the log", self.name, done.get(&seq)),
                );
            }
        }
    }
}

/// Each acknowledged text was heard once and in its turn, each doubtful one at most once, and nothing else.
pub(crate) fn check_heard(name: &str, all: &[Sent], host: &Host, oracle: &Oracle) {
    let heard = journal(&host.work, name);
    let mut next = 0;
    for sent in all {
        let times = heard.iter().filter(|line| **line == sent.text).count();
        let place = heard.iter().skip(next).position(|line| *line == sent.text).map(|place| place + next);
        match (times, &sent.receipt, place) {
            (1, _, Some(place)) => next = place + 1,
            (0, None, _) => {}
            (0, Some(receipt), _) => {
                oracle.broke(Broken::Lost, format!("{} never heard {:?}: {receipt}", name, sent.text));
            }
            (1, ..) => oracle.broke(Broken::Twice, format!("{} heard {:?} out of turn", name, sent.text)),
            _ => oracle.broke(Broken::Twice, format!("{} heard {:?} {times} times", name, sent.text)),
        }
    }
    let doubtful = || all.iter().filter(|sent| sent.receipt.is_none());
    for line in &heard {
        let known = all.iter().any(|sent| sent.text == *line);
        if !known && !line.is_empty() && !doubtful().any(|sent| sent.text.starts_with(line.as_str())) {
            oracle.broke(Broken::Twice, format!("{} heard what nobody sent: {line:?}", name));
        }
    }
}

/// Two answers under one key must be one.
pub(crate) fn same_receipt(oracle: &Oracle, key: &str, first: &Answer, second: Option<&Answer>) {
    let words =
        |answer: &Answer| (answer.status, answer.code(), if answer.is_success() { answer.json() } else { Value::Null });
    if second.map(words) != Some(words(first)) {
        let second = second.map(|answer| String::from_utf8_lossy(&answer.body).into_owned());
        let first = String::from_utf8_lossy(&first.body).into_owned();
        oracle.broke(Broken::Receipt, format!("under {key} first {first}, then {second:?}"));
    }
}
