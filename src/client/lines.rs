//! Lines of JSON that come as an answer goes on.
//!
//! Nothing is read ahead but what the connection holds: who doesn't call [`Lines::next`] makes the host wait with this answer
//! alone.

use super::{ClientError, Host, Stream, request};
use crate::wire::ErrorBody;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::io;
use tokio::task::JoinHandle;

/// See the module.
pub(super) struct Lines {
    body: Incoming,
    held: BytesMut,
    running: JoinHandle<Result<(), hyper::Error>>,
}

/// What comes.
pub(super) enum Got {
    /// Without its line feed.
    Line(Bytes),
    End,
    /// The connection broke: there is more.
    Cut,
}

impl Lines {
    /// `GET path`, whose answer is lines; nothing when the connection broke before.
    pub(super) async fn open(host: &Host, stream: Stream, path: &str) -> Result<Option<Lines>, ClientError> {
        let request = host
            .address
            .introduce(Request::get(path))
            .body(Empty::<Bytes>::new())
            .map_err(|why| ClientError::System { what: format!("ask for {path}"), why: io::Error::other(why) })?;
        match Lines::ask(stream, request).await {
            Ok(Ok(lines)) => Ok(Some(lines)),
            Ok(Err((StatusCode::REQUEST_TIMEOUT, _))) | Err(_) => Ok(None), // it had no time to read the request
            Ok(Err((status, answer))) => Err(request::refusal(&Method::GET, path, status, &answer)),
        }
    }

    async fn ask(
        stream: Stream,
        request: Request<Empty<Bytes>>,
    ) -> Result<Result<Lines, (StatusCode, Bytes)>, hyper::Error> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let running = tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let status = response.status();
        if !status.is_success() {
            return Ok(Err((status, response.into_body().collect().await?.to_bytes())));
        }
        Ok(Ok(Lines { body: response.into_body(), held: BytesMut::new(), running }))
    }

    /// The next line.
    pub(super) async fn next(&mut self) -> Result<Got, ClientError> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.held) {
                let line = self.held.split_to(end + 1).freeze().slice(..end);
                return match serde_json::from_slice::<ErrorBody>(&line) {
                    Ok(body) => Err(ClientError::Api(body.error)),
                    Err(_) => Ok(Got::Line(line)),
                };
            }
            match self.body.frame().await {
                None => return Ok(Got::End),
                Some(Ok(frame)) => self.held.extend(frame.into_data().ok()),
                Some(Err(_)) => return Ok(Got::Cut),
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.running.abort();
    }
}
