//! `screen`: what stands on a session's screen, now or as it was.

use super::{Done, check, context::Context, context::converse, wrong};
use crate::model::{Exit, Name};
use crate::wire::{Screen, ScreenFormat, ScreenQuery};
use clap::Args;

/// Print what stands on a session's screen
#[derive(Debug, Args)]
pub(super) struct ScreenArgs {
    /// Session
    name: Name,
    /// With colours, to be printed on a terminal
    #[arg(long)]
    ansi: bool,
    /// As it was: a time such as 2026-02-01T03:40:00Z, or @SEQ for after that record
    #[arg(long, value_name = "RFC3339|@SEQ", value_parser = check::to)]
    at: Option<String>,
}

pub(super) fn run(args: &ScreenArgs, context: &mut Context) -> Done {
    if context.json && args.ansi {
        return Err(wrong("--json and --ansi are two forms: give one"));
    }
    let client = context.client()?;
    let format = match (context.json, args.ansi) {
        (true, _) => ScreenFormat::Json,
        (false, true) => ScreenFormat::Ansi,
        (false, false) => ScreenFormat::Text,
    };
    let query = ScreenQuery { at: args.at.clone(), format };
    let path = format!("/v1/sessions/{}/screen?{}", args.name, query.to_query());
    match format {
        ScreenFormat::Json => {
            let screen: Screen = converse(async { Ok(client.get(&path).await?) })?;
            context.out.json(&screen)?;
        }
        ScreenFormat::Text | ScreenFormat::Ansi => {
            let rows = converse(async { Ok(client.fetch(&path).await?) })?;
            context.out.write(&rows)?;
        }
    }
    Ok(Exit::Done)
}
