//! A terminal's connection to a session, that goes on over crashes of the host.
//!
//! What is typed is kept until the host says that it has it. After a break the host says how much arrived, and the rest is
//! typed: each key once. Reading never waits for the typing nor the typing for the reading. Bounded: what can't be typed
//! is refused by [`Attach::type_keys`], never queued without end.

use super::follow::{Answer, Socket, websocket};
use super::{Client, ClientError, Stream, request};
use crate::model::{MIB, Name, Size};
use crate::wire::{
    ApiError, AttachHello, AttachLine, AttachOp, AttachQuery, Code, ErrorBody, RunEnd, TYPING_FRAME, TYPING_WINDOW,
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::{Method, StatusCode};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{self, Message};

/// How long a broken connection looks for a host. 60 s: longer than any host takes to come back.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries: 5 ms, doubled up to 100 ms, as other connections do.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// Silence after which a connection counts as dead. 60 s: three pings of the host.
const SILENCE: Duration = Duration::from_secs(60);
/// What waits to be typed at most. 4 MiB: the largest text that is pasted; more is a program that reads nothing.
const MAX_UNTYPED: usize = 4 * MIB;

/// What comes from the session.
#[derive(Debug)]
pub enum Shown {
    /// The screen as it stands, for a terminal of this size.
    Screen(Size, Bytes),
    /// Output.
    Output(Bytes),
    /// This terminal is the one that answers the program's questions, or no longer.
    Leads(bool),
    /// Keys were not typed: nothing runs.
    Lost,
    /// The run has ended, another one will be started.
    Restarting(RunEnd),
    /// The session has ended.
    End(RunEnd),
    /// The connection broke; it is being made again.
    Broken,
    /// It stands again; a screen follows.
    Back,
}

/// See the module.
pub struct Attach {
    client: Client,
    name: Name,
    query: AttachQuery,
    socket: Option<Socket>,
    size: Size,
    /// The next binary frame is a screen of this size.
    screen: Option<Size>,
    /// Typed and not yet acknowledged; the first byte is number `acknowledged`.
    keys: VecDeque<u8>,
    acknowledged: u64,
    /// Handed to the socket, counted as `acknowledged` is. Nothing before the host has said what it has.
    sent: Option<u64>,
    ops: VecDeque<AttachOp>,
    heard: Instant,
    broken_since: Option<Instant>,
    /// The next try, and the pause after it. Kept here: who types doesn't put a try off.
    retry: Option<Instant>,
    pause: Duration,
}

impl std::fmt::Debug for Attach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attach").field("name", &self.name).field("query", &self.query).finish_non_exhaustive()
    }
}

impl Attach {
    /// Attaches. The host is started first where there is none and may be.
    pub async fn open(client: Client, name: Name, size: Size, read_only: bool) -> Result<Attach, ClientError> {
        let stream = client.host.open().await?;
        let word = Some(request::fresh_key()?);
        let mut attach = Attach {
            client,
            name,
            query: AttachQuery { size: Some(size), read_only, client: word, id: None },
            socket: None,
            size,
            screen: None,
            keys: VecDeque::new(),
            acknowledged: 0,
            sent: None,
            ops: VecDeque::new(),
            heard: Instant::now(),
            broken_since: None,
            retry: None,
            pause: FIRST_PAUSE,
        };
        attach.upgrade(stream).await?;
        Ok(attach)
    }

    /// Types. False: too much waits already, nothing of it was taken.
    pub fn type_keys(&mut self, keys: &[u8]) -> bool {
        let room = self.keys.len() + keys.len() <= MAX_UNTYPED;
        if room {
            self.keys.extend(keys);
        }
        room
    }

    /// True while keys wait that the host doesn't have.
    pub fn is_typing(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The user's terminal has another size.
    pub fn resize(&mut self, size: Size) {
        self.size = size;
        self.query.size = Some(size);
        self.say(AttachOp::Resize(size));
    }

    /// Asks for the whole screen.
    pub fn redraw(&mut self) {
        self.say(AttachOp::Redraw);
    }

    /// Wants no output until [`Attach::redraw`].
    pub fn hold(&mut self) {
        self.say(AttachOp::Hold);
    }

    /// Each says all there is to say of its kind: at most one of each waits.
    fn say(&mut self, op: AttachOp) {
        self.ops.retain(|waiting| std::mem::discriminant(waiting) != std::mem::discriminant(&op));
        self.ops.push_back(op);
    }

    /// What comes next; nothing after [`Shown::End`]. May be dropped and called again at any time.
    pub async fn next(&mut self) -> Result<Option<Shown>, ClientError> {
        loop {
            if self.socket.is_none() {
                self.reconnect().await?;
                if self.socket.is_some() {
                    return Ok(Some(Shown::Back));
                }
                continue;
            }
            let polled = tokio::time::timeout_at(self.heard + SILENCE, poll_fn(|cx| self.poll(cx))).await;
            let Ok(Some(Ok(message))) = polled else {
                self.socket = None; // broken, or silent for too long
                return Ok(Some(Shown::Broken));
            };
            self.heard = Instant::now();
            if let Some(shown) = self.take(message)? {
                return Ok(Some(shown));
            }
            if self.socket.is_none() {
                return Ok(Some(Shown::Broken));
            }
        }
    }

    /// Sends what there is to send; gives what came.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, tungstenite::Error>>> {
        let sent = self.poll_send(cx);
        let Some(socket) = &mut self.socket else { return Poll::Ready(None) };
        match sent {
            Err(error) => Poll::Ready(Some(Err(error))),
            Ok(()) => socket.poll_next_unpin(cx),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), tungstenite::Error> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        while let Poll::Ready(ready) = socket.poll_ready_unpin(cx) {
            ready?;
            if let Some(op) = self.ops.pop_front() {
                socket.start_send_unpin(Message::text(serde_json::to_string(&op).unwrap_or_default()))?;
                continue;
            }
            let Some(sent) = self.sent else { break };
            let (from, end) = (sent - self.acknowledged, self.keys.len() as u64);
            let to = end.min(TYPING_WINDOW).min(from + TYPING_FRAME as u64);
            if from >= to {
                break;
            }
            let part: Vec<u8> = self.keys.range(from as usize..to as usize).copied().collect();
            socket.start_send_unpin(Message::binary(part))?;
            self.sent = Some(sent + to - from);
        }
        match socket.poll_flush_unpin(cx) {
            Poll::Ready(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn take(&mut self, message: Message) -> Result<Option<Shown>, ClientError> {
        match message {
            Message::Text(text) => self.take_line(&text),
            Message::Binary(bytes) => {
                (self.broken_since, self.retry, self.pause) = (None, None, FIRST_PAUSE);
                Ok(Some(match self.screen.take() {
                    Some(size) => Shown::Screen(size, bytes),
                    None => Shown::Output(bytes),
                }))
            }
            Message::Close(_) => {
                self.socket = None;
                Ok(None)
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
        }
    }

    fn take_line(&mut self, text: &str) -> Result<Option<Shown>, ClientError> {
        match serde_json::from_str(text) {
            Ok(AttachLine::Hello(hello)) => {
                self.greeted(&hello);
                return Ok(Some(Shown::Leads(hello.leads)));
            }
            Ok(AttachLine::Redraw(size)) => self.screen = Some(size),
            Ok(AttachLine::Size(_)) => {}
            Ok(AttachLine::Leads { leads }) => return Ok(Some(Shown::Leads(leads))),
            Ok(AttachLine::Typed { upto, lost }) => {
                self.acknowledge(upto);
                return Ok((lost > 0).then_some(Shown::Lost));
            }
            Ok(AttachLine::Restarting(end)) => return Ok(Some(Shown::Restarting(end))),
            Ok(AttachLine::End(end)) => return Ok(Some(Shown::End(end))),
            Err(why) => {
                return Err(match serde_json::from_str::<ErrorBody>(text) {
                    Ok(body) => ClientError::Api(body.error),
                    Err(_) => self.strange(&why.to_string()),
                });
            }
        }
        Ok(None)
    }

    fn greeted(&mut self, hello: &AttachHello) {
        self.query.id = Some(hello.id);
        self.screen = Some(hello.size);
        self.acknowledge(hello.typed);
        self.sent = Some(self.acknowledged);
    }

    fn acknowledge(&mut self, upto: u64) {
        let new = upto.saturating_sub(self.acknowledged).min(self.keys.len() as u64);
        self.keys.drain(..new as usize);
        self.acknowledged += new;
        self.sent = self.sent.map(|sent| sent.max(self.acknowledged));
    }

    /// One try to get back to the host, after a pause.
    async fn reconnect(&mut self) -> Result<(), ClientError> {
        let since = *self.broken_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= PATIENCE {
            let place = self.client.host.place();
            let error = ApiError::new(Code::NoHost, format!("no host at {place} for {} s", PATIENCE.as_secs()));
            return Err(error.hint(format!("termalive attach {} goes on", self.name)).into());
        }
        tokio::time::sleep_until(*self.retry.get_or_insert_with(|| Instant::now() + self.pause)).await;
        (self.retry, self.pause) = (None, (self.pause * 2).min(LONGEST_PAUSE));
        match self.client.host.address.connect().await {
            Ok(stream) => self.upgrade(stream).await,
            Err(_) => Ok(()), // not back yet
        }
    }

    async fn upgrade(&mut self, stream: Stream) -> Result<(), ClientError> {
        let path = format!("/v1/sessions/{}/attach?{}", self.name, self.query.to_query());
        match websocket(&self.client.host, stream, &path).await? {
            Answer::Socket(socket) => {
                self.ops.clear(); // they were about the last screen
                self.socket = Some(*socket);
                self.sent = None;
                self.heard = Instant::now();
            }
            // the host is back, and others have used up its patience with this address
            Answer::Refused(StatusCode::TOO_MANY_REQUESTS, _) if self.broken_since.is_some() => {}
            Answer::Refused(status, body) => {
                return Err(request::refusal(&Method::GET, &self.path(), status, &body));
            }
            Answer::Broken => self.broken_since = Some(self.broken_since.unwrap_or_else(Instant::now)),
        }
        Ok(())
    }

    fn path(&self) -> String {
        format!("/v1/sessions/{}/attach", self.name)
    }

    fn strange(&self, answer: &str) -> ClientError {
        ClientError::NotAHost { request: format!("GET {}", self.path()), answer: answer.to_owned() }
    }
}
