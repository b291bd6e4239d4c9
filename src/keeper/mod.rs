//! The process that is parent of every session and outlives the host.
//!
//! # Shape
//! ```text
//! process  the loop: one thread, one poll          link    what the host calls
//! serve    what the host says and is told          driver  the thread behind it
//! sessions what is held, what is being started     revive  a new keeper in place of a dead one, both sides
//! host     the host process, when the next may come
//! reexec   the keeper becomes a newer program in place   program  what hosts are started from
//! setup    how a process becomes a keeper
//! notify   the word to systemd
//! protocol words · channel socket, descriptors, memfds · signals · status how a process ended
//! ```
//! # Rules
//! A keeper holds a copy of every PTY master and ring so that a host's death loses nothing, and never reads or writes
//! them. Two hosts are never served at once: the next is started when the one before has been waited for. The host in
//! turn holds a copy of everything, and gives it to a new keeper when this one dies.
//!
//! Absent on purpose: logs, parsing, configuration, policies, a runtime.

mod channel;
mod driver;
mod host;
mod lean;
mod link;
pub mod notify;
mod process;
mod program;
mod protocol;
mod reexec;
mod revive;
mod serve;
mod sessions;
mod setup;
mod signals;
mod status;

pub use lean::{give_free_memory_back, give_memory_back};
pub use link::{Handover, Held, Link, LinkError, LinkEvent, SpawnError, SpawnRun, Spawned, take_over};
pub use process::{Options, VERB, main, run};
pub use protocol::PROTOCOL;
