//! `down`: ends a fleet or one of its groups, in reverse; logs stay.

use super::{Done, context::Context, context::converse, fleet, up};
use crate::model::{Exit, Name};
use crate::wire::FleetAnswer;
use clap::Args;
use std::path::Path;

/// End a fleet or one of its groups, in reverse order; logs stay
#[derive(Debug, Args)]
pub(super) struct DownArgs {
    /// The fleet file, or the name of a fleet or group
    #[arg(value_name = "FILE|GROUP")]
    target: String,
    /// Say what would be ended, and end nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &DownArgs, context: &mut Context) -> Done {
    let path = Path::new(&args.target);
    let is_file = args.target.contains('/') || args.target.ends_with(".toml") || path.is_file();
    let (name, file) = match args.target.parse::<Name>() {
        Ok(name) if !is_file => (name.to_string(), None),
        _ => fleet::read(path)?.identity(),
    };
    let client = context.client()?;
    let query: String = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(file.map(|file| ("file", file)))
        .extend_pairs(args.dry_run.then_some(("dry_run", "1")))
        .finish();
    let path = format!("/v1/fleets/{name}?{query}");
    let answer: Option<FleetAnswer> = converse(async { Ok(client.delete(&path).await?) })?;
    if let Some(answer) = answer {
        up::say(&answer, context)?;
    }
    Ok(Exit::Done)
}
