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
    /// How its runs are looked after. (Older stores don't have it.)
    #[serde(default)]
    pub care: Care,
}

/// How a session's runs are looked after: what later ones execute, how one is asked to end, when one hangs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Care {
    /// What runs after the first execute; without it what the first did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Program>,
    /// The signal that asks a run to end; without it HUP, then TERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<i32>,
    /// How long a run may take to end before it is killed; without it the host's grace times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<Duration>,
    /// A run that is at work without output for so long hangs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<Duration>,
}

/// A command, resolved.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Program {
    /// As the user wrote it.
    pub command: String,
    /// What is executed; `argv[0]` is what the program sees as its name.
    pub argv: Vec<RawString>,
    /// The file that is executed.
    pub program: RawString,
}

impl Spec {
    /// What a run executes: its arguments and its file. `later`: it isn't the first one with this spec.
    pub fn executed(&self, later: bool) -> (&[RawString], &RawString) {
        match &self.care.again {
            Some(again) if later => (&again.argv, &again.program),
            _ => (&self.argv, &self.program),
        }
    }
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

impl RestartMode {
    /// Where nothing is said: a watchdog alone is there to restart what hangs.
    pub fn implied(watchdog: bool) -> RestartMode {
        if watchdog { RestartMode::OnFailure } else { RestartMode::Never }
    }
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
    fn a_spec_of_an_older_store_is_read_and_later_runs_execute_the_restart_command() {
        let old = r#"{"command":"cat","argv":["cat"],"program":"/bin/cat","cwd":"/","env":[],"umask":18,
            "size":{"cols":80,"rows":24},"labels":{},"restart":{"mode":"always","backoff_min":{"secs":1,"nanos":0},
            "backoff_max":{"secs":60,"nanos":0},"max_restarts":5,"within":{"secs":600,"nanos":0}}}"#;
        let mut spec: Spec = serde_json::from_str(old).unwrap();
        assert_eq!(spec.care, Care::default());
        let file = |spec: &Spec, later| spec.executed(later).1.lossy();
        assert_eq!((file(&spec, false), file(&spec, true)), ("/bin/cat".into(), "/bin/cat".into()));
        spec.care.again = Some(Program { command: "tac".into(), argv: vec!["tac".into()], program: "/bin/tac".into() });
        assert_eq!((file(&spec, false), file(&spec, true)), ("/bin/cat".into(), "/bin/tac".into()));
        let kept = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<Spec>(&kept).unwrap(), spec);
    }

    #[test]
    fn sizes_are_checked() {
        assert_eq!("80x24".parse::<Size>().unwrap(), Size { cols: 80, rows: 24 });
        for bad in ["", "80", "80x", "x24", "0x1", "1001x1", "80X24", "+8x2", "80x24x1", "-1x5"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
