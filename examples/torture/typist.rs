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
    /// Not yet answered; empty: only an Enter, which ends what may stand half typed.
    line: Option<String>,
    shown: Vec<u8>,
}

/// What became of the line.
enum Line {
    Answered,
    /// The connection broke.
    Broken,
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
        let doubtful = self.line.take().filter(|line| !line.is_empty());
        self.sent.extend(doubtful.map(|text| Sent { text, key: None, receipt: None }));
        if oracle.cases().is_empty() {
            check_heard(&self.name, &self.sent, host, oracle);
        }
    }

    async fn types(&mut self, host: &Host, oracle: &Oracle, dice: &mut Dice) -> Result<()> {
        let mut since = Instant::now();
        while !oracle.is_over() {
            if is_hung(since) {
                return Err("no connection for long".into());
            }
            let Some((mut socket, taken)) = self.attach(host).await? else {
                tokio::time::timeout(LOOK * 10, std::future::pending::<()>()).await.unwrap_or_default();
                continue;
            };
            since = Instant::now();
            self.go_on(taken)?;
            while !oracle.is_over() {
                let line = self.line.get_or_insert_with(|| format!("t{} {:x}", self.sent.len(), dice.next()));
                let frame = format!("{line}\r").into_bytes();
                let upto = self.taken + frame.len() as u64;
                let leaves = dice.chance(3);
                if socket.send(Message::binary(frame)).await.is_err() || leaves {
                    break;
                }
                match self.see(&mut socket, upto).await? {
                    Line::Broken => break,
                    Line::Answered => oracle.count("lines typed while attached", 1),
                }
            }
            oracle.count("attached connections that broke", 1);
        }
        Ok(())
    }

    /// A connection, and what the host has of what was typed; nothing: nobody is there.
    async fn attach(&mut self, host: &Host) -> Result<Option<(Socket, u64)>> {
        let Ok(stream) = UnixStream::connect(&host.socket).await else { return Ok(None) };
        let id = if self.id.is_empty() { String::new() } else { format!("&id={}", self.id) };
        let url = format!("ws://localhost/v1/sessions/{}/attach?cols=80&rows=24&client=typist{id}", self.name);
        let Ok((mut socket, _)) = client_async(url, stream).await else { return Ok(None) };
        let Ok(Some(Ok(Message::Text(text)))) = tokio::time::timeout(HANG, socket.next()).await else {
            return Ok(None);
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
        Ok(Some((socket, taken)))
    }

    /// A line that was on its way is typed again, if nothing of it arrived; else nobody knows whether it was typed.
    fn go_on(&mut self, taken: u64) -> Result<()> {
        let whole = self.taken + self.line.as_ref().map_or(0, |line| line.len() as u64 + 1);
        if taken < self.taken || taken > whole {
            return Err(format!("the host has {taken} bytes, of {} to {whole}", self.taken).into());
        }
        if taken > self.taken {
            let doubtful = self.line.replace(String::new()).filter(|line| !line.is_empty());
            self.sent.extend(doubtful.map(|text| Sent { text, key: None, receipt: None }));
        }
        self.taken = taken;
        Ok(())
    }

    /// Reads until the host has the line and its answer stands on the screen.
    async fn see(&mut self, socket: &mut Socket, upto: u64) -> Result<Line> {
        let text = self.line.clone().unwrap_or_default();
        let last = answer(&text).pop().unwrap_or_default();
        loop {
            let is_shown = memchr::memmem::find(&self.shown, last.as_bytes()).is_some();
            if self.taken == upto && (is_shown || text.is_empty()) {
                self.sent.extend(Some(text).filter(|text| !text.is_empty()).map(taken));
                (self.line, self.shown) = (None, Vec::new());
                return Ok(Line::Answered);
            }
            let message = match tokio::time::timeout(HANG, socket.next()).await {
                Err(_) => {
                    return Err(format!("no answer to {text:?}, of which {} of {upto} is typed", self.taken).into());
                }
                Ok(None | Some(Err(_) | Ok(Message::Close(_)))) => return Ok(Line::Broken),
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
