//! `list`, `ls`: live sessions, with `--all` ended ones too.

use super::{Done, check, context::Context, context::converse, out::one_line, table};
use crate::client::{Client, ClientError};
use crate::model::{Exit, State};
use crate::wire::SessionInfo;
use clap::Args;
use jiff::Timestamp;
use std::io::IsTerminal;

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
        let mut rows = vec![["NAME", "STATE", "PID", "RUN", "AGE", "COMMAND"].map(str::to_owned).to_vec()];
        let now = Timestamp::now();
        rows.extend(sessions.iter().map(|session| row(session, now)));
        table::align(&rows, width()).into_iter().try_for_each(|line| context.out.line(&line))?;
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

fn row(session: &SessionInfo, now: Timestamp) -> Vec<String> {
    let ended = match (session.exit_code, session.signal) {
        _ if session.state == State::Running => String::new(),
        (_, Some(signal)) => format!(" (signal {signal})"),
        (Some(code), None) => format!(" ({code})"),
        (None, None) => String::new(),
    };
    let since = [&session.exited_at, &session.started_at].into_iter().flatten().next().unwrap_or(&session.created_at);
    let age = since.parse::<Timestamp>().ok().and_then(|at| now.duration_since(at).try_into().ok());
    vec![
        session.name.to_string(),
        format!("{}{ended}", session.state.as_str()),
        session.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
        session.run.to_string(),
        age.map_or_else(|| "-".to_owned(), table::age),
        one_line(&session.command),
    ]
}

/// Of the terminal, if it is one.
fn width() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0)
}
