//! A reading of a session's log that goes on over crashes of the host.
//!
//! Lines and bytes come over a WebSocket. When it breaks before `end`, the reading is asked for again from where it stood: the
//! session's id, the resolved start, and the place after the last output that came; so nothing is lost or doubled. Nothing is
//! buffered here: who doesn't call [`Follow::next`] makes the host wait with this reader alone.

use super::link::{Link, Socket};
use super::{Client, ClientError};
use crate::model::{Cursor, Name, Seq};
use crate::wire::{EndLine, EndReason, ErrorBody, FollowQuery, Hello, Line, split_raw_frame};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use std::task::{Context, Poll};
use tokio_tungstenite::tungstenite::{self, Message};

/// Tells the host that the time is over: it prints the unfinished row and ends the reading.
const TIMEOUT_OP: &str = r#"{"op":"timeout"}"#;

/// What a reading yields.
#[derive(Debug)]
pub enum Item {
    /// A line, never [`Line::Hello`].
    Line(Line),
    /// With [`crate::wire::Content::Raw`]: output.
    Bytes(Bytes),
}

/// See the module.
pub struct Follow {
    link: Link,
    name: Name,
    query: FollowQuery,
    hello: Option<Hello>,
    /// The highest event printed: events carry no cursor, so they are told apart by their number.
    last_event: Seq,
    started: bool,
    ended: bool,
    /// The time is over; each connection has to be told, and this one wasn't yet.
    expired: bool,
    untold: bool,
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follow").field("name", &self.name).field("query", &self.query).finish_non_exhaustive()
    }
}

impl Follow {
    /// Begins a reading. The host is started first where there is none and may be.
    pub async fn open(client: Client, name: Name, query: FollowQuery) -> Result<Follow, ClientError> {
        let link = Link::open(client, &path(&name, &query)).await?;
        Ok(Follow {
            link,
            name,
            query,
            hello: None,
            last_event: Seq(0),
            started: false,
            ended: false,
            expired: false,
            untold: false,
        })
    }

    /// The next line or bytes; nothing after `end`. May be dropped and called again at any time.
    pub async fn next(&mut self) -> Result<Option<Item>, ClientError> {
        while !self.ended {
            if !self.link.stands() {
                self.reconnect().await?;
                continue;
            }
            let untold = &mut self.untold;
            let next = self.link.next_by(|socket, cx| match poll_tell(socket, cx, untold) {
                Err(error) => Poll::Ready(Some(Err(error))),
                Ok(()) => socket.poll_next_unpin(cx),
            });
            if let Some(message) = next.await
                && let Some(item) = self.take(message)?
            {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    /// What the host said first; there once an item has come.
    pub fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// The last record of which something came.
    pub fn reached(&self) -> Option<Seq> {
        self.query.after.map(|after| after.seq.max(self.last_event))
    }

    /// Has [`Follow::next`] ask the host to end the reading with `timeout`; what it still prints comes before.
    pub fn expire(&mut self) {
        (self.expired, self.untold) = (true, true);
    }

    /// The `end` line that the host would have sent, had it been there. Nothing when the reading never began.
    pub fn end_without_host(&self, reason: EndReason, ts: String) -> Option<EndLine> {
        let hello = self.hello.as_ref()?;
        Some(EndLine {
            ts,
            session: self.name.clone(),
            reason,
            pattern: None,
            matched: None,
            exit_code: None,
            signal: None,
            next: self.query.after.unwrap_or(hello.next),
            run: hello.run,
            turn: None,
        })
    }

    fn take(&mut self, message: Message) -> Result<Option<Item>, ClientError> {
        match message {
            Message::Text(text) => self.take_line(&text),
            Message::Binary(frame) => {
                let (at, bytes) = split_raw_frame(&frame).ok_or_else(|| self.strange("a frame of a few bytes"))?;
                let length = bytes.len();
                self.query.after = Some(Cursor { seq: at.seq, byte: at.byte.saturating_add(length as u32) });
                self.link.progress();
                Ok(Some(Item::Bytes(frame.slice(frame.len() - length..))))
            }
            Message::Ping(_) | Message::Pong(_) => {
                self.link.progress();
                Ok(None)
            }
            Message::Close(_) | Message::Frame(_) => Ok(None),
        }
    }

    fn take_line(&mut self, text: &str) -> Result<Option<Item>, ClientError> {
        let line = match serde_json::from_str(text) {
            Ok(line) => line,
            Err(why) => {
                return Err(match serde_json::from_str::<ErrorBody>(text) {
                    Ok(body) => ClientError::Api(body.error),
                    Err(_) => self.strange(&why.to_string()),
                });
            }
        };
        let line = match line {
            Line::Hello(hello) => {
                self.query.id = Some(hello.id);
                self.query.start = Some(hello.start);
                self.query.after.get_or_insert(hello.next);
                self.hello.get_or_insert(hello);
                return Ok(None); // not yet progress: a host that greets and dies must not be tried for ever
            }
            Line::Start(_) if std::mem::replace(&mut self.started, true) => return Ok(None),
            Line::Other(event) if event.seq <= self.last_event => return Ok(None),
            line => line,
        };
        self.link.progress();
        match &line {
            Line::Data(data) => self.query.after = data.next.or(self.query.after),
            Line::Other(event) => self.last_event = event.seq,
            Line::End(_) => self.ended = true,
            Line::Hello(_) | Line::Start(_) => {}
        }
        Ok(Some(Item::Line(line)))
    }

    async fn reconnect(&mut self) -> Result<(), ClientError> {
        let Follow { link, name, query, .. } = self;
        let hint = query.after.map(|at| format!("termalive logs {name} --since {at} goes on where this ended"));
        link.again(|| path(name, query), hint).await?;
        self.untold = self.expired;
        Ok(())
    }

    fn strange(&self, answer: &str) -> ClientError {
        let request = format!("GET /v1/sessions/{}/follow", self.name);
        ClientError::NotAHost { request, answer: answer.to_owned() }
    }
}

fn poll_tell(socket: &mut Socket, cx: &mut Context<'_>, untold: &mut bool) -> Result<(), tungstenite::Error> {
    if *untold && let Poll::Ready(ready) = socket.poll_ready_unpin(cx) {
        ready?;
        socket.start_send_unpin(Message::text(TIMEOUT_OP))?;
        *untold = false;
        if let Poll::Ready(flushed) = socket.poll_flush_unpin(cx) {
            flushed?; // else reading goes on with it
        }
    }
    Ok(())
}

fn path(name: &Name, query: &FollowQuery) -> String {
    format!("/v1/sessions/{name}/follow?{}", query.to_query())
}
