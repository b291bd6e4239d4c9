//! Turns and replies: `POST …/turns` with `wait`, `GET …/turns/{n}`; `GET …/turns` in `listed`.
//!
//! A reply is a reading of the log like any other; this types the text, reads until the reply is whole, and hands it over as
//! one answer. While it waits, the answer's body is a blank line now and then: so a client that has gone away is noticed, and
//! its reading ends. It must never wait for a session that waits for the one who asks.

mod listed;

pub(super) use listed::list;

use super::asks::Ask;
use super::follow::Reading;
use super::resolve::{Ground, ground, run_at, turn as mark_of};
use super::sessions::find;
use super::typing::{Wanted, submit};
use super::{App, failed, no_answer};
use crate::follow::{End, Plan, ReplyText, again};
use crate::model::{Cursor, Event, KIB, Kind};
use crate::session::LogView;
use crate::session::messages::{Describe, Snapshot};
use crate::session::summary::TurnMark;
use crate::session::typist::Manner;
use crate::stop::Conditions;
use crate::wire::{ApiError, Code, ErrorBody, FollowQuery, Reply, ReplyQuery, TurnRequest, When};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use std::time::Duration;
use tokio::time::Instant;

type Answer = Result<HttpResponse, ApiError>;

/// Between two signs of life while a reply is waited for. 5 s: so soon a client that has gone away is noticed.
const BEAT: Duration = Duration::from_secs(5);
/// After so long a blank line that could not be written has ended the answer. 100 ms: a connection's end is known at once.
const SEEN: Duration = Duration::from_millis(100);
/// A program that was just started is given so long to show its first prompt. 3 s: an interpreter on a busy machine.
const READY_MAX: Duration = Duration::from_secs(3);
/// Its prompt stands when nothing came for so long.
const READY_QUIET: Duration = Duration::from_millis(300);
/// Conditions up to so many bytes are kept with the turn: a record of input is small, and the ring holds a few.
const MAX_ASKED: usize = 4 * KIB;

pub(super) async fn turn(
    app: web::Data<App>,
    name: web::Path<String>,
    request: HttpRequest,
    body: web::Json<TurnRequest>,
) -> Answer {
    let TurnRequest { text, from, timeout_ms, wait, when } = body.into_inner();
    let mut wanted = Wanted { text, manner: Manner::Submit, keys: Vec::new(), from, timeout_ms, asked: None };
    if !wait {
        return Ok(HttpResponse::Ok().json(submit(&app, &name, &request, wanted).await?));
    }
    let deadline = deadline(&app, timeout_ms);
    conditions(&when)?;
    let ask = app.asks.open(wanted.from.as_deref(), &name, true)?;
    let reading_may_take = u64::try_from(app.config.send.timeout.as_millis()).unwrap_or(u64::MAX);
    wanted.timeout_ms = Some(timeout_ms.unwrap_or(u64::MAX).min(reading_may_take));
    wanted.asked = Some(ReplyQuery { when: when.clone(), ..ReplyQuery::default() }.to_query())
        .filter(|query| (1..=MAX_ASKED).contains(&query.len()));
    let asking = Asking { app, name: name.into_inner(), request, wanted, when, deadline, ask };
    if !asking.ask.is_first() {
        return Ok(answer(Stage::Queued(Box::pin(asking.queue())))); // may take long: who goes away doesn't ask
    }
    let number = asking.submit().await?;
    Ok(answer(Stage::Replying(Box::pin(asking.wait(number)))))
}

/// An ask on its way.
struct Asking {
    app: web::Data<App>,
    name: String,
    request: HttpRequest,
    wanted: Wanted,
    when: When,
    deadline: Instant,
    ask: Ask,
}

impl Asking {
    /// Until it may type.
    async fn queue(self) -> Result<Asking, ApiError> {
        match tokio::time::timeout_at(self.deadline, self.ask.first()).await {
            Ok(()) => Ok(self),
            Err(_) => {
                let what = format!("session {:?} is busy with an earlier ask; nothing was typed", self.name);
                Err(ApiError::new(Code::NotReading, what))
            }
        }
    }

    async fn reply(self) -> Result<Reply, ApiError> {
        let number = self.submit().await?;
        self.wait(number).await
    }

    /// Types; the number of the turn.
    async fn submit(&self) -> Result<u64, ApiError> {
        ready(&self.app, &self.name, self.deadline).await?;
        let receipt = submit(&self.app, &self.name, &self.request, self.wanted.clone()).await?;
        receipt.turn.ok_or_else(|| failed("the text opened no turn"))
    }

    async fn wait(self, number: u64) -> Result<Reply, ApiError> {
        wait_for(self.app, self.name, number, self.when, Some(self.deadline), Some(self.ask)).await
    }
}

pub(super) async fn reply(app: web::Data<App>, path: web::Path<(String, String)>, request: HttpRequest) -> Answer {
    let ReplyQuery { wait, timeout_ms, when } = ReplyQuery::from_query(request.query_string())?;
    let (name, number) = path.into_inner();
    conditions(&when)?;
    let number = number_of(&app, &name, &number).await?;
    let asked = asked(&app, &name, number).await?;
    let when = if when == When::default() { asked } else { when };
    if !wait {
        return Ok(HttpResponse::Ok().json(wait_for(app, name, number, when, None, None).await?));
    }
    let ask = app.asks.open(None, &name, false)?;
    let deadline = deadline(&app, timeout_ms);
    Ok(answer(Stage::Replying(Box::pin(wait_for(app, name, number, when, Some(deadline), Some(ask))))))
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

/// When the reply to a turn was whole for the one who asked; as it is by default where nobody asked. Fails where nothing is
/// left of the turn.
async fn asked(app: &App, name: &str, number: u64) -> Result<When, ApiError> {
    let snapshot = find(app, name).await?.addr.send(Describe).await.map_err(no_answer)?;
    let ground = ground(app, FollowQuery::default(), snapshot);
    let first = web::block(move || match mark_of(&ground, number)? {
        Some(mark) if is_gone(&ground, &mark)? => {
            let what = format!("session {:?}: turn {number} is lost", ground.snapshot.info.name.as_str());
            Err(ApiError::new(Code::NoSuchTurn, what).hint("termalive turns shows which are left"))
        }
        Some(mark) => ground.view.one(mark.seq).map_err(failed),
        None => Ok(None), // who reads it is told so
    });
    let first = first.await.map_err(failed)??;
    match first.map(|record| record.event()) {
        Some(Ok(Event::Input { asked: Some(query), .. })) => Ok(ReplyQuery::from_query(&query)?.when),
        _ => Ok(When::default()),
    }
}

/// All of a turn is lost, up to the next one or the next run: what stands behind is no reply to it. Blocking.
fn is_gone(ground: &Ground, mark: &TurnMark) -> Result<bool, ApiError> {
    let Some((to, _)) = ground.view.lost(mark.seq).map_err(failed)? else { return Ok(false) };
    if let Some(next) = mark_of(ground, mark.turn + 1)? {
        return Ok(ground.view.lost(next.seq).map_err(failed)?.is_some());
    }
    Ok(run_at(ground, Cursor::at(to.next()))? != mark.run)
}

/// A program that has just been started isn't typed at before its prompt stands: what it echoes before that is no answer.
async fn ready(app: &App, name: &str, deadline: Instant) -> Result<(), ApiError> {
    let found = find(app, name).await?;
    let mut until = None;
    loop {
        let snapshot = found.addr.send(Describe).await.map_err(no_answer)?;
        let mut newest = snapshot.feed.newest();
        let sum = &snapshot.summary;
        let Some(started) = sum.started_at.filter(|_| sum.turn.as_ref().is_none_or(|turn| turn.run != sum.run)) else {
            return Ok(());
        };
        let age = u64::try_from(snapshot.now.wall.0.saturating_sub(started.0)).unwrap_or(0);
        let left = READY_MAX.saturating_sub(Duration::from_micros(age));
        let until = *until.get_or_insert_with(|| deadline.min(Instant::now() + left));
        if Instant::now() >= until || !snapshot.live {
            return Ok(());
        }
        let stands = prompt_stands(app, snapshot).await?;
        let quiet = if stands { until.min(Instant::now() + READY_QUIET) } else { until };
        match tokio::time::timeout_at(quiet, newest.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Ok(()),
        }
    }
}

/// The last that was printed is no whole row.
async fn prompt_stands(app: &App, snapshot: Snapshot) -> Result<bool, ApiError> {
    let view = LogView::new(snapshot.feed, app.log());
    let records = view.read_async(snapshot.summary.seq, 1).await.map_err(failed)?;
    Ok(records.last().is_some_and(|last| last.kind == Kind::Output && last.body.last() != Some(&b'\n')))
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
    let query = FollowQuery { follow: deadline.is_some(), ..reply_to(number, when) };
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
    let plan = reading.plan().ok_or_else(|| no_answer("a reading without a plan"))?;
    let again = match again(plan, end) {
        Some(plan) => Some(text_of(&reading, plan).await?),
        None => None,
    };
    drop(ask);
    finish(text, plan, end, again)
}

/// The reading of a reply.
fn reply_to(number: u64, when: When) -> FollowQuery {
    let When { until, until_line, until_literal, wait_idle } = when;
    let since = Some(format!("turn:{number}"));
    FollowQuery { since, until, until_line, until_literal, wait_idle, ..FollowQuery::default() }
}

fn finish(text: ReplyText, plan: &Plan, end: &End, again: Option<ReplyText>) -> Result<Reply, ApiError> {
    let session = plan.session.as_str();
    text.finish(plan, end, again).map_err(|why| {
        let hint = format!("termalive logs {session} --since turn:{} prints it", plan.turn.unwrap_or_default());
        ApiError::new(Code::Failed, why.to_string()).hint(hint)
    })
}

/// What another reading of the same log prints.
async fn text_of(reading: &Reading, plan: Plan) -> Result<ReplyText, ApiError> {
    let (mut again, _go_on) = reading.again(plan);
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

/// What an answer waits for.
enum Stage {
    /// An earlier ask.
    Queued(LocalBoxFuture<'static, Result<Asking, ApiError>>),
    /// A sign that the client is still there: its text is typed next.
    Turn(Box<Asking>),
    /// The reply.
    Replying(LocalBoxFuture<'static, Result<Reply, ApiError>>),
}

/// One JSON value, blank lines before it.
fn answer(stage: Stage) -> HttpResponse {
    let body = futures_util::stream::unfold(Some(stage), |stage| async { Some(step(stage?).await) });
    HttpResponse::Ok().content_type("application/json").streaming::<_, ApiError>(body)
}

/// What is written next, and what comes then.
async fn step(stage: Stage) -> (Result<Bytes, ApiError>, Option<Stage>) {
    let mut reply = match stage {
        Stage::Queued(mut queued) => match tokio::time::timeout(BEAT, &mut queued).await {
            Err(_) => return (Ok(LINE), Some(Stage::Queued(queued))),
            Ok(Ok(asking)) => return (Ok(LINE), Some(Stage::Turn(Box::new(asking)))),
            Ok(Err(error)) => return (json(&ErrorBody { error }), None),
        },
        Stage::Turn(asking) => {
            tokio::time::sleep(SEEN).await; // nothing tells that a write succeeded; a failed one drops us here
            Box::pin(asking.reply())
        }
        Stage::Replying(reply) => reply,
    };
    match tokio::time::timeout(BEAT, &mut reply).await {
        Err(_) => (Ok(LINE), Some(Stage::Replying(reply))),
        Ok(Ok(reply)) => (json(&reply), None),
        Ok(Err(error)) => (json(&ErrorBody { error }), None),
    }
}

const LINE: Bytes = Bytes::from_static(b"\n");

fn json(value: &impl Serialize) -> Result<Bytes, ApiError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(failed)
}
