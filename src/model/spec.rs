//! What a session runs: decided once, by the host, from what the caller gave; kept for later runs.

use super::RawString;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

/// Everything needed to start a run, today or after a reboot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The command as the user wrote it (a STRING, or ARGV joined for show).
    pub command: String,
    /// What is executed; `argv[0]` is what the program sees as its name.
    pub argv: Vec<RawString>,
    /// The file that is executed: `argv[0]` looked up in the caller's PATH.
    pub program: RawString,
    /// The caller's working directory, or `--cwd`.
    pub cwd: RawString,
    /// The whole environment of the process. Values are secret: only names are ever shown.
    pub env: Vec<(RawString, RawString)>,
    /// The caller's umask.
    pub umask: u32,
    /// Size of the terminal at the start of a run.
    pub size: Size,
    /// Labels for selection.
    pub labels: BTreeMap<String, String>,
    /// What happens when a run ends.
    pub restart: Restart,
}

/// Columns and rows of a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Size {
    /// Columns, 1 to 1000.
    pub cols: u16,
    /// Rows, 1 to 1000.
    pub rows: u16,
}

/// Why a size is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad size {0:?}: write COLUMNSxROWS, such as 80x24, each 1 to 1000")]
pub struct SizeError(String);

impl FromStr for Size {
    type Err = SizeError;
    fn from_str(s: &str) -> Result<Size, SizeError> {
        let parse = || {
            let (cols, rows) = s.split_once('x')?;
            let number = |t: &str| t.parse::<u16>().ok().filter(|n| (1..=1000).contains(n) && !t.starts_with('+'));
            Some(Size { cols: number(cols)?, rows: number(rows)? })
        };
        parse().ok_or_else(|| SizeError(s.to_owned()))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.cols, self.rows)
    }
}

/// When an ended run is followed by another by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartMode {
    /// Never.
    #[default]
    Never,
    /// When it ended with a signal or a code other than 0.
    OnFailure,
    /// Whenever it ended.
    Always,
}

/// The restart policy: mode, back-off, and the intensity above which a session is `failed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Restart {
    /// When to restart.
    pub mode: RestartMode,
    /// The first delay; doubled at each restart in a row.
    pub backoff_min: Duration,
    /// The longest delay.
    pub backoff_max: Duration,
    /// More restarts than this …
    pub max_restarts: u32,
    /// … within this time: failed.
    pub within: Duration,
}

impl Default for Restart {
    fn default() -> Self {
        Restart {
            mode: RestartMode::Never,
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            max_restarts: 5,
            within: Duration::from_secs(600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        assert_eq!("80x24".parse::<Size>().unwrap(), Size { cols: 80, rows: 24 });
        for bad in ["", "80", "80x", "x24", "0x1", "1001x1", "80X24", "+8x2", "80x24x1", "-1x5"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
