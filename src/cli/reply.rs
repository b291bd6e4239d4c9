//! `reply`: the reply to a turn, again or later.
//!
//! The same reading as that of `ask`, with its conditions where none are given: so it is the same text. Data comes from the host, goes to `out`.

use super::{Done, ask, check, context::Context, context::converse};
use crate::model::Name;
use crate::wire::ReplyQuery;
use clap::Args;
use std::time::Duration;
use tokio::time::Instant;

/// Print the reply to a turn
#[derive(Debug, Args)]
pub(super) struct ReplyArgs {
    /// Session
    name: Name,
    /// Which turn [default: the last]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    turn: Option<u64>,
    /// Wait until it is whole
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    when: ask::WhenArgs,
    /// Wait no longer than this: exit 2 [default: 30m]
    #[arg(long, value_name = "D", value_parser = check::duration, requires = "wait")]
    timeout: Option<Duration>,
}

pub(super) fn run(args: ReplyArgs, context: &mut Context) -> Done {
    let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
    let query = ReplyQuery { wait: args.wait, timeout_ms: None, when: args.when.into_when() };
    let client = context.client()?;
    let reply = converse(async { Ok(client.reply(&args.name, args.turn, query, deadline).await?) })?;
    ask::print(reply, context)
}
