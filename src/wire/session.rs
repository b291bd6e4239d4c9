//! Sessions, typing and the host itself.

use crate::model::{Cursor, Name, RawString, Restart, SessionId, Size, State};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `GET /v1/version`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Version {
    /// Of the program.
    pub version: String,
    /// See [`super::API`].
    pub api: u32,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it; units stand in them")]
pub struct HostStatus {
    pub version: String,
    pub api: u32,
    pub host_pid: u32,
    pub keeper_pid: u32,
    /// Rises with each host process.
    pub generation: u64,
    pub uptime_ms: u64,
    /// Between the end of the host before it and this one's first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away_ms: Option<u64>,
    /// Why this is the program before the newest: that one could not serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverted: Option<String>,
    /// Live ones.
    pub sessions: usize,
    pub state_dir: String,
    pub socket: String,
    /// TCP addresses.
    pub listen: Vec<String>,
    pub store: StoreStatus,
}

/// Of the store.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StoreStatus {
    /// On disk.
    pub bytes: u64,
    /// How many segments.
    pub segments: usize,
}

/// `POST /v1/sessions`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NewSession {
    /// Its name.
    pub name: String,
    /// A command line: split, or run by `sh -c` where it has shell syntax. Not together with `argv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The command as words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argv: Option<Vec<RawString>>,
    /// Where; without it the host user's home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<RawString>,
    /// The caller's whole environment; without it the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<(RawString, RawString)>>,
    /// Changes to it (`-e K=V`), in order.
    #[serde(default)]
    pub set_env: Vec<(RawString, RawString)>,
    /// The caller's; without it 022.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Of the terminal; without it 80x24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// For selection.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What happens when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// A command line for the runs after the first, as `command` is for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_command: Option<String>,
    /// The signal that asks a run to end, such as `INT`; without it HUP, then TERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// How long a run may take to end before it is killed; without it the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout_ms: Option<u64>,
    /// A session that is at work without progress for so long is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog_ms: Option<u64>,
    /// A live session that agrees is no error.
    #[serde(default)]
    pub exist_ok: bool,
    /// An ended session of that name is removed first.
    #[serde(default)]
    pub fresh: bool,
}

/// The answer to [`NewSession`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Created {
    /// The session.
    pub session: SessionInfo,
    /// False where it was there already (`exist_ok`).
    pub created: bool,
    /// Where the log of its run begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Cursor>,
}

/// A session as `list`, `show` and `new --json` print it. Times are RFC 3339.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the contract")]
pub struct SessionInfo {
    pub name: Name,
    pub id: SessionId,
    pub state: State,
    pub activity: String,
    pub activity_since: Option<String>,
    pub agent: Option<String>,
    pub command: String,
    pub argv: Vec<RawString>,
    pub cwd: RawString,
    pub pid: Option<u32>,
    pub run: u32,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    /// Why the last run couldn't start, or the session is `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub created_at: String,
    pub started_at: Option<String>,
    pub exited_at: Option<String>,
    pub last_output_at: Option<String>,
    pub last_seq: u64,
    pub last_turn: Option<u64>,
    pub size: Size,
    pub labels: BTreeMap<String, String>,
    /// What runs after the first execute, where that is another command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_command: Option<String>,
    /// By name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog_ms: Option<u64>,
    pub restarts: u32,
    pub attached: u32,
    pub queued: u32,
    /// The fleet it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Name>,
    /// Its group there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Name>,
}

/// `POST …/input`: a text without Enter, or bytes as they are. Opens no turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InputRequest {
    /// What.
    pub text: RawString,
    /// True: typed as they are, control bytes included, never bracketed.
    #[serde(default)]
    pub raw: bool,
    /// See [`super::TurnRequest::from`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How long the program may take to read it; without it 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// `POST …/keys`: named keys, such as `ctrl+c`, `up`, `enter`. Opens no turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeysRequest {
    /// In order.
    pub keys: Vec<String>,
    /// See [`super::TurnRequest::from`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How long the program may take to read it; without it 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// The answer to all three: `send --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// The session.
    pub session: Name,
    /// Its id.
    pub id: SessionId,
    /// The turn, for a submitted text.
    pub turn: Option<u64>,
    /// Of the (first) input record.
    pub seq: u64,
    /// `typed`.
    pub state: String,
    /// The run it went to.
    pub run: u32,
}

/// `POST …/signal`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KillRequest {
    /// Sent once to the foreground group's session, nothing else changes. Without it the whole tree is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// SIGKILL at once, whoever asks.
    #[serde(default)]
    pub force: bool,
    /// The id of the session from inside which this is asked: it may end what it made, others with `force` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// `POST …/resize`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ResizeRequest {
    /// The new size.
    pub size: Size,
}
