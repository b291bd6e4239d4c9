//! `turns`: what was sent to a session, and where it stands in the log.

use super::{Done, context::Context, context::converse, out::one_line, table};
use crate::model::{Exit, Name};
use crate::wire::{TurnInfo, TurnReason};
use clap::Args;

/// Of a text, so many characters are shown. 60: what is left of a row of 100.
const SHOWN: usize = 60;

/// List a session's turns: the texts that were sent to it
#[derive(Debug, Args)]
pub(super) struct TurnsArgs {
    /// Session
    name: Name,
}

pub(super) fn run(args: &TurnsArgs, context: &mut Context) -> Done {
    let client = context.client()?;
    let turns = converse(async { Ok(client.turns(&args.name).await?) })?;
    if context.json {
        context.out.json(&turns)?;
    } else if context.quiet {
        turns.iter().try_for_each(|turn| context.out.line(&turn.turn.to_string()))?;
    } else {
        let mut rows = vec![["TURN", "STARTED", "FROM", "STATE", "SEQ", "PROMPT"].map(str::to_owned).to_vec()];
        rows.extend(turns.iter().map(row));
        table::align(&rows, None).into_iter().try_for_each(|line| context.out.line(&line))?;
    }
    Ok(Exit::Done)
}

fn row(turn: &TurnInfo) -> Vec<String> {
    let state = match turn.reason {
        None => "open",
        Some(TurnReason::Turn) => "ended",
        Some(TurnReason::Exit) => "ended (exit)",
    };
    vec![
        turn.turn.to_string(),
        turn.started_at.clone(),
        one_line(&turn.from),
        state.to_owned(),
        format!("@{}..@{}", turn.seq_from.0, turn.seq_to.0),
        one_line(&turn.prompt.chars().take(SHOWN).collect::<String>()),
    ]
}
