//! The lines of a reading that aren't output: events as JSON, times as text.
//!
//! Pure. Records come from `machine`, lines go to the client. An environment never stands in an event; a hidden input
//! shows its length only.

use crate::{
    model::{Event, InputText, Kind, Name, Record, Status, Step, Wall},
    wire::EventLine,
};
use serde_json::{Map, Value, json};

/// RFC 3339 with milliseconds, UTC.
pub fn timestamp(wall: Wall) -> String {
    let time = jiff::Timestamp::from_microsecond(wall.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// True for what is printed also when no events were asked for: a client learns of loss by it.
pub(super) fn is_always_shown(kind: Kind) -> bool {
    kind == Kind::Gap
}

/// The line of an event; nothing for output, and for the start of a start where no `times` were asked for.
pub(super) fn event_line(record: &Record, event: &Event, session: &Name, times: bool) -> Option<EventLine> {
    let (word, detail) = describe(event).filter(|(word, _)| times || *word != STARTING)?;
    let detail = match detail {
        Value::Object(map) => map.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    };
    Some(EventLine {
        event: word.to_owned(),
        ts: timestamp(record.at.wall),
        session: session.clone(),
        seq: record.seq,
        log: times.then_some(record.at.log),
        detail,
    })
}

/// The start of a start: it says what terminal a run begins with.
const STARTING: &str = "starting";

fn describe(event: &Event) -> Option<(&'static str, Value)> {
    Some(match event {
        Event::Output(_) => return None,
        Event::Starting { run, size } => (STARTING, json!({"run": run, "cols": size.cols, "rows": size.rows})),
        Event::Input { turn, part, from, submit, text, .. } => {
            let (shown, hidden) = match text {
                InputText::Shown(text) => (Some(text), None),
                InputText::Hidden { len } => (None, Some(len)),
            };
            let part = (part.1 > 1).then_some(part);
            let detail =
                json!({"turn": turn, "part": part, "from": from, "submit": submit, "text": shown, "hidden": hidden});
            ("input", detail)
        }
        Event::Typed { of, step, n } => ("typed", json!({"of": of, "step": step_word(*step), "n": n})),
        Event::Resize(size) => ("resize", json!({"cols": size.cols, "rows": size.rows})),
        Event::Started { run, pid, .. } => ("started", json!({"run": run, "pid": pid})),
        Event::Exited { run, status, last } => {
            let (exit_code, signal) = code_and_signal(*status);
            let errno = if let Status::ExecFailed(errno) = status { Some(errno) } else { None };
            ("exited", json!({"run": run, "exit_code": exit_code, "signal": signal, "errno": errno, "last": last}))
        }
        Event::Restarting { run, after } => {
            ("restarting", json!({"run": run, "after_ms": u64::try_from(after.as_millis()).unwrap_or(u64::MAX)}))
        }
        Event::Hung { run, quiet } => {
            ("hung", json!({"run": run, "quiet_ms": u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX)}))
        }
        Event::Gap { from, to, reason } => ("gap", json!({"from_seq": from, "to_seq": to, "reason": reason})),
        Event::Span { kind, length } => {
            ("span", json!({"kind": kind, "length_ms": u64::try_from(length.as_millis()).unwrap_or(u64::MAX)}))
        }
    })
}

fn step_word(step: Step) -> &'static str {
    match step {
        Step::Text => "text",
        Step::TextDone => "text-done",
        Step::Enter => "enter",
        Step::EnterDone => "enter-done",
        Step::Abandoned => "abandoned",
        Step::Answer => "answer",
    }
}

/// How a run ended, as the end line tells it.
pub(super) fn code_and_signal(status: Status) -> (Option<i32>, Option<i32>) {
    match status {
        Status::Code(code) => (Some(code), None),
        Status::Signal(signal) => (None, Some(signal)),
        Status::ExecFailed(_) | Status::Unknown => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GapReason, Seq};

    fn line(event: Event) -> String {
        let (kind, body) = event.encode();
        let record = Record { seq: Seq(5), kind, at: Default::default(), body };
        serde_json::to_string(&event_line(&record, &event, &"s".parse().unwrap(), false)).unwrap()
    }

    #[test]
    fn times_have_milliseconds() {
        assert_eq!(timestamp(Wall(1_769_917_200_000_999)), "2026-02-01T03:40:00.000Z");
        assert_eq!(timestamp(Wall(i64::MIN)), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_password_shows_its_length_only() {
        let text = InputText::Hidden { len: 7 };
        let event = Event::Input {
            turn: None,
            part: (0, 1),
            key: None,
            digest: 0,
            from: "cli".into(),
            submit: true,
            echo: false,
            at_enter: false,
            text,
            asked: None,
        };
        assert!(line(event).contains(r#""hidden":7"#));
    }

    #[test]
    fn gaps_say_from_and_to() {
        let gap = line(Event::Gap { from: Seq(3), to: Seq(9), reason: GapReason::HostLost });
        assert!(gap.contains(r#""from_seq":3,"reason":"host-lost","to_seq":9"#), "{gap}");
        assert_eq!(line(Event::Starting { run: 1, size: "80x24".parse().unwrap() }), "null");
    }
}
