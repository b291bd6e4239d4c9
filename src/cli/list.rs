//! `list`, `ls`: live sessions, with `--all` ended ones too.

use super::{
    Done, check,
    context::Context,
    context::converse,
    out::{one_line, shell_status},
    table,
    table::{Cell, Column, Paint},
};
use crate::client::{Client, ClientError};
use crate::model::{Exit, State};
use crate::wire::SessionInfo;
use clap::Args;
use jiff::Timestamp;

/// List live sessions
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Ended ones too
    #[arg(short, long)]
    all: bool,
    /// Only those with this label; several: with all of them
    #[arg(long = "label", value_name = "K=V", value_parser = check::label)]
    labels: Vec<check::Pair>,
}

pub(super) fn run(args: &ListArgs, context: &mut Context) -> Done {
    let client = context.client()?;
    let sessions = converse(async { Ok(sessions(&client, args.all, &args.labels).await?) })?;
    if context.json {
        context.out.json(&sessions)?;
    } else if context.quiet {
        sessions.iter().try_for_each(|s| context.out.line(s.name.as_str()))?;
    } else {
        let now = Timestamp::now();
        let rows: Vec<Vec<Cell>> = sessions.iter().map(|session| row(session, now)).collect();
        table::lines(&COLUMNS, &rows, context.style()).into_iter().try_for_each(|line| context.out.line(&line))?;
    }
    Ok(Exit::Done)
}

/// Sessions from the host. Also for verbs that choose by label.
pub(super) async fn sessions(
    client: &Client,
    all: bool,
    labels: &[check::Pair],
) -> Result<Vec<SessionInfo>, ClientError> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if all {
        query.append_pair("all", "1");
    }
    labels.iter().for_each(|(key, value)| {
        query.append_pair("label", &format!("{key}={value}"));
    });
    let query = query.finish();
    client.get(&if query.is_empty() { "/v1/sessions".to_owned() } else { format!("/v1/sessions?{query}") }).await
}

fn row(session: &SessionInfo, now: Timestamp) -> Vec<Cell> {
    let since = [&session.exited_at, &session.started_at].into_iter().flatten().next().unwrap_or(&session.created_at);
    let age = since.parse::<Timestamp>().ok().and_then(|at| now.duration_since(at).try_into().ok());
    vec![
        session.name.as_str().into(),
        Cell::painted(session.state.as_str(), paint(session)),
        ended(session).into(),
        session.pid.map_or_else(String::new, |pid| pid.to_string()).into(),
        session.run.to_string().into(),
        age.map_or_else(String::new, table::age).into(),
        one_line(&session.command).into(),
    ]
}

/// How the last run ended, as a shell's `$?` has it; nothing while one runs.
pub(super) fn ended(session: &SessionInfo) -> String {
    let status = shell_status(session.exit_code, session.signal);
    status.filter(|_| session.state != State::Running).map_or_else(String::new, |status| status.to_string())
}

pub(super) fn paint(session: &SessionInfo) -> Paint {
    match session.state {
        State::Running => Paint::Good,
        State::Starting | State::Restarting => Paint::Busy,
        State::Exited if session.exit_code == Some(0) => Paint::Quiet,
        State::Exited | State::Failed | State::Lost => Paint::Bad,
    }
}

const COLUMNS: [Column; 7] = [
    Column { head: "NAME", spare: 0 },
    Column { head: "STATE", spare: 0 },
    Column { head: "EXIT", spare: 3 },
    Column { head: "PID", spare: 5 },
    Column { head: "RUN", spare: 4 },
    Column { head: "AGE", spare: 2 },
    Column { head: "COMMAND", spare: 1 },
];
