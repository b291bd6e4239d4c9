//! One request, one answer, however often the host dies in between.
//!
//! A request that changes something carries an `Idempotency-Key`; one that was cut off while the host lives is sent again
//! with the same key, so that it happens once. Bodies and answers are `wire` types; an answer that is none of them is said to
//! be that.

use super::{ClientError, Host, Presence, Stream, connect, tries::Tries};
use crate::wire::{Code, ErrorBody, MAX_BODY};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use std::{pin::pin, time::Duration};
use tokio::time::{Instant, timeout};

/// How long no host may answer while one is said to live. 30 s: a host that comes back reads its tail in a few.
pub const RETRY_PATIENCE: Duration = Duration::from_secs(30);
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
            match self.while_it_lives(exchange(stream, request)).await? {
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
                Err(Cut::Broken) => self.went_away(&mut tries, begun),
            }
            was_cut = true;
            stream = self.again(&mut tries).await?;
        }
    }

    /// What a host does, for as long as it does anything: one that is stopped, or hangs, takes a question and says nothing.
    pub(super) async fn while_it_lives<T>(&self, work: impl Future<Output = T>) -> Result<T, ClientError> {
        let mut work = pin!(work);
        loop {
            if let Ok(done) = timeout(self.patience / 2, &mut work).await {
                return Ok(done);
            }
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                hangs = timeout(self.patience / 2, self.greet()) => if hangs.is_err() {
                    return Err(ClientError::Silent { place: self.host.place(), waited: self.patience });
                }
            }
        }
    }

    /// Asks what any host knows. Where nobody is there to be asked, who waits for an answer hears of it by himself.
    async fn greet(&self) {
        if let (Ok(stream), Ok(request)) =
            (self.host.address.connect().await, self.request(&Method::GET, "/v1/version", None, Bytes::new()))
        {
            drop(exchange(stream, request).await);
        }
    }

    /// A host was there since `begun`, and went away before it had answered. What has worked for longer than patience lasts is
    /// no reason to have less of it.
    pub(super) fn went_away(&self, tries: &mut Tries, begun: Instant) {
        tries.met();
        if begun.elapsed() > self.patience {
            tries.worked();
        }
    }

    /// The next connection after a cut, for as long as the host lives and patience lasts.
    pub(super) async fn again(&self, tries: &mut Tries) -> Result<Stream, ClientError> {
        let silent = tries.again(&self.host)?;
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

#[cfg(test)]
mod tests {
    use super::super::fake::{Act, Place};
    use super::super::tries::MOST_CUTS;
    use super::*;
    use serde_json::Value;
    use tokio::net::UnixListener;

    #[tokio::test]
    async fn hosts_that_go_away_over_a_request_are_not_asked_for_ever() {
        let place = Place::new();
        let _lock = place.hold_lock();
        place.serve(vec![Act::Cut]);
        let (client, mut tries) = (place.client(), Tries::default());
        (1..MOST_CUTS).for_each(|_| client.went_away(&mut tries, Instant::now()));
        drop(client.again(&mut tries).await.unwrap());
        client.went_away(&mut tries, Instant::now());
        let error = client.again(&mut tries).await.unwrap_err();
        assert!(matches!(error, ClientError::CutOff { times: MOST_CUTS, .. }), "{error:?}");
        let patient = Client { patience: Duration::ZERO, ..client };
        patient.went_away(&mut tries, Instant::now()); // one of them had worked for longer than that
        assert!(!matches!(patient.again(&mut tries).await, Err(ClientError::CutOff { .. })));
    }

    #[tokio::test]
    async fn a_host_that_hangs_is_given_up_and_one_that_works_is_not() {
        let place = Place::new();
        let listener = UnixListener::bind(&place.setup.paths.socket).unwrap(); // takes connections, says nothing
        let client = Client { patience: Duration::from_millis(50), ..place.client() };
        let error = client.get::<Value>("/v1/x").await.unwrap_err();
        assert!(matches!(error, ClientError::Silent { .. }), "{error:?}");
        drop(listener);

        let place = Place::new();
        let (answer, late) = tokio::sync::oneshot::channel();
        let greeted = || Act::Answer(200, "{}".into());
        let heard = place.serve(vec![greeted(), greeted(), greeted()]);
        let client = Client { patience: Duration::from_millis(50), ..place.client() };
        let asked = tokio::spawn(async move { client.while_it_lives(late).await });
        while heard.lock().unwrap().len() < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        answer.send(7).unwrap();
        assert_eq!(asked.await.unwrap().unwrap(), Ok(7), "however long it takes");
        assert!(heard.lock().unwrap().iter().all(|request| request.starts_with("GET /v1/version ")));
    }
}
