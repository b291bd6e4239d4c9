//! All sessions of a host: their names, their boot, their restarts, their orderly end.
//!
//! The actor holds names and timers; what a session is stands in its own actor and log. Requests come from `server`,
//! exits from the keeper, decisions from the sessions.

mod actor;
mod boot;
mod create;
mod fleet;
mod rebirth;
mod resolve;
mod shutdown;

pub use actor::{Create, Find, Found, List, Remove, Restart, StopAll, Supervisor};
pub use boot::boot;
pub use fleet::{Down, Fleet, Fleets, Up, load as load_fleets};
pub use resolve::{Defaults, ResolveError, resolve};
pub use shutdown::{Shutdown, Why};
