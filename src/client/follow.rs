//! A reading of a session's log that goes on over crashes of the host.
//!
//! Lines and bytes come over a WebSocket. When it breaks before `end`, the reading is asked for again from where it stood: the
//! session's id, the resolved start, and the place after the last output that came; so nothing is lost or doubled. Nothing is
//! buffered here: who doesn't call [`Follow::next`] makes the host wait with this reader alone.

use super::{Backoff, Client, ClientError, Host, Stream, request};
use crate::model::{Cursor, Name, Seq};
use crate::wire::{ApiError, Code, EndLine, EndReason, ErrorBody, FollowQuery, Hello, Line, split_raw_frame};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{io, time::Duration};
use tokio::time::Instant;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::Role,
    },
};

/// How long a broken reading looks for a host. 60 s: longer than any host takes to come back.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Silence after which a connection counts as dead. 60 s: three pings of the host.
pub(super) const SILENCE: Duration = Duration::from_secs(60);
/// Tells the host that the time is over: it prints the unfinished row and ends the reading.
const TIMEOUT_OP: &str = r#"{"op":"timeout"}"#;

pub(super) type Socket = WebSocketStream<Stream>;

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
    client: Client,
    name: Name,
    query: FollowQuery,
    socket: Option<Socket>,
    hello: Option<Hello>,
    /// The highest event printed: events carry no cursor, so they are told apart by their number.
    last_event: Seq,
    started: bool,
    ended: bool,
    broken_since: Option<Instant>,
    /// When the last connection broke.
    lost: Option<Instant>,
    /// When the host of this connection greeted.
    greeted: Option<Instant>,
    backoff: Backoff,
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follow").field("name", &self.name).field("query", &self.query).finish_non_exhaustive()
    }
}

impl Follow {
    /// Begins a reading. The host is started first where there is none and may be.
    pub async fn open(client: Client, name: Name, query: FollowQuery) -> Result<Follow, ClientError> {
        let stream = client.host.open().await?;
        let mut follow = Follow {
            client,
            name,
            query,
            socket: None,
            hello: None,
            last_event: Seq(0),
            started: false,
            ended: false,
            broken_since: None,
            lost: None,
            greeted: None,
            backoff: Backoff::default(),
        };
        follow.upgrade(stream).await?;
        Ok(follow)
    }

    /// The next line or bytes; nothing after `end`. May be dropped and called again at any time.
    pub async fn next(&mut self) -> Result<Option<Item>, ClientError> {
        while !self.ended {
            let Some(socket) = &mut self.socket else {
                self.reconnect().await?;
                continue;
            };
            match tokio::time::timeout(SILENCE, socket.next()).await {
                Ok(Some(Ok(message))) => {
                    if let Some(item) = self.take(message)? {
                        return Ok(Some(item));
                    }
                }
                Ok(Some(Err(_)) | None) | Err(_) => self.socket = None,
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

    /// Asks the host to end the reading with `timeout`; what it still prints comes from [`Follow::next`].
    pub async fn expire(&mut self) {
        if let Some(socket) = &mut self.socket {
            // a connection that breaks here ends like one that broke before
            let _ = socket.send(Message::text(TIMEOUT_OP)).await;
        }
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
                self.progress();
                Ok(Some(Item::Bytes(frame.slice(frame.len() - length..))))
            }
            Message::Ping(_) | Message::Pong(_) => {
                self.progress();
                Ok(None)
            }
            Message::Close(_) => {
                self.socket = None;
                Ok(None)
            }
            Message::Frame(_) => Ok(None),
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
                self.greeted = Some(Instant::now());
                return Ok(None); // not yet progress: a host that greets and dies must not be tried for ever
            }
            Line::Start(_) if std::mem::replace(&mut self.started, true) => return Ok(None),
            Line::Other(event) if event.seq <= self.last_event => return Ok(None),
            line => line,
        };
        self.progress();
        match &line {
            Line::Data(data) => self.query.after = data.next.or(self.query.after),
            Line::Other(event) => self.last_event = event.seq,
            Line::End(_) => self.ended = true,
            Line::Hello(_) | Line::Start(_) => {}
        }
        Ok(Some(Item::Line(line)))
    }

    fn progress(&mut self) {
        if self.broken_since.take().is_some() {
            self.backoff = Backoff::default();
        }
    }

    /// One try to get back to the host, after a pause.
    async fn reconnect(&mut self) -> Result<(), ClientError> {
        if let Some(greeted) = self.greeted.take() {
            let away = self.lost.map_or(Duration::ZERO, |lost| greeted.saturating_duration_since(lost));
            if greeted.elapsed() >= away {
                self.progress(); // it was there, and for longer than it was not: hosts come and go, none dies of this reading
            }
            self.lost = Some(Instant::now());
        }
        let since = *self.broken_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= PATIENCE {
            let error = ApiError::new(
                Code::NoHost,
                format!("no host at {} for {} s", self.client.host.place(), PATIENCE.as_secs()),
            );
            let hint = self
                .query
                .after
                .map(|at| format!("termalive logs {} --since {at} goes on where this ended", self.name));
            return Err(hint.into_iter().fold(error, ApiError::hint).into());
        }
        self.backoff.pause().await;
        match self.client.host.address.connect().await {
            Ok(stream) => self.upgrade(stream).await,
            Err(_) => Ok(()), // not back yet
        }
    }

    /// Makes a WebSocket of a connection. A refusal in the host's words is an error; a connection that breaks is tried again.
    ///
    /// The upgrade goes through hyper, not through tungstenite's own handshake: that one gives only as much of a refusal's
    /// body as came with its head.
    async fn upgrade(&mut self, stream: Stream) -> Result<(), ClientError> {
        let path = format!("/v1/sessions/{}/follow?{}", self.name, self.query.to_query());
        match websocket(&self.client.host, stream, &path).await? {
            Answer::Socket(socket) => self.socket = Some(*socket),
            // the host is back, and others have used up its patience with this address
            Answer::Refused(StatusCode::TOO_MANY_REQUESTS, _) if self.hello.is_some() => {}
            Answer::Refused(status, body) => match request::refusal(&Method::GET, &self.path(), status, &body) {
                ClientError::Api(e) if e.code == Code::Stopping && self.broken_since.is_some() => {} // not back yet
                error => return Err(error),
            },
            Answer::Broken => self.broken_since = Some(self.broken_since.unwrap_or_else(Instant::now)),
        }
        Ok(())
    }

    fn path(&self) -> String {
        format!("/v1/sessions/{}/follow", self.name)
    }

    fn strange(&self, answer: &str) -> ClientError {
        ClientError::NotAHost { request: format!("GET {}", self.path()), answer: answer.to_owned() }
    }
}

/// What a host answers to the wish for a WebSocket.
pub(super) enum Answer {
    Socket(Box<Socket>),
    Refused(StatusCode, Bytes),
    /// The connection broke, or the host had no time to read what is wished.
    Broken,
}

/// Makes a WebSocket of a connection.
pub(super) async fn websocket(host: &Host, stream: Stream, path: &str) -> Result<Answer, ClientError> {
    let key = generate_key();
    let request = host
        .address
        .introduce(Request::get(path))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", &key)
        .body(Empty::<Bytes>::new())
        .map_err(|why| ClientError::System { what: format!("ask for {path}"), why: io::Error::other(why) })?;
    match switch(stream, request, &derive_accept_key(key.as_bytes())).await {
        Ok(Answer::Refused(StatusCode::REQUEST_TIMEOUT, _)) | Err(_) => Ok(Answer::Broken),
        Ok(answer) => Ok(answer),
    }
}

async fn switch(stream: Stream, request: Request<Empty<Bytes>>, accept: &str) -> Result<Answer, io::Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let running = tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        running.abort();
        return Ok(Answer::Refused(status, body));
    }
    if response.headers().get("sec-websocket-accept").is_none_or(|got| got.as_bytes() != accept.as_bytes()) {
        return Ok(Answer::Refused(status, Bytes::new()));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(io::Error::other)?;
    let parts = upgraded.downcast::<TokioIo<Stream>>().map_err(|_| io::Error::other("a stream of another kind"))?;
    let (stream, read) = (parts.io.into_inner(), parts.read_buf.to_vec());
    Ok(Answer::Socket(Box::new(WebSocketStream::from_partially_read(stream, read, Role::Client, None).await)))
}
