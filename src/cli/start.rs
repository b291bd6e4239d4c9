//! `start -d`: a host in the background; 0 also when one runs already.

use super::{Done, args::NoNames, context::Context, context::converse, host};
use crate::client::{Client, ClientError, Host};
use crate::model::Exit;
use crate::wire::{ApiError, Code, HostStatus};
use clap::Args;

/// Start a host; with -d in the background
#[derive(Debug, Args)]
pub(super) struct StartArgs {
    #[command(flatten)]
    names: NoNames,
    /// In the background
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    settings: host::Settings,
}

pub(super) fn run(args: &StartArgs, context: &mut Context) -> Done {
    args.names.check("start", "restart NAME")?;
    if !args.detach {
        return host::foreground("start", &args.settings.pairs(), context);
    }
    let client = Client::new(Host::local(host::local_setup("start", &args.settings.pairs(), context)?));
    let status: HostStatus = converse(async {
        match client.get("/v1/status").await {
            // its socket still took the connection, while host and keeper were ending: now there is room for another
            Err(ClientError::Vanished(_)) => Ok(client.get("/v1/status").await?),
            other => Ok(other?),
        }
    })?;
    if let Some(missing) = args.settings.listen().into_iter().find(|address| !status.listen.contains(address)) {
        let running = ApiError::new(Code::Exists, format!("a host runs already, and doesn't listen at {missing}"));
        return Err(running.hint("termalive stop ends it; settings are read when a host starts").into());
    }
    if context.json {
        context.out.json(&status)?;
    } else if !context.quiet {
        context.out.line(&format!("unix://{}", status.socket))?;
    }
    Ok(Exit::Done)
}
