//! The states of a session, as users see them.

use serde::{Deserialize, Serialize};

/// Where a session stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its first process is being started.
    Starting,
    /// A process runs.
    Running,
    /// It ended and will be started again after its back-off.
    Restarting,
    /// It ended and nothing will start it again by itself.
    Exited,
    /// It couldn't be started, or ended more often than its policy allows.
    Failed,
    /// It ran, and what became of it can't be known (reboot, host and keeper both gone).
    Lost,
}

impl State {
    /// True while something runs or will run by itself.
    pub fn is_live(self) -> bool {
        matches!(self, State::Starting | State::Running | State::Restarting)
    }

    /// The word users see.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Restarting => "restarting",
            State::Exited => "exited",
            State::Failed => "failed",
            State::Lost => "lost",
        }
    }
}
