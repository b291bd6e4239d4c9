//! One request, one answer, however often the host dies in between.
//!
//! A request that changes something carries an `Idempotency-Key`; one that was cut off while the host lives is sent again
//! with the same key, so that it happens once. Bodies and answers are `wire` types; an answer that is none of them is said to
//! be that.

use super::{Backoff, ClientError, Host, Presence, Stream, connect};
use crate::wire::{Code, ErrorBody, HostStatus, MAX_BODY};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;
use tokio::time::Instant;

/// How long no host may answer while one is said to live. 30 s: a host that comes back reads its tail in a few.
pub const RETRY_PATIENCE: Duration = Duration::from_secs(30);
/// So many times in a row a host may take what we want and go away over it. 100: we get through where hosts are killed every
/// second, and what itself kills them is not repeated for ever.
pub(super) const MOST_CUTS: u32 = 100;
/// The longest answer. 64 MiB: a list of ten thousand sessions with long commands.
const MAX_ANSWER: usize = 64 * crate::model::MIB;
/// The most of a strange answer that is shown.
const SHOWN: usize = 80;

/// Asks a host.
#[derive(Clone, Debug)]
pub struct Client {
    /// Which.
    pub host: Host,
    /// See [`RETRY_PATIENCE`].
    pub patience: Duration,
}

/// How an exchange failed.
enum Cut {
    /// The connection broke: the host may have done it or not.
    Broken,
    /// What came back isn't HTTP.
    Strange(String),
}

/// What has become of the tries so far.
#[derive(Default)]
pub(super) struct Tries {
    cuts: u32,
    /// Since when nobody answers.
    silent: Option<Instant>,
    backoff: Backoff,
}

impl Tries {
    /// A host was there, and went away before it had answered; `worked`: for so long.
    pub(super) fn cut(&mut self, worked: Duration, patience: Duration) {
        self.silent = None;
        self.cuts += 1;
        if worked > patience {
            *self = Tries::default(); // what has worked for longer than patience lasts is no reason to have less of it
        }
    }
}

impl Client {
    /// A client of this host.
    pub fn new(host: Host) -> Client {
        Client { host, patience: RETRY_PATIENCE }
    }

    /// `GET path`.
    pub async fn get<R: DeserializeOwned>(&self, path: &str) -> Result<R, ClientError> {
        let answer = self.call(Method::GET, path, Bytes::new()).await?;
        read(&Method::GET, path, &answer)
    }

    /// The host's status. A host that works has it at hand: from one that is stopped or hangs nothing is waited for longer than
    /// patience lasts.
    pub async fn status(&self) -> Result<HostStatus, ClientError> {
        drop(self.host.open().await?); // one that is started first takes its own time
        match tokio::time::timeout(self.patience, self.get("/v1/status")).await {
            Ok(status) => status,
            Err(_) => Err(ClientError::Silent { place: self.host.place(), waited: self.patience }),
        }
    }

    /// `GET path`, whose answer isn't JSON.
    pub async fn fetch(&self, path: &str) -> Result<Bytes, ClientError> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// `POST path` with a JSON body.
    pub async fn post<R: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<R, ClientError> {
        let body = serde_json::to_vec(body)
            .map_err(|why| ClientError::System { what: "write the request".to_owned(), why: why.into() })?;
        if body.len() > MAX_BODY {
            return Err(ClientError::TooLarge { bytes: body.len() });
        }
        let answer = self.call(Method::POST, path, body.into()).await?;
        read(&Method::POST, path, &answer)
    }

    /// `DELETE path`, whose answer is read; nothing where a try that was cut off had done it already.
    pub async fn delete<R: DeserializeOwned>(&self, path: &str) -> Result<Option<R>, ClientError> {
        let answer = self.call(Method::DELETE, path, Bytes::new()).await?;
        if answer.is_empty() { Ok(None) } else { read(&Method::DELETE, path, &answer).map(Some) }
    }

    /// A request whose answer says nothing but that it is done.
    pub async fn order(&self, method: Method, path: &str) -> Result<(), ClientError> {
        self.call(method, path, Bytes::new()).await.map(drop)
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, ClientError> {
        self.call_each(method, || (path.to_owned(), body.clone())).await
    }

    /// As [`Client::call`], with path and body of each try: a deadline comes closer.
    pub(super) async fn call_each(
        &self,
        method: Method,
        each: impl Fn() -> (String, Bytes),
    ) -> Result<Bytes, ClientError> {
        let key = if method == Method::GET { None } else { Some(fresh_key()?) };
        let mut stream = self.host.open().await?;
        let mut tries = Tries::default();
        let mut was_cut = false;
        loop {
            let (path, body) = each();
            let request = self.request(&method, &path, key.as_deref(), body)?;
            let begun = Instant::now();
            match exchange(stream, request).await {
                Ok((status, answer)) if status.is_success() => return Ok(answer),
                // it had no time to read the request: nothing was done
                Ok((StatusCode::REQUEST_TIMEOUT, _)) => {}
                Ok((status, answer)) => {
                    return match refusal(&method, &path, status, &answer) {
                        // it is gone because the try that was cut off has removed it
                        ClientError::Api(e) if e.code == Code::NoSuchSession && was_cut && method == Method::DELETE => {
                            Ok(Bytes::new())
                        }
                        error => Err(error),
                    };
                }
                Err(Cut::Strange(answer)) => {
                    return Err(ClientError::NotAHost { request: format!("{method} {path}"), answer });
                }
                Err(Cut::Broken) => tries.cut(begun.elapsed(), self.patience),
            }
            was_cut = true;
            stream = self.again(&mut tries).await?;
        }
    }

    /// The next connection after a cut, for as long as the host lives and patience lasts.
    pub(super) async fn again(&self, tries: &mut Tries) -> Result<Stream, ClientError> {
        if tries.cuts >= MOST_CUTS {
            return Err(ClientError::CutOff { place: self.host.place(), times: tries.cuts });
        }
        let silent = *tries.silent.get_or_insert_with(Instant::now);
        loop {
            if matches!(self.host.presence(false)?, Presence::Absent(_)) {
                return Err(ClientError::Vanished(self.host.place()));
            }
            tries.backoff.pause().await;
            match self.host.address.connect().await {
                Ok(stream) if silent.elapsed() < self.patience => return Ok(stream),
                Err(why) if !connect::may_come_back(&why) => {
                    return Err(self.host.refusal(why));
                }
                _ if silent.elapsed() >= self.patience => {
                    return Err(ClientError::Silent { place: self.host.place(), waited: self.patience });
                }
                _ => {}
            }
        }
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        key: Option<&str>,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut builder = self.host.address.introduce(Request::builder().method(method).uri(path));
        if let Some(key) = key {
            builder = builder.header("idempotency-key", key);
        }
        if !body.is_empty() {
            builder = builder.header("content-type", "application/json");
        }
        builder.body(Full::new(body)).map_err(|why| ClientError::System {
            what: format!("make a request for {path}"),
            why: std::io::Error::other(why),
        })
    }
}

async fn exchange(stream: Stream, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Cut> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(cut)?;
    let running = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request).await.map_err(cut)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|why| match why
            .downcast::<hyper::Error>()
        {
            Ok(why) => cut(*why),
            Err(why) => Cut::Strange(why.to_string()),
        })?;
        Ok((status, body.to_bytes()))
    }
    .await;
    running.abort();
    answer
}

fn cut(why: hyper::Error) -> Cut {
    if why.is_parse() || why.is_parse_status() { Cut::Strange(why.to_string()) } else { Cut::Broken }
}

pub(super) fn read<R: DeserializeOwned>(method: &Method, path: &str, answer: &[u8]) -> Result<R, ClientError> {
    serde_json::from_slice(answer).map_err(|why| ClientError::NotAHost {
        request: format!("{method} {path}"),
        answer: format!("{why}: {}", excerpt(answer)),
    })
}

/// What a host says with a status that isn't success.
pub(super) fn refusal(method: &Method, path: &str, status: StatusCode, answer: &[u8]) -> ClientError {
    match serde_json::from_slice::<ErrorBody>(answer) {
        Ok(body) => ClientError::Api(body.error),
        Err(_) => {
            ClientError::NotAHost { request: format!("{method} {path}"), answer: format!("status {}", status.as_u16()) }
        }
    }
}

fn excerpt(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// 128 random bits: two requests never share a key by chance.
pub(super) fn fresh_key() -> Result<String, ClientError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|why| ClientError::System {
        what: "get random bytes".to_owned(),
        why: std::io::Error::other(why.to_string()),
    })?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
