//! Reading the log: the query, and the lines that come back.
//!
//! A WebSocket `follow` sends JSON text frames, one [`Line`] each: first `hello`, then what [`FollowQuery::content`] asks
//! for, last `end`. With `content=raw` data comes in binary frames, see [`raw_frame`].

use super::{ApiError, Code};
use crate::model::{Cursor, LogTime, Name, Seq, SessionId, Size};
use serde::{Deserialize, Serialize};
use std::fmt::Display;

/// The query of `…/follow` and `…/log`, as in the URL. Lists are given by repeating the name. Durations and points in time
/// are text as on the command line; the host parses them, and says what is wrong with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowQuery {
    /// `since=`: start, last-send, turn:N, now, a duration, RFC 3339, @SEQ.
    pub since: Option<String>,
    /// `to=`: RFC 3339 or @SEQ.
    pub to: Option<String>,
    /// `lines=`: only the last so many rows.
    pub lines: Option<u64>,
    /// `until=`: regexes.
    pub until: Vec<String>,
    /// `until_line=`: whole rows.
    pub until_line: Vec<String>,
    /// `until_literal=`: texts.
    pub until_literal: Vec<String>,
    /// `wait_idle=`.
    pub wait_idle: Option<String>,
    /// `wait_first=`.
    pub wait_first: Option<String>,
    /// `exit=1`: the end of the run is a condition.
    pub exit: bool,
    /// `screen=`: regexes that must all match on the screen as it is, see [`FollowQuery::is_about_the_screen`].
    pub screen: Vec<String>,
    /// `no_screen=`: regexes none of which may.
    pub no_screen: Vec<String>,
    /// `stable=`: how long nothing must have changed on it.
    pub stable: Option<String>,
    /// `content=`.
    pub content: Content,
    /// `events=all`.
    pub events_all: bool,
    /// `follow=1`: go on at the end of the log. With conditions and `follow=0` the verdict is on the log as it is.
    pub follow: bool,
    /// `id=`: the session that was followed before the connection broke; another one of that name is refused.
    pub id: Option<SessionId>,
    /// `start=`: the resolved start, from [`Hello::start`], on a reconnect.
    pub start: Option<Cursor>,
    /// `after=`: print from here on, from the last `next` that was received.
    pub after: Option<Cursor>,
    /// `times=1`: lines carry log time, `hello` the terminal's size at the start, and `starting` is an event; for replays.
    /// With `content` `chars` or `base64`, without `lines`.
    pub times: bool,
}

/// What `content` of a data line holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// Whole rows as a person reads them.
    #[default]
    Rows,
    /// As read: text, a byte that is no UTF-8 is U+FFFD, UTF-8 never cut.
    Chars,
    /// As read, base64.
    Base64,
    /// Bytes, in binary frames.
    Raw,
    /// No output at all: for who waits and doesn't read.
    None,
}

/// One JSON line or text frame. `ts` is RFC 3339 with milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Line {
    /// The first frame of a connection; not printed.
    Hello(Hello),
    /// The first line of a reading.
    Start(StartLine),
    /// Output.
    Data(DataLine),
    /// The last line of a reading.
    End(EndLine),
    /// With `--events all`: everything else in the log.
    #[serde(untagged)]
    Other(EventLine),
}

/// See [`Line::Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// See [`super::API`].
    pub api: u32,
    /// Of the host.
    pub generation: u64,
    /// Of the session.
    pub id: SessionId,
    /// The run in which the reading started.
    pub run: u32,
    /// The resolved start: hand back as `start=` on a reconnect.
    pub start: Cursor,
    /// Where printing starts: hand back as `after=` when nothing else came.
    pub next: Cursor,
    /// With `times`: of the terminal at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
}

/// See [`Line::Start`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the contract")]
pub struct StartLine {
    pub ts: String,
    pub session: Name,
    /// Of this format: 1.
    pub v: u32,
    pub id: SessionId,
    pub run: u32,
    pub next: Cursor,
}

/// See [`Line::Data`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataLine {
    /// When the newest of it was read from the program.
    pub ts: String,
    /// Whose.
    pub session: Name,
    /// The highest seq in it.
    pub seq: Seq,
    /// The output, see [`Content`].
    pub content: String,
    /// Where to go on after it: frames of a connection carry it, `logs --json` doesn't print it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
    /// With `times`: nanoseconds of the session's own time, see [`LogTime`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogTime>,
}

/// See [`Line::End`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the contract")]
pub struct EndLine {
    pub ts: String,
    pub session: Name,
    pub reason: EndReason,
    /// The pattern, as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// What matched it.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matched: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    pub next: Cursor,
    pub run: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<u64>,
}

/// Why a reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndReason {
    /// A pattern matched: exit 0.
    Pattern,
    /// The screen is as it was waited for: exit 0.
    Screen,
    /// Idle: exit 3.
    Idle,
    /// `--timeout`: exit 2.
    Timeout,
    /// The run ended first: exit 4 for a wait, 0 for plain `-f`.
    Exit,
    /// The end of the log without `-f`: exit 0.
    Complete,
}

/// See [`Line::Other`]. `event` is one of `input typed resize started exited restarting gap span` (with `times` also `starting`); the rest is as in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// Its word.
    pub event: String,
    /// When.
    pub ts: String,
    /// Whose.
    pub session: Name,
    /// Its number.
    pub seq: Seq,
    /// With `times`: see [`DataLine::log`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogTime>,
    /// The rest.
    #[serde(flatten)]
    pub detail: serde_json::Map<String, serde_json::Value>,
}

/// A binary data frame: `[u64 seq][u32 offset][bytes]`, big endian; `offset` is where the bytes stand in the record.
pub fn raw_frame(at: Cursor, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(12 + bytes.len());
    frame.extend_from_slice(&at.seq.0.to_be_bytes());
    frame.extend_from_slice(&at.byte.to_be_bytes());
    frame.extend_from_slice(bytes);
    frame
}

/// The inverse of [`raw_frame`]; nothing when it is too short.
pub fn split_raw_frame(frame: &[u8]) -> Option<(Cursor, &[u8])> {
    let (seq, rest) = frame.split_first_chunk::<8>()?;
    let (byte, bytes) = rest.split_first_chunk::<4>()?;
    Some((Cursor { seq: Seq(u64::from_be_bytes(*seq)), byte: u32::from_be_bytes(*byte) }, bytes))
}

impl FollowQuery {
    /// True when it has any stop condition.
    pub fn is_wait(&self) -> bool {
        !(self.until.is_empty()
            && self.until_line.is_empty()
            && self.until_literal.is_empty()
            && self.wait_idle.is_none()
            && !self.exit)
            || self.is_about_the_screen()
    }

    /// True when it waits for a state of the screen. Such a reading begins at the screen as it is, and has no other
    /// conditions.
    pub fn is_about_the_screen(&self) -> bool {
        !(self.screen.is_empty() && self.no_screen.is_empty() && self.stable.is_none())
    }

    /// As it stands in a URL after the `?`.
    pub fn to_query(&self) -> String {
        let mut out = form_urlencoded::Serializer::new(String::new());
        let mut one = |name: &str, value: Option<&dyn Display>| {
            if let Some(value) = value {
                out.append_pair(name, &value.to_string());
            }
        };
        fn shown<T: Display>(value: &Option<T>) -> Option<&dyn Display> {
            value.as_ref().map(|v| v as &dyn Display)
        }
        one("since", shown(&self.since));
        one("to", shown(&self.to));
        one("lines", shown(&self.lines));
        one("wait_idle", shown(&self.wait_idle));
        one("wait_first", shown(&self.wait_first));
        one("exit", self.exit.then_some(&1));
        one("stable", shown(&self.stable));
        one("content", Some(&self.content.word()));
        one("events", self.events_all.then_some(&"all"));
        one("follow", Some(&u8::from(self.follow)));
        one("id", shown(&self.id));
        one("start", shown(&self.start));
        one("after", shown(&self.after));
        one("times", self.times.then_some(&1));
        let lists = [
            ("until", &self.until),
            ("until_line", &self.until_line),
            ("until_literal", &self.until_literal),
            ("screen", &self.screen),
            ("no_screen", &self.no_screen),
        ];
        for (name, values) in lists {
            values.iter().for_each(|value| one(name, Some(value)));
        }
        out.finish()
    }

    /// The inverse of [`FollowQuery::to_query`]. Names it doesn't know are passed over; of a name that isn't a list the
    /// last counts.
    pub fn from_query(query: &str) -> Result<FollowQuery, ApiError> {
        let mut out = FollowQuery::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let text = value.into_owned();
            match &*name {
                "since" => out.since = Some(text),
                "to" => out.to = Some(text),
                "lines" => out.lines = Some(read("lines", "a number", text.parse())?),
                "until" => out.until.push(text),
                "until_line" => out.until_line.push(text),
                "until_literal" => out.until_literal.push(text),
                "wait_idle" => out.wait_idle = Some(text),
                "wait_first" => out.wait_first = Some(text),
                "exit" => out.exit = read("exit", "0 or 1", flag(&text).ok_or(&text))?,
                "screen" => out.screen.push(text),
                "no_screen" => out.no_screen.push(text),
                "stable" => out.stable = Some(text),
                "content" => {
                    out.content =
                        read("content", "rows, chars, base64, raw or none", Content::from_word(&text).ok_or(&text))?
                }
                "events" => out.events_all = read("events", "all", (text == "all").then_some(true).ok_or(&text))?,
                "follow" => out.follow = read("follow", "0 or 1", flag(&text).ok_or(&text))?,
                "id" => out.id = Some(read("id", "32 hexadecimal digits", SessionId::try_from(text))?),
                "start" => out.start = Some(read("start", "a cursor such as @12", text.parse())?),
                "times" => out.times = read("times", "0 or 1", flag(&text).ok_or(&text))?,
                "after" => out.after = Some(read("after", "a cursor such as @12", text.parse())?),
                _ => {}
            }
        }
        Ok(out)
    }
}

impl Content {
    /// As in the query.
    pub fn word(self) -> &'static str {
        match self {
            Content::Rows => "rows",
            Content::Chars => "chars",
            Content::Base64 => "base64",
            Content::Raw => "raw",
            Content::None => "none",
        }
    }

    fn from_word(word: &str) -> Option<Content> {
        let all = [Content::Rows, Content::Chars, Content::Base64, Content::Raw, Content::None];
        all.into_iter().find(|c| c.word() == word)
    }
}

pub(super) fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

pub(super) fn read<T, E: Display>(name: &str, wanted: &str, value: Result<T, E>) -> Result<T, ApiError> {
    value.map_err(|why| {
        ApiError::new(Code::Usage, format!("bad {name}= in the query: {why}")).hint(format!("give {wanted}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_like_the_contract() {
        let line = Line::Data(DataLine {
            ts: "2026-02-01T03:40:00.100Z".into(),
            session: "planner".parse().unwrap(),
            seq: Seq(13),
            content: "Here's the plan:\n".into(),
            next: None,
            log: None,
        });
        let json = serde_json::to_value(&line).unwrap();
        assert_eq!(json["event"], "data");
        assert_eq!(json["seq"], 13);
        assert_eq!(serde_json::from_value::<Line>(json).unwrap(), line);
    }

    #[test]
    fn a_query_survives_the_url() {
        let full = FollowQuery {
            since: Some("turn:3".into()),
            to: Some("2026-02-01T03:40:00+01:00".into()),
            lines: Some(10),
            until: vec!["a&b=c d+%".into(), "ä|^$".into()],
            until_line: vec!["DONE".into()],
            until_literal: vec!["[DONE]".into(), String::new()],
            wait_idle: Some("30s".into()),
            wait_first: Some("2m".into()),
            exit: true,
            screen: vec!["^> $".into(), "b".into()],
            no_screen: vec!["esc to interrupt".into()],
            stable: Some("500ms".into()),
            content: Content::None,
            events_all: true,
            follow: true,
            id: Some(SessionId([7; 16])),
            start: Some(Cursor { seq: Seq(4), byte: 2 }),
            after: Some(Cursor::at(Seq(9))),
            times: true,
        };
        for query in [full, FollowQuery::default()] {
            assert_eq!(FollowQuery::from_query(&query.to_query()), Ok(query.clone()), "{}", query.to_query());
        }
        assert_eq!(FollowQuery::from_query("later=1&follow=0&follow=1").map(|q| q.follow), Ok(true));
        for bad in ["lines=x", "content=html", "events=some", "follow=maybe", "exit=x", "id=1", "start=12", "after=@"] {
            let error = FollowQuery::from_query(bad).unwrap_err();
            assert_eq!(error.code, Code::Usage, "{bad}");
            assert!(error.message.contains(bad.split('=').next().unwrap()), "{error}");
        }
    }

    #[test]
    fn raw_frames_survive() {
        let at = Cursor { seq: Seq(7), byte: 9 };
        let frame = raw_frame(at, b"abc");
        assert_eq!(split_raw_frame(&frame), Some((at, &b"abc"[..])));
        assert_eq!(split_raw_frame(&frame[..5]), None);
    }
}
