//! Making, showing and ending sessions.

use super::{App, failed, no_answer};
use crate::model::{Key, Name, signal_number};
use crate::session::messages::{Describe, End, Resize, SignalOnce};
use crate::supervisor::{Create, Defaults, Find, Found, List, Remove, ResolveError, Restart, resolve};
use crate::wire::{ApiError, Code, KillRequest, NewSession, ResizeRequest, SessionInfo};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::join_all;

type Answer = Result<HttpResponse, ApiError>;

/// The longest idempotency key.
const MAX_KEY: usize = 128;

pub(super) async fn find(app: &App, name: &str) -> Result<Found, ApiError> {
    app.supervisor.send(Find(name.to_owned())).await.map_err(no_answer)?
}

pub(super) async fn describe_all(app: &App) -> Result<Vec<SessionInfo>, ApiError> {
    let addrs = app.supervisor.send(List).await.map_err(no_answer)?;
    let all = join_all(addrs.iter().map(|addr| addr.send(Describe))).await;
    Ok(all.into_iter().flatten().map(|snapshot| snapshot.info).collect()) // one that is being removed doesn't answer
}

/// The client's key for this request.
pub(super) fn key(request: &HttpRequest) -> Result<Option<Key>, ApiError> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(text) if !text.is_empty() && text.len() <= MAX_KEY => Ok(Some(Key(text.to_owned()))),
        _ => Err(ApiError::new(Code::Usage, format!("an idempotency key is 1 to {MAX_KEY} visible characters"))),
    }
}

pub(super) async fn list(app: web::Data<App>, request: HttpRequest) -> Answer {
    let (mut all, mut labels) = (false, Vec::new());
    for (name, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
        match &*name {
            "all" => all = value == "1" || value == "true",
            "label" => labels.push(label(&value)?),
            _ => {}
        }
    }
    let mut infos = describe_all(&app).await?;
    infos.retain(|s| (all || s.state.is_live()) && labels.iter().all(|(k, v)| s.labels.get(k) == Some(v)));
    Ok(HttpResponse::Ok().json(infos))
}

fn label(text: &str) -> Result<(String, String), ApiError> {
    let (k, v) =
        text.split_once('=').ok_or_else(|| ApiError::new(Code::Usage, format!("bad label {text:?}: write k=v")))?;
    Ok((k.to_owned(), v.to_owned()))
}

pub(super) async fn create(app: web::Data<App>, request: HttpRequest, body: web::Json<NewSession>) -> Answer {
    let body = body.into_inner();
    let name: Name =
        body.name.parse().map_err(|e: crate::model::NameError| ApiError::new(Code::Usage, e.to_string()))?;
    let digest =
        serde_json::to_vec(&body).map(|json| crate::session::digest_text(crc32c::crc32c(&json))).map_err(failed)?;
    let key = key(&request)?.map(|key| (key, digest));
    let defaults = Defaults { size: app.config.session.size };
    let resolved = web::block(move || resolve(&body, &defaults).map(|spec| (body, spec))).await.map_err(failed)?;
    let (body, spec) = resolved.map_err(|e| match e {
        ResolveError::Usage(why) => ApiError::new(Code::Usage, why),
        ResolveError::CannotStart(why) => ApiError::new(Code::CannotStart, format!("cannot start: {why}")),
    })?;
    let created =
        app.supervisor.send(Create { request: body, spec, name, key, member: None }).await.map_err(no_answer)??;
    let mut answer = if created.created { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(answer.json(created))
}

pub(super) async fn show(app: web::Data<App>, name: web::Path<String>) -> Answer {
    info(&app, &name).await
}

async fn info(app: &App, name: &str) -> Answer {
    let found = find(app, name).await?;
    let snapshot = found.addr.send(Describe).await.map_err(no_answer)?;
    Ok(HttpResponse::Ok().json(snapshot.info))
}

pub(super) async fn remove(app: web::Data<App>, name: web::Path<String>, request: HttpRequest) -> Answer {
    let (mut force, mut from) = (false, None);
    for (key, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
        match &*key {
            "force" => force = value == "1",
            "from" => from = Some(value.into_owned()),
            _ => {}
        }
    }
    let found = find(&app, &name).await?;
    may_end(&found, &name, from.as_deref(), force).await?;
    app.supervisor.send(Remove { name: name.into_inner(), force }).await.map_err(no_answer)??;
    Ok(HttpResponse::Ok().json(serde_json::json!({})))
}

pub(super) async fn resize(app: web::Data<App>, name: web::Path<String>, body: web::Json<ResizeRequest>) -> Answer {
    let found = find(&app, &name).await?;
    found.addr.send(Resize(body.size)).await.map_err(no_answer)??;
    info(&app, &name).await
}

pub(super) async fn signal(app: web::Data<App>, name: web::Path<String>, body: web::Json<KillRequest>) -> Answer {
    let found = find(&app, &name).await?;
    may_end(&found, &name, body.from.as_deref(), body.force).await?;
    match &body.signal {
        Some(signal) => found.addr.send(SignalOnce(signal_of(signal)?)).await.map_err(no_answer)??,
        None => found.addr.send(End { force: body.force, for_restart: false }).await.map_err(no_answer)??,
    }
    info(&app, &name).await
}

/// A session ends what it made, and others only when it means it: an agent that tidies up would take its neighbours along.
async fn may_end(found: &Found, name: &str, from: Option<&str>, force: bool) -> Result<(), ApiError> {
    let Some(from) = from.filter(|_| !force) else { return Ok(()) };
    let snapshot = found.addr.send(Describe).await.map_err(no_answer)?;
    if snapshot.maker.is_some_and(|maker| maker.to_string() == from) {
        return Ok(());
    }
    let refused = ApiError::new(Code::NotPermitted, format!("session {name:?} wasn't made by the session this is in"));
    Err(refused.hint("--force does it all the same"))
}

pub(super) async fn restart(app: web::Data<App>, name: web::Path<String>) -> Answer {
    app.supervisor.send(Restart(name.to_string())).await.map_err(no_answer)??;
    info(&app, &name).await
}

fn signal_of(text: &str) -> Result<i32, ApiError> {
    signal_number(text).map_err(|e| ApiError::new(Code::Usage, e.to_string()))
}
