//! One who is attached as a terminal emulator would be, over a WebSocket: types lines, sees the answers on the screen, and comes
//! back after every break, those of its own too. What the host says it has is heard once and in its turn; the line that was on
//! its way in a break at most once.

use crate::{
    Result,
    chats::{Sent, check_heard},
    dice::Dice,
    host::{HANG, Host, LOOK, is_hung},
    oracle::{Broken, Oracle},
    program::answer,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use std::time::Instant;
use tokio::net::UnixStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

type Socket = WebSocketStream<UnixStream>;

/// What is kept of what was shown: more than a screen.
const SHOWN: usize = 256 << 10;

/// See the module.
pub(crate) struct Typist {
    name: String,
    /// Of the session, from the first hello.
    id: String,
    sent: Vec<Sent>,
    /// The host has so many bytes of what was typed.
    taken: u64,
    line: Option<Line>,
    shown: Vec<u8>,
}

/// What is typed and not yet answered.
#[derive(Clone)]
struct Line {
    /// Without its Enter. Nothing: only that, which ends what may stand half typed.
    text: String,
    /// Of all that was typed, the bytes up to its end.
    upto: u64,
}

impl Line {
    fn begins(&self) -> u64 {
        self.upto - self.text.len() as u64 - 1
    }
}

impl Typist {
    pub(crate) fn begin(host: &Host, name: &str) -> Result<Typist> {
        host.new_session(name, &[], &host.program("chat", name, 0, &[]))?;
        host.ok(&["logs", name, "--until", "^ready$", "--timeout", "60s"])?;
        let (name, sent) = (name.to_owned(), Vec::new());
        Ok(Typist { name, id: String::new(), sent, taken: 0, line: None, shown: Vec::new() })
    }

    /// Until the run is over; then looks what was heard.
    pub(crate) fn work(mut self, host: &Host, oracle: &Oracle, mut dice: Dice) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let typed =
            runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(self.types(host, oracle, &mut dice)));
        if let Err(why) = typed {
            oracle.broke(Broken::Client, format!("attached to {} after {} lines: {why}", self.name, self.sent.len()));
        }
        self.line_is_doubtful();
        if oracle.cases().is_empty() {
            check_heard(&self.name, &self.sent, host, oracle);
        }
    }

    async fn types(&mut self, host: &Host, oracle: &Oracle, dice: &mut Dice) -> Result<()> {
        let (mut since, mut last_why) = (Instant::now(), String::new());
        while !oracle.is_over() {
            if is_hung(since) {
                return Err(format!("no connection for long: {last_why}").into());
            }
            let (mut socket, taken) = match self.attach(host).await? {
                Ok(attached) => attached,
                Err(why) => {
                    last_why = why;
                    tokio::time::timeout(LOOK * 10, std::future::pending::<()>()).await.unwrap_or_default();
                    continue;
                }
            };
            self.go_on(taken)?;
            while !oracle.is_over() {
                let line = match self.line.take() {
                    Some(line) => line,
                    None => self.after(format!("t{} {:x}", self.sent.len(), dice.next())),
                };
                self.line = Some(line.clone());
                if self.taken < line.upto {
                    let frame = Message::binary(format!("{}\r", line.text).into_bytes());
                    if socket.send(frame).await.is_err() || dice.chance(3) {
                        break;
                    }
                }
                if !self.see(&mut socket, &line).await? {
                    break;
                }
                oracle.count("lines typed while attached", 1);
            }
            since = Instant::now();
            oracle.count("attached connections that broke", 1);
        }
        Ok(())
    }

    /// A connection, and what the host has of what was typed; the inner error: not now.
    async fn attach(&mut self, host: &Host) -> Result<std::result::Result<(Socket, u64), String>> {
        let stream = match UnixStream::connect(&host.socket).await {
            Ok(stream) => stream,
            Err(why) => return Ok(Err(why.to_string())),
        };
        let id = if self.id.is_empty() { String::new() } else { format!("&id={}", self.id) };
        let url = format!("ws://localhost/v1/sessions/{}/attach?cols=80&rows=24&client=typist{id}", self.name);
        let mut socket = match client_async(url, stream).await {
            Ok((socket, _)) => socket,
            Err(why) => return Ok(Err(why.to_string())),
        };
        let text = match tokio::time::timeout(HANG, socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => text,
            other => return Ok(Err(format!("instead of a hello: {other:?}"))),
        };
        let hello: Value = serde_json::from_str(&text)?;
        let (id, taken) = (hello["id"].as_str(), hello["typed"].as_u64());
        let (Some("hello"), Some(id), Some(taken)) = (hello["event"].as_str(), id, taken) else {
            return Err(format!("not a hello: {text}").into());
        };
        if !self.id.is_empty() && self.id != id {
            return Err(format!("another session: {text}").into());
        }
        self.id = id.to_owned();
        Ok(Ok((socket, taken)))
    }

    fn after(&self, text: String) -> Line {
        Line { upto: self.taken + text.len() as u64 + 1, text }
    }

    /// A line that was on its way is typed again, if nothing of it arrived. Of one that arrived without a word nobody knows
    /// whether it was typed.
    fn go_on(&mut self, taken: u64) -> Result<()> {
        let upto = self.line.as_ref().map_or(self.taken, |line| line.upto);
        if taken < self.taken || taken > upto {
            return Err(format!("the host has {taken} bytes, of {} to {upto}", self.taken).into());
        }
        let before = std::mem::replace(&mut self.taken, taken);
        if self.line.as_ref().is_some_and(|line| before < line.upto && taken > line.begins()) {
            self.line_is_doubtful();
            self.line = Some(self.after(String::new()));
        }
        Ok(())
    }

    fn line_is_doubtful(&mut self) {
        let text = self.line.take().map(|line| line.text).filter(|text| !text.is_empty());
        self.sent.extend(text.map(|text| Sent { text, key: None, receipt: None }));
    }

    /// Reads until the host has the line and its answer stands on the screen. False: the connection broke first.
    async fn see(&mut self, socket: &mut Socket, Line { text, upto }: &Line) -> Result<bool> {
        let last = answer(text).pop().unwrap_or_default();
        loop {
            let is_shown = memchr::memmem::find(&self.shown, last.as_bytes()).is_some();
            if self.taken == *upto && (is_shown || text.is_empty()) {
                self.sent.extend(Some(text.clone()).filter(|text| !text.is_empty()).map(taken));
                (self.line, self.shown) = (None, Vec::new());
                return Ok(true);
            }
            let message = match tokio::time::timeout(HANG, socket.next()).await {
                Err(_) => {
                    return Err(format!("no answer to {text:?}, of which {} of {upto} is typed", self.taken).into());
                }
                Ok(None | Some(Err(_) | Ok(Message::Close(_)))) => return Ok(false),
                Ok(Some(Ok(message))) => message,
            };
            match message {
                Message::Binary(bytes) => {
                    self.shown.drain(..self.shown.len().saturating_sub(SHOWN));
                    self.shown.extend_from_slice(&bytes);
                }
                Message::Text(line) => {
                    let line: Value = serde_json::from_str(&line)?;
                    match line["event"].as_str() {
                        Some("typed") if line["lost"].is_null() => self.taken = line["upto"].as_u64().unwrap_or(0),
                        Some("size" | "redraw" | "leads") => {}
                        _ => return Err(format!("an unexpected line: {line}").into()),
                    }
                }
                _ => {}
            }
        }
    }
}

fn taken(text: String) -> Sent {
    Sent { text, key: None, receipt: Some(Value::Null) }
}
