//! What happens to sessions, over crashes of the host.
//!
//! Lines come over a WebSocket. When it breaks, they are asked for again after the last one that came; another host tells
//! first how the sessions stand. Nothing is buffered here.

use super::follow::{Answer, PATIENCE, SILENCE, Socket, websocket};
use super::{Backoff, Client, ClientError, Stream, request};
use crate::wire::{ApiError, Change, Code, ErrorBody, EventsQuery};
use futures_util::StreamExt;
use hyper::{Method, StatusCode};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

/// See the module.
pub struct Events {
    client: Client,
    query: EventsQuery,
    socket: Option<Socket>,
    broken_since: Option<Instant>,
    backoff: Backoff,
}

impl Events {
    /// Begins. The host is started first where there is none and may be.
    pub async fn open(client: Client, query: EventsQuery) -> Result<Events, ClientError> {
        let stream = client.host.open().await?;
        let mut events = Events { client, query, socket: None, broken_since: None, backoff: Backoff::default() };
        events.upgrade(stream).await?;
        Ok(events)
    }

    /// The next line. It never ends by itself.
    pub async fn next(&mut self) -> Result<Change, ClientError> {
        loop {
            let Some(socket) = &mut self.socket else {
                self.reconnect().await?;
                continue;
            };
            match tokio::time::timeout(SILENCE, socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => {
                    self.progress();
                    let change: Change = serde_json::from_str(&text).map_err(|why| self.strange(&text, &why))?;
                    self.query.since = Some(change.id.clone());
                    return Ok(change);
                }
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => self.progress(),
                Ok(Some(Ok(Message::Binary(_) | Message::Frame(_)))) => {}
                Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) | Err(_) => self.socket = None,
            }
        }
    }

    fn progress(&mut self) {
        if self.broken_since.take().is_some() {
            self.backoff = Backoff::default();
        }
    }

    fn strange(&self, text: &str, why: &serde_json::Error) -> ClientError {
        match serde_json::from_str::<ErrorBody>(text) {
            Ok(body) => ClientError::Api(body.error),
            Err(_) => ClientError::NotAHost { request: "GET /v1/events".to_owned(), answer: why.to_string() },
        }
    }

    /// One try to get back to a host, after a pause.
    async fn reconnect(&mut self) -> Result<(), ClientError> {
        let since = *self.broken_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= PATIENCE {
            let error = format!("no host at {} for {} s", self.client.host.place(), PATIENCE.as_secs());
            return Err(ApiError::new(Code::NoHost, error).into());
        }
        self.backoff.pause().await;
        match self.client.host.address.connect().await {
            Ok(stream) => self.upgrade(stream).await,
            Err(_) => Ok(()), // not back yet
        }
    }

    async fn upgrade(&mut self, stream: Stream) -> Result<(), ClientError> {
        let path = format!("/v1/events?{}", self.query.to_query());
        match websocket(&self.client.host, stream, &path).await? {
            Answer::Socket(socket) => self.socket = Some(*socket),
            // the host is back, and others have used up its patience with this address
            Answer::Refused(StatusCode::TOO_MANY_REQUESTS, _) if self.broken_since.is_some() => {}
            Answer::Refused(status, body) => {
                return Err(request::refusal(&Method::GET, "/v1/events", status, &body));
            }
            Answer::Broken => self.broken_since = Some(self.broken_since.unwrap_or_else(Instant::now)),
        }
        Ok(())
    }
}
