//! `…/follow`: a reading over a WebSocket; and lines of any other kind over one.
//!
//! The actor pulls: its stream is polled only while the connection takes what was written, so a client that doesn't read
//! stops the reading, not the session.

use super::App;
use super::follow::Reading;
use crate::follow::Frame;
use crate::wire::{ApiError, Code, ErrorBody, FollowQuery, raw_frame};
use actix::{Actor, ActorContext, AsyncContext, StreamHandler};
use actix_web::{HttpRequest, HttpResponse, web};
use actix_web_actors::ws::{CloseCode, CloseReason, Message, ProtocolError, WebsocketContext, WsResponseBuilder};
use futures_util::stream::LocalBoxStream;
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::watch;

/// Connections through proxies live from it, and a dead one is found.
const PING: Duration = Duration::from_secs(20);
/// How long a client may take to answer a close. 5 s: one that is there answers at once, one that isn't holds a connection.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// What a client may say is short.
const MAX_FRAME: usize = 4 * crate::model::KIB;

/// The connection of one reading.
struct WsConnection {
    reading: Option<Reading>,
    give_up: watch::Sender<bool>,
}

/// What a client may say.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Said {
    /// It waits no longer: what stands unfinished is printed, and the reading ends.
    Timeout,
}

pub(super) async fn follow(
    app: web::Data<App>,
    name: web::Path<String>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let query = FollowQuery::from_query(request.query_string())?;
    let (reading, give_up) = Reading::resolve(&app, &name, query).await?;
    let connection = WsConnection { reading: Some(reading), give_up };
    WsResponseBuilder::new(connection, &request, body).frame_size(MAX_FRAME).start()
}

impl Actor for WsConnection {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(PING, |_, ctx| ctx.ping(b""));
        if let Some(reading) = self.reading.take() {
            ctx.add_stream(futures_util::stream::unfold(reading, |mut reading| async move {
                let frames = reading.next().await?;
                Some((Frames(frames), reading))
            }));
        }
    }
}

struct Frames(Result<Vec<Frame>, ApiError>);

impl StreamHandler<Frames> for WsConnection {
    fn handle(&mut self, Frames(frames): Frames, ctx: &mut Self::Context) {
        let frames = match frames {
            Ok(frames) => frames,
            // its session's actor is gone, another comes: the client goes on at its cursor
            Err(error) if error.code == Code::Stopping => return close(CloseCode::Restart, ctx),
            Err(error) => return ctx.text(serde_json::to_string(&ErrorBody { error }).unwrap_or_default()),
        };
        for frame in frames {
            match frame {
                Frame::Line(line) => ctx.text(serde_json::to_string(&line).unwrap_or_default()),
                Frame::Raw { at, bytes } => ctx.binary(raw_frame(at, &bytes)),
            }
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        close(CloseCode::Normal, ctx);
    }
}

/// Says goodbye, and goes when it is answered, or a little later: who never answers would hold the connection for ever.
pub(super) fn close<A>(reason: impl Into<CloseReason>, ctx: &mut WebsocketContext<A>)
where
    A: Actor<Context = WebsocketContext<A>>,
{
    ctx.close(Some(reason.into()));
    ctx.run_later(CLOSE_PATIENCE, |_, ctx| ctx.stop());
}

impl StreamHandler<Result<Message, ProtocolError>> for WsConnection {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Self::Context) {
        match message {
            Ok(Message::Ping(data)) => ctx.pong(&data),
            Ok(Message::Text(text)) => match serde_json::from_str::<Said>(&text) {
                Ok(Said::Timeout) => drop(self.give_up.send_replace(true)),
                Err(_) => close((CloseCode::Unsupported, "only {\"op\":\"timeout\"} is understood"), ctx),
            },
            Ok(Message::Close(reason)) => {
                ctx.close(reason);
                ctx.stop();
            }
            Ok(Message::Pong(_) | Message::Nop) => {}
            Ok(Message::Binary(_) | Message::Continuation(_)) => close(CloseCode::Unsupported, ctx),
            Err(_) => ctx.stop(),
        }
    }
}

/// Lines of JSON, as they come.
pub(super) type Lines = LocalBoxStream<'static, Result<Vec<String>, ApiError>>;

/// A connection over which lines go out and nothing comes in.
pub(super) struct LineSocket {
    lines: Option<Lines>,
}

impl LineSocket {
    /// Answers the upgrade.
    pub(super) fn start(
        lines: Lines,
        request: &HttpRequest,
        body: web::Payload,
    ) -> Result<HttpResponse, actix_web::Error> {
        WsResponseBuilder::new(LineSocket { lines: Some(lines) }, request, body).frame_size(MAX_FRAME).start()
    }
}

impl Actor for LineSocket {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(PING, |_, ctx| ctx.ping(b""));
        if let Some(lines) = self.lines.take() {
            ctx.add_stream(futures_util::StreamExt::map(lines, Page));
        }
    }
}

struct Page(Result<Vec<String>, ApiError>);

impl StreamHandler<Page> for LineSocket {
    fn handle(&mut self, Page(page): Page, ctx: &mut Self::Context) {
        match page {
            Ok(lines) => lines.into_iter().for_each(|line| ctx.text(line)),
            Err(error) => ctx.text(serde_json::to_string(&ErrorBody { error }).unwrap_or_default()),
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        close(CloseCode::Normal, ctx);
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for LineSocket {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Self::Context) {
        match message {
            Ok(Message::Ping(data)) => ctx.pong(&data),
            Ok(Message::Pong(_) | Message::Nop) => {}
            Ok(Message::Close(reason)) => {
                ctx.close(reason);
                ctx.stop();
            }
            Ok(_) => close((CloseCode::Unsupported, "nothing is to be said here"), ctx),
            Err(_) => ctx.stop(),
        }
    }
}
