//! The keeper's loop.

use std::{ffi::OsString, fs::File, os::fd::OwnedFd, process::ExitCode};

/// The hidden verb that runs [`main`].
pub const VERB: &str = "__keeper";

/// What a keeper is started with.
#[derive(Debug)]
pub struct Options {
    /// STATE/lock with the caller's flock on it. The same open description is handed to the host.
    pub lock: File,
    /// A pipe to a waiting command: one byte `R` when the host is ready, else the text of the error.
    pub ready: Option<OwnedFd>,
    /// The host's arguments, from its verb on.
    pub host_args: Vec<OsString>,
    /// True: stay in the caller's session and process group, so that Ctrl+C ends the host in order.
    pub foreground: bool,
}

/// Keeps sessions until the host has said `bye` or can't be started. Blocks; the caller is the keeper from then on and
/// must have no other thread.
pub fn run(options: Options) -> ExitCode {
    drop(options);
    ExitCode::FAILURE
}

/// `__keeper --revive FD`: a keeper started by the host in place of a dead one. `args` are those after the verb.
pub fn main(_args: impl Iterator<Item = OsString>) -> ExitCode {
    ExitCode::FAILURE
}
