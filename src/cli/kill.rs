//! `kill`: ends sessions; comes back when the whole tree of each is gone and nothing will restart it.

use super::{Done, check, context::Context, context::converse, many};
use crate::wire::{KillRequest, SessionInfo};
use clap::Args;

/// End sessions: HUP, TERM, KILL to the whole process tree
#[derive(Debug, Args)]
pub(super) struct KillArgs {
    #[command(flatten)]
    which: many::Which,
    /// Send this signal once and change nothing else
    #[arg(short, long, value_name = "S", value_parser = check::signal)]
    signal: Option<String>,
    /// KILL at once; from inside a session also one that it didn't make
    #[arg(short, long)]
    force: bool,
}

pub(super) fn run(args: &KillArgs, context: &mut Context) -> Done {
    args.which.check("kill")?;
    let (client, json) = (context.client()?, context.json);
    let request = KillRequest { signal: args.signal.clone(), force: args.force, from: context.inside_id() };
    let (done, exit) = converse(many::each(&client, &args.which, false, json, async |name| {
        client.post::<SessionInfo>(&format!("/v1/sessions/{name}/signal"), &request).await
    }))?;
    many::show(context, &done)?;
    Ok(exit)
}
