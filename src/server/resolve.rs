//! From a query's words to a plan: where a reading starts, in which run, what an echo may repeat there.
//!
//! Resolved once, by the host, on a blocking thread (it may have to look into the store). On a reconnect the client hands the
//! resolved start back, and gets the same plan again.

use super::before::before;
use super::{App, failed};
use crate::follow::{Bound, Plan};
use crate::model::{Cursor, Event, LogTime, Seq, Wall, parse_duration};
use crate::session::messages::Snapshot;
use crate::session::summary::{Phase, Summary, TurnMark};
use crate::session::{Keep, LogView, Unreadable};
use crate::stop::{Conditions, Input};
use crate::wire::{ApiError, Code, Content, FollowQuery};
use std::time::Duration;

/// A run is looked for in so many pages of so many bytes from a start on; a longer run without any event is the newest.
const RUN_PAGES: usize = 64;
const PAGE: usize = crate::model::MIB;

/// Everything [`plan`] looks at.
pub(super) struct Ground {
    pub(super) query: FollowQuery,
    pub(super) snapshot: Snapshot,
    pub(super) view: LogView,
    pub(super) keep: Keep,
    pub(super) generation: u64,
    pub(super) wait_first: Duration,
}

/// Where a reading starts.
struct Start {
    at: Cursor,
    turn: Option<TurnMark>,
    /// The emulator is fed from here.
    scan_from: Cursor,
    log: Option<LogTime>,
}

/// The ground for a query on a session.
pub(super) fn ground(app: &App, query: FollowQuery, snapshot: Snapshot) -> Ground {
    let view = LogView::new(snapshot.feed.clone(), app.log());
    let (generation, wait_first) = (app.facts.generation, app.config.wait.first);
    let keep = Keep { meta: app.meta.clone(), writer: app.health.writer().clone() };
    Ground { query, snapshot, view, keep, generation, wait_first }
}

/// Refuses a query that could never be answered, before anything is looked for.
pub(super) fn check(query: &FollowQuery, default_first: Duration) -> Result<(), ApiError> {
    conditions(query, default_first).map(drop)
}

/// The plan. Blocking.
pub(super) fn plan(ground: &Ground) -> Result<Plan, ApiError> {
    let Ground { query, snapshot, generation, .. } = ground;
    unless_replaced(query, snapshot)?;
    if query.times && (query.lines.is_some() || !matches!(query.content, Content::Chars | Content::Base64)) {
        return Err(usage("times=1 goes with content=chars or content=base64, and without lines"));
    }
    let conditions = conditions(query, ground.wait_first)?;
    let start = start(ground, &conditions)?;
    let sum = &snapshot.summary;
    let run = match &start.turn {
        Some(mark) => mark.run,
        None => run_at(ground, start.at)?,
    };
    let masks = masks(ground, &start)?;
    let ended = sum.status.filter(|_| conditions.is_exit_alone() && run == sum.run && has_ended(sum));
    let (size, before) = match &start.turn {
        _ if query.times => before(ground, start.at)?,
        Some(mark) => (mark.size, None),
        None => (sum.size, None),
    };
    Ok(Plan {
        session: snapshot.info.name.clone(),
        id: snapshot.info.id,
        run,
        turn: start
            .turn
            .as_ref()
            .map(|t| t.turn)
            .or_else(|| sum.turn.as_ref().filter(|t| t.seq < start.at.seq).map(|t| t.turn)),
        ended,
        size,
        scan_from: start.scan_from,
        start: start.at,
        start_log: start.log,
        after: query.after.unwrap_or(start.at).max(start.at),
        from_turn: start.turn.is_some(),
        after_editor: false,
        to: query.to.as_deref().map(bound).transpose()?,
        lines: query.lines,
        content: query.content,
        events_all: query.events_all,
        times: query.times,
        before,
        conditions,
        masks,
        follow: query.follow,
        generation: *generation,
    })
}

/// A name may stand for another session by the time a reading is taken up again.
pub(super) fn unless_replaced(query: &FollowQuery, snapshot: &Snapshot) -> Result<(), ApiError> {
    match query.id.is_none_or(|id| id == snapshot.info.id) {
        true => Ok(()),
        false => {
            let name = snapshot.info.name.as_str();
            let what = format!("session {name:?} is another one now: the one that was followed is gone");
            Err(ApiError::new(Code::NoSuchSession, what))
        }
    }
}

fn conditions(query: &FollowQuery, default_first: Duration) -> Result<Conditions, ApiError> {
    let duration = |text: &Option<String>| text.as_deref().map(parse_duration).transpose().map_err(usage);
    let (idle, first) = (duration(&query.wait_idle)?, duration(&query.wait_first)?);
    Conditions::parse(&query.until, &query.until_line, &query.until_literal, idle, first.or(Some(default_first)))
        .map(|conditions| conditions.or_exit(query.exit))
        .map_err(usage)
}

/// Of the newest run.
pub(super) fn has_ended(sum: &Summary) -> bool {
    matches!(sum.phase, Phase::Ended { .. } | Phase::Restarting { .. })
}

fn usage(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(Code::Usage, error.to_string())
}

fn unreadable(error: Unreadable) -> ApiError {
    failed(error)
}

fn start(ground: &Ground, conditions: &Conditions) -> Result<Start, ApiError> {
    let sum = &ground.snapshot.summary;
    if let Some(at) = ground.query.start {
        return match ground.query.after.filter(|_| needs_nothing_before(&ground.query, conditions)) {
            Some(after) => Ok(plain(after.max(at))),
            None => at_cursor(ground, at),
        };
    }
    match ground.query.since.as_deref() {
        None if !conditions.is_wait() => Ok(plain(Cursor::at(Seq(1)))),
        // about a state, not about what was written: nothing before has to be read
        None if conditions.is_exit_alone() && ground.query.content == Content::None => Ok(now(ground)),
        None => match sum.turn.as_ref().filter(|t| t.run == sum.run) {
            Some(mark) => Ok(at_turn(mark.clone())),
            None => Ok(plain(Cursor::at(sum.run_start))),
        },
        Some("start") => Ok(plain(Cursor::at(Seq(1)))),
        Some("last-send") => sum.turn.clone().map(at_turn).ok_or_else(|| no_turn(ground, "nothing was sent yet")),
        Some("now") => Ok(now(ground)),
        Some(text) if text.starts_with('@') => at_cursor(ground, text.parse().map_err(usage)?),
        Some(text) => match text.strip_prefix("turn:") {
            Some(number) => {
                let n = number.parse::<u64>().map_err(|_| usage(format!("bad turn {number:?}: write turn:N")))?;
                turn(ground, n)?.map(at_turn).ok_or_else(|| no_turn(ground, &format!("no turn {n}")))
            }
            None => {
                let wall = point_in_time(text, ground.snapshot.now.wall)?;
                ground.view.first_since(wall, sum.seq).map(|seq| plain(Cursor::at(seq))).map_err(unreadable)
            }
        },
    }
}

/// Taken up again, such a reading is one from where it stood: what came before changes nothing in what will come. All others are
/// read again from their start, which a host that is killed often may never get through.
fn needs_nothing_before(query: &FollowQuery, conditions: &Conditions) -> bool {
    let bytes = matches!(query.content, Content::Raw | Content::Base64 | Content::Chars);
    bytes && !conditions.is_wait() && query.lines.is_none() && !query.times
}

fn plain(at: Cursor) -> Start {
    Start { at, turn: None, scan_from: at, log: None }
}

fn at_turn(mark: TurnMark) -> Start {
    Start { at: Cursor::at(mark.seq), scan_from: mark.preroll.min(Cursor::at(mark.seq)), turn: Some(mark), log: None }
}

fn now(ground: &Ground) -> Start {
    let Summary { seq, .. } = ground.snapshot.summary;
    let at = Cursor::at(seq.next());
    Start { at, turn: None, scan_from: ground.snapshot.summary.preroll().min(at), log: Some(ground.snapshot.now.log) }
}

fn no_turn(ground: &Ground, what: &str) -> ApiError {
    ApiError::new(Code::NoSuchTurn, format!("session {:?}: {what}", ground.snapshot.info.name.as_str()))
}

/// A cursor that was handed out. Where it is a turn's first record, the reading is one from that turn.
fn at_cursor(ground: &Ground, at: Cursor) -> Result<Start, ApiError> {
    let sum = &ground.snapshot.summary;
    if at == Cursor::at(sum.seq.next()) {
        return Ok(now(ground));
    }
    let first = ground.view.one(at.seq).map_err(unreadable)?;
    if let (0, Some(Ok(Event::Input { turn: Some(n), .. }))) = (at.byte, first.map(|r| r.event()))
        && let Some(mark) = turn(ground, n)?
    {
        return Ok(at_turn(mark));
    }
    Ok(plain(at))
}

/// The mark of a turn, if there is one. Blocking.
pub(super) fn turn(ground: &Ground, n: u64) -> Result<Option<TurnMark>, ApiError> {
    if let Some(mark) = ground.snapshot.summary.turn.as_ref().filter(|t| t.turn == n) {
        return Ok(Some(mark.clone()));
    }
    let json = ground.keep.meta.turn(ground.snapshot.info.id, n).map_err(failed)?;
    match json.and_then(|json| serde_json::from_slice(&json).ok()) {
        None if ground.snapshot.summary.turn.as_ref().is_some_and(|last| n >= 1 && n < last.turn) => {
            turn_from_log(ground, n)
        }
        found => Ok(found),
    }
}

/// A turn that `meta` doesn't have: what is derived may be missing, the log has it.
fn turn_from_log(ground: &Ground, n: u64) -> Result<Option<TurnMark>, ApiError> {
    let mut sum = Summary::new(ground.snapshot.summary.size);
    loop {
        let page = ground.view.read(sum.seq.next(), PAGE).map_err(unreadable)?;
        if page.is_empty() {
            return Ok(None);
        }
        if let Some(mark) = page.iter().find_map(|record| sum.apply(record).filter(|mark| mark.turn >= n)) {
            return Ok(Some(mark).filter(|mark| mark.turn == n)); // a later one: this one is lost
        }
    }
}

pub(super) fn point_in_time(text: &str, now: Wall) -> Result<Wall, ApiError> {
    if let Ok(ago) = parse_duration(text) {
        let micros = i64::try_from(ago.as_micros()).unwrap_or(i64::MAX);
        return Ok(Wall(now.0.saturating_sub(micros)));
    }
    text.parse::<jiff::Timestamp>().map(|t| Wall(t.as_microsecond())).map_err(|_| {
        usage(format!("bad start {text:?}: write start, last-send, turn:N, now, a duration, a time such as 2026-02-01T03:40:00Z, or @SEQ"))
    })
}

fn bound(text: &str) -> Result<Bound, ApiError> {
    if text.starts_with('@') {
        return text.parse().map(Bound::Cursor).map_err(usage);
    }
    let time = text.parse::<jiff::Timestamp>();
    time.map(|t| Bound::Wall(Wall(t.as_microsecond())))
        .map_err(|_| usage(format!("bad end {text:?}: write a time such as 2026-02-01T03:40:00Z, or @SEQ")))
}

/// The first record that is not older. The wall clock can jump: where it did, one of several such places is found. Looked for
/// from the end, in steps that double: what is much older isn't read.
pub(super) fn first_since(ground: &Ground, wall: Wall) -> Result<Cursor, ApiError> {
    let end = ground.snapshot.summary.seq.0 + 1;
    let older = |seq: u64| -> Result<Option<u64>, ApiError> {
        let found = ground.view.read(Seq(seq), 1).map_err(unreadable)?;
        Ok(found.first().filter(|record| record.at.wall < wall).map(|record| record.seq.0))
    };
    let (mut low, mut high, mut back) = (1, end, 1);
    while back < end {
        match older(end - back)? {
            Some(seq) => {
                low = seq + 1;
                break;
            }
            None => high = end - back,
        }
        back *= 2;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        match older(middle)? {
            Some(seq) => low = seq + 1,
            None => high = middle,
        }
    }
    Ok(Cursor::at(Seq(low)))
}

/// The last turn that began before a place.
pub(super) fn turn_before(ground: &Ground, at: Cursor) -> Result<Option<u64>, ApiError> {
    let newest = ground.snapshot.summary.turn.as_ref().map_or(0, |mark| mark.turn);
    let (mut low, mut high) = (0, newest); // turn `low` began before it, or there is none
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        match turn(ground, middle)? {
            Some(mark) if Cursor::at(mark.seq) < at => low = middle,
            _ => high = middle - 1,
        }
    }
    Ok((low > 0).then_some(low))
}

/// In which run a place lies: the next event of a run that follows it says so.
pub(super) fn run_at(ground: &Ground, at: Cursor) -> Result<u32, ApiError> {
    let sum = &ground.snapshot.summary;
    let mut next = at.seq;
    for _ in 0..RUN_PAGES {
        if next >= sum.run_start && at.seq >= sum.run_start {
            break;
        }
        let page = ground.view.read(next, PAGE).map_err(unreadable)?;
        for record in &page {
            match record.event() {
                Ok(Event::Exited { run, .. } | Event::Started { run, .. }) => return Ok(run),
                Ok(Event::Starting { run, .. }) => {
                    return Ok(if record.seq == at.seq { run } else { run.saturating_sub(1).max(1) });
                }
                _ => {}
            }
        }
        match page.last() {
            Some(last) => next = last.seq.next(),
            None => break,
        }
    }
    Ok(sum.run)
}

/// The last inputs of the run before the start.
fn masks(ground: &Ground, start: &Start) -> Result<Vec<Input>, ApiError> {
    let sum = &ground.snapshot.summary;
    let seqs: Vec<Seq> = match &start.turn {
        Some(mark) => mark.inputs.clone(),
        None => sum.inputs.iter().copied().filter(|seq| Cursor::at(*seq) < start.at).collect(),
    };
    ground.view.inputs(seqs).map_err(unreadable)
}
