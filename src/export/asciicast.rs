//! Recordings in the format of asciinema, version 2: a header, then `[seconds, code, data]` a line.
//!
//! Pure. Time is the session's own: what no host saw (a restart of the machine, back-pressure) takes none, and stands as a
//! marker. `o` is output, `r` a new size, `m` a marker: a turn, the end of a run, the next run, time that doesn't count,
//! records that are lost. There is no `i`.

use crate::model::{LogTime, Size};
use crate::wire::{DataLine, EventLine, Line};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// A new run has a new terminal, a player has one for all.
const RESET: &str = "\x1bc";

/// A recording being written.
#[derive(Debug)]
pub struct Asciicast {
    title: String,
    command: String,
    size: Size,
    /// Log time of its beginning; once it is there the header is written.
    begun: Option<LogTime>,
    /// The time of the last line.
    last: LogTime,
}

#[derive(Serialize)]
struct Header<'a> {
    version: u32,
    width: u16,
    height: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    title: &'a str,
    command: &'a str,
    env: Env,
}

#[derive(Serialize)]
#[serde(rename_all = "UPPERCASE")]
struct Env {
    term: &'static str,
}

/// Microseconds, written as seconds.
struct Seconds(u64);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(self.0 as f64 / 1e6)
    }
}

impl Asciicast {
    /// A recording of a session that ran `command`.
    pub fn new(session: &str, command: &str) -> Asciicast {
        let size = Size { cols: 80, rows: 24 };
        Asciicast { title: session.to_owned(), command: command.to_owned(), size, begun: None, last: LogTime(0) }
    }

    /// Of the terminal where the reading begins.
    pub fn size(&mut self, size: Size) {
        if self.begun.is_none() {
            self.size = size;
        }
    }

    /// The next line of the reading, which was asked for with `times`.
    pub fn line(&mut self, line: &Line, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        match line {
            Line::Data(DataLine { log: Some(log), ts, content, .. }) => {
                self.begin(*log, ts, out)?;
                self.put(*log, "o", content, out)
            }
            Line::Other(event @ EventLine { log: Some(log), .. }) => self.event(*log, event, out),
            _ => Ok(()),
        }
    }

    /// The end of the file.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        match self.begun {
            Some(_) => Ok(()),
            None => self.header(None, out),
        }
    }

    fn event(&mut self, log: LogTime, event: &EventLine, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let size = size(event);
        let first = self.begun.is_none();
        if let Some(size) = size.filter(|_| first) {
            self.size = size;
        }
        self.begin(log, &event.ts, out)?;
        if event.event == "starting" && !first {
            self.put(log, "m", &format!("run {}", number(event, "run")), out)?;
        }
        if let Some(size) = size.filter(|size| *size != self.size) {
            self.size = size;
            self.put(log, "r", &format!("{}x{}", size.cols, size.rows), out)?;
        }
        if event.event == "starting" && !first {
            self.put(log, "o", RESET, out)?;
        }
        match marker(event) {
            Some(label) => self.put(log, "m", &label, out),
            None => Ok(()),
        }
    }

    fn begin(&mut self, log: LogTime, ts: &str, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        if self.begun.is_some() {
            return Ok(());
        }
        (self.begun, self.last) = (Some(log), log);
        self.header(ts.parse::<Timestamp>().ok().map(|time| time.as_second()), out)
    }

    fn header(&self, timestamp: Option<i64>, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let (title, command) = (self.title.as_str(), self.command.as_str());
        let (width, height, env) = (self.size.cols, self.size.rows, Env { term: "xterm-256color" });
        line(&Header { version: 2, width, height, timestamp, title, command, env }, out)
    }

    fn put(&mut self, log: LogTime, code: &str, data: &str, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        self.last = self.last.max(log);
        let since = self.last.since(self.begun.unwrap_or(self.last)).as_micros();
        line(&(Seconds(u64::try_from(since).unwrap_or(u64::MAX)), code, data), out)
    }
}

fn line(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    serde_json::to_writer(&mut *out, value)?;
    out.push(b'\n');
    Ok(())
}

/// The size that an event says.
fn size(event: &EventLine) -> Option<Size> {
    let side = |name: &str| event.detail.get(name)?.as_u64().and_then(|n| u16::try_from(n).ok());
    Some(Size { cols: side("cols")?, rows: side("rows")? })
}

/// What a person looks for in a recording.
fn marker(event: &EventLine) -> Option<String> {
    let text = |name: &str| event.detail.get(name).and_then(Value::as_str).unwrap_or("unknown");
    Some(match event.event.as_str() {
        "input" => {
            let later_part = event.detail.get("part").and_then(|part| part.get(0)).is_some_and(|part| *part != 0);
            let turn = event.detail.get("turn").filter(|_| !later_part)?;
            format!("turn {turn}")
        }
        "exited" => {
            let how = match (event.detail.get("exit_code"), event.detail.get("signal")) {
                (Some(code), _) => format!("exited with {code}"),
                (_, Some(signal)) => format!("ended by signal {signal}"),
                _ => "ended".to_owned(),
            };
            format!("run {} {how}", number(event, "run"))
        }
        "gap" => {
            format!(
                "records {} to {} are lost ({})",
                number(event, "from_seq"),
                number(event, "to_seq"),
                text("reason")
            )
        }
        "span" => format!("{} of {} ms isn't shown", text("kind"), number(event, "length_ms")),
        _ => return None,
    })
}

fn number(event: &EventLine, name: &str) -> u64 {
    event.detail.get(name).and_then(Value::as_u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Lines without `ts` and `session`.
    fn cast(lines: &[Value]) -> Vec<Value> {
        let mut cast = Asciicast::new("planner", "bash --norc");
        cast.size(Size { cols: 90, rows: 20 });
        let mut out = Vec::new();
        for line in lines {
            let mut line = line.clone();
            line["ts"] = "2026-02-01T03:40:00.250Z".into();
            line["session"] = "planner".into();
            cast.line(&serde_json::from_value(line).unwrap(), &mut out).unwrap();
        }
        cast.finish(&mut out).unwrap();
        out.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect()
    }

    fn header(width: u16, height: u16, timestamp: Option<i64>) -> Value {
        let mut header = json!({"version": 2, "width": width, "height": height, "title": "planner",
            "command": "bash --norc", "env": {"TERM": "xterm-256color"}});
        if let Some(timestamp) = timestamp {
            header["timestamp"] = timestamp.into();
        }
        header
    }

    const AT: Option<i64> = Some(1_769_917_200);

    #[test]
    fn a_run_is_a_recording() {
        let lines = cast(&[
            json!({"event": "starting", "seq": 1, "log": 5_000_000_000_u64, "run": 1, "cols": 100, "rows": 30}),
            json!({"event": "started", "seq": 2, "log": 5_000_100_000_u64, "run": 1, "pid": 7}),
            json!({"event": "data", "seq": 3, "log": 5_250_000_000_u64, "content": "ä\u{1b}[1m\r\n"}),
            json!({"event": "input", "seq": 4, "log": 6_000_000_000_u64, "turn": 1, "text": "secret", "from": "cli"}),
            json!({"event": "input", "seq": 5, "log": 6_000_000_000_u64, "turn": 1, "part": [1, 2], "text": "secret"}),
            json!({"event": "input", "seq": 6, "log": 6_000_000_000_u64, "text": "secret"}),
            json!({"event": "resize", "seq": 7, "log": 6_000_000_000_u64, "cols": 80, "rows": 24}),
            json!({"event": "exited", "seq": 8, "log": 6_000_000_000_u64, "run": 1, "exit_code": 3, "last": true}),
        ]);
        let expected = [
            header(100, 30, AT),
            json!([0.25, "o", "ä\u{1b}[1m\r\n"]),
            json!([1.0, "m", "turn 1"]),
            json!([1.0, "r", "80x24"]),
            json!([1.0, "m", "run 1 exited with 3"]),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_no_one_saw_is_a_marker_and_time_never_goes_back() {
        let lines = cast(&[
            json!({"event": "data", "seq": 3, "log": 2_000_000, "content": "a"}),
            json!({"event": "gap", "seq": 9, "log": 1_000_000, "from_seq": 4, "to_seq": 8, "reason": "host-lost"}),
            json!({"event": "span", "seq": 10, "log": 3_000_000, "kind": "downtime", "length_ms": 3_600_000}),
            json!({"event": "exited", "seq": 11, "log": 3_000_000, "run": 1, "signal": 9, "last": false}),
            json!({"event": "starting", "seq": 12, "log": 4_000_000, "run": 2, "cols": 80, "rows": 24}),
        ]);
        let expected = [
            header(90, 20, AT),
            json!([0.0, "o", "a"]),
            json!([0.0, "m", "records 4 to 8 are lost (host-lost)"]),
            json!([0.001, "m", "downtime of 3600000 ms isn't shown"]),
            json!([0.001, "m", "run 1 ended by signal 9"]),
            json!([0.002, "m", "run 2"]),
            json!([0.002, "r", "80x24"]),
            json!([0.002, "o", "\u{1b}c"]),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn nothing_is_a_recording_too() {
        assert_eq!(cast(&[]), [header(90, 20, None)]);
    }
}
