//! Fleets: bringing them up and down, and how they stand.

use super::{App, failed, no_answer};
use crate::model::{Name, NameError, Spec};
use crate::supervisor::{Defaults, Down, Fleets, ResolveError, Up, resolve};
use crate::wire::{ApiError, Code, FleetRequest};
use actix_web::{HttpRequest, HttpResponse, web};
use std::collections::BTreeMap;

type Answer = Result<HttpResponse, ApiError>;

/// Sessions of a fleet: each takes its turn to be started.
const MAX_SESSIONS: usize = 1024;

pub(super) async fn list(app: web::Data<App>) -> Answer {
    Ok(HttpResponse::Ok().json(app.supervisor.send(Fleets).await.map_err(no_answer)?))
}

pub(super) async fn up(app: web::Data<App>, body: web::Json<FleetRequest>) -> Answer {
    let request = body.into_inner();
    let usage = |why: String| ApiError::new(Code::Usage, why);
    let name: Name = request.name.parse().map_err(|e: NameError| usage(e.to_string()))?;
    if request.sessions.len() > MAX_SESSIONS {
        return Err(usage(format!("at most {MAX_SESSIONS} sessions in a fleet")));
    }
    let shape = request.shape();
    if let Some(twice) = request.sessions.iter().enumerate().find_map(|(at, session)| {
        request.sessions[..at].iter().any(|other| other.name == session.name).then_some(&session.name)
    }) {
        return Err(usage(format!("session {twice:?} is there twice")));
    }
    if shape.groups.contains_key(&name) {
        return Err(usage(format!("the fleet and a group of it are both called {:?}", name.as_str())));
    }
    shape.in_order().map_err(|e| usage(e.to_string()))?;
    let defaults = Defaults { size: app.config.session.size };
    let resolved =
        web::block(move || specs(&request, &defaults).map(|specs| (request, specs))).await.map_err(failed)?;
    let (request, specs) = resolved?;
    let answer = app.supervisor.send(Up { name, shape, request, specs }).await.map_err(no_answer)??;
    Ok(HttpResponse::Ok().json(answer))
}

/// What each session means. All are looked at before anything is done.
fn specs(request: &FleetRequest, defaults: &Defaults) -> Result<BTreeMap<Name, Spec>, ApiError> {
    let spec = |session: &crate::wire::NewSession| {
        let of = |code, why: &str| ApiError::new(code, format!("session {:?}: {why}", session.name));
        let name: Name = session.name.parse().map_err(|e: NameError| of(Code::Usage, &e.to_string()))?;
        let spec = resolve(session, defaults).map_err(|e| match e {
            ResolveError::Usage(why) => of(Code::Usage, &why),
            ResolveError::CannotStart(why) => of(Code::CannotStart, &format!("cannot start: {why}")),
        })?;
        Ok((name, spec))
    };
    request.sessions.iter().map(spec).collect()
}

pub(super) async fn down(app: web::Data<App>, name: web::Path<String>, request: HttpRequest) -> Answer {
    let (mut file, mut dry_run) = (None, false);
    for (key, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
        match &*key {
            "file" => file = Some(value.into_owned()),
            "dry_run" => dry_run = value == "1",
            _ => {}
        }
    }
    let down = Down { name: name.into_inner(), file, dry_run };
    Ok(HttpResponse::Ok().json(app.supervisor.send(down).await.map_err(no_answer)??))
}
