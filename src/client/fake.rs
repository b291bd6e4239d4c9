//! A host of a few lines for the tests of the client: each connection does what the script says next.

use super::{Client, Host, Setup};
use crate::config::{Env, Paths};
use futures_util::{SinkExt, StreamExt};
use std::{fs::File, path::Path, sync::Arc, sync::Mutex};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};
use tokio_tungstenite::tungstenite::{Message, handshake::server::Request};

/// What a connection does.
pub(super) enum Act {
    /// Reads the request and goes away.
    Cut,
    /// Answers with exactly these bytes and goes away.
    Bytes(Vec<u8>),
    /// Answers.
    Answer(u16, String),
    /// A WebSocket that sends these and goes away; with `hear` it waits for a text first and notes it.
    Frames { hear: bool, send: Vec<Message> },
    /// A WebSocket that sends the first, notes so many messages, sends the rest and goes away.
    Talk { first: Vec<Message>, hear: usize, then: Vec<Message> },
}

/// What the connections were asked: head and body, or the URI and what was heard.
pub(super) type Heard = Arc<Mutex<Vec<String>>>;

/// A place of its own for one test.
pub(super) struct Place {
    pub(super) folder: TempDir,
    pub(super) setup: Setup,
}

impl Place {
    pub(super) fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let paths = Paths { state: folder.path().join("state"), socket: folder.path().join("run/t.sock") };
        paths.prepare().unwrap();
        let (env, program) = (Env::default(), folder.path().join("keeper"));
        Place { folder, setup: Setup { paths, program, env, config: None, set: Vec::new(), autostart: false } }
    }

    pub(super) fn client(&self) -> Client {
        Client::new(Host::local(self.setup.clone()))
    }

    /// As a living keeper has it.
    pub(super) fn hold_lock(&self) -> File {
        let file = File::create(self.setup.paths.lock()).unwrap();
        file.try_lock().unwrap();
        file
    }

    /// Serves the script on the socket.
    pub(super) fn serve(&self, script: Vec<Act>) -> Heard {
        serve(&self.setup.paths.socket, script)
    }
}

/// Serves the script, one act a connection, then closes.
pub(super) fn serve(socket: &Path, script: Vec<Act>) -> Heard {
    let listener = UnixListener::bind(socket).unwrap();
    let heard = Heard::default();
    let notes = heard.clone();
    tokio::spawn(async move {
        for act in script {
            let (stream, _) = listener.accept().await.unwrap();
            play(stream, act, &notes).await;
        }
    });
    heard
}

async fn play(mut stream: UnixStream, act: Act, heard: &Heard) {
    let note = |text: String| heard.lock().unwrap().push(text);
    let bytes = match act {
        Act::Frames { hear, send } => return frames(stream, Vec::new(), usize::from(hear), send, heard).await,
        Act::Talk { first, hear, then } => return frames(stream, first, hear, then, heard).await,
        Act::Cut => Vec::new(),
        Act::Bytes(bytes) => bytes,
        Act::Answer(status, body) => {
            format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
        }
    };
    note(request(&mut stream).await);
    stream.write_all(&bytes).await.unwrap();
}

async fn request(stream: &mut UnixStream) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut buffer).await.unwrap();
        text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        if n == 0 || body.len() >= length {
            return text;
        }
    }
}

#[expect(clippy::result_large_err, reason = "the callback's type is the library's")]
async fn frames(stream: UnixStream, first: Vec<Message>, hear: usize, send: Vec<Message>, heard: &Heard) {
    let note = |request: &Request, response| {
        heard.lock().unwrap().push(request.uri().to_string());
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, note).await.unwrap();
    for message in first {
        socket.send(message).await.unwrap();
    }
    for _ in 0..hear {
        let text = socket.next().await.unwrap().unwrap().into_text().unwrap();
        heard.lock().unwrap().push(text.to_string());
    }
    for message in send {
        socket.send(message).await.unwrap();
    }
}
