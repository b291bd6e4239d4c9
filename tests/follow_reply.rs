//! Replies, as tables: the text and the verdict are the same however the log is looked at, and whenever.

#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

#[path = "follow/scenario.rs"]
#[allow(dead_code, reason = "shared with the other readings")]
mod scenario;

use scenario::{Case, cases, read, stamp};
use termalive::{
    follow::{ReplyText, again},
    model::{Event, Status},
    wire::{Reply, ReplyReason},
};

fn all() -> Vec<Case> {
    cases(include_str!("follow/replies.txt"))
}

/// As the server does it; `often`: time is looked at each so many milliseconds.
fn reply(case: &Case, often: Option<u64>) -> Reply {
    let (frames, end) = case.read(often);
    let mut text = ReplyText::default();
    frames.iter().for_each(|frame| text.frame(frame));
    let exact = again(&case.plan, &end).map(|plan| {
        let mut text = ReplyText::default();
        let (frames, _) = read(&plan, &case.records, case.now, case.live, None);
        frames.iter().for_each(|frame| text.frame(frame));
        text
    });
    text.finish(&case.plan, &end, exact).unwrap()
}

#[test]
fn every_reply_is_as_written() {
    let mut wrong = vec![];
    for case in all() {
        let reply = reply(&case, None);
        let reason = serde_json::to_value(reply.reason).unwrap().as_str().unwrap().to_owned();
        let found = (reply.reply.clone(), format!("{reason} {}", reply.complete));
        if found != (case.printed.clone(), case.end.clone()) {
            wrong.push(format!("{}\n  found  {found:?}\n  wanted {:?}", case.name, (&case.printed, &case.end)));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn looking_often_changes_nothing() {
    for case in all().into_iter().filter(|case| case.now.log.0 < 20_000_000_000) {
        let once = reply(&case, None);
        for step in [1, 7, 130] {
            assert_eq!(reply(&case, Some(step)), once, "{} every {step} ms", case.name);
        }
    }
}

#[test]
fn asking_later_gives_the_same() {
    for mut case in all() {
        let before = reply(&case, None);
        if before.reason == ReplyReason::Timeout {
            continue;
        }
        let start = case.now.log.0 / 1_000_000 + 3_600_000;
        case.push(stamp(start), &Event::Output("later\r\nDONE\r\n\x1b[?2004h$ ".into()));
        case.push(stamp(start + 2), &Event::Exited { run: 9, status: Status::Code(9), last: true });
        (case.now, case.live) = (stamp(start + 1000), false);
        assert_eq!(reply(&case, None), before, "{}", case.name);
    }
}
