//! The process that is parent of every session and outlives the host.

mod link;
mod process;

pub use link::{Handover, Held, Link, LinkError, LinkEvent, SpawnError, SpawnRun, Spawned, take_over};
pub use process::{Options, VERB, main, run};
