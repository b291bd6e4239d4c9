//! What can go wrong between a command and its host, each with the sentence and the code a user gets.

use crate::config::{ConfigError, PathsError, SOCKET_PATH_MAX};
use crate::wire::{ApiError, Code};
use std::{path::PathBuf, time::Duration};

/// See the variants; [`ApiError`] is made of it for printing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The host's own words.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Not a host URI.
    #[error("bad host {0:?}: write unix:///path/to/termalive.sock or ws://127.0.0.1:7777")]
    Uri(String),
    /// A kind of host URI that comes later.
    #[error("can't reach {0}: this version has no TLS and no ssh of its own")]
    NotYet(String),
    /// The path in a URI doesn't fit.
    #[error("can't reach unix://{}: the path has {} bytes, a socket's has at most {SOCKET_PATH_MAX}", .0.display(), .0.as_os_str().len())]
    LongPath(PathBuf),
    /// Nothing is there.
    #[error("no host runs at {0}")]
    NoHost(String),
    /// Nothing is there, at a place that was named: no command of ours would start one.
    #[error("no host runs at {0}")]
    NotThere(String),
    /// The network says no.
    #[error("can't reach {place}: {why}")]
    Unreachable {
        /// Where.
        place: String,
        /// The system's reason.
        why: std::io::Error,
    },
    /// Everyone on the way could read the token.
    #[error("won't send the token to {0}: nothing is encrypted on the way there")]
    Unencrypted(String),
    /// What should be a token isn't one.
    #[error("{0} holds no token: one line of visible characters is expected")]
    NoToken(String),
    /// The keeper lives and can't start a host.
    #[error("no host can run at {place}: {why}")]
    Unable {
        /// Where.
        place: String,
        /// The keeper's reason.
        why: String,
    },
    /// There is a host, and it doesn't answer.
    #[error("the host at {place} lives but hasn't answered for {} s", waited.as_secs())]
    Silent {
        /// Where.
        place: String,
        /// How long we tried.
        waited: Duration,
    },
    /// Hosts come and go over it.
    #[error("the host at {place} went away before it had answered, {times} times in a row")]
    CutOff {
        /// Where.
        place: String,
        /// How often.
        times: u32,
    },
    /// It ended while it worked for us.
    #[error("the host at {0} ended before it answered; whether this was done isn't known")]
    Vanished(String),
    /// Someone holds the state folder and serves no socket of ours.
    #[error("the state folder {} is in use by another process, and no host answers at {}", state.display(), socket.display())]
    InUse {
        /// The folder.
        state: PathBuf,
        /// The socket that isn't there.
        socket: PathBuf,
    },
    /// The socket isn't for us.
    #[error("may not use the host at {place}: {why}")]
    NotPermitted {
        /// Where.
        place: String,
        /// The system's reason.
        why: std::io::Error,
    },
    /// The host's own reason why it couldn't start.
    #[error("{0}")]
    Start(String),
    /// An answer that isn't one of ours.
    #[error("the host doesn't know {request} ({answer}): it is older than this command, or no termalive host")]
    NotAHost {
        /// Method and path.
        request: String,
        /// What came instead.
        answer: String,
    },
    /// More than a request may carry.
    #[error("too much to send at once: {bytes} bytes, at most {most}", most = crate::wire::MAX_BODY)]
    TooLarge {
        /// As JSON.
        bytes: usize,
    },
    /// The system says no.
    #[error("can't {what}: {why}")]
    System {
        /// What was tried, with its object.
        what: String,
        /// The system's reason.
        why: std::io::Error,
    },
    /// See [`PathsError`].
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl ClientError {
    fn code(&self) -> Code {
        match self {
            ClientError::Api(error) => error.code,
            ClientError::Uri(_) | ClientError::LongPath(_) | ClientError::TooLarge { .. } | ClientError::NoToken(_) => {
                Code::Usage
            }
            ClientError::Config(error) if error.is_usage() => Code::Usage,
            ClientError::NotYet(_)
            | ClientError::NoHost(_)
            | ClientError::NotThere(_)
            | ClientError::Unreachable { .. }
            | ClientError::Silent { .. }
            | ClientError::CutOff { .. }
            | ClientError::Vanished(_) => Code::NoHost,
            ClientError::NotPermitted { .. } | ClientError::Unencrypted(_) => Code::NotPermitted,
            ClientError::NotAHost { .. } => Code::UnknownVerb,
            ClientError::InUse { .. }
            | ClientError::Unable { .. }
            | ClientError::Start(_)
            | ClientError::System { .. }
            | ClientError::Paths(_)
            | ClientError::Config(_) => Code::Failed,
        }
    }

    fn help(&self) -> Option<&'static str> {
        match self {
            ClientError::NotYet(_) | ClientError::Unencrypted(_) => {
                Some("ssh -N -L 7777:127.0.0.1:7777 HOST brings it here: --host ws://127.0.0.1:7777")
            }
            ClientError::NoHost(_) => Some("termalive start -d starts one"),
            ClientError::NotThere(_) => Some("TERMALIVE_HOST or --host named it; without them the local host is taken"),
            ClientError::Unable { .. } => Some("it is tried again every few seconds, the sessions live on"),
            ClientError::Silent { .. } | ClientError::CutOff { .. } => Some("STATE/host.log says what it does"),
            ClientError::Vanished(_) => Some("termalive ls and termalive logs show it"),
            ClientError::InUse { .. } => Some(
                "set TERMALIVE_RUNTIME_DIR as it was set for the host that runs, or use another TERMALIVE_STATE_DIR",
            ),
            _ => None,
        }
    }
}

impl From<ClientError> for ApiError {
    fn from(error: ClientError) -> ApiError {
        match error {
            ClientError::Api(error) => error,
            other => {
                let said = ApiError::new(other.code(), other.to_string());
                other.help().into_iter().fold(said, ApiError::hint)
            }
        }
    }
}
