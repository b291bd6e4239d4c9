//! No wait fires on an echo: cases captured from real programs, cases made by hand, and recordings of real agents.
//!
//! A case of `tests/echo/*.case` has the form of `follow/scenario.rs`; its end is the reason alone, as a place in captured
//! bytes says nothing to a reader, and `> row` is what the output ends with.

#![allow(clippy::unwrap_used, reason = "a recording that can't be read fails its test")]

#[path = "follow/scenario.rs"]
#[allow(dead_code, reason = "shared with the other readings")]
mod scenario;

use scenario::{cases, ended, printed, read};

const CORPUS: [(&str, &str); 2] =
    [("captured", include_str!("echo/captured.case")), ("written", include_str!("echo/written.case"))];

#[test]
fn no_wait_fires_on_an_echo() {
    let mut wrong = vec![];
    for (file, text) in CORPUS {
        for case in cases(text) {
            let (frames, end) = case.read(None);
            let (printed, found) = (printed(&frames), ended(&end, false));
            let reason = found.split(' ').next().unwrap().to_owned();
            if reason != case.end || !printed.ends_with(&case.printed) {
                let shown = printed.chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect::<String>();
                wrong.push(format!("{file}: {}\n  found  {found}, wanted {}\n{shown}", case.name, case.end));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The verdict is the same when the bytes come one by one at the same times.
#[test]
fn no_chunking_lets_an_echo_through() {
    for (file, text) in CORPUS {
        for case in
            cases(text).into_iter().filter(|case| case.records.iter().map(|r| r.body.len()).sum::<usize>() < 6000)
        {
            let (frames, end) = case.read(None);
            for size in [1, 5] {
                let mut plan = case.plan.clone();
                let mut records = vec![];
                for record in &case.records {
                    if record.seq == case.plan.start.seq {
                        plan.start.seq = termalive::model::Seq(records.len() as u64 + 1);
                        plan.after = plan.start;
                    }
                    let output = record.kind == termalive::model::Kind::Output;
                    let length = if output { size } else { record.body.len() };
                    for at in (0..record.body.len()).step_by(length) {
                        let body = record.body.slice(at..(at + length).min(record.body.len()));
                        let seq = termalive::model::Seq(records.len() as u64 + 1);
                        records.push(termalive::model::Record { seq, body, ..record.clone() });
                    }
                }
                let (other, other_end) = read(&plan, &records, case.now, case.live, None);
                assert_eq!(ended(&other_end, false), ended(&end, false), "{file}: {} by {size}", case.name);
                assert_eq!(printed(&other), printed(&frames), "{file}: {} by {size}", case.name);
            }
        }
    }
}

/// Real agents, each asked for a plan that ends in PLAN_DONE: the row that is waited for is the answer's last.
#[test]
fn a_wait_on_a_real_agent_ends_with_its_answer() {
    for (agent, cast) in [
        ("llm", include_str!("recordings/llm.cast")),
        ("aider", include_str!("recordings/aider.cast")),
        ("codex", include_str!("recordings/codex.cast")),
        ("opencode", include_str!("recordings/opencode.cast")),
    ] {
        let case = recorded(cast);
        let (frames, end) = case.read(None);
        let shown = printed(&frames);
        assert_eq!(ended(&end, false), "pattern PLAN_DONE=PLAN_DONE exit 0", "{agent}: {shown}");
        let last = shown.lines().next_back().unwrap_or_default();
        assert!(!last.contains("end with"), "{agent}: {last}");
        let (answered, fired) = (case.records.len() as u64, end.line.next.seq.0);
        assert!(fired * 100 > answered * 90, "{agent}: record {fired} of {answered}, {last:?}");
    }
}

/// A recording as a log; the wait begins at the prompt.
fn recorded(cast: &str) -> scenario::Case {
    let mut case = cases("\n## agent\nuntil PLAN_DONE\nturn\n").remove(0);
    let mut last = 0;
    for line in cast.lines().skip(1) {
        let (seconds, kind, text): (f64, String, String) = serde_json::from_str(line).unwrap();
        last = (seconds * 1000.0) as u64;
        if kind == "o" {
            case.push(scenario::stamp(last), &termalive::model::Event::Output(text.into()));
        } else if text.starts_with("Write") {
            case.plan.start.seq = termalive::model::Seq(case.records.len() as u64 + 1);
            case.plan.after = case.plan.start;
            case.push(scenario::stamp(last), &scenario::input(&text, Some(1), false, false));
        }
    }
    case.now = scenario::stamp(last + 60_000);
    case
}
