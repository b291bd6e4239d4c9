//! Asking, and reading replies: requests whose answer may take long.
//!
//! A request that is cut off while it waits is sent again, an ask under the same key: the text is typed once, and the reading
//! taken up where the log stands. The time that is left goes with each try. It must never wait longer than it was told,
//! whatever becomes of the host.

use super::{Client, ClientError, request::read};
use crate::model::Name;
use crate::wire::{ErrorBody, Reply, ReplyQuery, TurnInfo, TurnRequest};
use bytes::Bytes;
use hyper::Method;
use std::time::Duration;
use tokio::time::Instant;

/// How long after the time is over the host may take to say what there is. 5 s: it may be starting.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl Client {
    /// Types a text and waits for the reply, to which the host's own limit applies where there is no deadline. Nothing when
    /// the time is over and the host has said nothing.
    pub async fn ask(
        &self,
        name: &Name,
        request: TurnRequest,
        deadline: Option<Instant>,
    ) -> Result<Option<Reply>, ClientError> {
        let path = format!("/v1/sessions/{name}/turns");
        let each = || {
            let request = TurnRequest { wait: true, timeout_ms: left(deadline), ..request.clone() };
            (path.clone(), serde_json::to_vec(&request).map(Bytes::from).unwrap_or_default())
        };
        self.reply_of(Method::POST, &path, each, deadline).await
    }

    /// The reply to a turn, or to the last one; without `query.wait` what there is of it.
    pub async fn reply(
        &self,
        name: &Name,
        turn: Option<u64>,
        query: ReplyQuery,
        deadline: Option<Instant>,
    ) -> Result<Option<Reply>, ClientError> {
        let turn = turn.map_or_else(|| "last".to_owned(), |turn| turn.to_string());
        let path = format!("/v1/sessions/{name}/turns/{turn}");
        let each = || {
            let query = ReplyQuery { timeout_ms: left(deadline), ..query.clone() };
            (format!("{path}?{}", query.to_query()), Bytes::new())
        };
        self.reply_of(Method::GET, &path, each, deadline).await
    }

    /// A session's turns, the newest ones.
    pub async fn turns(&self, name: &Name) -> Result<Vec<TurnInfo>, ClientError> {
        self.get(&format!("/v1/sessions/{name}/turns")).await
    }

    async fn reply_of(
        &self,
        method: Method,
        path: &str,
        each: impl Fn() -> (String, Bytes),
        deadline: Option<Instant>,
    ) -> Result<Option<Reply>, ClientError> {
        let call = self.call_each(method.clone(), each);
        let answer = match deadline {
            None => call.await?,
            Some(deadline) => match tokio::time::timeout_at(deadline + LAST_WORDS, call).await {
                Ok(answer) => answer?,
                Err(_) => return Ok(None),
            },
        };
        match serde_json::from_slice::<ErrorBody>(&answer) {
            Ok(body) => Err(ClientError::Api(body.error)),
            Err(_) => read(&method, path, &answer).map(Some),
        }
    }
}

fn left(deadline: Option<Instant>) -> Option<u64> {
    let left = deadline?.saturating_duration_since(Instant::now());
    Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
}
