//! `GET /healthz`: 200 when the log takes writes and the keeper answers, else 503. Needs no token, so it says no more.
//!
//! Whoever asks again within a second gets the same answer: it must cost nothing to be asked for by anyone.

use super::App;
use crate::keeper::Link;
use crate::log::{MetaBatch, Writer};
use actix_web::{HttpResponse, web};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long an answer holds.
const HOLDS: Duration = Duration::from_secs(1);
/// How long log and keeper may take. 3 s: a slow disk is no ill health, and a connection without a token has 5 s.
const PATIENCE: Duration = Duration::from_secs(3);

/// See the module.
pub(crate) struct Health {
    writer: Writer,
    keeper: Link,
    last: Mutex<Option<(Instant, bool)>>,
}

impl Health {
    pub(super) fn new(writer: Writer, keeper: Link) -> Health {
        Health { writer, keeper, last: Mutex::new(None) }
    }

    pub(super) fn writer(&self) -> &Writer {
        &self.writer
    }

    async fn is_well(&self) -> bool {
        let mut last = self.last.lock().await; // all who ask meanwhile wait for the one look
        if let Some((at, well)) = *last
            && at.elapsed() < HOLDS
        {
            return well;
        }
        let look = async { self.writer.commit(MetaBatch::new()).await.is_ok() && self.keeper.answers().await };
        let well = tokio::time::timeout(PATIENCE, look).await.unwrap_or(false);
        *last = Some((Instant::now(), well));
        well
    }
}

pub(super) async fn healthz(app: web::Data<App>) -> HttpResponse {
    match app.health.is_well().await {
        true => HttpResponse::Ok().content_type("text/plain").body("ok\n"),
        false => HttpResponse::ServiceUnavailable().content_type("text/plain").body("not well\n"),
    }
}
