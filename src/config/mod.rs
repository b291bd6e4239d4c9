//! Configuration and places: what a host is told, and where it lives.
//!
//! Built-in defaults, the user's file, `TERMALIVE_CFG_*`, flags; merged in this order by [`Config::merge`], which is pure:
//! the environment comes in as an [`Env`]. Only [`Config::load`], [`Env::from_process`] and [`Paths::prepare`] touch the
//! outside. Data goes to the host (settings) and to both sides (paths). It must never hold a secret.

mod bytes;
mod env;
mod load;
mod paths;
mod values;

pub use bytes::{BytesError, parse_bytes};
pub use env::Env;
pub use load::{ConfigError, FileText, Origin};
pub use paths::{Paths, PathsError, SOCKET_PATH_MAX};

use crate::model::Size;
use std::net::SocketAddr;
use std::time::Duration;

/// The commented defaults, as `config/termalive.toml` has them. The keys in it are all there are.
pub const DEFAULTS: &str = include_str!("../../config/termalive.toml");

/// All settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Of the host process.
    pub host: HostConfig,
    /// Of the log on disk.
    pub store: StoreConfig,
    /// What is kept of it.
    pub log: LogConfig,
    /// Of sessions.
    pub session: SessionConfig,
    /// Of typing.
    pub send: SendConfig,
    /// Of waits.
    pub wait: WaitConfig,
    /// Of asks.
    pub ask: AskConfig,
    /// Of TCP.
    pub http: HttpConfig,
    /// Of attached terminals.
    pub attach: AttachConfig,
}

/// `[host]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// A filter in the syntax of tracing.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Bytes at which `host.log` begins anew.
    pub log_bytes: u64,
}

/// `host.log_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Bytes at which a segment is closed.
    pub segment_bytes: u64,
    /// Age at which it is closed.
    pub segment_age: Duration,
    /// Between two fsyncs of output.
    pub commit_interval: Duration,
    /// Free bytes below which nothing is written.
    pub min_free: u64,
}

/// `[log]`: limits, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Bytes on disk of all sessions together.
    pub keep_bytes: Option<u64>,
    /// Bytes of one session.
    pub keep_session_bytes: Option<u64>,
    /// Since its segment was closed.
    pub keep_age: Option<Duration>,
}

/// `[session]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Of a new terminal.
    pub size: Size,
    /// Between HUP and TERM, and between TERM and KILL.
    pub stop_grace: Duration,
}

/// `[send]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendConfig {
    /// Between text and Enter.
    pub enter_delay: Duration,
    /// How long a program may take to read.
    pub timeout: Duration,
}

/// `[http]`: TCP alone; the local socket has no settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Addresses; none: TCP is off.
    pub listen: Vec<SocketAddr>,
    /// Also addresses that others can reach, without encryption.
    pub insecure: bool,
    /// Hosts that a request may name, besides the address itself.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may ask, besides the address itself.
    pub allowed_origins: Vec<String>,
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once of one address.
    pub max_per_peer: usize,
    /// Answers that go on (follows) at once of one address.
    pub max_follows: usize,
}

/// `[attach]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachConfig {
    /// The key before a command for `attach` itself, as its control byte.
    pub prefix: u8,
}

/// `[wait]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitConfig {
    /// See `--wait-first`.
    pub first: Duration,
}

/// `[ask]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskConfig {
    /// See `ask --timeout`.
    pub timeout: Duration,
    /// How long a silence ends a reply of a program whose prompt isn't known.
    pub quiet: Duration,
}
