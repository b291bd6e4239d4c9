//! A store that keeps everything in memory: for tests, and the measure of the other one.

use super::{EventLog, StoreDown, cost, lock};
use crate::model::{Record, Seq, SessionId};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

/// Records in memory. A clone is the same store.
#[derive(Clone, Default)]
pub struct MemoryStore {
    sessions: Arc<Mutex<HashMap<SessionId, BTreeMap<Seq, Record>>>>,
}

impl EventLog for MemoryStore {
    fn append(&self, batch: &[(SessionId, Record)]) -> Result<(), StoreDown> {
        let mut sessions = lock(&self.sessions);
        for (id, record) in batch {
            sessions.entry(*id).or_default().insert(record.seq, record.clone());
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreDown> {
        Ok(())
    }

    fn read(&self, id: SessionId, from: Seq, budget: usize) -> Result<Vec<Record>, StoreDown> {
        let sessions = lock(&self.sessions);
        let Some(records) = sessions.get(&id) else { return Ok(Vec::new()) };
        let mut page = Vec::new();
        let mut bytes = 0;
        for record in records.range(from..).map(|(_, r)| r) {
            if bytes >= budget && !page.is_empty() {
                break;
            }
            bytes += cost(record);
            page.push(record.clone());
        }
        Ok(page)
    }

    fn last(&self, id: SessionId) -> Result<Option<Seq>, StoreDown> {
        Ok(lock(&self.sessions).get(&id).and_then(|r| r.keys().next_back().copied()))
    }
}
