//! Where a wait for a state of the screen starts: at the screen as it is, or, after a broken connection, as it was at the
//! start, so that nothing that showed meanwhile is missed.

use super::resolve::{has_ended, unless_replaced};
use super::{App, failed};
use crate::follow::LookPlan;
use crate::model::{Cursor, LogTime, Seq, parse_duration};
use crate::session::messages::Snapshot;
use crate::session::screen::{self, At};
use crate::session::{LogView, Picture, Redrawn, SessionActor};
use crate::stop::ScreenConditions;
use crate::terminal::Vt;
use crate::wire::{ApiError, Code, FollowQuery};
use actix::Addr;

/// The start of such a reading.
pub(super) async fn plan(
    app: &App,
    query: &FollowQuery,
    snapshot: &Snapshot,
    session: &Addr<SessionActor>,
) -> Result<LookPlan, ApiError> {
    unless_replaced(query, snapshot)?;
    let rows = !(query.until.is_empty() && query.until_line.is_empty() && query.until_literal.is_empty());
    if rows || query.wait_idle.is_some() || query.exit || query.since.is_some() {
        let what = "a wait for the screen starts at the screen as it is, and has no other conditions";
        return Err(ApiError::new(Code::Usage, what).hint("ask for the others in a second reading"));
    }
    let stable = query.stable.as_deref().map(parse_duration).transpose().map_err(usage)?;
    let conditions = ScreenConditions::parse(&query.screen, &query.no_screen, stable).map_err(usage)?;
    let Redrawn { bytes, size, next, run } = match query.start.and_then(before) {
        Some(start) => screen::at(session, At::Place(start), Picture::redrawn).await?,
        None => screen::redraw(session).await?,
    };
    let view = LogView::new(snapshot.feed.clone(), app.log());
    let since = unchanged_since(&view, next).await?.unwrap_or(snapshot.now.log);
    let mut vt = Vt::new(size);
    vt.feed(since, &bytes);
    let sum = &snapshot.summary;
    Ok(LookPlan {
        session: snapshot.info.name.clone(),
        id: snapshot.info.id,
        run,
        turn: sum.turn.as_ref().filter(|turn| turn.seq < next.seq).map(|turn| turn.turn),
        vt,
        next,
        since,
        ended: sum.status.filter(|_| run == sum.run && has_ended(sum)),
        conditions,
        follow: query.follow,
        generation: app.facts.generation,
    })
}

/// The moment at the end of which a reading started, as [`At`] names it: after the record before.
fn before(start: Cursor) -> Option<Cursor> {
    match start {
        Cursor { seq: Seq(0 | 1), byte: 0 } => None,
        Cursor { seq, byte: 0 } => Some(Cursor::at(Seq(seq.0 - 1))),
        within => Some(within),
    }
}

/// When the last record before came: the screen has not changed after it.
async fn unchanged_since(view: &LogView, next: Cursor) -> Result<Option<LogTime>, ApiError> {
    let last = Seq(next.seq.0.saturating_sub(u64::from(next.byte == 0)));
    let found = view.read_async(last, 1).await.map_err(failed)?;
    Ok(found.first().filter(|record| record.seq == last).map(|record| record.at.log))
}

fn usage(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(Code::Usage, error.to_string())
}
