//! `reload`: keeper and host become the program that is at their place now; comes back when the next host answers.

use super::{Done, Failure, args::NoNames, context::Context, context::converse, failed};
use crate::client::{Backoff, Client};
use crate::model::Exit;
use crate::wire::{HostStatus, Reload, Reloading};
use clap::Args;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How long the next host may take. 60 s: three that fail, and then the program before reads a long tail.
const PATIENCE: Duration = Duration::from_secs(60);

/// Let the program that was installed since then take over; sessions go on
#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    names: NoNames,
}

/// A host, before or after.
#[derive(Serialize)]
struct Side<'a> {
    version: &'a str,
    generation: u64,
    host_pid: u32,
}

impl<'a> From<&'a HostStatus> for Side<'a> {
    fn from(status: &'a HostStatus) -> Side<'a> {
        Side { version: &status.version, generation: status.generation, host_pid: status.host_pid }
    }
}

/// What is printed.
#[derive(Serialize)]
struct Reloaded<'a> {
    program: &'a str,
    from: Side<'a>,
    to: Side<'a>,
    keeper_pid: u32,
    away_ms: Option<u64>,
    sessions: usize,
}

pub(super) fn run(args: &ReloadArgs, context: &mut Context) -> Done {
    args.names.check("reload", "restart NAME")?;
    let client = context.running()?;
    let (before, done, after) = converse(reload(&client))?;
    if let Some(why) = &after.reverted {
        return Err(failed(format!(
            "not reloaded: {} can't serve: {why}; version {} goes on (generation {})",
            done.program, after.version, after.generation
        )));
    }
    let reloaded = Reloaded {
        program: &done.program,
        from: (&before).into(),
        to: (&after).into(),
        keeper_pid: after.keeper_pid,
        away_ms: after.away_ms,
        sessions: after.sessions,
    };
    if context.json {
        context.out.json(&reloaded)?;
    } else if !context.quiet {
        let away = after.away_ms.map(|ms| format!(", no host for {ms} ms")).unwrap_or_default();
        let (from, to) = (&reloaded.from, &reloaded.to);
        context.out.line(&super::out::one_line(&format!(
            "{}: version {} has taken over from {} (generation {}, was {}{away})",
            done.program, to.version, from.version, to.generation, from.generation
        )))?;
    }
    Ok(Exit::Done)
}

/// The host before, what it did, the host after.
async fn reload(client: &Client) -> Result<(HostStatus, Reloading, HostStatus), Failure> {
    let before: HostStatus = client.get("/v1/status").await?;
    let done: Reloading = client.post("/v1/reload", &Reload { generation: Some(before.generation) }).await?;
    let (begun, mut backoff) = (Instant::now(), Backoff::default());
    loop {
        let after: HostStatus = client.get("/v1/status").await?;
        if after.generation > before.generation {
            return Ok((before, done, after));
        }
        if begun.elapsed() > PATIENCE {
            return Err(failed(format!(
                "the host (pid {}) hasn't left after {} s; sessions go on (see {}/host.log)",
                before.host_pid,
                PATIENCE.as_secs(),
                before.state_dir
            )));
        }
        backoff.pause().await;
    }
}
