//! What happens to sessions, over crashes of the host.
//!
//! Lines come over a WebSocket. When it breaks, they are asked for again after the last one that came; another host tells
//! first how the sessions stand. Nothing is buffered here.

use super::{Client, ClientError, link::Link, request};
use crate::wire::{Change, ErrorBody, EventsQuery};
use hyper::Method;
use tokio_tungstenite::tungstenite::Message;

/// See the module.
pub struct Events {
    link: Link,
    query: EventsQuery,
}

impl Client {
    /// How sessions stand now, or what happened up to now.
    pub async fn events(&self, query: &EventsQuery) -> Result<Vec<Change>, ClientError> {
        let path = path(query);
        let answer = self.fetch(&path).await?;
        let lines = answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| request::read(&Method::GET, &path, line)).collect()
    }
}

impl Events {
    /// Begins. The host is started first where there is none and may be.
    pub async fn open(client: Client, query: EventsQuery) -> Result<Events, ClientError> {
        let link = Link::open(client, &path(&query)).await?;
        Ok(Events { link, query })
    }

    /// The next line. It never ends by itself. May be dropped and called again at any time.
    pub async fn next(&mut self) -> Result<Change, ClientError> {
        loop {
            if !self.link.stands() {
                self.link.again(|| path(&self.query), None).await?;
                continue;
            }
            match self.link.next().await {
                Some(Message::Text(text)) => {
                    self.link.progress();
                    let change: Change = serde_json::from_str(&text).map_err(|why| self.strange(&text, &why))?;
                    self.query.since = Some(change.id.clone());
                    return Ok(change);
                }
                Some(Message::Ping(_) | Message::Pong(_)) => self.link.progress(),
                Some(Message::Binary(_) | Message::Frame(_) | Message::Close(_)) | None => {}
            }
        }
    }

    fn strange(&self, text: &str, why: &serde_json::Error) -> ClientError {
        match serde_json::from_str::<ErrorBody>(text) {
            Ok(body) => ClientError::Api(body.error),
            Err(_) => ClientError::NotAHost { request: "GET /v1/events".to_owned(), answer: why.to_string() },
        }
    }
}

fn path(query: &EventsQuery) -> String {
    format!("/v1/events?{}", query.to_query())
}
