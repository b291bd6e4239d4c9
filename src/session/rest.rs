//! Whether a session rests: nothing writes to it, and nothing will until it is started or ended.
//!
//! Its saved summary says so. After a power loss, or when keeper and host were killed at once, the next host believes that
//! no record came behind that one; of any other session it has to say that some may be lost, and number on behind them. So
//! before the first record that ends a rest, the summary's word is taken back, durably.

use super::actor::SessionActor;
use super::stage::Stage;
use super::summary::Phase;
use crate::log::MetaBatch;

impl SessionActor {
    /// True when no record can come but by [`SessionActor::end_rest`].
    pub(super) fn is_at_rest(&self) -> bool {
        let is_over = self.io.as_ref().is_none_or(|io| io.closed || io.pty.is_none());
        let runs = matches!(self.sum.phase, Phase::Running { .. });
        let to_be_cancelled = self.ending.is_some() && !self.restarting && self.restart_is_due().is_some();
        self.stage == Stage::Idle && is_over && self.owed.is_empty() && !runs && !to_be_cancelled
    }

    /// What has to be durable before a record is made of a session that rests; nothing where that wasn't said.
    pub(super) fn end_rest(&mut self) -> Option<MetaBatch> {
        if !std::mem::take(&mut self.saved.rests) {
            return None;
        }
        self.sum.rests = false;
        let json = serde_json::to_vec(&self.sum).unwrap_or_default(); // an unreadable one says nothing, too
        Some(MetaBatch::new().save_summary(self.meta.id, &json).durably())
    }
}
