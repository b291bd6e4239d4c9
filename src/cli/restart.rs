//! `restart`: ends the run, if there is one, and begins the next.

use super::{Done, context::Context, context::converse, many};
use crate::wire::SessionInfo;
use clap::Args;

/// Restart sessions: end the run, begin the next one
#[derive(Debug, Args)]
pub(super) struct RestartArgs {
    #[command(flatten)]
    which: many::Which,
}

pub(super) fn run(args: &RestartArgs, context: &mut Context) -> Done {
    args.which.check("restart")?;
    let (client, json) = (context.client()?, context.json);
    let nothing = serde_json::json!({});
    let (done, exit) = converse(many::each(&client, &args.which, true, json, async |name| {
        client.post::<SessionInfo>(&format!("/v1/sessions/{name}/restart"), &nothing).await
    }))?;
    many::show(context, &done)?;
    Ok(exit)
}
