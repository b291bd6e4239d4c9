//! The lines of `logs --json` and of an exported log: their fields and the order of these are a contract.
//!
//! Pure. A line of a reading comes in, its printed form goes out.

use crate::model::{Cursor, Name, Seq, SessionId};
use crate::wire::{DataLine, EndLine, EndReason, EventLine, Line, StartLine};
use serde::Serialize;

/// A line in its printed form.
#[derive(Serialize, Debug)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the words of the lines")]
pub enum Shown<'a> {
    Start(Start<'a>),
    Data(Data<'a>),
    End(End<'a>),
    Other(Other<'a>),
}

#[derive(Serialize, Debug)]
pub struct Start<'a> {
    ts: &'a str,
    session: &'a Name,
    event: &'static str,
    v: u32,
    id: SessionId,
    run: u32,
    next: Cursor,
}

#[derive(Serialize, Debug)]
pub struct Data<'a> {
    ts: &'a str,
    session: &'a Name,
    event: &'static str,
    seq: Seq,
    content: &'a str,
}

#[derive(Serialize, Debug)]
pub struct End<'a> {
    ts: &'a str,
    session: &'a Name,
    event: &'static str,
    reason: EndReason,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<&'a str>,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    matched: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    next: Cursor,
    run: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<u64>,
}

#[derive(Serialize, Debug)]
pub struct Other<'a> {
    ts: &'a str,
    session: &'a Name,
    event: &'a str,
    seq: Seq,
    #[serde(flatten)]
    detail: &'a serde_json::Map<String, serde_json::Value>,
}

/// The printed form of a line; `hello` has none.
pub fn shown(line: &Line) -> Option<Shown<'_>> {
    Some(match line {
        Line::Hello(_) => return None,
        Line::Start(StartLine { ts, session, v, id, run, next }) => {
            Shown::Start(Start { ts, session, event: "start", v: *v, id: *id, run: *run, next: *next })
        }
        Line::Data(DataLine { ts, session, seq, content, .. }) => {
            Shown::Data(Data { ts, session, event: "data", seq: *seq, content })
        }
        Line::End(EndLine { ts, session, reason, pattern, matched, exit_code, signal, next, run, turn }) => {
            Shown::End(End {
                ts,
                session,
                event: "end",
                reason: *reason,
                pattern: pattern.as_deref(),
                matched: matched.as_deref(),
                exit_code: *exit_code,
                signal: *signal,
                next: *next,
                run: *run,
                turn: *turn,
            })
        }
        Line::Other(EventLine { ts, session, event, seq, detail, .. }) => {
            Shown::Other(Other { ts, session, event, seq: *seq, detail })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_lines_are_as_promised() {
        let table = [
            (
                json!({"event":"start","ts":"T","session":"planner","v":1,"id":"07070707070707070707070707070707","run":1,"next":"@12"}),
                r#"{"ts":"T","session":"planner","event":"start","v":1,"id":"07070707070707070707070707070707","run":1,"next":"@12"}"#,
            ),
            (
                json!({"event":"data","ts":"T","session":"planner","seq":13,"content":"a\n","next":"@14","log":5}),
                r#"{"ts":"T","session":"planner","event":"data","seq":13,"content":"a\n"}"#,
            ),
            (
                json!({"event":"end","ts":"T","session":"p","reason":"pattern","pattern":"D","match":"D","next":"@15","run":1,"turn":2}),
                r#"{"ts":"T","session":"p","event":"end","reason":"pattern","pattern":"D","match":"D","next":"@15","run":1,"turn":2}"#,
            ),
            (
                json!({"event":"gap","ts":"T","session":"p","seq":9,"from_seq":3,"to_seq":8,"reason":"host-lost"}),
                r#"{"ts":"T","session":"p","event":"gap","seq":9,"from_seq":3,"reason":"host-lost","to_seq":8}"#,
            ),
        ];
        for (sent, printed) in table {
            let line: Line = serde_json::from_value(sent).unwrap();
            assert_eq!(serde_json::to_string(&shown(&line)).unwrap(), printed);
        }
    }
}
