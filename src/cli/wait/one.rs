//! One session of a `wait`: its readings, until one of them says that it is ready, or all have ended.
//!
//! Order where several end together: ready, the end of the run, idle, time.

use super::{
    super::{context, logs},
    Wait,
};
use crate::client::{Client, ClientError, Follow, Item};
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
    let opening = Follow::open(client, name, query);
    let mut follow = match deadline {
        None => opening.await?,
        Some(deadline) => match tokio::time::timeout_at(deadline, opening).await {
            Ok(opened) => opened?,
            Err(_) => return Ok(None),
        },
    };
    let (mut time_over, mut last_words, mut id) = (deadline, None, SessionId([0; 16]));
    loop {
        tokio::select! {
            biased;
            () = context::at(last_words) => break,
            () = context::at(time_over) => {
                time_over = None;
                last_words = Some(Instant::now() + logs::LAST_WORDS);
                let _ = tokio::time::timeout(logs::LAST_WORDS, follow.expire()).await;
            }
            item = follow.next() => match item? {
                Some(Item::Line(Line::Start(start))) => id = start.id,
                Some(Item::Line(Line::End(end))) => return Ok(Some(Waited { id, end })),
                Some(_) => {}
                None => break,
            },
        }
    }
    Ok(None)
}
