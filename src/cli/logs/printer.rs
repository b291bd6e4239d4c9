//! How a reading looks: text, bytes, or lines of JSON whose fields and their order are a contract.

use super::{super::out, Failure, Format};
use crate::model::{Cursor, Name, Seq, SessionId};
use crate::wire::{EndReason, EventLine, Line};
use serde::Serialize;

/// Writes lines and bytes in one format.
pub(super) struct Printer<'a> {
    out: &'a mut out::Out,
    format: Format,
    quiet: bool,
}

#[derive(Serialize)]
struct Start<'a> {
    ts: &'a str,
    session: &'a Name,
    event: &'static str,
    v: u32,
    id: SessionId,
    run: u32,
    next: Cursor,
}

#[derive(Serialize)]
struct Data<'a> {
    ts: &'a str,
    session: &'a Name,
    event: &'static str,
    seq: Seq,
    content: &'a str,
}

#[derive(Serialize)]
struct End<'a> {
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

#[derive(Serialize)]
struct Other<'a> {
    ts: &'a str,
    session: &'a Name,
    event: &'a str,
    seq: Seq,
    #[serde(flatten)]
    detail: &'a serde_json::Map<String, serde_json::Value>,
}

impl<'a> Printer<'a> {
    pub(super) fn new(out: &'a mut out::Out, format: Format, quiet: bool) -> Printer<'a> {
        Printer { out, format, quiet }
    }

    /// Output as it was.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.quiet { Ok(()) } else { self.out.write(bytes) }
    }

    /// A line, as the format has it.
    pub(super) fn line(&mut self, line: &Line) -> Result<(), Failure> {
        if self.quiet {
            return Ok(());
        }
        match self.format {
            Format::Json => self.json(line),
            Format::Text | Format::Raw => match line {
                Line::Data(data) => self.out.write(data.content.as_bytes()),
                Line::Other(event) if event.event == "gap" => {
                    self.out.flush()?;
                    out::note(&gap(event));
                    Ok(())
                }
                _ => Ok(()),
            },
        }
    }

    pub(super) fn waits(&self) -> bool {
        self.out.waits()
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush()
    }

    /// Rows end with a line feed, the unfinished one, too.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        if self.format == Format::Text && self.out.open_row {
            self.out.write(b"\n")?;
        }
        self.out.flush()
    }

    fn json(&mut self, line: &Line) -> Result<(), Failure> {
        match line {
            Line::Hello(_) => Ok(()),
            Line::Start(l) => {
                let (ts, session) = (l.ts.as_str(), &l.session);
                self.out.json(&Start { ts, session, event: "start", v: l.v, id: l.id, run: l.run, next: l.next })
            }
            Line::Data(l) => {
                let (ts, session) = (l.ts.as_str(), &l.session);
                self.out.json(&Data { ts, session, event: "data", seq: l.seq, content: &l.content })
            }
            Line::End(l) => self.out.json(&End {
                ts: &l.ts,
                session: &l.session,
                event: "end",
                reason: l.reason,
                pattern: l.pattern.as_deref(),
                matched: l.matched.as_deref(),
                exit_code: l.exit_code,
                signal: l.signal,
                next: l.next,
                run: l.run,
                turn: l.turn,
            }),
            Line::Other(l) => {
                self.out.json(&Other { ts: &l.ts, session: &l.session, event: &l.event, seq: l.seq, detail: &l.detail })
            }
        }
    }
}

/// What is missing, for people.
fn gap(event: &EventLine) -> String {
    let field = |names: [&str; 2]| {
        let value = names.iter().find_map(|name| event.detail.get(*name));
        value.map_or_else(|| "?".to_owned(), |v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
    };
    format!(
        "output of {} is missing here: events {} to {} ({})",
        event.session,
        field(["from_seq", "from"]),
        field(["to_seq", "to"]),
        field(["reason", "why"])
    )
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
                json!({"event":"data","ts":"T","session":"planner","seq":13,"content":"a\n","next":"@14"}),
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
            let mut out = out::Out::default();
            Printer::new(&mut out, Format::Json, false).line(&line).unwrap();
            assert_eq!(out.take(), format!("{printed}\n"));
        }
    }

    #[test]
    fn text_is_rows_alone() {
        let mut out = out::Out::default();
        let mut printer = Printer::new(&mut out, Format::Text, false);
        for line in [
            json!({"event":"data","ts":"T","session":"p","seq":1,"content":"row\n"}),
            json!({"event":"started","ts":"T","session":"p","seq":2,"run":2}),
            json!({"event":"data","ts":"T","session":"p","seq":3,"content":">>>"}),
        ] {
            printer.line(&serde_json::from_value(line).unwrap()).unwrap();
        }
        assert!(out.open_row);
        assert_eq!(out.take(), "row\n>>>");
    }
}
