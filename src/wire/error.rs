//! Errors on the wire: a word for programs, a number for the shell, a sentence and a hint for people.

use crate::model::Exit;
use serde::{Deserialize, Serialize};

/// `{"error":{…}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ApiError,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}{}", hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default())]
pub struct ApiError {
    /// A word for programs.
    pub code: Code,
    /// The exit code of a command that ends with it.
    pub exit: u8,
    /// What and why, lowercase, no full stop.
    pub message: String,
    /// What helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A malformed request.
    Usage,
    /// A request's body is longer than this host takes.
    TooLarge,
    /// No session of that name.
    NoSuchSession,
    /// No such turn.
    NoSuchTurn,
    /// A live session of that name exists.
    Exists,
    /// The command couldn't be started.
    CannotStart,
    /// Nothing runs in the session.
    NotRunning,
    /// The program didn't read in time.
    NotReading,
    /// The text can't be typed as it is.
    Refused,
    /// What was waited for didn't come: the run ended first, idle, timeout. `exit` says which.
    NotMet,
    /// Typed or not: unknown after a crash.
    Unknown,
    /// The key was used with another request.
    KeyReused,
    /// The caller may not.
    NotPermitted,
    /// Too many tries or connections: later.
    TooMany,
    /// Sessions would wait for each other for ever.
    Circle,
    /// The host is ending.
    Stopping,
    /// No host.
    NoHost,
    /// This host doesn't know the verb.
    UnknownVerb,
    /// Anything else.
    #[serde(other)]
    Failed,
}

impl ApiError {
    /// An error with the exit code and status that belong to its word.
    pub fn new(code: Code, message: impl Into<String>) -> ApiError {
        ApiError { code, exit: code.exit().code(), message: message.into(), hint: None }
    }

    /// With what helps.
    pub fn hint(mut self, hint: impl Into<String>) -> ApiError {
        self.hint = Some(hint.into());
        self
    }
}

impl Code {
    /// The exit code of a command that ends with it.
    pub fn exit(self) -> Exit {
        match self {
            Code::Usage | Code::TooLarge | Code::Refused => Exit::Usage,
            Code::NoSuchSession | Code::NoSuchTurn => Exit::NotFound,
            Code::NotRunning => Exit::Ended,
            Code::NotReading => Exit::Timeout,
            Code::NotPermitted => Exit::NotPermitted,
            Code::NoHost => Exit::NoHost,
            Code::NotMet
            | Code::Exists
            | Code::CannotStart
            | Code::Unknown
            | Code::KeyReused
            | Code::Circle
            | Code::Stopping
            | Code::TooMany
            | Code::UnknownVerb
            | Code::Failed => Exit::Failed,
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Code::Usage | Code::Refused => 400,
            Code::NotPermitted => 403,
            Code::NoSuchSession | Code::NoSuchTurn | Code::UnknownVerb => 404,
            Code::NotMet | Code::Exists | Code::NotRunning | Code::KeyReused | Code::Circle => 409,
            Code::TooLarge => 413,
            Code::CannotStart => 422,
            Code::TooMany => 429,
            Code::NotReading => 504,
            Code::Stopping | Code::NoHost => 503,
            Code::Unknown | Code::Failed => 500,
        }
    }
}
