//! Looking for a pattern in the logs of all sessions, one after the other, by name.
//!
//! Pulled: a step is taken when the client has what came before, on a blocking thread, and no more than [`AT_ONCE`] of them
//! at a time. A log is read from the first record that counts, up to where it ended when its turn came: nothing else in the
//! store is looked at.

use super::resolve::{Ground, first_since, ground, point_in_time, run_at, turn_before};
use super::sessions::find;
use super::{App, failed, no_answer};
use crate::follow::{Begin, Found, Pattern, Search, Side, timestamp};
use crate::model::{Cursor, KIB, MIB, Name, Seq, SessionId, Wall};
use crate::session::messages::Describe;
use crate::session::{LogView, SessionActor, wall_now};
use crate::supervisor::List;
use crate::wire::{ApiError, Code, ErrorBody, FollowQuery, SearchHit, SearchQuery};
use actix::Addr;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::join_all;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use tokio::sync::Semaphore;

/// Steps of searches that are taken at the same time: more would take the cores from sessions.
const AT_ONCE: usize = 2;
/// A page of the log.
const PAGE: usize = MIB;
/// A step reads so much of the log: some 50 ms. Between two steps others have their turn, and a client that left is noticed.
const STEP: usize = 8 * MIB;
/// Hits are handed over when they take so much.
const CHUNK: usize = 64 * KIB;
/// Records before the start of a search that are shown to its screen: 256 KiB of a flood.
const PREROLL: u64 = 64;

/// All searches of a host.
pub(super) struct Searches {
    turns: Semaphore,
    /// How many are under way.
    pub(super) under_way: AtomicI64,
    /// Bytes of logs that were looked through.
    pub(super) read_bytes: AtomicU64,
}

impl Searches {
    pub(super) fn new() -> Searches {
        Searches { turns: Semaphore::new(AT_ONCE), under_way: AtomicI64::new(0), read_bytes: AtomicU64::new(0) }
    }
}

/// Counts a search as under way, also while its last step is taken and nobody waits for it any more.
struct UnderWay(Arc<Searches>);

impl UnderWay {
    fn begin(searches: &Arc<Searches>) -> Arc<UnderWay> {
        searches.under_way.fetch_add(1, Relaxed);
        Arc::new(UnderWay(searches.clone()))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

/// A search under way.
struct Searching {
    under_way: Arc<UnderWay>,
    app: App,
    query: SearchQuery,
    pattern: Pattern,
    since: Option<Wall>,
    waiting: VecDeque<Addr<SessionActor>>,
    current: Option<Box<Reading>>,
    over: bool,
}

/// One session's log being searched.
struct Reading {
    session: Name,
    id: SessionId,
    view: LogView,
    search: Search,
    next: Seq,
    /// The last record that counts.
    last: Seq,
}

/// `GET /v1/search`.
pub(super) async fn search(app: web::Data<App>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let query = SearchQuery::from_query(request.query_string())?;
    let pattern = Pattern::parse(&query.pattern).map_err(|e| ApiError::new(Code::Usage, e.to_string()))?;
    let since = match query.since.as_deref() {
        None | Some("start") => None,
        Some(text) => Some(point_in_time(text, wall_now())?),
    };
    let mut waiting = VecDeque::new();
    if query.sessions.is_empty() {
        waiting.extend(app.supervisor.send(List).await.map_err(no_answer)?);
    } else {
        for found in join_all(query.sessions.iter().map(|name| find(&app, name))).await {
            waiting.push_back(found?.addr);
        }
    }
    let app = app.get_ref().clone();
    let under_way = UnderWay::begin(&app.searches);
    let searching = Searching { under_way, app, query, pattern, since, waiting, current: None, over: false };
    let body = futures_util::stream::unfold(searching, |mut searching| async move {
        let chunk = searching.next().await?;
        Some((Ok::<_, ApiError>(web::Bytes::from(chunk)), searching))
    });
    Ok(HttpResponse::Ok().content_type("application/jsonl").streaming(body))
}

impl Searching {
    /// The next lines; nothing when all is searched. An error is a line, too, the last one.
    async fn next(&mut self) -> Option<Vec<u8>> {
        while !self.over {
            let step = async {
                if self.current.is_none() {
                    self.begin_next().await?;
                }
                self.step().await
            };
            match step.await {
                Ok(lines) if lines.is_empty() => {}
                Ok(lines) => return Some(lines),
                Err(error) => {
                    self.over = true;
                    let mut line = serde_json::to_vec(&ErrorBody { error }).unwrap_or_default();
                    line.push(b'\n');
                    return Some(line);
                }
            }
        }
        None
    }

    /// The next session that has anything to be searched.
    async fn begin_next(&mut self) -> Result<(), ApiError> {
        let Some(addr) = self.waiting.pop_front() else {
            self.over = true;
            return Ok(());
        };
        let Ok(snapshot) = addr.send(Describe).await else { return Ok(()) }; // it was just removed
        if self.since.is_some_and(|since| snapshot.summary.at.wall < since) {
            return Ok(());
        }
        let ground = ground(&self.app, FollowQuery::default(), snapshot);
        let (since, pattern) = (self.since, self.pattern.clone());
        let side = if self.query.input { Side::Input } else { Side::Output };
        let context = self.query.context;
        let begun = web::block(move || {
            let (begin, scan_from) = begin(&ground, since)?;
            let search = Search::new(pattern, side, context, begin);
            let info = ground.snapshot.info;
            let (view, last) = (ground.view, ground.snapshot.summary.seq);
            Ok::<_, ApiError>(Reading { session: info.name, id: info.id, view, search, next: scan_from, last })
        });
        self.current = Some(Box::new(begun.await.map_err(failed)??));
        Ok(())
    }

    async fn step(&mut self) -> Result<Vec<u8>, ApiError> {
        let Some(reading) = self.current.take() else { return Ok(Vec::new()) };
        let searches = self.app.searches.clone();
        let _turn = searches.turns.acquire().await.map_err(no_answer)?;
        let counted = self.under_way.clone();
        let work = move || reading.step(&counted.0.read_bytes);
        let (reading, lines) = web::block(work).await.map_err(failed)??;
        self.current = reading;
        Ok(lines)
    }
}

/// Where a search of this log begins, and from which record its screen is fed. Blocking.
fn begin(ground: &Ground, since: Option<Wall>) -> Result<(Begin, Seq), ApiError> {
    let first = Cursor::at(Seq(1));
    let at = since.map_or(Ok(first), |since| first_since(ground, since))?;
    if at <= first {
        return Ok((Begin { at: first, run: 1, turn: None, size: ground.snapshot.summary.size }, Seq(1)));
    }
    // the size it had there may stand anywhere before: as for `logs`, the newest does
    let size = ground.snapshot.summary.size;
    let begin = Begin { at, run: run_at(ground, at)?, turn: turn_before(ground, at)?, size };
    Ok((begin, Seq(at.seq.0.saturating_sub(PREROLL).max(1))))
}

impl Reading {
    /// Reads on. Gives itself back unless all is read. Blocking.
    fn step(mut self: Box<Self>, count: &AtomicU64) -> Result<(Option<Box<Self>>, Vec<u8>), ApiError> {
        let (mut lines, mut found, mut read) = (Vec::new(), Vec::new(), 0);
        while read < STEP {
            let page = self.view.read(self.next, PAGE).map_err(failed)?;
            count.fetch_add(page.iter().map(|record| record.body.len() as u64).sum(), Relaxed);
            let ends = page.last().is_none_or(|record| record.seq >= self.last);
            for record in page.iter().take_while(|record| record.seq <= self.last) {
                read += record.body.len();
                self.next = record.seq.next();
                self.search.record(record, &mut found);
                self.print(&mut found, &mut lines)?;
                if lines.len() >= CHUNK && self.next <= self.last {
                    return Ok((Some(self), lines));
                }
            }
            if ends {
                self.search.finish(&mut found);
                self.print(&mut found, &mut lines)?;
                return Ok((None, lines));
            }
        }
        Ok((Some(self), lines))
    }

    fn print(&self, found: &mut Vec<Found>, lines: &mut Vec<u8>) -> Result<(), ApiError> {
        for found in found.drain(..) {
            let rows = |rows: &[std::sync::Arc<str>]| rows.iter().map(|row| row.to_string()).collect();
            let hit = SearchHit {
                session: self.session.clone(),
                id: self.id,
                run: found.run,
                turn: found.turn,
                ts: timestamp(found.wall),
                seq: found.at,
                row: found.row.to_string(),
                before: rows(&found.before),
                after: rows(&found.after),
            };
            serde_json::to_writer(&mut *lines, &hit).map_err(failed)?;
            lines.push(b'\n');
        }
        Ok(())
    }
}
