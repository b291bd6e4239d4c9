//! A reading of a session's log that has a deadline.
//!
//! When the time is over the host is told, prints what it has, and ends the reading; one that isn't there gets a moment, and
//! no more. Items come from `client::Follow`, go to the verb that reads.

use super::context;
use crate::client::{Client, ClientError, Follow, Item};
use crate::model::Name;
use crate::wire::FollowQuery;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long the host may take to print the unfinished row once the time is over. 2 s: the user's patience is spent.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Reading {
    pub(super) follow: Follow,
    deadline: Option<Instant>,
    last_words: Option<Instant>,
}

impl Reading {
    /// Begins; nothing when the time is over before the host has answered.
    pub(super) async fn open(
        client: Client,
        name: Name,
        query: FollowQuery,
        deadline: Option<Instant>,
    ) -> Result<Option<Reading>, ClientError> {
        let opening = Follow::open(client, name, query);
        let follow = match deadline {
            None => opening.await?,
            Some(deadline) => match timeout_at(deadline, opening).await {
                Ok(opened) => opened?,
                Err(_) => return Ok(None),
            },
        };
        Ok(Some(Reading { follow, deadline, last_words: None }))
    }

    /// The next item; nothing at the end, and when the time is over and the host says nothing more. May be dropped and called
    /// again at any time.
    pub(super) async fn next(&mut self) -> Result<Option<Item>, ClientError> {
        loop {
            tokio::select! {
                biased;
                () = context::at(self.last_words) => return Ok(None),
                () = context::at(self.deadline) => {
                    self.deadline = None;
                    self.last_words = Some(Instant::now() + LAST_WORDS);
                    self.follow.expire();
                }
                item = self.follow.next() => return item,
            }
        }
    }
}
