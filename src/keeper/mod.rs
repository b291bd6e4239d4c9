//! The process that is parent of every session and outlives the host.
