//! `resize`: gives a session's terminal another size.

use super::{Done, context::Context, context::converse};
use crate::model::{Exit, Name, Size};
use crate::wire::{ResizeRequest, SessionInfo};
use clap::Args;

/// Resize a session's terminal
#[derive(Debug, Args)]
pub(super) struct ResizeArgs {
    /// Session
    name: Name,
    /// Columns and rows
    #[arg(value_name = "COLSxROWS")]
    size: Size,
}

pub(super) fn run(args: &ResizeArgs, context: &mut Context) -> Done {
    let client = context.client()?;
    let path = format!("/v1/sessions/{}/resize", args.name);
    let session: SessionInfo = converse(async { Ok(client.post(&path, &ResizeRequest { size: args.size }).await?) })?;
    if context.json {
        context.out.json(&session)?;
    } else if context.quiet {
        context.out.line(session.name.as_str())?;
    }
    Ok(Exit::Done)
}
