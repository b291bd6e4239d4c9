//! `stop`: ends all sessions in order, then the host; comes back when all is gone.

use super::{Done, Failure, args::NoNames, context::Context, context::converse, failed, out};
use crate::client::{Client, ClientError, Host, Setup};
use crate::config::Paths;
use crate::model::Exit;
use crate::wire::{ApiError, Code, HostStatus};
use clap::Args;
use hyper::Method;
use std::{io::IsTerminal, time::Duration};

/// How long a host may take to end its sessions. 10 min: HUP, TERM and KILL with the longest grace anyone sets by hand.
const STOP_PATIENCE: Duration = Duration::from_secs(600);
/// How long keeper and host may take to go once they have said that all has ended. 30 s: the last fsync of a slow disk.
const GONE_PATIENCE: Duration = Duration::from_secs(30);

/// Stop the host: end all sessions, write everything out
#[derive(Debug, Args)]
pub(super) struct StopArgs {
    #[command(flatten)]
    names: NoNames,
    /// Don't ask
    #[arg(short, long)]
    yes: bool,
    /// Also from inside one of its sessions
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &StopArgs, context: &mut Context) -> Done {
    args.names.check("stop", "kill NAME")?;
    if let (Some(name), false) = (context.inside(), args.force) {
        let refused = ApiError::new(Code::NotPermitted, format!("this is inside session {name}, which stop would end"));
        return Err(refused.hint("stop --force does it all the same").into());
    }
    let client = context.running()?;
    let status: HostStatus = converse(async { Ok(client.get("/v1/status").await?) })?;
    if status.sessions > 0 && !args.yes {
        ask(status.sessions)?;
    }
    converse(end(client, &status, context))?;
    Ok(Exit::Done)
}

fn ask(sessions: usize) -> Result<(), Failure> {
    let many = if sessions == 1 { "1 session lives".to_owned() } else { format!("{sessions} sessions live") };
    if !std::io::stdin().is_terminal() {
        return Err(failed(format!("{many}, and there is no terminal to ask on (stop -y ends them)")));
    }
    match out::confirmed(&format!("{many}; end them and stop the host?")) {
        true => Ok(()),
        false => Err(failed("not stopped")),
    }
}

async fn end(mut client: Client, status: &HostStatus, context: &Context) -> Result<(), Failure> {
    client.patience = STOP_PATIENCE;
    let remote = client.host.address.is_remote();
    match client.order(Method::POST, "/v1/stop").await {
        // it ended while it answered
        Ok(()) | Err(ClientError::Vanished(_) | ClientError::NoHost(_) | ClientError::NotThere(_)) => {}
        Err(error) => return Err(error.into()),
    }
    if remote {
        return Ok(()); // its processes and its lock aren't of this machine
    }
    // the status says where the lock is, also of a host that isn't the local one
    let paths = Paths { state: status.state_dir.clone().into(), socket: status.socket.clone().into() };
    let setup = Setup { paths, autostart: false, ..context.setup(&[], false)? };
    match Host::local(setup).gone(GONE_PATIENCE).await? {
        true => Ok(()),
        false => Err(failed(format!(
            "the host has ended its sessions but still lives (pid {}, keeper {})",
            status.host_pid, status.keeper_pid
        ))),
    }
}
