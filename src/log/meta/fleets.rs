//! Fleets in `meta`: what was brought up together, and how far its groups' restarts have come. Truth, written here first.

use super::{Change, FLEET, Meta, MetaBatch, StoreDown, entry};
use crate::model::Name;

impl MetaBatch {
    /// Adds or replaces a fleet (JSON). Makes the batch durable.
    #[must_use]
    pub fn put_fleet(mut self, name: &Name, json: &[u8]) -> MetaBatch {
        self.durable = true;
        self.put(fleet_name(name), json.to_vec())
    }

    /// Forgets a fleet. Makes the batch durable.
    #[must_use]
    pub fn drop_fleet(mut self, name: &Name) -> MetaBatch {
        self.durable = true;
        self.changes.push(Change::Drop(fleet_name(name)));
        self
    }
}

impl Meta {
    /// Every fleet, as it was put.
    pub fn fleets(&self) -> Result<Vec<Vec<u8>>, StoreDown> {
        entry::all(&self.table, vec![FLEET]).map(|found| found.map(|(_, json)| json)).collect()
    }
}

/// Ends with a byte that no name has: one that begins as another does is another.
fn fleet_name(name: &Name) -> Vec<u8> {
    [&[FLEET], name.as_str().as_bytes(), &[0]].concat()
}
