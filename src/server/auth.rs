//! Who may talk to the host: on the local socket its own user and root; over TCP who shows a token, in a request that no web
//! page can make. Every request passes here, of every route.
//!
//! Refused requests end their connection, so that nobody without a token can keep one. What was asked and answered is counted
//! and, at `debug`, logged: method, path and status, never a header and never a query.

use super::frames::Frames;
use super::gate::{Entered, Gate, Refusal, Refusals, Streaming};
use super::metrics::Requests;
use super::tokens::Access;
use crate::wire::{ApiError, Code};
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Extensions, Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header::{
    AUTHORIZATION, HOST, HeaderMap, HeaderValue, ORIGIN, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL, UPGRADE, WWW_AUTHENTICATE,
};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, ResponseError};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// How long a body may take over TCP. 60 s: the largest one at a bit more than 1 Mbit/s.
const BODY_PATIENCE: Duration = Duration::from_secs(60);
/// Asked by those who only want to know whether the host lives: needs no token, says nothing else.
const HEALTH: &str = "/healthz";
/// A word that a WebSocket client can offer beside its token, to be answered instead of it.
const PROTOCOL: &str = "termalive";
/// What stands before a token in a WebSocket's protocols.
const BEARER: &str = "bearer.";

/// The other side of a connection.
enum Peer {
    /// On the local socket: its user.
    Local(Option<u32>, #[expect(dead_code, reason = "counts as long as it lives")] Counted),
    Remote(Entered),
}

/// How many connections the local socket has. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Local(Arc<AtomicU64>);

struct Counted(Local);

impl Local {
    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn one(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Asks the kernel who connected.
pub(super) fn on_local(local: &Local, connection: &dyn Any, data: &mut Extensions) {
    if let Some(stream) = connection.downcast_ref::<actix_rt::net::UnixStream>() {
        data.insert(Peer::Local(stream.peer_cred().ok().map(|c| c.uid()), local.one()));
    }
}

/// Gives a connection over TCP its place.
pub(super) fn on_tcp(gate: &Arc<Gate>, connection: &dyn Any, data: &mut Extensions) {
    if let Some(stream) = connection.downcast_ref::<actix_rt::net::TcpStream>()
        && let Some(entered) = gate.enter(stream)
    {
        data.insert(Peer::Remote(entered));
    }
}

/// Lets through who may, answers all others, counts both.
pub(super) async fn check(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let begun = Instant::now();
    let (method, path) = (request.method().clone(), request.path().to_owned());
    let requests = request.app_data::<actix_web::web::Data<super::App>>().map(|app| app.requests.clone());
    let admitted = admit(&request);
    if let (Err(_), Some(Peer::Remote(entered))) = (&admitted, request.conn_data::<Peer>()) {
        entered.goodbye();
    }
    let mut response = match admitted {
        Err(refused) => refused.answer(request),
        Ok(remote) => {
            if method == Method::GET && request.headers().contains_key(UPGRADE) {
                let frames = Frames::new(request.take_payload());
                request.set_payload(Payload::Stream { payload: Box::pin(frames) });
            } else if remote {
                limit_body(&mut request);
            }
            let chosen = remote.then(|| chosen_protocol(request.headers())).flatten();
            let answered = next.call(request).await?.map_into_boxed_body();
            let answered = echo_protocol(answered, chosen);
            if remote { count_stream(answered) } else { answered }
        }
    };
    if path == HEALTH {
        if let Some(Peer::Remote(entered)) = response.request().conn_data::<Peer>() {
            entered.goodbye();
        }
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    let status = response.status();
    if let Some(requests) = requests {
        count(&requests, &response, &method, status);
    }
    tracing::debug!(%method, path, status = status.as_u16(), took = ?begun.elapsed(), "request");
    Ok(response)
}

fn count(requests: &Requests, response: &ServiceResponse<BoxBody>, method: &Method, status: StatusCode) {
    let route = response.request().match_pattern();
    requests.add(route.as_deref(), method, status);
}

/// A request that is sent away.
struct Refused {
    error: ApiError,
    status: StatusCode,
    wait: Option<Duration>,
}

impl Refused {
    fn new(error: ApiError) -> Refused {
        Refused { status: error.status_code(), error, wait: None }
    }

    fn answer(self, request: ServiceRequest) -> ServiceResponse<BoxBody> {
        let mut response = request.into_response(self.error.error_response());
        let head = response.response_mut().head_mut();
        head.status = self.status;
        head.set_connection_type(ConnectionType::Close);
        if self.status == StatusCode::UNAUTHORIZED {
            head.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.wait {
            head.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
        }
        response
    }
}

/// True: over TCP.
fn admit(request: &ServiceRequest) -> Result<bool, Refused> {
    let refused = |why: String| Err(Refused::new(ApiError::new(Code::NotPermitted, why)));
    match request.conn_data::<Peer>() {
        Some(Peer::Remote(_)) if request.path() == HEALTH => Ok(true),
        Some(Peer::Remote(entered)) => admit_remote(entered, request).map(|()| true),
        Some(Peer::Local(Some(uid), _)) => {
            let own = rustix::process::geteuid().as_raw();
            match *uid == own || *uid == 0 {
                true => Ok(false),
                false => refused(format!("user {uid} may not talk to the host of user {own}")),
            }
        }
        Some(Peer::Local(None, _)) | None => refused("the other side of this connection is not known".to_owned()),
    }
}

fn admit_remote(entered: &Entered, request: &ServiceRequest) -> Result<(), Refused> {
    let (gate, headers) = (entered.gate(), request.headers());
    let forbidden = |why: String, hint: &str| Refused::new(ApiError::new(Code::NotPermitted, why).hint(hint));
    let host = only(headers, &HOST).unwrap_or_default();
    if !gate.names.host(host, entered.local) {
        Refusals::add(&gate.refused.host);
        return Err(forbidden(format!("this host isn't called {host:?}"), "http.allowed_hosts lists further names"));
    }
    if headers.contains_key(ORIGIN) && !only(headers, &ORIGIN).is_some_and(|o| gate.names.origin(o, entered.local)) {
        Refusals::add(&gate.refused.origin);
        return Err(forbidden(
            "web pages of this origin may not ask".to_owned(),
            "http.allowed_origins lists those that may",
        ));
    }
    let Some(token) = token(headers) else {
        Refusals::add(&gate.refused.no_token);
        return Err(unauthorized("a token is needed over TCP"));
    };
    match entered.show(token.as_bytes()) {
        Ok(access) if access == Access::Full || only_looks(request) => Ok(()),
        Ok(_) => {
            Refusals::add(&gate.refused.read_only);
            Err(forbidden("this token is for looking on only".to_owned(), "STATE/token may do everything"))
        }
        Err(refusal) => Err(refused_token(gate, &refusal)),
    }
}

fn unauthorized(why: &str) -> Refused {
    let error = ApiError::new(Code::NotPermitted, why);
    let hint = "STATE/token holds it: TERMALIVE_TOKEN, --token-file, or the header Authorization: Bearer TOKEN";
    Refused { error: error.hint(hint), status: StatusCode::UNAUTHORIZED, wait: None }
}

fn refused_token(gate: &Gate, refusal: &Refusal) -> Refused {
    match refusal {
        Refusal::Wrong => {
            Refusals::add(&gate.refused.wrong_token);
            unauthorized("this token isn't the right one")
        }
        Refusal::Wait(left) => {
            Refusals::add(&gate.refused.waiting);
            let why = format!("too many wrong tokens from this address: wait {} s", left.as_secs() + 1);
            Refused { wait: Some(*left), ..Refused::new(ApiError::new(Code::TooMany, why)) }
        }
        Refusal::Full => {
            Refusals::add(&gate.refused.crowded);
            let error = ApiError::new(Code::TooMany, "too many connections at once");
            let error = error.hint("http.max_connections and http.max_per_peer set how many there may be");
            Refused { wait: Some(Duration::ZERO), ..Refused::new(error) }
        }
    }
}

/// True for what changes nothing: looking, and attaching read-only.
fn only_looks(request: &ServiceRequest) -> bool {
    let typing = request.match_info().as_str().ends_with("/attach") // decoded, as it is routed
        && !form_urlencoded::parse(request.query_string().as_bytes()).any(|(k, v)| k == "read_only" && v == "1");
    *request.method() == Method::GET && !typing
}

/// The header's value, where there is exactly one.
fn only(headers: &HeaderMap, name: impl actix_web::http::header::AsHeaderName) -> Option<&str> {
    let mut values = headers.get_all(name);
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The token of `Authorization: Bearer TOKEN`, or of a WebSocket's protocols: a browser can set no header there.
fn token(headers: &HeaderMap) -> Option<&str> {
    if headers.contains_key(AUTHORIZATION) {
        let (scheme, token) = only(headers, &AUTHORIZATION)?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim());
    }
    protocols(headers).find_map(|protocol| protocol.strip_prefix(BEARER))
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// A browser closes a connection whose answer names none of the protocols it offered. The token is named only where it is
/// all that was offered.
fn chosen_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let named = protocols(headers).find(|protocol| *protocol == PROTOCOL);
    let chosen = named.or_else(|| protocols(headers).find(|protocol| protocol.starts_with(BEARER)))?;
    HeaderValue::from_str(chosen).ok()
}

fn echo_protocol(mut response: ServiceResponse<BoxBody>, chosen: Option<HeaderValue>) -> ServiceResponse<BoxBody> {
    if let Some(chosen) = chosen.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
    }
    response
}

/// A body that never ends would hold its connection for ever.
fn limit_body(request: &mut ServiceRequest) {
    let deadline = tokio::time::Instant::now() + BODY_PATIENCE;
    let limited = stream::unfold(request.take_payload(), move |mut payload| async move {
        let part = match tokio::time::timeout_at(deadline, payload.next()).await {
            Ok(part) => part?,
            Err(_) => Err(PayloadError::Io(std::io::ErrorKind::TimedOut.into())),
        };
        Some((part, payload))
    });
    request.set_payload(Payload::Stream { payload: Box::pin(limited) });
}

/// An answer that goes on counts, as long as it does.
fn count_stream(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    if response.response().body().size() != BodySize::Stream {
        return response;
    }
    let opened = match response.request().conn_data::<Peer>() {
        Some(Peer::Remote(entered)) => entered.stream().map_err(|_| Refusals::add(&entered.gate().refused.crowded)),
        Some(Peer::Local(..)) | None => return response,
    };
    match opened {
        Ok(streaming) => response.map_body(|_, body| BoxBody::new(GoingOn { body, _streaming: streaming })),
        Err(()) => {
            let error = ApiError::new(Code::TooMany, "too many answers that go on at once for one address");
            let error = error.hint("http.max_follows sets how many there may be");
            response.into_response(error.error_response())
        }
    }
}

struct GoingOn {
    body: BoxBody,
    _streaming: Streaming,
}

impl MessageBody for GoingOn {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn tokens_are_found_where_they_may_stand() {
        let found = |headers: &[(&'static str, &'static str)]| {
            let request = headers.iter().fold(TestRequest::default(), |r, header| r.append_header(*header));
            let request = request.to_srv_request();
            let chosen = chosen_protocol(request.headers()).map(|c| c.to_str().unwrap().to_owned());
            (token(request.headers()).map(str::to_owned), chosen)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(found(&[("authorization", "Bearer abc")]), (some("abc"), None));
        assert_eq!(found(&[("authorization", "bearer  abc ")]), (some("abc"), None));
        assert_eq!(found(&[("sec-websocket-protocol", "bearer.abc")]), (some("abc"), some("bearer.abc")));
        assert_eq!(found(&[("sec-websocket-protocol", "bearer.abc, termalive")]), (some("abc"), some("termalive")));
        assert_eq!(found(&[("sec-websocket-protocol", "chat")]), (None, None));
        let two = [("authorization", "Bearer abc"), ("authorization", "Bearer def")];
        assert_eq!(found(&two).0, None);
        assert_eq!(found(&[("authorization", "Basic abc"), ("sec-websocket-protocol", "bearer.abc")]).0, None);
        assert_eq!(found(&[("cookie", "token=abc")]).0, None);
    }

    #[test]
    fn looking_is_told_from_changing() {
        let looks = |method: Method, uri: &str| only_looks(&TestRequest::with_uri(uri).method(method).to_srv_request());
        assert!(looks(Method::GET, "/v1/sessions/x/follow?until=a"));
        assert!(looks(Method::GET, "/v1/sessions/x/attach?cols=80&read_only=1"));
        assert!(!looks(Method::GET, "/v1/sessions/x/attach?cols=80"));
        assert!(!looks(Method::GET, "/v1/sessions/x/attach?read_only=0"));
        assert!(!looks(Method::POST, "/v1/sessions"));
        assert!(!looks(Method::DELETE, "/v1/sessions/x"));
    }
}
