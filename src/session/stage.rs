//! Where a run's process stands, for the actor and for what users are told.

use crate::model::{Process, Status};

/// Where the run's process stands. The log's view is in [`Summary::phase`]; this is what the actor waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// No process.
    Idle,
    /// The keeper was asked for one.
    Starting,
    /// It runs.
    Running(Process),
    /// Its leader is gone; output is drained until the PTY says it's over or the grace time ends.
    Draining(Process, Status),
}
