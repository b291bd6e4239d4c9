//! `…/attach`: a terminal over a WebSocket.
//!
//! What is shown is pulled, as everywhere: a client that doesn't read costs a cursor, and when it reads again and its place
//! has left the session's tail, it gets the screen instead of the backlog. What is typed goes to the session's actor one
//! frame after the other; a client is told how much was taken and may be one window ahead of that, no further.

use super::sessions::find;
use super::watching::{Watching, Wishes};
use super::ws::close;
use super::{App, no_answer};
use crate::model::Size;
use crate::session::messages::{Attach, Gone, Keystrokes, Reassert};
use crate::session::{SessionActor, Watcher};
use crate::wire::{ApiError, AttachLine, AttachOp, AttachQuery, Code, ErrorBody, TYPING_FRAME, TYPING_WINDOW};
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, StreamHandler, WrapFuture};
use actix_web::{HttpRequest, HttpResponse, web};
use actix_web_actors::ws::{CloseCode, Message, ProtocolError, WebsocketContext, WsResponseBuilder};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Connections through proxies live from it, and a dead one is found.
const PING: Duration = Duration::from_secs(20);

/// A frame for the client.
pub(super) enum Frame {
    Line(AttachLine),
    Bytes(Bytes),
}

/// The connection of one attached terminal.
struct Connection {
    watching: Option<Watching>,
    wishes: watch::Sender<Wishes>,
    session: Addr<SessionActor>,
    watcher: Arc<Watcher>,
    client: String,
    /// Typed by the client and not handed on. At most [`TYPING_WINDOW`].
    keys: Vec<u8>,
    /// Handed on, over all connections of this client.
    upto: u64,
    /// How much of it the session has not answered yet.
    under_way: usize,
}

pub(super) async fn attach(
    app: web::Data<App>,
    name: web::Path<String>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let query = AttachQuery::from_query(request.query_string())?;
    let found = find(&app, &name).await?;
    if query.id.is_some_and(|id| id != found.id) {
        let what = format!("session {:?} is another one now: the one that was attached to is gone", name.as_str());
        return Err(ApiError::new(Code::NoSuchSession, what).into());
    }
    let client = match query.client {
        Some(client) => client,
        None => crate::model::SessionId(random()?).to_string(),
    };
    let watcher = Watcher::new(query.read_only, query.size);
    let joined = Attach { watcher: watcher.clone(), client: client.clone() };
    let joined = found.addr.send(joined).await.map_err(no_answer)??;
    let (wishes, heard) = watch::channel(Wishes::default());
    let upto = joined.typed;
    let watching = Watching::new(&app, &found, watcher.clone(), joined, heard);
    let connection = Connection {
        watching: Some(watching),
        wishes,
        session: found.addr.clone(),
        watcher: watcher.clone(),
        client,
        keys: Vec::new(),
        upto,
        under_way: 0,
    };
    let started = WsResponseBuilder::new(connection, &request, body).frame_size(TYPING_WINDOW as usize).start();
    if started.is_err() {
        found.addr.send(Gone(watcher)).await.map_err(no_answer)?; // it asked for no WebSocket
    }
    started
}

fn random() -> Result<[u8; 16], ApiError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(super::failed)?;
    Ok(bytes)
}

impl Actor for Connection {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(PING, |_, ctx| ctx.ping(b""));
        if let Some(watching) = self.watching.take() {
            ctx.add_stream(futures_util::stream::unfold(watching, |mut watching| async move {
                let frames = watching.next().await?;
                Some((Frames(frames), watching))
            }));
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let (session, watcher) = (self.session.clone(), self.watcher.clone());
        actix_rt::spawn(async move {
            if session.send(Gone(watcher)).await.is_err() {
                tracing::debug!("the session has gone before its client");
            }
        });
    }
}

struct Frames(Result<Vec<Frame>, ApiError>);

impl StreamHandler<Frames> for Connection {
    fn handle(&mut self, Frames(frames): Frames, ctx: &mut Self::Context) {
        let frames = match frames {
            Ok(frames) => frames,
            Err(error) => return ctx.text(serde_json::to_string(&ErrorBody { error }).unwrap_or_default()),
        };
        for frame in frames {
            match frame {
                Frame::Line(line) => say(&line, ctx),
                Frame::Bytes(bytes) => ctx.binary(bytes),
            }
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        close(CloseCode::Normal, ctx);
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for Connection {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Self::Context) {
        match message {
            Ok(Message::Binary(keys)) => self.typed(&keys, ctx),
            Ok(Message::Text(text)) => match serde_json::from_str::<AttachOp>(&text) {
                Ok(op) => self.asked(op, ctx),
                Err(_) => close((CloseCode::Unsupported, "ops are resize, redraw, hold, detach"), ctx),
            },
            Ok(Message::Ping(data)) => ctx.pong(&data),
            Ok(Message::Close(reason)) => {
                ctx.close(reason);
                ctx.stop();
            }
            Ok(Message::Pong(_) | Message::Nop) => {}
            Ok(Message::Continuation(_)) => close(CloseCode::Unsupported, ctx),
            Err(_) => ctx.stop(),
        }
    }
}

impl Connection {
    fn asked(&mut self, op: AttachOp, ctx: &mut WebsocketContext<Self>) {
        match op {
            AttachOp::Resize(size) => self.resized(size, ctx),
            AttachOp::Redraw => self.wishes.send_modify(|wishes| {
                wishes.redraws += 1;
                wishes.hold = false;
            }),
            AttachOp::Hold => self.wishes.send_modify(|wishes| wishes.hold = true),
            AttachOp::Detach => close(CloseCode::Normal, ctx),
        }
    }

    fn resized(&mut self, size: Size, ctx: &mut WebsocketContext<Self>) {
        if size.to_string().parse::<Size>().is_err() {
            return close((CloseCode::Policy, "a size is 1x1 to 1000x1000"), ctx);
        }
        self.watcher.resized(size);
        let told = self.session.send(Reassert(self.watcher.clone()));
        ctx.spawn(told.into_actor(self).map(|told, _, ctx| {
            if told.is_err() {
                ctx.stop(); // the session is gone
            }
        }));
    }

    fn typed(&mut self, keys: &[u8], ctx: &mut WebsocketContext<Self>) {
        if self.watcher.read_only() {
            return close((CloseCode::Policy, "a client that is read-only types nothing"), ctx);
        }
        if (self.under_way + self.keys.len() + keys.len()) as u64 > TYPING_WINDOW {
            return close((CloseCode::Policy, "more was typed than one window beyond what was taken"), ctx);
        }
        self.keys.extend_from_slice(keys);
        self.hand_on(ctx);
    }

    /// One part at a time: the next one goes when the session has typed this one.
    fn hand_on(&mut self, ctx: &mut WebsocketContext<Self>) {
        if self.under_way > 0 || self.keys.is_empty() {
            return;
        }
        let part: Vec<u8> = self.keys.drain(..self.keys.len().min(TYPING_FRAME)).collect();
        self.under_way = part.len();
        self.upto += part.len() as u64;
        let keys =
            Keystrokes { watcher: self.watcher.clone(), client: self.client.clone(), upto: self.upto, keys: part };
        let typed = self.session.send(keys);
        ctx.spawn(typed.into_actor(self).map(|typed, act, ctx| {
            let lost = if matches!(typed, Ok(true)) { 0 } else { act.under_way as u64 };
            act.under_way = 0;
            say(&AttachLine::Typed { upto: act.upto, lost }, ctx);
            act.hand_on(ctx);
        }));
    }
}

fn say(line: &AttachLine, ctx: &mut WebsocketContext<Connection>) {
    ctx.text(serde_json::to_string(line).unwrap_or_default());
}
