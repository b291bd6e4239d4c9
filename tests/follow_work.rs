//! What a watchdog takes for work, as a table: an idle program must never be among it.

#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

#[path = "follow/scenario.rs"]
#[allow(dead_code, reason = "shared with the other readings")]
mod scenario;

use scenario::{Case, cases};
use termalive::follow::AtWork;

fn works(case: &Case) -> bool {
    let mut reading = AtWork::new(case.plan.clone());
    case.records.iter().for_each(|record| reading.record(record));
    reading.verdict()
}

#[test]
fn every_verdict_is_as_written() {
    let mut wrong = vec![];
    for case in cases(include_str!("follow/work.txt")) {
        let found = if works(&case) { "works" } else { "waits" };
        if found != case.end {
            wrong.push(format!("{}: {found}, wanted {}", case.name, case.end));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What a reading for a reply takes for the end of the answer is never work.
#[test]
fn who_has_answered_is_not_at_work() {
    let whole = |case: &&Case| case.end.ends_with("true") && !case.end.starts_with("pattern");
    for case in cases(include_str!("follow/replies.txt")).iter().filter(whole) {
        assert!(!works(case), "{}", case.name);
    }
}
