//! Sessions' summaries in `meta`: derived from the log, and what they say may be missing after a crash, unless it has to be
//! durable because it takes something back.

use super::{super::StoreDown, Meta, MetaBatch, SUMMARY, entry, name};
use crate::model::SessionId;
use bytes::Bytes;

impl MetaBatch {
    /// Keeps a session's summary (JSON, derived from its log).
    #[must_use]
    pub fn save_summary(self, id: SessionId, json: &[u8]) -> MetaBatch {
        self.put(name(SUMMARY, id), json.to_vec())
    }

    /// Makes the batch durable, whatever is in it.
    #[must_use]
    pub fn durably(self) -> MetaBatch {
        MetaBatch { durable: true, ..self }
    }
}

impl Meta {
    /// A session's summary.
    pub fn summary(&self, id: SessionId) -> Result<Option<Bytes>, StoreDown> {
        Ok(entry::get(&self.table, &name(SUMMARY, id))?.map(Bytes::from))
    }
}
