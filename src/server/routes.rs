//! Which path is which verb.

use super::{
    App, attach, events, fleets, follow, health, metrics, reload, screen, search, sessions, turns, typing, ws,
};
use crate::model::MIB;
use crate::wire::{API, ApiError, Code, HostStatus, MAX_BODY, StoreStatus, Version};
use actix_web::error::JsonPayloadError;
use actix_web::{HttpResponse, web};
use std::sync::atomic::Ordering;

/// All of version 1.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    let json = web::JsonConfig::default().limit(MAX_BODY).content_type_required(false).error_handler(|e, _| match e {
        JsonPayloadError::Overflow { .. } | JsonPayloadError::OverflowKnownLength { .. } => {
            ApiError::new(Code::TooLarge, format!("the request's body is longer than {} MiB", MAX_BODY / MIB)).into()
        }
        e => ApiError::new(Code::Usage, format!("the request's body is not what this verb takes: {e}")).into(),
    });
    config.app_data(json).service(
        web::scope("/v1")
            .route("/version", web::get().to(version))
            .route("/status", web::get().to(status))
            .route("/stop", web::post().to(stop))
            .route("/reload", web::post().to(reload::reload))
            .route("/search", web::get().to(search::search))
            .route("/events", web::get().to(events::events))
            .route("/fleets", web::get().to(fleets::list))
            .route("/fleets", web::post().to(fleets::up))
            .route("/fleets/{name}", web::delete().to(fleets::down))
            .route("/sessions", web::get().to(sessions::list))
            .route("/sessions", web::post().to(sessions::create))
            .service(
                web::scope("/sessions/{name}")
                    .route("", web::get().to(sessions::show))
                    .route("", web::delete().to(sessions::remove))
                    .route("/turns", web::get().to(turns::list))
                    .route("/turns", web::post().to(turns::turn))
                    .route("/turns/{turn}", web::get().to(turns::reply))
                    .route("/input", web::post().to(typing::input))
                    .route("/keys", web::post().to(typing::keys))
                    .route("/resize", web::post().to(sessions::resize))
                    .route("/signal", web::post().to(sessions::signal))
                    .route("/restart", web::post().to(sessions::restart))
                    .route("/log", web::get().to(follow::log))
                    .route("/attach", web::get().to(attach::attach))
                    .route("/screen", web::get().to(screen::show))
                    .route("/follow", web::get().to(ws::follow)),
            ),
    );
    config.route("/healthz", web::get().to(health::healthz)).route("/metrics", web::get().to(metrics::metrics));
    config.default_service(web::to(unknown));
}

async fn unknown(request: actix_web::HttpRequest) -> Result<HttpResponse, ApiError> {
    let what = format!("this host has no {} {}", request.method(), request.path());
    Err(ApiError::new(Code::UnknownVerb, what)
        .hint(format!("it is termalive {}, api {API}", env!("CARGO_PKG_VERSION"))))
}

async fn version() -> HttpResponse {
    HttpResponse::Ok().json(Version { version: env!("CARGO_PKG_VERSION").to_owned(), api: API })
}

async fn status(app: web::Data<App>) -> Result<HttpResponse, ApiError> {
    let live = sessions::describe_all(&app).await?.into_iter().filter(|s| s.state.is_live()).count();
    let store = app.store.clone();
    let stats = web::block(move || store.stats()).await.map_err(super::failed)?;
    Ok(HttpResponse::Ok().json(HostStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api: API,
        host_pid: std::process::id(),
        keeper_pid: app.facts.keeper_pid.load(Ordering::Relaxed),
        generation: app.facts.generation,
        uptime_ms: u64::try_from(app.facts.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        away_ms: app.facts.away.and_then(|away| u64::try_from(away.as_millis()).ok()),
        reverted: app.facts.reverted.clone(),
        sessions: live,
        state_dir: app.facts.state_dir.clone(),
        socket: app.facts.socket.clone(),
        listen: app.facts.tcp.addresses(),
        store: StoreStatus { bytes: stats.bytes, segments: stats.segments },
    }))
}

/// Answers when all sessions have ended and everything is on disk.
async fn stop(app: web::Data<App>) -> HttpResponse {
    app.shutdown.ask(crate::supervisor::Why::Asked);
    app.shutdown.when_flushed().await;
    HttpResponse::Ok().json(serde_json::json!({}))
}
