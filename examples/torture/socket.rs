//! A WebSocket client as others would write one from docs/protocol.md: it keeps the cursor itself, and comes back after
//! every break, those it makes itself too.

use crate::{
    Result,
    host::{HANG, is_hung},
};
use futures_util::StreamExt;
use serde_json::Value;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio::net::UnixStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// What the reader wants after a frame.
pub(crate) enum Next {
    GoOn,
    Reconnect,
    End,
}

/// Between two tries to connect.
const AGAIN: Duration = Duration::from_millis(20);

/// Reads all of a session's output, from the first byte until it has ended; how often the connection broke.
pub(crate) fn follow(socket: &Path, name: &str, take: impl FnMut(&str, &[u8]) -> Next) -> Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(reading(socket, name, take))
}

async fn reading(socket: &Path, name: &str, mut take: impl FnMut(&str, &[u8]) -> Next) -> Result<u64> {
    let (mut place, mut broken_since, mut breaks) = (Place::default(), None, 0);
    loop {
        if is_hung(*broken_since.get_or_insert_with(Instant::now)) {
            return Err("no connection for long".into());
        }
        let Ok(mut socket) = connect(socket, name, &place).await else {
            tokio::time::timeout(AGAIN, std::future::pending::<()>()).await.unwrap_or_default();
            continue;
        };
        loop {
            let message = match tokio::time::timeout(HANG, socket.next()).await {
                Err(_) => return Err(format!("nothing came for long, at {}", place.after).into()),
                Ok(None | Some(Err(_) | Ok(Message::Close(_)))) => break,
                Ok(Some(Ok(message))) => message,
            };
            match message {
                Message::Text(text) => match place.line(&text)? {
                    true => return Ok(breaks),
                    false => broken_since = None,
                },
                Message::Binary(frame) => {
                    broken_since = None;
                    let bytes = place.frame(&frame)?;
                    match take(&place.cursor(), bytes) {
                        Next::GoOn => place.advance(bytes.len()),
                        Next::Reconnect => {
                            place.advance(bytes.len());
                            break;
                        }
                        Next::End => return Ok(breaks),
                    }
                }
                _ => {}
            }
        }
        breaks += 1;
    }
}

async fn connect(socket: &Path, name: &str, place: &Place) -> Result<WebSocketStream<UnixStream>> {
    let stream = UnixStream::connect(socket).await?;
    let url = format!("ws://localhost/v1/sessions/{name}/follow?content=raw&follow=1&{}", place.query());
    Ok(client_async(url, stream).await?.0)
}

/// Where the reading stands.
#[derive(Default)]
struct Place {
    id: String,
    start: String,
    after: String,
    seq: u64,
    byte: u64,
}

impl Place {
    fn query(&self) -> String {
        if self.id.is_empty() {
            return "since=start".to_owned();
        }
        format!("id={}&start={}&after={}", self.id, self.start, self.after)
    }

    fn cursor(&self) -> String {
        format!("@{}.{}", self.seq, self.byte)
    }

    /// True at the end.
    fn line(&mut self, text: &str) -> Result<bool> {
        let line: Value = serde_json::from_str(text)?;
        let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        match line["event"].as_str() {
            Some("hello") if self.id.is_empty() => {
                (self.id, self.start, self.after) = (word("id"), word("start"), word("next"));
            }
            Some("hello") if word("id") != self.id => return Err(format!("another session: {text}").into()),
            Some("hello" | "start") => {}
            Some("end") => return Ok(true),
            _ => return Err(format!("an unexpected line: {text}").into()),
        }
        Ok(false)
    }

    /// The bytes of a frame; the place is before them.
    fn frame<'a>(&mut self, frame: &'a [u8]) -> Result<&'a [u8]> {
        let (seq, rest) = frame.split_first_chunk::<8>().ok_or("a short frame")?;
        let (byte, bytes) = rest.split_first_chunk::<4>().ok_or("a short frame")?;
        let (seq, byte) = (u64::from_be_bytes(*seq), u64::from(u32::from_be_bytes(*byte)));
        if (seq, byte) < (self.seq, self.byte) {
            return Err(format!("a frame at @{seq}.{byte} after {}", self.cursor()).into());
        }
        (self.seq, self.byte) = (seq, byte);
        Ok(bytes)
    }

    fn advance(&mut self, bytes: usize) {
        self.byte += bytes as u64;
        self.after = self.cursor();
    }
}
