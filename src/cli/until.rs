//! The conditions that `logs` and `wait` share.
//!
//! Durations stay text: the host reads them again, and says of a pattern what is wrong with it.

use super::check;
use crate::wire::FollowQuery;
use clap::Args;

/// Stop conditions about what is written; the first one counts.
#[derive(Debug, Args)]
pub(super) struct Until {
    /// Wait until a row matches this regex (not an echo of what was sent)
    #[arg(long, value_name = "RE", allow_hyphen_values = true)]
    until: Vec<String>,
    /// Wait until a row is exactly this, blanks and bullets left out
    #[arg(long, value_name = "S", allow_hyphen_values = true)]
    until_line: Vec<String>,
    /// Wait until a row has this text
    #[arg(long, value_name = "S", allow_hyphen_values = true)]
    until_literal: Vec<String>,
    /// Wait until there was no output for so long: exit 3
    #[arg(long, value_name = "D", value_parser = check::duration_text)]
    wait_idle: Option<String>,
    /// How long --wait-idle waits for the first output [default: 2m]
    #[arg(long, value_name = "D", value_parser = check::duration_text, requires = "wait_idle")]
    wait_first: Option<String>,
}

impl Until {
    /// A query with these conditions.
    pub(super) fn query(&self) -> FollowQuery {
        FollowQuery {
            until: self.until.clone(),
            until_line: self.until_line.clone(),
            until_literal: self.until_literal.clone(),
            wait_idle: self.wait_idle.clone(),
            wait_first: self.wait_first.clone(),
            ..FollowQuery::default()
        }
    }
}
