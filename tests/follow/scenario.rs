//! Readings as text: how it is asked, the records of a log with their times, what is printed, how it ends.
//!
//! A case: `## name`, options of the reading, records `TIME kind payload` (milliseconds of log time; the first has seq 1),
//! `TIME now live|over`, then `> printed text` and `= end`. Payloads are escaped as in Rust; `{N*c}` is N times c.

#![allow(clippy::unwrap_used, reason = "a case that can't be read fails its test")]

use std::time::Duration;
use termalive::{
    follow::{Bound, End, Follow, Frame, Plan},
    model::{
        Cursor, Event, GapReason, InputText, LogTime, Record, Seq, SessionId, Size, SpanKind, Stamp, Status, Step,
        Wall, parse_duration,
    },
    stop::{Conditions, Inputs},
    wire::{Content, Line},
};

/// 2026-02-01T03:40:00Z, in microseconds.
const EPOCH: i64 = 1_769_917_200_000_000;

/// One case, ready to be read in several ways.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) plan: Plan,
    pub(crate) records: Vec<Record>,
    pub(crate) now: Stamp,
    pub(crate) live: bool,
    pub(crate) printed: String,
    pub(crate) end: String,
}

pub(crate) fn stamp(ms: u64) -> Stamp {
    Stamp { wall: Wall(EPOCH + 1000 * ms as i64), log: LogTime(ms * 1_000_000) }
}

/// All cases of a text.
pub(crate) fn cases(text: &str) -> Vec<Case> {
    text.split("\n## ").skip(1).map(case).collect()
}

fn case(text: &str) -> Case {
    let mut lines = text.lines();
    let name = lines.next().unwrap().to_owned();
    let mut case = Case {
        name,
        plan: plan(),
        records: vec![],
        now: stamp(0),
        live: true,
        printed: String::new(),
        end: String::new(),
    };
    let mut conditions = (vec![], vec![], vec![], None, None);
    let mut reply = false;
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "#" => {}
            "reply" => reply = true,
            "until" => conditions.0.push(unescape(rest)),
            "line" => conditions.1.push(unescape(rest)),
            "literal" => conditions.2.push(unescape(rest)),
            "idle" => conditions.3 = Some(parse_duration(rest).unwrap()),
            "first" => conditions.4 = Some(parse_duration(rest).unwrap()),
            ">" => case.printed = unescape(rest),
            "=" => case.end = rest.to_owned(),
            _ => match word.parse::<u64>() {
                Ok(ms) => case.record(ms, rest),
                Err(_) => option(&mut case.plan, word, rest),
            },
        }
    }
    let (until, lines, literals, idle, first) = conditions;
    let mut inputs = Inputs::new();
    case.records.iter().filter(|record| record.end() <= case.plan.start).for_each(|record| inputs.record(record));
    case.plan.masks = inputs.last();
    case.plan.conditions = Conditions::parse(&until, &lines, &literals, idle, first).unwrap();
    if reply {
        let (quiet, first) = (Duration::from_secs(3), first.unwrap_or(Duration::from_secs(120)));
        case.plan.conditions = case.plan.conditions.for_reply(quiet, first);
    }
    case
}

fn plan() -> Plan {
    Plan {
        session: "s".parse().unwrap(),
        id: SessionId([1; 16]),
        run: 1,
        turn: None,
        ended: None,
        size: Size { cols: 80, rows: 24 },
        scan_from: Cursor::at(Seq(1)),
        start: Cursor::at(Seq(1)),
        start_log: None,
        after: Cursor::at(Seq(1)),
        from_turn: false,
        after_editor: false,
        to: None,
        lines: None,
        content: Content::Rows,
        events_all: false,
        times: false,
        before: None,
        conditions: Conditions::default(),
        masks: vec![],
        follow: true,
        generation: 1,
    }
}

fn option(plan: &mut Plan, word: &str, rest: &str) {
    match word {
        "turn" => plan.from_turn = true,
        "from" => {
            plan.start = rest.parse().unwrap();
            plan.after = plan.start;
        }
        "no-follow" => plan.follow = false,
        "events" => plan.events_all = true,
        "lines" => plan.lines = Some(rest.parse().unwrap()),
        "start-log" => plan.start_log = Some(stamp(rest.parse().unwrap()).log),
        "run" => plan.run = rest.parse().unwrap(),
        "size" => plan.size = rest.parse().unwrap(),
        "to" => {
            plan.to = Some(rest.parse().map_or_else(|_| Bound::Wall(stamp(rest.parse().unwrap()).wall), Bound::Cursor))
        }
        "content" => {
            plan.content = match rest {
                "raw" => Content::Raw,
                "chars" => Content::Chars,
                "base64" => Content::Base64,
                _ => Content::Rows,
            }
        }
        _ => panic!("no such option: {word}"),
    }
}

impl Case {
    fn record(&mut self, ms: u64, text: &str) {
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        let number = || rest.parse::<i64>().unwrap();
        let last =
            self.records.iter().filter(|r| r.event().is_ok_and(|e| matches!(e, Event::Input { .. }))).count() as u64;
        let event = match kind {
            "now" => {
                (self.now, self.live) = (stamp(ms), rest == "live");
                return;
            }
            "out" => Event::Output(unescape_bytes(rest).into()),
            "in" => input(rest, Some(last + 1), true, false),
            "quiet" => input(rest, Some(last + 1), false, false),
            "key" => input(rest, None, true, false),
            "hidden" => match input("", Some(last + 1), false, false) {
                Event::Input { turn, part, key, digest, from, submit, echo, at_enter, asked, .. } => Event::Input {
                    at_enter,
                    asked,
                    turn,
                    part,
                    key,
                    digest,
                    from,
                    submit,
                    echo,
                    text: InputText::Hidden { len: number() as u32 },
                },
                other => other,
            },
            "typed" => Event::Typed { of: Seq(self.records.len() as u64), step: Step::EnterDone, n: 1 },
            "paste" => input(rest, Some(last + 1), false, true),
            "line" => input(rest, Some(last + 1), true, true),
            "enter" => Event::Typed { of: self.sent(), step: Step::Enter, n: 0 },
            "abandoned" => Event::Typed { of: self.sent(), step: Step::Abandoned, n: 1 },
            "typing" => Event::Typed { of: Seq(self.records.len() as u64), step: Step::Text, n: 0 },
            "resize" => Event::Resize(rest.parse().unwrap()),
            "start" => Event::Starting { run: number() as u32, size: self.plan.size },
            "started" => Event::Started { run: number() as u32, pid: 7, start_time: 9 },
            "exit" => Event::Exited { run: self.run(), status: Status::Code(number() as i32), last: true },
            "signal" => Event::Exited { run: self.run(), status: Status::Signal(number() as i32), last: true },
            "crash" => Event::Exited { run: self.run(), status: Status::Code(number() as i32), last: false },
            "restart" => Event::Restarting { run: self.run() + 1, after: Duration::from_secs(1) },
            "gap" => Event::Gap { from: Seq(2), to: Seq(3), reason: GapReason::HostLost },
            "span" => Event::Span { kind: SpanKind::Downtime, length: Duration::from_secs(60) },
            _ => panic!("no such record: {kind}"),
        };
        self.push(stamp(ms), &event);
    }

    /// The last input.
    fn sent(&self) -> Seq {
        let inputs = self.records.iter().filter(|r| r.event().is_ok_and(|e| matches!(e, Event::Input { .. })));
        inputs.last().unwrap().seq
    }

    fn run(&self) -> u32 {
        let starts = self.records.iter().filter_map(|r| match r.event() {
            Ok(Event::Starting { run, .. }) => Some(run),
            _ => None,
        });
        starts.last().unwrap_or(1)
    }

    pub(crate) fn push(&mut self, at: Stamp, event: &Event) {
        let (kind, body) = event.encode();
        self.records.push(Record { seq: Seq(self.records.len() as u64 + 1), kind, at, body });
    }

    /// Reads all of it. `look`: time is asked for in between, every so many milliseconds.
    pub(crate) fn read(&self, look: Option<u64>) -> (Vec<Frame>, End) {
        read(&self.plan, &self.records, self.now, self.live, look)
    }
}

pub(crate) fn input(text: &str, turn: Option<u64>, echo: bool, at_enter: bool) -> Event {
    let text = InputText::Shown(unescape(text).as_str().into());
    Event::Input {
        turn,
        part: (0, 1),
        key: None,
        digest: 0,
        from: "cli".into(),
        submit: turn.is_some(),
        echo,
        at_enter,
        text,
        asked: None,
    }
}

/// Reads records; whoever reads gives up at the end.
pub(crate) fn read(plan: &Plan, records: &[Record], now: Stamp, live: bool, look: Option<u64>) -> (Vec<Frame>, End) {
    let mut follow = Follow::new(plan.clone(), stamp(0).wall);
    let mut out = vec![];
    follow.open(&mut out);
    let mut looked = 0;
    for record in records {
        while let Some(next) = look.map(|step| looked + step).filter(|next| *next * 1_000_000 < record.at.log.0) {
            looked = next;
            let started = record.seq > Seq(1) && record.seq >= plan.start.seq;
            if let Some(end) = if started { follow.time(stamp(looked), &mut out) } else { None } {
                return (out, end);
            }
        }
        if let Some(end) = follow.record(record, &mut out) {
            return (out, end);
        }
    }
    while let Some(next) = look.map(|step| looked + step).filter(|next| *next * 1_000_000 < now.log.0) {
        looked = next;
        if let Some(end) = follow.time(stamp(looked), &mut out) {
            return (out, end);
        }
    }
    let end = follow.end_of_log(now, live, &mut out).or_else(|| follow.abandon(now, &mut out));
    (out, end.unwrap())
}

/// What a client prints of the frames, without start and end; events as `{word}`.
pub(crate) fn printed(frames: &[Frame]) -> String {
    let texts = frames.iter().map(|frame| match frame {
        Frame::Raw { bytes, .. } => bytes.to_vec(),
        Frame::Line(Line::Data(data)) => data.content.clone().into_bytes(),
        Frame::Line(Line::Other(event)) => format!("{{{}}}", event.event).into_bytes(),
        Frame::Line(_) => vec![],
    });
    String::from_utf8_lossy(&texts.collect::<Vec<_>>().concat()).into_owned()
}

/// The end as the cases write it.
pub(crate) fn ended(end: &End, with_next: bool) -> String {
    let line = &end.line;
    let mut text = serde_json::to_value(line.reason).unwrap().as_str().unwrap().to_owned();
    if let (Some(pattern), Some(matched)) = (&line.pattern, &line.matched) {
        text.push_str(&format!(" {pattern}={matched}"));
    }
    line.exit_code.iter().for_each(|code| text.push_str(&format!(" code {code}")));
    line.signal.iter().for_each(|signal| text.push_str(&format!(" signal {signal}")));
    if with_next {
        text.push_str(&format!(" {}", line.next));
    }
    format!("{text} exit {}", end.exit.code())
}

pub(crate) fn unescape(text: &str) -> String {
    String::from_utf8(unescape_bytes(text)).unwrap()
}

pub(crate) fn unescape_bytes(text: &str) -> Vec<u8> {
    let mut out = vec![];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '{' => {
                let inside: String = chars.by_ref().take_while(|c| *c != '}').collect();
                match inside.split_once('*') {
                    Some((count, what)) => out.extend(unescape_bytes(what).repeat(count.parse().unwrap())),
                    None => out.extend(format!("{{{inside}}}").bytes()),
                }
            }
            '\\' => match chars.next().unwrap() {
                'n' => out.push(b'\n'),
                'r' => out.push(b'\r'),
                't' => out.push(b'\t'),
                'e' => out.push(0x1b),
                'x' => {
                    let digits: String = chars.by_ref().take(2).collect();
                    out.push(u8::from_str_radix(&digits, 16).unwrap());
                }
                other => out.extend(other.to_string().bytes()),
            },
            c => out.extend(c.to_string().bytes()),
        }
    }
    out
}
