//! Host and keeper killed at once, in rounds with sessions of their own: these end, and nothing more may be lost than what was
//! not yet on disk. What was acknowledged stands in the log, a gap says what is missing, no number means two things, policies
//! decide what runs again, and of what doesn't nothing is left.

use crate::{
    Result,
    agains::Again,
    args::Args,
    checks::{check_status, events, output},
    dice::Dice,
    host::{Host, alive, pause, wait_for},
    oracle::{Broken, Oracle},
    stream::{Checker, Stream},
};
use rustix::process::Signal;
use serde_json::Value;
use std::{collections::BTreeMap, fs, process::Stdio, time::Duration};

/// Output that a reader had seen and that is in no log.
pub(crate) const LOST_OUTPUT: &str = "output seen before and lost then";
/// So many texts at most before the blow.
const TEXTS: u64 = 6;
/// How a short session ends.
const STATUS: i64 = 3;
/// From the last word of the sessions' beginning to the blow.
const LONGEST: Duration = Duration::from_secs(1);

/// As many rounds as are asked for, until a promise is broken.
pub(crate) fn rounds(host: &Host, oracle: &Oracle, args: &Args) {
    let mut dice = Dice::new(args.seed, "both");
    for n in 0..args.both_kills.unwrap_or(0) {
        if !oracle.cases().is_empty() {
            return;
        }
        if let Err(why) = round(host, oracle, &mut dice, &format!("both-{n}")) {
            oracle.broke(Broken::Client, format!("both killed, round {n}: {why}"));
        }
    }
}

fn round(host: &Host, oracle: &Oracle, dice: &mut Dice, round: &str) -> Result<()> {
    let _ = fs::remove_file(host.work.join("stop")); // of the round before
    let named = |what: &str| format!("{round}-{what}");
    let (rows, chat, tree, short) = (named("rows"), named("chat"), named("tree"), named("short"));
    host.new_session(&rows, &[], &host.program("beat", &rows, 0, &[]))?;
    host.new_session(&chat, &[], &host.program("chat", &chat, 0, &[]))?;
    host.new_session(&tree, &[], &host.program("tree", &tree, 0, &[]))?;
    let again = Again::begin(host, &named("again"), dice.next())?;
    host.ok(&["logs", &chat, "--until", "^ready$", "--timeout", "60s"])?;
    host.ok(&["logs", &tree, "--until", "^ready$", "--timeout", "60s"])?;
    host.new_session(&short, &[], &host.program("short", &short, dice.next(), &[STATUS.to_string()]))?;
    pause(dice.up_to(LONGEST));
    let acknowledged = dice.chance(50).then(|| host.ok(&["wait", &short, "--exit"])).transpose()?;
    let mut receipts = Vec::new();
    for n in 0..dice.below(TEXTS) {
        let text = format!("text {n} of {round}");
        let receipt: Value = serde_json::from_str(&host.ok(&["send", &chat, &text, "--json"])?)?;
        receipts.push((text, receipt));
    }
    // a run that is just beginning, and a reader that has seen what is in no file yet
    let mut beginning = acknowledged.as_ref().map(|_| host.command(&["restart", &short]).stderr(Stdio::null()).spawn());
    let seen: BTreeMap<&String, Seen> = [&tree, &chat, &rows, &again.name, &short]
        .into_iter()
        .filter_map(|name| Some((name, Seen::of(&events(host, oracle, name)?))))
        .collect();
    kill_both(host, oracle)?;
    if let Some(Ok(restart)) = &mut beginning {
        restart.wait()?; // done or not
    }
    for name in [&rows, &chat, &tree] {
        is_lost(host, oracle, name);
    }
    for (name, seen) in &seen {
        let Some(now) = events(host, oracle, name) else { continue };
        seen.compare(oracle, name, &now);
        if *name == &rows {
            let whole = output(&now);
            let mut checker = Checker::new(Stream::Rows, 0);
            let wrong = checker.feed(&whole).or_else(|| checker.finish());
            oracle.wrong(&format!("{name} after both were killed"), wrong);
        }
        if *name == &chat {
            stand_in(oracle, name, &receipts, &now);
        }
    }
    if acknowledged.is_some() {
        let exited = events(host, oracle, &short).unwrap_or_default();
        let exited = exited.iter().find(|event| event["event"] == "exited" && event["run"] == 1);
        check_status(oracle, &format!("{short} after both were killed"), exited.unwrap_or(&Value::Null), STATUS);
    }
    for (name, seen) in seen.iter().filter(|(name, _)| [&chat, &short].contains(name)) {
        wait_for(|| host.ok(&["restart", name]).ok()).ok_or_else(|| format!("{name} can't be restarted"))?;
        seen.compare(oracle, name, &events(host, oracle, name).unwrap_or_default());
    }
    if wait_for(|| host.programs_of(&tree).is_empty().then_some(())).is_none() {
        oracle.broke(Broken::Left, format!("{tree} is lost, and there are still {:?}", host.programs_of(&tree)));
    }
    runs_again(host, oracle, &again.name, seen.get(&again.name).map_or(0, |seen| seen.run));
    host.ok(&["rm", "-f", &rows, &chat, &tree, &short, &again.name]).map(drop)
}

/// The keeper is stopped first, so that it starts no host in between.
fn kill_both(host: &Host, oracle: &Oracle) -> Result<()> {
    let before = host.wait_status(|_| true).ok_or("the host doesn't answer")?;
    oracle.note(format!("both: host={} keeper={}", before.host, before.keeper));
    host.signal(before.keeper, Signal::STOP);
    let killed = [before.host, before.keeper].map(|pid| host.signal(pid, Signal::KILL));
    wait_for(|| (!alive(before.host) && !alive(before.keeper)).then_some(())).ok_or("they don't die")?;
    oracle.count("both killed", u64::from(killed == [true, true]));
    host.ok(&["start", "-d"]).map(drop)
}

fn is_lost(host: &Host, oracle: &Oracle, name: &str) {
    let json = host.call("GET", &format!("/v1/sessions/{name}"), None, None).map(|answer| answer.json());
    let json = json.unwrap_or_default();
    if json["state"] != "lost" || json["run"] != 1 {
        oracle.broke(Broken::Status, format!("{name}: both were killed, and it is {json}"));
    }
}

/// What a reader was told of a session before the blow.
struct Seen {
    /// Events other than output, by their numbers.
    events: BTreeMap<u64, Value>,
    output: Vec<u8>,
    newest: u64,
    run: u64,
}

impl Seen {
    fn of(all: &[Value]) -> Seen {
        let numbered = || all.iter().filter_map(|event| Some((event["seq"].as_u64()?, event)));
        Seen {
            events: numbered().filter(|(_, e)| e["event"] != "data").map(|(seq, e)| (seq, e.clone())).collect(),
            output: output(all),
            newest: numbered().map(|(seq, _)| seq).max().unwrap_or(0),
            run: all.iter().filter_map(|event| event["run"].as_u64()).max().unwrap_or(0),
        }
    }

    /// Numbers rise; what was seen is the same still, or within a gap; what is new has new numbers.
    fn compare(&self, oracle: &Oracle, name: &str, now: &[Value]) {
        let (mut last, mut gaps) = (0, Vec::new());
        for event in now.iter().filter(|event| event["seq"].is_u64()) {
            let seq = event["seq"].as_u64().unwrap_or(0);
            if seq <= last {
                oracle.broke(Broken::Double, format!("{name}: seq {seq} after {last}: {event}"));
            }
            last = seq;
            if event["event"] == "gap" {
                gaps.push((event["from_seq"].as_u64().unwrap_or(0), event["to_seq"].as_u64().unwrap_or(0)));
            } else if event["event"] != "data" && seq <= self.newest && self.events.get(&seq) != Some(event) {
                let was = self.events.get(&seq);
                oracle.broke(
                    Broken::Twice,
                    format!("{name}: seq {seq} was {was:?} before both were killed, now {event}"),
                );
            }
        }
        let is_there = |seq: &u64| now.iter().any(|event| event["seq"].as_u64() == Some(*seq));
        let is_named = |seq: &u64| gaps.iter().any(|(from, to)| (from..=to).contains(&seq));
        if let Some((seq, event)) = self.events.iter().find(|(seq, _)| !is_there(seq) && !is_named(seq)) {
            oracle.broke(Broken::Lost, format!("{name}: {seq} is gone without a word: {event}"));
        }
        let output = output(now);
        let same = output.iter().zip(&self.output).take_while(|(now, then)| now == then).count();
        let lost = self.output.len() - same;
        oracle.count(LOST_OUTPUT, lost as u64);
        if lost > 0 && gaps.is_empty() {
            oracle.broke(Broken::Hole, format!("{name}: {lost} bytes that were seen aren't there, and no gap"));
        }
    }
}

/// What was acknowledged.
fn stand_in(oracle: &Oracle, name: &str, receipts: &[(String, Value)], now: &[Value]) {
    for (text, receipt) in receipts {
        let stands = |event: &&Value| event["event"] == "input" && event["seq"] == receipt["seq"];
        let input = now.iter().find(stands);
        if input.is_none_or(|input| input["text"] != *text || input["turn"] != receipt["turn"]) {
            oracle
                .broke(Broken::Lost, format!("{name}: {text:?} was acknowledged as {receipt}, the log has {input:?}"));
        }
    }
}

/// Its policy starts it again, each run once.
fn runs_again(host: &Host, oracle: &Oracle, name: &str, before: u64) {
    let path = format!("/v1/sessions/{name}");
    let look = || host.call("GET", &path, None, None).map(|answer| answer.json());
    let runs = wait_for(|| look().filter(|json| json["state"] == "running" && json["run"].as_u64() > Some(before)));
    if runs.is_none() {
        oracle.broke(Broken::Lost, format!("{name} isn't started again: {:?}", look()));
    }
    let Some(events) = events(host, oracle, name) else { return };
    let started: Vec<u64> =
        events.iter().filter(|event| event["event"] == "started").filter_map(|event| event["run"].as_u64()).collect();
    if !started.is_sorted_by(|one, next| one < next) {
        oracle.broke(Broken::Twice, format!("{name}: runs {started:?}"));
    }
}
