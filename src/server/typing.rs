//! Typing: turns, input, keys. One shape behind three verbs; `turns` has its own file.

use super::sessions::{find, key};
use super::{App, failed, no_answer};
use crate::model::RawString;
use crate::session::messages::Type;
use crate::session::typist::Manner;
use crate::session::{digest, digest_text, told_again};
use crate::terminal::paste::typed_bytes;
use crate::wire::{ApiError, Code, InputRequest, KeysRequest, Receipt};
use actix_web::{HttpRequest, HttpResponse, web};
use std::time::Duration;

type Answer = Result<HttpResponse, ApiError>;

/// What is typed at once at most: 4 MiB is more than any prompt; the body limit is above it.
const MAX_TEXT: usize = 4 * crate::model::MIB;
/// The longest time a sender may wait. A day is longer than any connection lives.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(86400);

#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) text: RawString,
    pub(super) manner: Manner,
    pub(super) keys: Vec<String>,
    pub(super) from: Option<String>,
    pub(super) timeout_ms: Option<u64>,
    /// See [`Type::asked`].
    pub(super) asked: Option<String>,
}

pub(super) async fn input(
    app: web::Data<App>,
    name: web::Path<String>,
    request: HttpRequest,
    body: web::Json<InputRequest>,
) -> Answer {
    let InputRequest { text, raw, from, timeout_ms } = body.into_inner();
    let manner = if raw { Manner::Verbatim } else { Manner::Paste };
    let wanted = Wanted { text, manner, keys: Vec::new(), from, timeout_ms, asked: None };
    Ok(HttpResponse::Ok().json(submit(&app, &name, &request, wanted).await?))
}

pub(super) async fn keys(
    app: web::Data<App>,
    name: web::Path<String>,
    request: HttpRequest,
    body: web::Json<KeysRequest>,
) -> Answer {
    let KeysRequest { keys, from, timeout_ms } = body.into_inner();
    if keys.is_empty() {
        return Err(ApiError::new(Code::Usage, "no keys are given"));
    }
    let text = RawString::default();
    let wanted = Wanted { text, manner: Manner::Verbatim, keys, from, timeout_ms, asked: None };
    Ok(HttpResponse::Ok().json(submit(&app, &name, &request, wanted).await?))
}

/// Types it, and says where it stands in the log.
pub(super) async fn submit(app: &App, name: &str, request: &HttpRequest, wanted: Wanted) -> Result<Receipt, ApiError> {
    let key = key(request)?;
    if wanted.text.0.len() > MAX_TEXT {
        return Err(ApiError::new(
            Code::Refused,
            format!("{} bytes are too many: at most {MAX_TEXT} at once", wanted.text.0.len()),
        ));
    }
    if wanted.manner != Manner::Verbatim {
        typed_bytes(&wanted.text.0, false).map_err(|e| ApiError::new(Code::Refused, e.to_string()))?;
    }
    let timeout = wanted.timeout_ms.map_or(app.config.send.timeout, Duration::from_millis).min(LONGEST_WAIT);
    let from = wanted.from.unwrap_or_else(|| "cli".to_owned());
    let text = wanted.text.0;
    let typing = Type { text, manner: wanted.manner, keys: wanted.keys, key, from, timeout, asked: wanted.asked };
    if let Some(receipt) = earlier(app, &typing).await? {
        return Ok(receipt);
    }
    let found = find(app, name).await?;
    found.addr.send(typing).await.map_err(no_answer)?
}

/// The receipt that was given under this key long ago; newer ones the session itself knows.
async fn earlier(app: &App, typing: &Type) -> Result<Option<Receipt>, ApiError> {
    let Some(key) = typing.key.clone() else { return Ok(None) };
    let meta = app.meta.clone();
    let entry = web::block(move || meta.key(&key)).await.map_err(failed)?.map_err(failed)?;
    match entry {
        None => Ok(None),
        Some(entry) if entry.request == digest_text(digest(typing)) => told_again(entry).map(Some),
        Some(_) => Err(ApiError::new(Code::KeyReused, "this idempotency key was used with another request")),
    }
}
