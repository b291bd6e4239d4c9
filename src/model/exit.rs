//! The exit codes of every command: a contract with scripts.

/// How a command ends. The number is what the shell sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// Done; for a wait: pattern matched, condition met.
    Done = 0,
    /// Failed: one line on stderr says what, why, what to do.
    Failed = 1,
    /// `--timeout` passed.
    Timeout = 2,
    /// Idle for `--wait-idle`.
    Idle = 3,
    /// The session's run ended first; nothing to type into.
    Ended = 4,
    /// Wrong usage.
    Usage = 64,
    /// No such session, turn, pool or task.
    NotFound = 66,
    /// No host reachable.
    NoHost = 69,
    /// Not permitted.
    NotPermitted = 77,
    /// Ctrl+C.
    Interrupted = 130,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }
}
