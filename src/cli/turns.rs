//! `turns`: what was sent to a session, and where it stands in the log.

use super::{
    Done,
    context::Context,
    context::converse,
    out::one_line,
    table,
    table::{Cell, Column},
};
use crate::model::{Exit, Name};
use crate::wire::{TurnInfo, TurnReason, TurnState};
use clap::Args;

/// Of a text, so many characters are shown. 60: what is left of a row of 100.
const SHOWN: usize = 60;

const COLUMNS: [Column; 6] = [
    Column { head: "TURN", spare: 0 },
    Column { head: "STARTED", spare: 2 },
    Column { head: "FROM", spare: 1 },
    Column { head: "STATE", spare: 0 },
    Column { head: "SEQ", spare: 3 },
    Column { head: "PROMPT", spare: 0 },
];

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
        let rows: Vec<Vec<Cell>> = turns.iter().map(row).collect();
        table::lines(&COLUMNS, &rows, context.style()).into_iter().try_for_each(|line| context.out.line(&line))?;
    }
    Ok(Exit::Done)
}

fn row(turn: &TurnInfo) -> Vec<Cell> {
    let state = match (turn.state, turn.reason) {
        (TurnState::Open, _) => "open",
        (TurnState::Complete, _) => "complete",
        (TurnState::Ended, Some(TurnReason::Exit)) => "ended (exit)",
        (TurnState::Ended, _) => "ended",
    };
    vec![
        turn.turn.to_string().into(),
        turn.started_at.as_str().into(),
        one_line(&turn.from).into(),
        state.into(),
        format!("@{}..@{}", turn.seq_from.0, turn.seq_to.0).into(),
        one_line(&turn.prompt.chars().take(SHOWN).collect::<String>()).into(),
    ]
}
