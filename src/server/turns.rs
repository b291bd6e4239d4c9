//! Turns and replies: `POST …/turns` with `wait`, `GET …/turns`, `GET …/turns/{n}`.
//!
//! A reply is a reading of the log like any other; this types the text, reads until the reply is whole, and hands it over as
//! one answer. While it waits, the answer's body is a blank line now and then: so a client that has gone away is noticed, and
//! its reading ends. It must never wait for a session that waits for the one who asks.

use super::asks::Ask;
use super::follow::Reading;
use super::resolve::{Ground, ground, turn as mark_of};
use super::sessions::find;
use super::typing::{Wanted, submit};
use super::{App, failed, no_answer};
use crate::follow::{Bound, End, Plan, ReplyText, timestamp};
use crate::model::{Event, InputText, KIB, Seq};
use crate::session::messages::Describe;
use crate::session::summary::TurnMark;
use crate::session::typist::Manner;
use crate::stop::Conditions;
use crate::wire::{
    ApiError, Code, ErrorBody, FollowQuery, Reply, ReplyQuery, TurnInfo, TurnReason, TurnRequest, TurnState, When,
};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use std::time::Duration;
use tokio::time::Instant;

type Answer = Result<HttpResponse, ApiError>;

/// Between two signs of life while a reply is waited for. 5 s: so soon a client that has gone away is noticed.
const BEAT: Duration = Duration::from_secs(5);
/// A program that was just started is given so long to show its first prompt. 3 s: an interpreter on a busy machine.
const READY_MAX: Duration = Duration::from_secs(3);
/// Its prompt stands when nothing came for so long.
const READY_QUIET: Duration = Duration::from_millis(300);
/// So many turns are listed, the newest. 1,000: each is a look into the store.
const MAX_TURNS: u64 = 1000;
/// So much of a text is listed, in bytes.
const PROMPT_SHOWN: usize = 4 * KIB;
const PAGE: usize = 256 * KIB;

pub(super) async fn turn(
    app: web::Data<App>,
    name: web::Path<String>,
    request: HttpRequest,
    body: web::Json<TurnRequest>,
) -> Answer {
    let TurnRequest { text, from, timeout_ms, wait, when } = body.into_inner();
    let mut wanted = Wanted { text, manner: Manner::Submit, keys: Vec::new(), from, timeout_ms };
    if !wait {
        return Ok(HttpResponse::Ok().json(submit(&app, &name, &request, wanted).await?));
    }
    let deadline = deadline(&app, timeout_ms);
    conditions(&when)?;
    let ask = app.asks.open(wanted.from.as_deref(), &name)?;
    let reading_may_take = u64::try_from(app.config.send.timeout.as_millis()).unwrap_or(u64::MAX);
    wanted.timeout_ms = Some(timeout_ms.unwrap_or(u64::MAX).min(reading_may_take));
    ready(&app, &name, deadline).await?;
    let receipt = submit(&app, &name, &request, wanted).await?;
    let number = receipt.turn.ok_or_else(|| failed("the text opened no turn"))?;
    Ok(stream(wait_for(app, name.into_inner(), number, when, Some(deadline), Some(ask))))
}

pub(super) async fn reply(app: web::Data<App>, path: web::Path<(String, String)>, request: HttpRequest) -> Answer {
    let ReplyQuery { wait, timeout_ms, when } = ReplyQuery::from_query(request.query_string())?;
    let (name, number) = path.into_inner();
    conditions(&when)?;
    let number = number_of(&app, &name, &number).await?;
    if !wait {
        return Ok(HttpResponse::Ok().json(wait_for(app, name, number, when, None, None).await?));
    }
    let ask = app.asks.open(None, &name)?;
    let deadline = deadline(&app, timeout_ms);
    Ok(stream(wait_for(app, name, number, when, Some(deadline), Some(ask))))
}

pub(super) async fn list(app: web::Data<App>, name: web::Path<String>) -> Answer {
    let snapshot = find(&app, &name).await?.addr.send(Describe).await.map_err(no_answer)?;
    let ground = ground(&app, FollowQuery::default(), snapshot);
    let turns = web::block(move || turns(&ground)).await.map_err(failed)??;
    Ok(HttpResponse::Ok().json(turns))
}

fn deadline(app: &App, timeout_ms: Option<u64>) -> Instant {
    let longest = super::typing::LONGEST_WAIT;
    Instant::now() + timeout_ms.map_or(app.config.ask.timeout, Duration::from_millis).min(longest)
}

/// Bad conditions are refused before anything is typed.
fn conditions(when: &When) -> Result<(), ApiError> {
    let usage = |why: &dyn std::fmt::Display| ApiError::new(Code::Usage, why.to_string());
    let idle = when.wait_idle.as_deref().map(crate::model::parse_duration).transpose().map_err(|e| usage(&e))?;
    let checked = Conditions::parse(&when.until, &when.until_line, &when.until_literal, idle, None);
    checked.map(drop).map_err(|e| usage(&e))
}

/// `7`, or `last`.
async fn number_of(app: &App, name: &str, text: &str) -> Result<u64, ApiError> {
    if text != "last" {
        let bad = |_| ApiError::new(Code::Usage, format!("bad turn {text:?}: write its number, or last"));
        return text.parse().map_err(bad);
    }
    let info = find(app, name).await?.addr.send(Describe).await.map_err(no_answer)?.info;
    let none = || ApiError::new(Code::NoSuchTurn, format!("session {name:?}: nothing was sent yet"));
    info.last_turn.ok_or_else(none)
}

/// A program that has just been started isn't typed at before its prompt stands: what it echoes before that is no answer.
async fn ready(app: &App, name: &str, deadline: Instant) -> Result<(), ApiError> {
    let found = find(app, name).await?;
    let snapshot = found.addr.send(Describe).await.map_err(no_answer)?;
    let mut newest = snapshot.feed.newest();
    let sum = snapshot.summary;
    let Some(started) = sum.started_at.filter(|_| sum.turn.is_none_or(|turn| turn.run != sum.run)) else {
        return Ok(());
    };
    let micros = |later: i64| Duration::from_micros(u64::try_from(later.saturating_sub(started.0)).unwrap_or(0));
    let age = micros(snapshot.now.wall.0);
    let until = deadline.min(Instant::now() + READY_MAX.saturating_sub(age));
    let mut wrote = sum.last_output_at.is_some_and(|at| at >= started);
    while Instant::now() < until && snapshot.live {
        let quiet = if wrote { until.min(Instant::now() + READY_QUIET) } else { until };
        match tokio::time::timeout_at(quiet, newest.changed()).await {
            Ok(Ok(())) => wrote = true,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    Ok(())
}

/// Reads until the reply is whole, or the time is over; without a deadline, what there is.
async fn wait_for(
    app: web::Data<App>,
    name: String,
    number: u64,
    when: When,
    deadline: Option<Instant>,
    ask: Option<Ask>,
) -> Result<Reply, ApiError> {
    let When { until, until_line, until_literal, wait_idle } = when;
    let since = Some(format!("turn:{number}"));
    let follow = deadline.is_some();
    let query = FollowQuery { since, until, until_line, until_literal, wait_idle, follow, ..FollowQuery::default() };
    let (mut reading, give_up) = Reading::for_reply(&app, &name, query).await?;
    let mut over = deadline;
    let mut text = ReplyText::default();
    loop {
        let next = reading.next();
        tokio::pin!(next);
        let frames = tokio::select! {
            frames = &mut next => frames,
            () = at(over) => {
                over = None;
                give_up.send_replace(true);
                next.await
            }
        };
        match frames {
            Some(frames) => frames?.iter().for_each(|frame| text.frame(frame)),
            None => break,
        }
    }
    let end = reading.end().ok_or_else(|| no_answer("the reading was cut off"))?;
    let again = match end.upto {
        Some(upto) => Some(up_to(&reading, upto).await?),
        None => None,
    };
    drop(ask);
    let plan = reading.plan().ok_or_else(|| no_answer("a reading without a plan"))?;
    finish(text, plan, end, again)
}

fn finish(text: ReplyText, plan: &Plan, end: &End, again: Option<ReplyText>) -> Result<Reply, ApiError> {
    let session = plan.session.as_str();
    text.finish(plan, end, again).map_err(|why| {
        let hint = format!("termalive logs {session} --since turn:{} prints it", plan.turn.unwrap_or_default());
        ApiError::new(Code::Failed, why.to_string()).hint(hint)
    })
}

/// The same reading up to a place.
async fn up_to(reading: &Reading, upto: crate::model::Cursor) -> Result<ReplyText, ApiError> {
    let plan = reading.plan().cloned().ok_or_else(|| no_answer("a reading without a plan"))?;
    let conditions = Conditions::default();
    let (mut again, _go_on) = reading.again(Plan { to: Some(Bound::Cursor(upto)), conditions, follow: false, ..plan });
    let mut text = ReplyText::default();
    while let Some(frames) = again.next().await {
        frames?.iter().for_each(|frame| text.frame(frame));
    }
    Ok(text)
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// One JSON value, blank lines before it.
fn stream(reply: impl Future<Output = Result<Reply, ApiError>> + 'static) -> HttpResponse {
    let waiting: Option<LocalBoxFuture<'static, _>> = Some(Box::pin(reply));
    let body = futures_util::stream::unfold(waiting, |waiting| async {
        let mut reply = waiting?;
        let Ok(said) = tokio::time::timeout(BEAT, &mut reply).await else {
            return Some((Ok(Bytes::from_static(b"\n")), Some(reply)));
        };
        let json = match said {
            Ok(reply) => serde_json::to_vec(&reply),
            Err(error) => serde_json::to_vec(&ErrorBody { error }),
        };
        Some((json.map(Bytes::from).map_err(failed), None))
    });
    HttpResponse::Ok().content_type("application/json").streaming::<_, ApiError>(body)
}

/// The newest turns, oldest first. Blocking.
fn turns(ground: &Ground) -> Result<Vec<TurnInfo>, ApiError> {
    let newest = ground.snapshot.summary.turn.as_ref().map_or(0, |mark| mark.turn);
    let mut turns = Vec::new();
    let mut next: Option<TurnMark> = None;
    for number in (1..=newest).rev().take(usize::try_from(MAX_TURNS).unwrap_or(usize::MAX)) {
        if let Some(mark) = mark_of(ground, number)? {
            turns.extend(info(ground, &mark, next.as_ref())?);
            next = Some(mark);
        }
    }
    turns.reverse();
    Ok(turns)
}

fn info(ground: &Ground, mark: &TurnMark, next: Option<&TurnMark>) -> Result<Option<TurnInfo>, ApiError> {
    let Some(first) = ground.view.one(mark.seq).map_err(failed)? else { return Ok(None) };
    let Ok(Event::Input { from, text, .. }) = first.event() else { return Ok(None) };
    let sum = &ground.snapshot.summary;
    let next = next.filter(|next| next.run == mark.run);
    let ended = match next {
        Some(next) => Some((Seq(next.seq.0 - 1), TurnReason::Turn)),
        None if mark.run < sum.run || sum.status.is_some() && !ground.snapshot.info.state.is_live() => {
            exited(ground, mark)?.map(|seq| (seq, TurnReason::Exit))
        }
        None => None,
    };
    let ended_at = match (next, ended) {
        (Some(next), _) => ground.view.one(next.seq).map_err(failed)?,
        (None, Some((seq, _))) => ground.view.one(seq).map_err(failed)?,
        (None, None) => None,
    };
    Ok(Some(TurnInfo {
        turn: mark.turn,
        id: ground.snapshot.info.id,
        from,
        state: if ended.is_some() { TurnState::Ended } else { TurnState::Open },
        prompt: shown(text),
        seq_from: mark.seq,
        seq_to: ended.map_or(sum.seq, |(seq, _)| seq),
        started_at: timestamp(first.at.wall),
        ended_at: ended_at.map(|record| timestamp(record.at.wall)),
        reason: ended.map(|(_, reason)| reason),
    }))
}

/// The record that ended the run of a turn.
fn exited(ground: &Ground, mark: &TurnMark) -> Result<Option<Seq>, ApiError> {
    let mut next = mark.seq;
    loop {
        let page = ground.view.read(next, PAGE).map_err(failed)?;
        let Some(last) = page.last() else { return Ok(None) };
        let ends = |event| matches!(event, Ok(Event::Exited { run, .. }) if run == mark.run);
        if let Some(found) = page.iter().find(|record| ends(record.event())) {
            return Ok(Some(found.seq));
        }
        next = last.seq.next();
    }
}

fn shown(text: InputText) -> String {
    match text {
        InputText::Shown(text) => String::from_utf8_lossy(&text.0[..text.0.len().min(PROMPT_SHOWN)]).into_owned(),
        InputText::Hidden { len } => "*".repeat(usize::try_from(len).unwrap_or(PROMPT_SHOWN).min(PROMPT_SHOWN)),
    }
}
