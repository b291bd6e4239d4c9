//! One session of a `wait`: its readings, until one of them says that it is ready, or all have ended.
//!
//! Order where several end together: ready, the end of the run, idle, time.

use super::{super::reading::Reading, Wait};
use crate::client::{Client, ClientError, Item};
use crate::model::{Name, SessionId};
use crate::wire::{EndLine, EndReason, FollowQuery, Line};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

/// How waiting for a session ended.
pub(super) struct Waited {
    pub(super) id: SessionId,
    pub(super) end: EndLine,
}

/// Nothing when the time was over and the host didn't answer.
pub(super) async fn wait(
    client: &Client,
    name: &Name,
    wait: &Wait,
    deadline: Option<Instant>,
) -> Result<Option<Waited>, ClientError> {
    let read = |query: &FollowQuery| reading(client.clone(), name.clone(), query.clone(), deadline);
    let mut readings: FuturesUnordered<_> = wait.queries.iter().map(read).collect();
    let mut last: Option<Waited> = None;
    while let Some(waited) = readings.next().await {
        let Some(waited) = waited? else { continue };
        // who waits for rows and for the screen gets what the other reading has seen by the end of the run
        if wait.is_met(&waited.end) || waited.end.reason == EndReason::Idle {
            return Ok(Some(waited));
        }
        if last.as_ref().is_none_or(|last| last.end.reason != EndReason::Exit) {
            last = Some(waited);
        }
    }
    Ok(last)
}

async fn reading(
    client: Client,
    name: Name,
    query: FollowQuery,
    deadline: Option<Instant>,
) -> Result<Option<Waited>, ClientError> {
    let Some(mut reading) = Reading::open(client, name, query, deadline).await? else { return Ok(None) };
    let mut id = SessionId([0; 16]);
    while let Some(item) = reading.next().await? {
        match item {
            Item::Line(Line::Start(start)) => id = start.id,
            Item::Line(Line::End(end)) => return Ok(Some(Waited { id, end })),
            _ => {}
        }
    }
    Ok(None)
}
