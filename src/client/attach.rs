//! A terminal's connection to a session, that goes on over crashes of the host.
//!
//! What is typed is kept until the host says that it has it. After a break the host says how much arrived, and the rest is
//! typed: each key once. Reading never waits for the typing nor the typing for the reading. Bounded: what can't be typed
//! is refused by [`Attach::type_keys`], never queued without end.

use super::link::{Link, Socket};
use super::{Client, ClientError, request};
use crate::model::{MIB, Name, Size};
use crate::wire::{AttachHello, AttachLine, AttachOp, AttachQuery, ErrorBody, RunEnd, TYPING_FRAME, TYPING_WINDOW};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use std::collections::VecDeque;
use std::task::{Context, Poll};
use tokio_tungstenite::tungstenite::{self, Message};

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
    link: Link,
    name: Name,
    query: AttachQuery,
    /// The next binary frame is a screen of this size.
    screen: Option<Size>,
    outgoing: Outgoing,
}

/// What is on its way to the host.
#[derive(Default)]
struct Outgoing {
    /// Typed and not yet acknowledged; the first byte is number `acknowledged`.
    keys: VecDeque<u8>,
    acknowledged: u64,
    /// Handed to the socket, counted as `acknowledged` is. Nothing before the host has said what it has.
    sent: Option<u64>,
    ops: VecDeque<AttachOp>,
}

impl std::fmt::Debug for Attach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attach").field("name", &self.name).field("query", &self.query).finish_non_exhaustive()
    }
}

impl Attach {
    /// Attaches. The host is started first where there is none and may be.
    pub async fn open(client: Client, name: Name, size: Size, read_only: bool) -> Result<Attach, ClientError> {
        let word = Some(request::fresh_key()?);
        let query = AttachQuery { size: Some(size), read_only, client: word, id: None };
        let link = Link::open(client, &path(&name, &query)).await?;
        Ok(Attach { link, name, query, screen: None, outgoing: Outgoing::default() })
    }

    /// Types. False: too much waits already, nothing of it was taken.
    pub fn type_keys(&mut self, keys: &[u8]) -> bool {
        let waiting = &mut self.outgoing.keys;
        let room = waiting.len() + keys.len() <= MAX_UNTYPED;
        if room {
            waiting.extend(keys);
        }
        room
    }

    /// True while keys wait that the host doesn't have.
    pub fn is_typing(&self) -> bool {
        !self.outgoing.keys.is_empty()
    }

    /// The user's terminal has another size.
    pub fn resize(&mut self, size: Size) {
        self.query.size = Some(size);
        self.outgoing.say(AttachOp::Resize(size));
    }

    /// Asks for the whole screen.
    pub fn redraw(&mut self) {
        self.outgoing.say(AttachOp::Redraw);
    }

    /// Wants no output until [`Attach::redraw`].
    pub fn hold(&mut self) {
        self.outgoing.say(AttachOp::Hold);
    }

    /// What comes next; nothing after [`Shown::End`]. May be dropped and called again at any time.
    pub async fn next(&mut self) -> Result<Option<Shown>, ClientError> {
        loop {
            if !self.link.stands() {
                let Attach { link, name, query, .. } = self;
                link.again(|| path(name, query), Some(format!("termalive attach {name} goes on"))).await?;
                if link.stands() {
                    self.outgoing.begin_again();
                    return Ok(Some(Shown::Back));
                }
                continue;
            }
            let outgoing = &mut self.outgoing;
            let next = self.link.next_by(|socket, cx| match outgoing.poll_send(socket, cx) {
                Err(error) => Poll::Ready(Some(Err(error))),
                Ok(()) => socket.poll_next_unpin(cx),
            });
            match next.await {
                None => return Ok(Some(Shown::Broken)),
                Some(message) => {
                    if let Some(shown) = self.take(message)? {
                        return Ok(Some(shown));
                    }
                }
            }
        }
    }

    fn take(&mut self, message: Message) -> Result<Option<Shown>, ClientError> {
        match message {
            Message::Text(text) => self.take_line(&text),
            Message::Binary(bytes) => {
                self.link.progress();
                Ok(Some(match self.screen.take() {
                    Some(size) => Shown::Screen(size, bytes),
                    None => Shown::Output(bytes),
                }))
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) | Message::Close(_) => Ok(None),
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
                self.outgoing.acknowledge(upto);
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
        self.outgoing.acknowledge(hello.typed);
        self.outgoing.sent = Some(self.outgoing.acknowledged);
    }

    fn strange(&self, answer: &str) -> ClientError {
        let request = format!("GET /v1/sessions/{}/attach", self.name);
        ClientError::NotAHost { request, answer: answer.to_owned() }
    }
}

fn path(name: &Name, query: &AttachQuery) -> String {
    format!("/v1/sessions/{name}/attach?{}", query.to_query())
}

impl Outgoing {
    /// Each says all there is to say of its kind: at most one of each waits.
    fn say(&mut self, op: AttachOp) {
        self.ops.retain(|waiting| std::mem::discriminant(waiting) != std::mem::discriminant(&op));
        self.ops.push_back(op);
    }

    /// On another connection: a screen comes by itself, and the host says what it has of the keys.
    fn begin_again(&mut self) {
        self.ops.retain(|op| *op != AttachOp::Hold); // a size may be newer than the one that was asked for
        self.sent = None;
    }

    fn poll_send(&mut self, socket: &mut Socket, cx: &mut Context<'_>) -> Result<(), tungstenite::Error> {
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

    fn acknowledge(&mut self, upto: u64) {
        let new = upto.saturating_sub(self.acknowledged).min(self.keys.len() as u64);
        self.keys.drain(..new as usize);
        self.acknowledged += new;
        self.sent = self.sent.map(|sent| sent.max(self.acknowledged));
    }
}
