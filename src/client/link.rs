//! A WebSocket to the host that is made again when it breaks.
//!
//! Who reads from it may stop waiting at any time, to type or to print, and wait again: a try that is under way goes on, and
//! silence is counted from what was heard last. What is asked for on each connection, and what counts as progress, is the
//! owner's to say. Nothing is buffered here, nothing is tried for ever.

use super::{Client, ClientError, Host, Stream, request, tries::Tries};
use crate::wire::{ApiError, Code};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::{io, time::Duration};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::Role,
    },
};

/// How long a broken connection looks for a host. 60 s: longer than any host takes to come back.
const PATIENCE: Duration = Duration::from_secs(60);
/// Silence after which a connection counts as dead. 60 s: three pings of the host.
const SILENCE: Duration = Duration::from_secs(60);

pub(super) type Socket = WebSocketStream<Stream>;
type Trying = Pin<Box<dyn Future<Output = Result<Answer, ClientError>> + Send>>;
type Read = Option<Result<Message, Error>>;

/// See the module.
pub(super) struct Link {
    host: Host,
    socket: Option<Socket>,
    /// When something came last.
    heard: Instant,
    tries: Tries,
    /// When the last connection broke.
    lost: Option<Instant>,
    /// When something first came through this one.
    greeted: Option<Instant>,
    /// Kept here: who stops waiting for it doesn't begin it anew.
    trying: Option<Trying>,
    patience: Duration,
}

/// What a host answers to the wish for a WebSocket.
enum Answer {
    Socket(Box<Socket>),
    Refused(StatusCode, Bytes),
    /// Nobody was there, the connection broke, or the host had no time to read what is wished.
    Broken,
}

impl Link {
    /// The first connection. The host is started first where there is none and may be. One that breaks is made again by
    /// [`Link::again`].
    pub(super) async fn open(client: Client, path: &str) -> Result<Link, ClientError> {
        let stream = client.host.open().await?;
        let answer = client.while_it_lives(websocket(client.host.clone(), stream, path.to_owned())).await??;
        let mut link = Link {
            host: client.host,
            socket: None,
            heard: Instant::now(),
            tries: Tries::default(),
            lost: None,
            greeted: None,
            trying: None,
            patience: PATIENCE,
        };
        link.take(answer, path)?;
        Ok(link)
    }

    /// True while there is a connection.
    pub(super) fn stands(&self) -> bool {
        self.socket.is_some()
    }

    /// What came is worth something: hosts that greet and die must not be tried for ever.
    pub(super) fn progress(&mut self) {
        self.tries.worked();
    }

    /// The next message; nothing when the connection has broken, was closed, or was silent for too long.
    pub(super) async fn next(&mut self) -> Option<Message> {
        self.next_by(|socket, cx| socket.poll_next_unpin(cx)).await
    }

    /// The same, where more is done with the connection each time it is looked at.
    pub(super) async fn next_by(
        &mut self,
        mut poll: impl FnMut(&mut Socket, &mut Context<'_>) -> Poll<Read>,
    ) -> Option<Message> {
        let socket = self.socket.as_mut()?;
        let mut next = poll_fn(|cx| poll(socket, cx));
        let read = match timeout_at(self.heard + SILENCE, &mut next).await {
            Ok(read) => read,
            Err(_) => {
                tokio::task::yield_now().await; // who was busy elsewhere doesn't know yet what has come
                next.now_or_never().flatten()
            }
        };
        match read {
            Some(Ok(message)) if !matches!(message, Message::Close(_)) => {
                self.heard = Instant::now();
                self.greeted.get_or_insert(self.heard);
                Some(message)
            }
            _ => {
                self.socket = None;
                None
            }
        }
    }

    /// One try to get back to the host, after a pause. `hint`: how a user goes on when there is none.
    pub(super) async fn again(&mut self, path: impl Fn() -> String, hint: Option<String>) -> Result<(), ClientError> {
        if let Some(greeted) = self.greeted.take() {
            let away = self.lost.map_or(Duration::ZERO, |lost| greeted.saturating_duration_since(lost));
            if greeted.elapsed() >= away {
                self.progress(); // it was there, and for longer than it was not: hosts come and go, none dies of this reading
            }
            self.lost = Some(Instant::now());
        }
        let since = self.tries.again(&self.host)?;
        let trying = match &mut self.trying {
            Some(trying) => trying,
            none => none.insert(Box::pin(one_try(self.host.clone(), self.tries.backoff.step(), path()))),
        };
        let answer = timeout_at(since + self.patience, trying).await;
        self.trying = None;
        match answer {
            Ok(answer) => self.take(answer?, &path()),
            Err(_) => {
                let (place, waited) = (self.host.place(), self.patience.as_secs());
                let error = ApiError::new(Code::NoHost, format!("no host at {place} for {waited} s"));
                Err(hint.into_iter().fold(error, ApiError::hint).into())
            }
        }
    }

    /// A refusal in the host's words is an error; a connection that breaks is tried again.
    fn take(&mut self, answer: Answer, path: &str) -> Result<(), ClientError> {
        match answer {
            Answer::Socket(socket) => {
                self.socket = Some(*socket);
                self.heard = Instant::now();
                self.tries.met();
            }
            // the host is back, and others have used up its patience with this address
            Answer::Refused(StatusCode::TOO_MANY_REQUESTS, _) if self.tries.is_silent() => {}
            Answer::Refused(status, body) => {
                let path = path.split('?').next().unwrap_or(path);
                match request::refusal(&Method::GET, path, status, &body) {
                    ClientError::Api(e) if e.code == Code::Stopping && self.tries.is_silent() => {} // not back yet
                    error => return Err(error),
                }
            }
            Answer::Broken => {} // since when, the next try says
        }
        Ok(())
    }
}

async fn one_try(host: Host, pause: Duration, path: String) -> Result<Answer, ClientError> {
    tokio::time::sleep(pause).await;
    match host.address.connect().await {
        Ok(stream) => websocket(host, stream, path).await,
        Err(_) => Ok(Answer::Broken), // not back yet
    }
}

/// Makes a WebSocket of a connection.
///
/// The upgrade goes through hyper, not through tungstenite's own handshake: that one gives only as much of a refusal's
/// body as came with its head.
async fn websocket(host: Host, stream: Stream, path: String) -> Result<Answer, ClientError> {
    let key = generate_key();
    let request = host
        .address
        .introduce(Request::get(&path))
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

#[cfg(test)]
mod tests {
    use super::super::fake::Place;
    use super::super::tries::MOST_CUTS;
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    const UPGRADE: &str = "HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ";

    /// A link whose first connection was cut off, and the host's side of the next ones.
    async fn broken(place: &Place) -> (Link, UnixListener) {
        let listener = UnixListener::bind(&place.setup.paths.socket).unwrap();
        let cut = async { drop(listener.accept().await.unwrap()) };
        let (link, ()) = tokio::join!(Link::open(place.client(), "/x"), cut);
        let link = link.unwrap();
        assert!(!link.stands());
        (link, listener)
    }

    /// Waits, and gives up at once: as who has something to type.
    fn peek(link: &mut Link) -> Option<Result<(), ClientError>> {
        link.again(|| "/x?q".to_owned(), Some("hint".to_owned())).now_or_never()
    }

    #[tokio::test]
    async fn who_is_interrupted_all_the_time_gets_back_with_one_try() {
        let place = Place::new();
        let (mut link, listener) = broken(&place).await;
        let mut accepted = None;
        while accepted.is_none() {
            assert!(peek(&mut link).is_none());
            accepted = tokio::time::timeout(Duration::from_millis(1), listener.accept()).await.ok();
        }
        let mut host = accepted.unwrap().unwrap().0;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(peek(&mut link).is_none()); // also while it is being greeted
            tokio::task::yield_now().await;
            request.push(host.read_u8().await.unwrap());
        }
        let request = String::from_utf8(request).unwrap();
        assert!(request.starts_with("GET /x?q "), "{request}");
        let key = request.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
        let answer = format!("{UPGRADE}{}\r\n\r\n", derive_accept_key(key.as_bytes()));
        for byte in answer.bytes() {
            assert!(!link.stands());
            host.write_u8(byte).await.unwrap();
            tokio::task::yield_now().await;
            peek(&mut link).map_or(Ok(()), |done| done).unwrap();
        }
        while !link.stands() {
            peek(&mut link).map_or(Ok(()), |done| done).unwrap();
            tokio::task::yield_now().await;
        }
        assert!(listener.accept().now_or_never().is_none(), "one try was enough");
    }

    #[tokio::test]
    async fn patience_ends_also_with_a_host_that_takes_connections_and_says_nothing() {
        for listens in [true, false] {
            let place = Place::new();
            let (mut link, listener) = broken(&place).await;
            let _there = listens.then_some(listener);
            link.patience = Duration::from_millis(200);
            let end = loop {
                match link.again(|| "/x".to_owned(), Some("go on so".to_owned())).await {
                    Ok(()) => assert!(!listens, "this try doesn't end"),
                    Err(error) => break ApiError::from(error),
                }
            };
            assert_eq!(end.code, Code::NoHost);
            assert!(end.to_string().ends_with("for 0 s (go on so)"), "{end}");
        }
    }

    #[tokio::test]
    async fn hosts_that_greet_and_go_away_are_not_tried_for_ever() {
        let place = Place::new();
        let listener = UnixListener::bind(&place.setup.paths.socket).unwrap();
        let accept = async { drop(tokio_tungstenite::accept_async(listener.accept().await.unwrap().0).await.unwrap()) };
        let (link, ()) = tokio::join!(Link::open(place.client(), "/x"), accept);
        let mut link = link.unwrap();
        assert_eq!(link.next().await, None);
        (2..MOST_CUTS).for_each(|_| link.tries.met());
        let accept = async { drop(tokio_tungstenite::accept_async(listener.accept().await.unwrap().0).await.unwrap()) };
        let (again, ()) = tokio::join!(link.again(|| "/x".to_owned(), None), accept);
        again.unwrap();
        assert_eq!(link.next().await, None);
        let error = ApiError::from(link.again(|| "/x".to_owned(), None).await.unwrap_err());
        assert!(error.code == Code::NoHost && error.message.contains("100 times in a row"), "{error}");
        link.progress();
        assert!(link.again(|| "/x".to_owned(), None).now_or_never().is_none());
    }

    #[tokio::test]
    async fn silence_is_counted_over_interruptions_and_what_came_meanwhile_counts() {
        let place = Place::new();
        let listener = UnixListener::bind(&place.setup.paths.socket).unwrap();
        let accept = async { tokio_tungstenite::accept_async(listener.accept().await.unwrap().0).await.unwrap() };
        let (link, mut host) = tokio::join!(Link::open(place.client(), "/x"), accept);
        let mut link = link.unwrap();
        assert!(link.next().now_or_never().is_none() && link.stands());
        // the reader was busy for long: what is there is taken first
        link.heard -= SILENCE * 2;
        futures_util::SinkExt::send(&mut host, Message::text("x")).await.unwrap();
        assert_eq!(link.next().await, Some(Message::text("x")));
        link.heard -= SILENCE * 2;
        assert_eq!(link.next().await, None);
        assert!(!link.stands());
    }
}
