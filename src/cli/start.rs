//! `start -d`: a host in the background; 0 also when one runs already.

use super::{Done, args::NoNames, check, context::Context, context::converse, host};
use crate::client::{Client, Host};
use crate::model::Exit;
use crate::wire::HostStatus;
use clap::Args;

/// Start a host; with -d in the background
#[derive(Debug, Args)]
pub(super) struct StartArgs {
    #[command(flatten)]
    names: NoNames,
    /// In the background
    #[arg(short, long)]
    detach: bool,
    /// Change a setting, such as store.segment_bytes=64MiB
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = check::setting)]
    set: Vec<String>,
}

pub(super) fn run(args: &StartArgs, context: &mut Context) -> Done {
    args.names.check("start", "restart NAME")?;
    if !args.detach {
        return host::foreground("start", &args.set, context);
    }
    let client = Client::new(Host::local(host::local_setup("start", &args.set, context)?));
    let status: HostStatus = converse(async { Ok(client.get("/v1/status").await?) })?;
    if context.json {
        context.out.json(&status)?;
    } else if !context.quiet {
        context.out.line(&format!("unix://{}", status.socket))?;
    }
    Ok(Exit::Done)
}
