//! `status`: what the host says of itself. Never starts one.

use super::{Done, args::NoNames, context::Context, context::converse};
use crate::model::Exit;
use crate::wire::HostStatus;
use clap::Args;

/// Show the host: version, processes, folders, store
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    names: NoNames,
}

pub(super) fn run(args: &StatusArgs, context: &mut Context) -> Done {
    args.names.check("status", "ls --all")?;
    let client = context.running()?;
    let status: HostStatus = converse(async { Ok(client.get("/v1/status").await?) })?;
    match (context.json, context.quiet) {
        (true, _) => context.out.json(&status)?,
        (false, true) => context.out.line(&format!("unix://{}", status.socket))?,
        (false, false) => show(&status).into_iter().try_for_each(|line| context.out.line(&line))?,
    }
    Ok(Exit::Done)
}

fn show(status: &HostStatus) -> Vec<String> {
    let listen = match status.listen.is_empty() {
        true => "local socket only".to_owned(),
        false => status.listen.join(", "),
    };
    let up = super::table::age(std::time::Duration::from_millis(status.uptime_ms));
    [
        ("version", format!("{} (api {})", status.version, status.api)),
        ("host", format!("pid {}, generation {}, up {up}", status.host_pid, status.generation)),
        ("keeper", format!("pid {}", status.keeper_pid)),
        ("sessions", status.sessions.to_string()),
        ("state", status.state_dir.clone()),
        ("socket", status.socket.clone()),
        ("listen", listen),
        ("store", format!("{} bytes in {} segments", status.store.bytes, status.store.segments)),
    ]
    .into_iter()
    .map(|(name, value)| super::out::one_line(&format!("{name:<10}{value}")))
    .collect()
}
