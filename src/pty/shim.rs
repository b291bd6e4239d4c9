//! What stands between the keeper's fork and the session's program: `termalive __exec`.
//!
//! Reads the [`ShimSpec`] from a sealed memfd, makes the process what the caller asked for and executes the program.
//! It must never decide anything: what can't be done is reported as an errno and a step, and nothing runs.

use crate::model::{Name, RawString, SessionId, Spec};
use serde::{Deserialize, Serialize};

/// The hidden verb that runs [`main`].
pub const VERB: &str = "__exec";
/// The environment variable by which a process is known to belong to a session.
pub const ID_VARIABLE: &str = "TERMALIVE_SESSION_ID";

/// What the shim makes of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShimSpec {
    /// The arguments; the first is the name the program sees.
    pub argv: Vec<RawString>,
    /// The file that is executed. Not looked up in any PATH.
    pub program: RawString,
    /// The working directory.
    pub cwd: RawString,
    /// The whole environment.
    pub env: Vec<(RawString, RawString)>,
    /// The umask.
    pub umask: u32,
}

impl ShimSpec {
    /// A session's spec with the variables every session has: `TERM`, `TERMALIVE_SESSION`, `TERMALIVE_SESSION_ID`,
    /// and `TERMALIVE_HOST` (the URI of the host's socket). They win over what the caller's environment has.
    pub fn new(spec: &Spec, name: &Name, id: SessionId, host: &str) -> ShimSpec {
        let id = id.to_string();
        let own = [
            ("TERM", "xterm-256color"),
            ("TERMALIVE_SESSION", name.as_str()),
            (ID_VARIABLE, &id),
            ("TERMALIVE_HOST", host),
        ];
        let caller = spec.env.iter().filter(|(k, _)| own.iter().all(|(name, _)| k.0 != name.as_bytes())).cloned();
        ShimSpec {
            argv: spec.argv.clone(),
            program: spec.program.clone(),
            cwd: spec.cwd.clone(),
            env: caller.chain(own.iter().map(|(k, v)| ((*k).into(), (*v).into()))).collect(),
            umask: spec.umask,
        }
    }
}

/// Where a start failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpawnStep {
    /// Before anything of the session ran: no PTY, no process, no memory (of the keeper).
    Keeper,
    /// In the shim, before the program's own turn: it died, or couldn't read its spec.
    Shim,
    /// The working directory can't be entered.
    Chdir,
    /// The program can't be executed.
    Exec,
}

/// The shim. `args` are those after [`VERB`].
pub fn main(_args: impl Iterator<Item = std::ffi::OsString>) -> ! {
    std::process::exit(127)
}
