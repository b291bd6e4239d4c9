//! Records of the log and what they mean.
//!
//! A record's body is the raw bytes for output, JSON for every other kind. Kinds and JSON fields are on disk for years:
//! numbers are never reused, unknown fields are ignored, an unknown kind is passed over by readers.

use super::{Key, RawString, Size};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// A record's number in its session: from 1, rising, never reused, gaps in numbering are no loss.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Seq(pub u64);

impl Seq {
    /// The next one.
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

/// Nanoseconds of a session's own time: runs with CLOCK_MONOTONIC while the host runs, never back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct LogTime(pub u64);

impl LogTime {
    /// This much later.
    pub fn after(self, d: Duration) -> LogTime {
        LogTime(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` (zero when it isn't).
    pub fn since(self, earlier: LogTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Microseconds since 1970, UTC: shown to people, never compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Wall(pub i64);

/// When something happened, in both times.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// For people.
    pub wall: Wall,
    /// For conditions.
    pub log: LogTime,
}

/// A place in the log: before byte `byte` of record `seq`. Opaque to users: `@SEQ` or `@SEQ.BYTE`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Cursor {
    /// The record.
    pub seq: Seq,
    /// The byte in its body.
    pub byte: u32,
}

impl Cursor {
    /// Before the first byte of a record.
    pub fn at(seq: Seq) -> Cursor {
        Cursor { seq, byte: 0 }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.byte {
            0 => write!(f, "@{}", self.seq.0),
            byte => write!(f, "@{}.{byte}", self.seq.0),
        }
    }
}

/// Why a cursor is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad cursor {0:?}: hand back a cursor as it came, such as @12 or @12.7")]
pub struct CursorError(String);

impl FromStr for Cursor {
    type Err = CursorError;
    fn from_str(s: &str) -> Result<Cursor, CursorError> {
        let number = |t: &str| t.bytes().all(|b| b.is_ascii_digit()).then(|| t.parse::<u64>().ok()).flatten();
        let parse = || {
            let body = s.strip_prefix('@')?;
            let (seq, byte) = body.split_once('.').unwrap_or((body, "0"));
            Some(Cursor { seq: Seq(number(seq)?), byte: u32::try_from(number(byte)?).ok()? })
        };
        parse().ok_or_else(|| CursorError(s.to_owned()))
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a record is, in one byte on disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is described at the event of the same name")]
pub enum Kind {
    Output = 1,
    Input = 2,
    Typed = 3,
    Resize = 4,
    Starting = 5,
    Started = 6,
    Exited = 7,
    Restarting = 8,
    Gap = 9,
    Span = 10,
    Hung = 11,
}

impl Kind {
    /// From its byte on disk.
    pub fn from_u8(byte: u8) -> Option<Kind> {
        use Kind::*;
        [Output, Input, Typed, Resize, Starting, Started, Exited, Restarting, Gap, Span, Hung]
            .into_iter()
            .find(|k| *k as u8 == byte)
    }
}

/// One record, as ring, store and readers carry it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its number.
    pub seq: Seq,
    /// What it is.
    pub kind: Kind,
    /// When it happened.
    pub at: Stamp,
    /// Raw output, or the JSON of an [`Event`].
    pub body: Bytes,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Event {
    /// Bytes the program wrote.
    #[serde(skip)]
    Output(Bytes),
    /// Something is about to be typed. A long text is several parts with one `turn`.
    Input {
        /// The turn it opens, for a submitted text (all its parts carry it).
        turn: Option<u64>,
        /// Part k of n, from (0, 1).
        part: (u16, u16),
        /// The client's idempotency key.
        key: Option<Key>,
        /// A checksum of the request under that key: another request under the same key is refused.
        #[serde(default)]
        digest: u32,
        /// Who: `cli`, `http`, or the name of a session.
        from: String,
        /// True when Enter follows the text.
        submit: bool,
        /// True when the terminal echoed (ECHO on) when it was typed.
        echo: bool,
        /// True when the program gets all of it with the Enter that follows and nothing before: it was pasted in brackets, or is
        /// a line that the terminal edits. What the program writes before that Enter is then no answer.
        #[serde(default)]
        at_enter: bool,
        /// What.
        text: InputText,
        /// Of an ask: when its reply is whole, as in the query of `…/turns/{n}`; so it is the same later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<String>,
    },
    /// What was typed of the input record `of`.
    Typed {
        /// The first input record of the text.
        of: Seq,
        /// Which step.
        step: Step,
        /// Bytes written to the PTY so far in this step.
        n: u64,
    },
    /// The terminal has a new size.
    Resize(Size),
    /// A run is about to be started.
    Starting {
        /// From 1.
        run: u32,
        /// The terminal's size.
        size: Size,
    },
    /// A run's process was executed.
    Started {
        /// From 1.
        run: u32,
        /// Its pid.
        pid: u32,
        /// Its start time: see [`super::Process`].
        start_time: u64,
    },
    /// A run has ended; its output up to here is whole.
    Exited {
        /// Which.
        run: u32,
        /// How.
        status: Status,
        /// True when nothing will start another run by itself.
        last: bool,
    },
    /// Another run will be started by policy.
    Restarting {
        /// The run that will come.
        run: u32,
        /// After this delay.
        after: Duration,
    },
    /// Records `from ..= to` are lost.
    Gap {
        /// The first lost.
        from: Seq,
        /// The last lost.
        to: Seq,
        /// Why.
        reason: GapReason,
    },
    /// Time that doesn't count.
    Span {
        /// What kind.
        kind: SpanKind,
        /// How long.
        length: Duration,
    },
    /// A run was at work without output for too long (`--watchdog`): it is ended, and that is a failure.
    Hung {
        /// Which.
        run: u32,
        /// How long nothing came.
        quiet: Duration,
    },
}

/// What was typed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum InputText {
    /// A text.
    Shown(RawString),
    /// Typed while the program read without echo in cooked mode: a password.
    Hidden {
        /// Its length in bytes.
        len: u32,
    },
}

/// The two writes of a send, and what the terminal says by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Step {
    /// The text is about to be written (a mark: killed after this, it is never typed again).
    Text,
    /// All of the text was written.
    TextDone,
    /// Enter is about to be written (a mark).
    Enter,
    /// Enter was written: the send is complete.
    EnterDone,
    /// Given up: the program didn't read in time; `n` bytes of the text were typed.
    Abandoned,
    /// The answer to a query of the program (where the cursor is, which colours) is about to be typed: `n` bytes. `of` is
    /// the output that asked.
    Answer,
}

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Status {
    /// It exited with a code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// It couldn't be executed: an errno.
    ExecFailed(i32),
    /// Not to be found out.
    Unknown,
}

impl Status {
    /// Failure, as `on-failure` counts it.
    pub fn is_failure(self) -> bool {
        self != Status::Code(0)
    }
}

/// Why records are lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapReason {
    /// The machine went down before they were on disk.
    HostLost,
    /// The store was damaged.
    Corrupt,
    /// Removed by retention.
    Retention,
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GapReason::HostLost => "host-lost",
            GapReason::Corrupt => "corrupt",
            GapReason::Retention => "retention",
        })
    }
}

/// Why time doesn't count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpanKind {
    /// No host ran.
    Downtime,
    /// The log couldn't keep up.
    BackPressure,
}

/// A record whose body can't be understood.
#[derive(Debug, thiserror::Error)]
#[error("record {seq} has an unreadable body: {why}", seq = .seq.0)]
pub struct BadRecord {
    /// Which.
    pub seq: Seq,
    /// Why.
    pub why: serde_json::Error,
}

impl Event {
    /// The kind and the body that stand in the log.
    pub fn encode(&self) -> (Kind, Bytes) {
        let kind = match self {
            Event::Output(bytes) => return (Kind::Output, bytes.clone()),
            Event::Input { .. } => Kind::Input,
            Event::Typed { .. } => Kind::Typed,
            Event::Resize(_) => Kind::Resize,
            Event::Starting { .. } => Kind::Starting,
            Event::Started { .. } => Kind::Started,
            Event::Exited { .. } => Kind::Exited,
            Event::Restarting { .. } => Kind::Restarting,
            Event::Gap { .. } => Kind::Gap,
            Event::Span { .. } => Kind::Span,
            Event::Hung { .. } => Kind::Hung,
        };
        #[expect(clippy::expect_used, reason = "no map with non-string keys and no failing Serialize among the events")]
        let body = serde_json::to_vec(self).expect("an event is always JSON");
        (kind, body.into())
    }
}

impl Record {
    /// What happened.
    pub fn event(&self) -> Result<Event, BadRecord> {
        match self.kind {
            Kind::Output => Ok(Event::Output(self.body.clone())),
            _ => serde_json::from_slice(&self.body).map_err(|why| BadRecord { seq: self.seq, why }),
        }
    }

    /// The place after this record.
    pub fn end(&self) -> Cursor {
        Cursor::at(self.seq.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_survive_their_text() {
        for text in ["@0", "@12", "@12.7", "@18446744073709551615.4294967295"] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
        for bad in ["", "@", "12", "@a", "@1.", "@1.2.3", "@-1", "@1.4294967296", "@+1"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_event_survives_its_record() {
        let events = [
            Event::Output(Bytes::from_static(b"\xffraw")),
            Event::Input {
                turn: Some(3),
                part: (0, 1),
                key: Some(Key("k".into())),
                digest: 7,
                from: "cli".into(),
                submit: true,
                echo: false,
                at_enter: false,
                text: InputText::Shown("hi".into()),
                asked: Some("until=x".into()),
            },
            Event::Typed { of: Seq(4), step: Step::EnterDone, n: 3 },
            Event::Resize(Size { cols: 80, rows: 24 }),
            Event::Starting { run: 1, size: Size { cols: 80, rows: 24 } },
            Event::Started { run: 1, pid: 7, start_time: 9 },
            Event::Exited { run: 1, status: Status::Code(3), last: true },
            Event::Restarting { run: 2, after: Duration::from_millis(1500) },
            Event::Gap { from: Seq(1), to: Seq(9), reason: GapReason::HostLost },
            Event::Span { kind: SpanKind::Downtime, length: Duration::from_secs(1) },
            Event::Hung { run: 1, quiet: Duration::from_secs(300) },
        ];
        for event in events {
            let (kind, body) = event.encode();
            assert_eq!(Kind::from_u8(kind as u8), Some(kind));
            let record = Record { seq: Seq(1), kind, at: Stamp::default(), body };
            assert_eq!(record.event().unwrap(), event);
        }
    }
}
