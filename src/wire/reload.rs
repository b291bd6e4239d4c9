//! A newer program takes over: what is asked, what is answered.

use serde::{Deserialize, Serialize};

/// `POST /v1/reload`; all of it may be left out.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Reload {
    /// The host that is to go, as its status says. Where another one serves the program by now, nothing is done: a request
    /// that was cut off may be sent again.
    pub generation: Option<u64>,
}

/// Its answer: the program was tried, the keeper is that program, and this host is about to leave.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reloading {
    /// The file.
    pub program: String,
    /// Its version.
    pub version: String,
    /// Of the host that leaves; the next one has a higher one.
    pub generation: u64,
}
