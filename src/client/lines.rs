//! Lines of JSON that come as an answer goes on: hits of a search, how sessions stand.
//!
//! Nothing is read ahead but what the connection holds: who doesn't call [`Lines::next`] makes the host wait with this answer
//! alone. A connection that breaks is an error: what has come can't be told from what is missing.

use super::{Client, ClientError, request};
use crate::wire::{ApiError, Code, ErrorBody};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::io;
use tokio::task::JoinHandle;

/// See the module.
pub struct Lines {
    client: Client,
    body: Incoming,
    held: BytesMut,
    running: JoinHandle<Result<(), hyper::Error>>,
}

impl Client {
    /// `GET path`, whose answer is lines. The host is started first where there is none and may be.
    pub async fn lines(&self, path: &str) -> Result<Lines, ClientError> {
        let stream = self.host.open().await?;
        let vanished = |_| ClientError::Vanished(self.host.place());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(vanished)?;
        let running = tokio::spawn(connection);
        let request = self
            .host
            .address
            .introduce(Request::get(path))
            .body(Empty::<Bytes>::new())
            .map_err(|why| ClientError::System { what: format!("ask for {path}"), why: io::Error::other(why) })?;
        let response = sender.send_request(request).await.map_err(vanished)?;
        let status = response.status();
        if !status.is_success() {
            let answer = response.into_body().collect().await.map_err(vanished)?.to_bytes();
            return Err(request::refusal(&Method::GET, path, status, &answer));
        }
        Ok(Lines { client: self.clone(), body: response.into_body(), held: BytesMut::new(), running })
    }
}

impl Lines {
    /// The next line, without its line feed; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.held) {
                let line = self.held.split_to(end + 1).freeze().slice(..end);
                return match serde_json::from_slice::<ErrorBody>(&line) {
                    Ok(body) => Err(ClientError::Api(body.error)),
                    Err(_) => Ok(Some(line)),
                };
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => self.held.extend(frame.into_data().ok()),
                Some(Err(_)) => {
                    let place = self.client.host.place();
                    let cut = ApiError::new(Code::NoHost, format!("the host at {place} ended while it answered"));
                    return Err(cut.hint("it comes back by itself: ask again").into());
                }
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.running.abort();
    }
}
