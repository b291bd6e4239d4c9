//! `POST /v1/reload`: a new program takes over, sessions go on.
//!
//! In order: the program says what it is; the keeper becomes it, in place; this host writes everything out and lets the
//! keeper replace it. The keeper comes first because a newer keeper speaks with older hosts and starts their sessions'
//! programs, and because the next host is then started from it. A refusal at any step leaves everything as it is.
//!
//! The host doesn't end in order: it is struck down, as by a crash, at a moment when all is on disk. What is under way is cut
//! off at once instead of being answered by a host that half works, and clients and the next host know how to go on from
//! there.

use super::App;
use super::preflight::{Abilities, Origin, ask};
use crate::keeper::Link;
use crate::log::Writer;
use crate::supervisor::Why;
use crate::wire::{ApiError, Code, Reload, Reloading};
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use std::convert::Infallible;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{self, Poll};
use std::time::Duration;
use tokio::sync::Mutex;

/// How long the keeper may take to replace this process before it ends by itself.
const REPLACED_WITHIN: Duration = Duration::from_secs(10);
/// Nothing replaced it: the keeper that is started for the next host isn't this one's.
const EXIT_NOT_REPLACED: i32 = 75;

/// See the module.
pub(crate) struct Reloads {
    link: Link,
    /// `None`: started by a keeper of a version that didn't say.
    origin: Option<Origin>,
    /// One at a time.
    turn: Mutex<()>,
}

impl Reloads {
    pub(super) fn new(link: Link, origin: Option<Origin>) -> Reloads {
        Reloads { link, origin, turn: Mutex::new(()) }
    }

    fn origin(&self) -> Result<&Origin, ApiError> {
        self.origin.as_ref().ok_or_else(|| {
            refused("the keeper is of a version that doesn't know how").hint("termalive stop, then start -d")
        })
    }

    /// Both processes become the program at its place: the keeper at once, this one soon.
    async fn change(&self) -> Result<Abilities, ApiError> {
        let origin = self.origin()?.clone();
        let program = origin.program.clone();
        let abilities = web::block(move || ask(&origin)).await.map_err(super::failed)?.map_err(refused)?;
        self.link.reexec(program).await.map_err(refused)?;
        Ok(abilities)
    }

    /// Everything is written out, then the keeper kills this process and starts the next.
    pub(super) async fn leave(&self, writer: &Writer) -> Result<(), String> {
        if writer.flush().await.is_err() {
            tracing::error!("the log could not be flushed whole; the rings hold the rest");
        }
        tracing::info!("another host takes over");
        self.link.replace().await;
        if tokio::time::timeout(REPLACED_WITHIN, std::future::pending::<()>()).await.is_err() {
            tracing::error!("the keeper doesn't replace this host: it ends by itself");
        }
        std::process::exit(EXIT_NOT_REPLACED);
    }
}

pub(super) async fn reload(app: web::Data<App>, body: web::Bytes) -> Result<HttpResponse, ApiError> {
    let wanted: Reload = match body.is_empty() {
        true => Reload::default(),
        false => serde_json::from_slice(&body)
            .map_err(|e| ApiError::new(Code::Usage, format!("the request's body is not what this verb takes: {e}")))?,
    };
    // on its own: a client that goes away doesn't leave it half done
    let done = actix_rt::spawn(async move {
        let _turn = app.reloads.turn.lock().await;
        let generation = app.facts.generation;
        if wanted.generation.is_some_and(|asked| asked != generation) && is_done(&app) {
            return Ok::<_, ApiError>((answer(&app, Abilities::own(), generation)?, None));
        }
        let abilities = app.reloads.change().await?;
        let leave = Leave(app.clone());
        Ok((answer(&app, abilities, generation)?, Some(leave)))
    });
    let (answer, leave) = done.await.map_err(super::failed)??;
    let word = serde_json::to_vec(&answer).map_err(super::failed)?.into();
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(LastWord { word, _then: leave }))
}

/// This host leaves when the answer that says so is on its way, or when nobody waits for it any more.
struct Leave(web::Data<App>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.shutdown.ask(Why::Reload);
    }
}

/// A body that is dropped when all of it was taken.
struct LastWord {
    word: Bytes,
    _then: Option<Leave>,
}

impl MessageBody for LastWord {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.word.len() as u64)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let word = std::mem::take(&mut self.word);
        Poll::Ready((!word.is_empty()).then_some(Ok(word)))
    }
}

fn answer(app: &App, abilities: Abilities, generation: u64) -> Result<Reloading, ApiError> {
    let program = app.reloads.origin()?.program.display().to_string();
    Ok(Reloading { program, version: abilities.version, generation })
}

/// Whether keeper and host are the program at its place already, or were found not to get on with it.
fn is_done(app: &App) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let Some(there) = app.reloads.origin.as_ref().and_then(|origin| identity(&origin.program)) else { return false };
    let keeper = format!("/proc/{}/exe", app.facts.keeper_pid.load(Ordering::Relaxed));
    let runs = |path: &str| identity(Path::new(path)) == Some(there);
    app.facts.reverted.is_some() || (runs("/proc/self/exe") && runs(&keeper))
}

fn refused(why: impl Into<String>) -> ApiError {
    ApiError::new(Code::CannotStart, format!("not reloaded: {}", why.into()))
}
