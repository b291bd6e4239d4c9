//! `up`: makes a fleet what its file says; only what differs changes, and is said.

use super::{Done, Failure, context::Context, context::converse, failed, fleet};
use crate::model::Exit;
use crate::wire::{FleetAnswer, FleetChange, FleetWord};
use clap::Args;
use std::path::PathBuf;

/// Bring up the sessions and groups of a fleet file: only what differs changes
#[derive(Debug, Args)]
pub(super) struct UpArgs {
    /// The fleet file, such as config/fleet.toml
    file: PathBuf,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &UpArgs, context: &mut Context) -> Done {
    let file = fleet::read(&args.file)?;
    let client = context.client()?;
    let request = file.request(args.dry_run, client.host.address.is_remote())?;
    let answer: FleetAnswer = converse(async { Ok(client.post("/v1/fleets", &request).await?) })?;
    let lost: Vec<String> =
        answer.changes.iter().filter(|change| change.change == FleetWord::Failed).map(line).collect();
    if lost.is_empty() || !context.json {
        say(&answer, context)?;
    }
    match lost.first() {
        None => Ok(Exit::Done),
        Some(first) => {
            context.out.flush()?;
            Err(failed(format!("fleet {:?} isn't whole: {first}", answer.fleet.as_str())))
        }
    }
}

/// Prints what changed: line by line, or as JSON, or with `-q` the names of sessions that did change.
pub(super) fn say(answer: &FleetAnswer, context: &mut Context) -> Result<(), Failure> {
    if context.json {
        return context.out.json(answer);
    }
    for change in &answer.changes {
        match context.quiet {
            true if change.group || change.change == FleetWord::Unchanged => {}
            true => context.out.line(change.name.as_str())?,
            false => context.out.line(&line(change))?,
        }
    }
    Ok(())
}

fn line(FleetChange { change, group, name, why }: &FleetChange) -> String {
    let kind = if *group { "group " } else { "" };
    let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    super::out::one_line(&format!("{} {kind}{name}{why}", change.as_str()))
}
