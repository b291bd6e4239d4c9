//! What happens to all sessions: how each stands, then changes; over HTTP line by line, or over a WebSocket.
//!
//! Pulled, as every reading: a client that doesn't read costs its place. One that comes back too late, or to another host,
//! hears again how the sessions stand.

use super::ws::{LineSocket, Lines};
use super::{App, no_answer};
use crate::follow::timestamp;
use crate::model::{Seq, SessionId, Status};
use crate::session::messages::Describe;
use crate::session::{Noted, What, wall_now};
use crate::supervisor::List;
use crate::wire::{ApiError, Change, EventsQuery};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, VecDeque};
use tokio::sync::watch;

/// Lines that are handed over at once.
const PAGE: usize = 64;

/// A watch under way.
struct Watching {
    app: App,
    query: EventsQuery,
    newest: watch::Receiver<u64>,
    state: State,
}

enum State {
    /// How sessions stand has to be told.
    Blank,
    /// It is being told.
    Levels {
        lines: VecDeque<Change>,
        known: Known,
        after: u64,
    },
    /// Changes after number `after`.
    Changes {
        known: Known,
        after: u64,
    },
    Over,
}

/// What was told with the levels: the newest record of each session, for changes up to number `upto`.
#[derive(Default)]
struct Known {
    seqs: HashMap<SessionId, Seq>,
    upto: u64,
}

/// `GET /v1/events`.
pub(super) async fn events(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let query = EventsQuery::from_query(request.query_string())?;
    let watching = Watching::new(app.get_ref().clone(), query);
    if request.headers().contains_key("upgrade") {
        return LineSocket::start(lines(watching), &request, body);
    }
    let chunks = futures_util::StreamExt::map(lines(watching), |lines| {
        lines.map(|lines| web::Bytes::from(lines.iter().map(|line| format!("{line}\n")).collect::<String>()))
    });
    Ok(HttpResponse::Ok().content_type("application/jsonl").streaming::<_, ApiError>(chunks))
}

fn lines(watching: Watching) -> Lines {
    Box::pin(futures_util::stream::unfold(watching, |mut watching| async move {
        let changes = watching.next().await?;
        let shown = |change: &Change| serde_json::to_string(change).map_err(super::failed);
        Some((changes.and_then(|changes| changes.iter().map(shown).collect()), watching))
    }))
}

impl Watching {
    fn new(app: App, query: EventsQuery) -> Watching {
        let newest = app.changes.newest();
        let since = query.since.as_deref().and_then(|id| {
            let (generation, n) = id.split_once('-')?;
            (generation.parse() == Ok(app.facts.generation)).then_some(())?;
            let after = n.parse().ok()?;
            app.changes.read(after, 0).map(|_| after)
        });
        let state = since.map_or(State::Blank, |after| State::Changes { known: Known::default(), after });
        Watching { app, query, newest, state }
    }

    /// The next lines; nothing when there will be no more.
    async fn next(&mut self) -> Option<Result<Vec<Change>, ApiError>> {
        loop {
            let lines = match self.step().await {
                Ok(lines) => lines?,
                Err(error) => {
                    self.state = State::Over;
                    return Some(Err(error));
                }
            };
            let types = &self.query.types;
            let wanted = |change: &Change| types.is_empty() || types.contains(&change.event);
            let lines: Vec<Change> = lines.into_iter().filter(wanted).collect();
            if !lines.is_empty() {
                return Some(Ok(lines));
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Vec<Change>>, ApiError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Over => Ok(None),
            State::Blank => {
                self.state = self.levels().await?;
                Ok(Some(Vec::new()))
            }
            State::Levels { mut lines, known, after } => {
                let page = lines.drain(..lines.len().min(PAGE)).collect();
                self.state = match (lines.is_empty(), self.query.follow) {
                    (false, _) => State::Levels { lines, known, after },
                    (true, true) => State::Changes { known, after },
                    (true, false) => State::Over,
                };
                Ok(Some(page))
            }
            State::Changes { known, after } => Ok(self.changes(known, after).await),
        }
    }

    /// How each session stands. Changes that come meanwhile are read after it; those it holds already are left out.
    async fn levels(&self) -> Result<State, ApiError> {
        let after = *self.newest.borrow();
        let addrs = self.app.supervisor.send(List).await.map_err(no_answer)?;
        let all = join_all(addrs.iter().map(|addr| addr.send(Describe))).await;
        let mut seqs = HashMap::new();
        let mut lines = VecDeque::new();
        for info in all.into_iter().flatten().map(|snapshot| snapshot.info) {
            let seq = Seq(info.last_seq);
            seqs.insert(info.id, seq);
            lines.push_back(Change {
                id: self.id(after),
                ts: timestamp(wall_now()),
                event: "session".to_owned(),
                session: info.name.clone(),
                session_id: info.id,
                seq,
                detail: fields(json!({"state": info.state, "info": info})),
            });
        }
        Ok(State::Levels { lines, known: Known { seqs, upto: *self.newest.borrow() }, after })
    }

    /// The next changes; waits for one where that is wanted.
    async fn changes(&mut self, mut known: Known, after: u64) -> Option<Vec<Change>> {
        let Some(page) = self.app.changes.read(after, PAGE) else {
            self.state = State::Blank;
            return Some(Vec::new());
        };
        let Some(last) = page.last() else {
            if !self.query.follow || self.newest.wait_for(|newest| *newest > after).await.is_err() {
                return None;
            }
            self.state = State::Changes { known, after };
            return Some(Vec::new());
        };
        let after = last.n;
        let lines = page.iter().filter(|noted| !known.holds(noted)).map(|noted| self.change(noted)).collect();
        if after >= known.upto {
            known = Known::default();
        }
        self.state = State::Changes { known, after };
        Some(lines)
    }

    fn change(&self, noted: &Noted) -> Change {
        let (event, detail) = describe(&noted.what);
        Change {
            id: self.id(noted.n),
            ts: timestamp(noted.wall),
            event: event.to_owned(),
            session: noted.session.clone(),
            session_id: noted.id,
            seq: noted.seq,
            detail: fields(detail),
        }
    }

    fn id(&self, n: u64) -> String {
        format!("{}-{n}", self.app.facts.generation)
    }
}

impl Known {
    fn holds(&self, noted: &Noted) -> bool {
        let told = self.seqs.get(&noted.id).is_some_and(|seq| noted.seq <= *seq);
        noted.n <= self.upto && told && noted.what != What::Removed
    }
}

fn describe(what: &What) -> (&'static str, Value) {
    match what {
        What::Created => ("created", json!({})),
        What::Starting { run, size } => ("starting", json!({"run": run, "size": size})),
        What::Started { run, pid } => ("started", json!({"run": run, "pid": pid})),
        What::Resized(size) => ("resized", json!({"size": size})),
        What::Turn { turn, from } => ("turn", json!({"turn": turn, "from": from})),
        What::Exited { run, status, last } => {
            let (code, signal) = match status {
                Status::Code(code) => (Some(code), None),
                Status::Signal(signal) => (None, Some(signal)),
                Status::ExecFailed(_) | Status::Unknown => (None, None),
            };
            ("exited", json!({"run": run, "exit_code": code, "signal": signal, "last": last}))
        }
        What::Restarting { run, after } => {
            ("restarting", json!({"run": run, "after_ms": u64::try_from(after.as_millis()).unwrap_or(u64::MAX)}))
        }
        What::Hung { run, quiet } => {
            ("hung", json!({"run": run, "quiet_ms": u64::try_from(quiet.as_millis()).unwrap_or(u64::MAX)}))
        }
        What::Failed { reason } => ("failed", json!({"reason": reason})),
        What::Removed => ("removed", json!({})),
    }
}

fn fields(detail: Value) -> Map<String, Value> {
    match detail {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
