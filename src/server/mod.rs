//! HTTP and WebSocket for clients on the local socket and over TCP, and the host process itself.
//!
//! A handler checks, asks an actor, answers; it holds no state of its own. Every follow is a reader with a cursor: it is
//! pulled by its connection and never pushed to.

mod asks;
mod attach;
mod auth;
mod before;
mod events;
mod follow;
mod frames;
mod gate;
mod health;
mod host;
mod hostlog;
mod lobby;
mod metrics;
mod names;
mod preflight;
mod reload;
mod look;
mod resolve;
mod routes;
mod screen;
mod search;
mod sessions;
mod tcp;
mod tokens;
mod turns;
mod typing;
mod watching;
mod ws;

pub use host::{host_main, store_options};
pub use preflight::{Origin, VERB as PREFLIGHT, say as preflight};

use crate::config::Config;
use crate::log::{EventLog, Meta, SegmentStore};
use crate::session::Changes;
use crate::supervisor::{Shutdown, Supervisor};
use crate::wire::{ApiError, Code, ErrorBody};
use actix::Addr;
use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What every handler may use.
#[derive(Clone)]
pub(crate) struct App {
    supervisor: Addr<Supervisor>,
    store: Arc<SegmentStore>,
    meta: Arc<Meta>,
    config: Arc<Config>,
    shutdown: Arc<Shutdown>,
    facts: Arc<Facts>,
    requests: metrics::Requests,
    local: auth::Local,
    health: Arc<health::Health>,
    /// With TCP.
    gate: Option<Arc<gate::Gate>>,
    asks: Arc<asks::Asks>,
    changes: Arc<Changes>,
    searches: Arc<search::Searches>,
    reloads: Arc<reload::Reloads>,
}

/// What doesn't change while a host runs.
pub(crate) struct Facts {
    generation: u64,
    /// How long no host answered before this one.
    away: Option<Duration>,
    reverted: Option<String>,
    keeper_pid: Arc<std::sync::atomic::AtomicU32>,
    since: Instant,
    state_dir: String,
    socket: String,
    tcp: tcp::Serving,
}

impl App {
    fn log(&self) -> Arc<dyn EventLog> {
        self.store.clone()
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code()).json(ErrorBody { error: self.clone() })
    }
}

/// An actor that should be there doesn't answer.
fn no_answer(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(Code::Stopping, format!("the host is ending: {error}"))
}

/// Something on a blocking thread went wrong.
fn failed(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(Code::Failed, error.to_string())
}
