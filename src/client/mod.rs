//! The other side of `server`: find or start the host, ask, follow.
//!
//! A host may be killed at any moment and comes back; so every request that changes something carries an idempotency key
//! and is tried again, and a reading goes on at its cursor. Data comes from `cli` as `wire` types and goes to the socket
//! that `config::Paths` names, or over TCP. Nothing here prints, and nothing starts a host unless [`Setup::autostart`] says so.

mod address;
mod attach;
mod connect;
mod error;
mod events;
mod follow;
mod lines;
mod link;
mod request;
mod search;
mod start;
mod tries;
mod turns;

pub use address::{Address, Credentials, Stream, Token};
pub use attach::{Attach, Shown};
pub use connect::{Backoff, Host, Presence};
pub use error::ClientError;
pub use events::Events;
pub use follow::{Follow, Item};
pub use request::{Client, RETRY_PATIENCE};
pub use search::Search;
pub use start::Setup;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
