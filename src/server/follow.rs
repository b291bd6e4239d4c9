//! One reading, carried out: records from the log into the pure [`Follow`], its frames to a connection.
//!
//! Pulled: nothing is read before the connection asks for the next frames, and a connection that isn't read doesn't ask. It
//! costs a cursor and one page of records.

use super::look;
use super::resolve::{check, ground, plan};
use super::sessions::find;
use super::{App, failed, no_answer};
use crate::follow::{End, Follow, Frame, Look, Plan, Reader};
use crate::model::{KIB, Kind, LogTime, Record, Seq, Stamp};
use crate::session::messages::{Describe, Now};
use crate::session::{LogView, SessionActor, wall_now};
use crate::wire::{ApiError, Content, EndReason, FollowQuery, Line};
use actix::Addr;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A page of the log.
const PAGE: usize = 256 * KIB;
/// Frames are handed over when they hold so much: a connection may take up to 16 of these at once.
const CHUNK: usize = 32 * KIB;
/// A deadline is looked at no more often than this: a session whose log time stands is asked again and again.
const AGAIN: Duration = Duration::from_millis(10);

/// A reading under way.
pub(super) struct Reading {
    follow: Box<dyn Reader>,
    view: LogView,
    session: Addr<SessionActor>,
    next: Seq,
    page: VecDeque<Record>,
    newest: watch::Receiver<Seq>,
    given_up: watch::Receiver<bool>,
    state: State,
    /// The session's time, when it was asked last.
    asked: Option<(Stamp, Instant)>,
    /// Something came that may end the log.
    look: bool,
    end: Option<End>,
}

#[derive(PartialEq, Eq)]
enum State {
    New,
    Open,
    Over,
}

impl Reading {
    /// Resolves a query. Gives also the end of a line by which the client says that it waits no longer.
    pub(super) async fn resolve(
        app: &App,
        name: &str,
        query: FollowQuery,
    ) -> Result<(Reading, watch::Sender<bool>), ApiError> {
        Reading::planned(app, name, query, |plan| plan).await
    }

    /// As [`Reading::resolve`], of a turn's reply: where no pattern is given, the program's prompt or quiet ends it.
    pub(super) async fn for_reply(
        app: &App,
        name: &str,
        query: FollowQuery,
    ) -> Result<(Reading, watch::Sender<bool>), ApiError> {
        let (quiet, first) = (app.config.ask.quiet, app.config.wait.first);
        let for_reply = move |plan: Plan| Plan { conditions: plan.conditions.clone().for_reply(quiet, first), ..plan };
        Reading::planned(app, name, query, for_reply).await
    }

    async fn planned(
        app: &App,
        name: &str,
        query: FollowQuery,
        change: impl FnOnce(Plan) -> Plan,
    ) -> Result<(Reading, watch::Sender<bool>), ApiError> {
        check(&query, app.config.wait.first)?;
        let found = find(app, name).await?;
        let snapshot = found.addr.send(Describe).await.map_err(no_answer)?;
        let (give_up, given_up) = watch::channel(false);
        if query.is_about_the_screen() {
            let plan = look::plan(app, &query, &snapshot, &found.addr).await?;
            let (view, next) = (LogView::new(snapshot.feed.clone(), app.log()), plan.next.seq);
            let look = Box::new(Look::new(plan, wall_now()));
            return Ok((Reading::new(look, view, next, found.addr, given_up), give_up));
        }
        let ground = ground(app, query, snapshot);
        let (ground, plan) = web::block(move || plan(&ground).map(|plan| (ground, plan))).await.map_err(failed)??;
        let plan = change(plan);
        let next = plan.scan_from.seq;
        let follow = Box::new(Follow::new(plan, wall_now()));
        Ok((Reading::new(follow, ground.view, next, found.addr, given_up), give_up))
    }

    fn new(
        follow: Box<dyn Reader>,
        view: LogView,
        next: Seq,
        session: Addr<SessionActor>,
        given_up: watch::Receiver<bool>,
    ) -> Reading {
        let (newest, page, state) = (view.feed().newest(), VecDeque::new(), State::New);
        Reading { follow, view, session, next, page, newest, given_up, state, asked: None, look: true, end: None }
    }

    /// Another reading of the same log; with the end of a line as [`Reading::resolve`] gives it.
    pub(super) fn again(&self, plan: Plan) -> (Reading, watch::Sender<bool>) {
        let (give_up, given_up) = watch::channel(false);
        let next = plan.scan_from.seq;
        let follow = Box::new(Follow::new(plan, wall_now()));
        (Reading::new(follow, self.view.clone(), next, self.session.clone(), given_up), give_up)
    }

    /// What it reads; nothing where it looks at the screen.
    pub(super) fn plan(&self) -> Option<&Plan> {
        self.follow.plan()
    }

    /// How it ended.
    pub(super) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The next frames; nothing when the reading is over.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<Frame>, ApiError>> {
        let mut out = Vec::new();
        match self.state {
            State::Over => return None,
            State::New => {
                self.state = State::Open;
                self.follow.open(&mut out);
                return Some(Ok(out));
            }
            State::Open => {}
        }
        let advanced = self.advance(&mut out).await;
        if advanced.is_err() {
            self.state = State::Over;
        }
        Some(advanced.map(|()| out))
    }

    /// Until there is something to hand over or the reading is over.
    async fn advance(&mut self, out: &mut Vec<Frame>) -> Result<(), ApiError> {
        while out.is_empty() && self.state == State::Open {
            if *self.given_up.borrow() {
                let told = self.session.send(Now).await.map_err(no_answer)?;
                self.end = self.follow.abandon(told.now, out);
                self.state = State::Over;
                return Ok(());
            }
            if self.page.is_empty() {
                self.newest.mark_unchanged();
                self.page = self.view.read_async(self.next, PAGE).await.map_err(failed)?.into();
            }
            if self.page.is_empty() {
                self.at_the_end(out).await?;
            } else {
                self.take_page(out);
            }
        }
        if self.end.as_ref().is_some_and(|end| end.line.reason == EndReason::Exit) {
            self.view.durable().await; // who hears of it may rely on it
        }
        Ok(())
    }

    fn take_page(&mut self, out: &mut Vec<Frame>) {
        let mut taken = 0;
        while let Some(record) = self.page.pop_front() {
            self.next = record.seq.next();
            self.look |= record.kind != Kind::Output;
            taken += record.body.len();
            self.end = self.follow.record(&record, out);
            if self.end.is_some() {
                self.state = State::Over;
                return;
            }
            if taken >= CHUNK {
                return;
            }
        }
    }

    /// Everything there is was read: is it over, or what is waited for?
    async fn at_the_end(&mut self, out: &mut Vec<Frame>) -> Result<(), ApiError> {
        let due = self.follow.deadline().is_some_and(|deadline| self.now_about() >= Some(deadline));
        if self.look || due {
            return self.ask(out).await;
        }
        let deadline = self.follow.deadline().and_then(|d| Some(d.since(self.now_about()?)));
        tokio::select! {
            changed = self.newest.changed() => self.look |= changed.is_err() || self.view.feed().is_closed(),
            gave_up = self.given_up.changed() => if gave_up.is_err() { self.state = State::Over },
            () = tokio::time::sleep(deadline.unwrap_or(Duration::MAX).max(AGAIN)), if deadline.is_some() => {}
        }
        Ok(())
    }

    /// Asks the session what time it is; it answers in the turn in which it knows the end of its log.
    async fn ask(&mut self, out: &mut Vec<Frame>) -> Result<(), ApiError> {
        let told = self.session.send(Now).await.map_err(no_answer)?;
        if told.seq >= self.next {
            return Ok(()); // more came meanwhile
        }
        self.look = false;
        self.asked = Some((told.now, Instant::now()));
        self.end = match self.follow.time(told.now, out) {
            None => self.follow.end_of_log(told.now, told.live, out),
            end => end,
        };
        if self.end.is_some() {
            self.state = State::Over;
        }
        Ok(())
    }

    fn now_about(&self) -> Option<LogTime> {
        self.asked.map(|(stamp, at)| stamp.log.after(at.elapsed()))
    }
}

/// `GET …/log`: the same reading for `curl`, as one answer that goes on.
pub(super) async fn log(
    app: web::Data<App>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut query = FollowQuery::from_query(request.query_string())?;
    let format = form_urlencoded::parse(request.query_string().as_bytes())
        .find(|(k, _)| k == "format")
        .map_or_else(|| "text".to_owned(), |(_, v)| v.into_owned());
    let (kind, print): (&str, fn(Frame) -> Bytes) = match format.as_str() {
        "text" => ("text/plain; charset=utf-8", text),
        "raw" => {
            query.content = Content::Raw;
            ("application/octet-stream", raw)
        }
        "jsonl" => ("application/jsonl", jsonl),
        other => {
            let what = format!("bad format {other:?}");
            return Err(ApiError::new(crate::wire::Code::Usage, what).hint("one of text, raw, jsonl"));
        }
    };
    let (reading, give_up) = Reading::resolve(&app, &name, query).await?;
    let body = futures_util::stream::unfold((reading, give_up), move |(mut reading, give_up)| async move {
        let frames = reading.next().await?;
        let chunk = frames.map(|frames| frames.into_iter().map(print).collect::<Vec<_>>().concat().into());
        Some((chunk, (reading, give_up)))
    });
    Ok(HttpResponse::Ok().content_type(kind).streaming::<_, ApiError>(body))
}

fn text(frame: Frame) -> Bytes {
    match frame {
        Frame::Line(Line::Data(data)) => data.content.into(),
        Frame::Line(_) => Bytes::new(),
        Frame::Raw { bytes, .. } => bytes,
    }
}

fn raw(frame: Frame) -> Bytes {
    match frame {
        Frame::Raw { bytes, .. } => bytes,
        Frame::Line(_) => Bytes::new(),
    }
}

fn jsonl(frame: Frame) -> Bytes {
    match frame {
        Frame::Line(Line::Hello(_)) | Frame::Raw { .. } => Bytes::new(),
        Frame::Line(line) => {
            let mut json = serde_json::to_vec(&line).unwrap_or_default();
            json.push(b'\n');
            json.into()
        }
    }
}
