//! Idempotency keys of what was typed, on their way to `meta`.
//!
//! A receipt is given when the log has what it says; its key goes to `meta` a moment later. A host that is killed in between
//! leaves it in the log alone, in the summary's newest sends. Later sends push it out of there, so the next host saves it, or a
//! retry would type the text once more. Data comes from the summary and goes to the writer; nobody waits for it.

use super::actor::SessionActor;
use super::summary::Sent;
use crate::log::{KeyEntry, MetaBatch};
use crate::model::Key;
use crate::wire::{ApiError, Code, Receipt};
use actix::prelude::*;

/// What `meta` keeps of a text: its receipt, or nothing where it isn't known whether it was typed.
pub(super) fn kept_answer(result: Option<&Receipt>) -> serde_json::Value {
    result.map_or(serde_json::Value::Null, |receipt| serde_json::json!(receipt))
}

/// The inverse.
pub fn told_again(entry: KeyEntry) -> Result<Receipt, ApiError> {
    serde_json::from_value(entry.answer).map_err(|_| unknown_outcome())
}

pub(super) fn unknown_outcome() -> ApiError {
    ApiError::new(Code::Unknown, "the host died while this was typed, or gave it up: whether it arrived is not known")
        .hint("look with: termalive logs NAME")
}

impl SessionActor {
    /// Saves the keys of the newest sends that a host before had no time to save.
    pub(super) fn save_keys(&self, ctx: &mut Context<Self>) {
        let entries: Vec<(Key, KeyEntry)> = self.sum.sent.iter().filter_map(|sent| self.kept(sent)).collect();
        if entries.is_empty() {
            return;
        }
        let (meta, writer) = (self.services.meta.clone(), self.services.writer.clone());
        let missing = move || {
            let is_missing = |(key, _): &&(Key, KeyEntry)| matches!(meta.key(key), Ok(None));
            let missing = entries.iter().filter(is_missing);
            missing.fold(None, |batch: Option<MetaBatch>, (key, entry)| {
                Some(batch.unwrap_or_default().put_key(key, entry))
            })
        };
        let saved = async move {
            if let Ok(Some(batch)) = tokio::task::spawn_blocking(missing).await
                && writer.commit(batch).await.is_err()
            {
                tracing::debug!("keys were not saved: the host is ending; the next one does it");
            }
        };
        ctx.spawn(saved.into_actor(self));
    }

    /// Of a send that isn't still being typed.
    fn kept(&self, sent: &Sent) -> Option<(Key, KeyEntry)> {
        if self.tickets.is_open(&sent.key) {
            return None;
        }
        let receipt = sent.done.then(|| Receipt { run: sent.run, ..self.receipt(sent.seq, sent.turn) });
        let (request, wall) = (super::digest_text(sent.digest), self.clock.stamp().wall);
        Some((sent.key.clone(), KeyEntry { request, answer: kept_answer(receipt.as_ref()), wall }))
    }
}
