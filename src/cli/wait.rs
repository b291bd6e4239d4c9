//! `wait`: until sessions meet a condition; prints their names as they do.
//!
//! Verdicts are the host's, one reading per session (two, where rows and the screen are waited for); here they are put
//! together: all of them, or the first. Readings go on over a crash of the host by themselves.

mod one;

use super::{Done, Failure, check, context::Context, context::converse, many, out, until::Until, wrong};
use crate::client::{Client, ClientError};
use crate::model::{Exit, Name, SessionId};
use crate::wire::{ApiError, Code, Content, EndLine, EndReason, FollowQuery};
use clap::Args;
use futures_util::stream::{FuturesUnordered, StreamExt};
use one::Waited;
use serde::Serialize;
use std::time::Duration;
use tokio::time::Instant;

/// Wait for sessions: for a row, silence, how the screen looks, or (without a condition) the end
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(super) struct WaitArgs {
    #[command(flatten)]
    which: many::Which,
    /// Come back with the first session that is ready
    #[arg(long, conflicts_with = "all")]
    any: bool,
    /// Come back when all are ready; this is the default
    #[arg(long)]
    all: bool,
    /// Wait until the run has ended; prints its exit status, 128+n for a signal n
    #[arg(long)]
    exit: bool,
    #[command(flatten)]
    until: Until,
    /// Wait until the screen has a row that matches this regex
    #[arg(long, value_name = "RE", allow_hyphen_values = true)]
    screen: Vec<String>,
    /// Wait until no row of the screen matches this regex
    #[arg(long, value_name = "RE", allow_hyphen_values = true)]
    no_screen: Vec<String>,
    /// Wait until nothing has changed on the screen for so long
    #[arg(long, value_name = "D", value_parser = check::duration_text)]
    stable: Option<String>,
    /// Where rows count from: start, last-send, turn:N, now, a duration, a time, @SEQ [default: the last send]
    #[arg(long, value_name = "POINT", value_parser = check::since)]
    since: Option<String>,
    /// Wait no longer than this: exit 2; 0 decides on what is there
    #[arg(long, value_name = "D", value_parser = check::duration)]
    timeout: Option<Duration>,
}

const NOTES: &str = "The first condition that is met counts; --screen, --no-screen and --stable must hold together, \
on the screen as it is. With --json a line for each session as it is met.
Exit codes: 0 met, 2 --timeout, 3 idle for --wait-idle, 4 a run ended first.";

/// A session that is ready, as `--json` prints it.
#[derive(Serialize)]
struct Met<'a> {
    session: &'a Name,
    id: SessionId,
    reason: EndReason,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<&'a str>,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    matched: Option<&'a str>,
    /// As a shell has it: the exit code, or 128 and the signal's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    run: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<u64>,
}

pub(super) fn run(args: WaitArgs, context: &mut Context) -> Done {
    args.which.check("wait")?;
    let begun = Instant::now();
    let wait = Wait::new(&args)?;
    let (client, inside) = (context.client()?, context.inside());
    let deadline = args.timeout.filter(|timeout| !timeout.is_zero()).map(|timeout| begun + timeout);
    converse(async {
        let names = args.which.names(&client, true).await?;
        if names.is_empty() {
            let none = ApiError::new(Code::NoSuchSession, "no session has this label");
            return Err(none.hint("termalive ls --all --json shows the labels").into());
        }
        if let Some(own) = inside.filter(|own| wait.exit && names.contains(own)) {
            return Err(wrong(format!("this is inside session {own}, which can't end before this wait does")));
        }
        let plain_status = names.len() == 1;
        let end = each(&client, names, &wait, deadline, |name, waited| {
            let text = match (waited.end.reason, plain_status) {
                (EndReason::Exit, true) => status(&waited.end),
                (EndReason::Exit, false) => format!("{name} {}", status(&waited.end)),
                _ => name.to_string(),
            };
            match (context.json, context.quiet) {
                (true, _) => context.out.json(&met(name, waited))?,
                (false, true) => context.out.line(name.as_str())?,
                (false, false) => context.out.line(&text)?,
            }
            context.out.flush()
        });
        end.await
    })
}

/// What is waited for.
struct Wait {
    queries: Vec<FollowQuery>,
    any: bool,
    exit: bool,
    /// Silence is all that is waited for, and not a reason to give up.
    idle_is_it: bool,
}

impl Wait {
    fn new(args: &WaitArgs) -> Result<Wait, Failure> {
        let mut rows = FollowQuery { since: args.since.clone(), content: Content::None, ..args.until.query() };
        let look = FollowQuery {
            screen: args.screen.clone(),
            no_screen: args.no_screen.clone(),
            stable: args.stable.clone(),
            content: Content::None,
            ..FollowQuery::default()
        };
        rows.exit = args.exit || !(rows.is_wait() || look.is_wait()); // as docker's wait and the shell's
        if args.since.is_some() && !rows.is_wait() {
            return Err(wrong("--since is for conditions about rows: the screen is looked at as it is"));
        }
        let exit = rows.exit;
        let idle_is_it = rows.wait_idle.is_some()
            && !(exit || look.is_wait())
            && [&rows.until, &rows.until_line, &rows.until_literal].iter().all(|list| list.is_empty());
        let mut queries: Vec<FollowQuery> = [rows, look].into_iter().filter(FollowQuery::is_wait).collect();
        let follow = args.timeout != Some(Duration::ZERO);
        queries.iter_mut().for_each(|query| query.follow = follow);
        Ok(Wait { queries, any: args.any, exit, idle_is_it })
    }

    fn is_met(&self, end: &EndLine) -> bool {
        match end.reason {
            EndReason::Pattern | EndReason::Screen => true,
            EndReason::Exit => self.exit,
            EndReason::Idle => self.idle_is_it,
            EndReason::Timeout | EndReason::Complete => false,
        }
    }
}

/// Waits for all, or for the first; `ready` is told of each that is.
async fn each(
    client: &Client,
    names: Vec<Name>,
    wait: &Wait,
    deadline: Option<Instant>,
    mut ready: impl FnMut(&Name, &Waited) -> Result<(), Failure>,
) -> Done {
    let mut waits: FuturesUnordered<_> = names
        .into_iter()
        .map(|name| async move {
            let waited = one::wait(client, &name, wait, deadline).await;
            (name, waited)
        })
        .collect();
    let (mut unmet, mut exit): (Vec<(Name, Option<EndLine>)>, Exit) = (Vec::new(), Exit::Done);
    while let Some((name, waited)) = waits.next().await {
        let waited: Option<Waited> = waited.map_err(|error: ClientError| Failure::from(error))?;
        match waited {
            Some(waited) if wait.is_met(&waited.end) => {
                ready(&name, &waited)?;
                if waited.end.reason == EndReason::Idle {
                    exit = Exit::Idle;
                }
                if wait.any {
                    return Ok(exit);
                }
            }
            waited => {
                let end = waited.map(|waited| waited.end);
                // time is over for all in the same moment: what the others have come to counts, too
                let alone = end.as_ref().is_some_and(|end| end.reason != EndReason::Timeout);
                unmet.push((name, end));
                if alone && !wait.any {
                    break;
                }
            }
        }
    }
    if unmet.is_empty() { Ok(exit) } else { Err(not_met(&unmet).into()) }
}

/// One sentence and one code for those that aren't ready: an end comes before idleness, that before the time.
fn not_met(unmet: &[(Name, Option<EndLine>)]) -> ApiError {
    let code = |end: &Option<EndLine>| match end.as_ref().map(|end| end.reason) {
        Some(EndReason::Exit) => Exit::Ended,
        Some(EndReason::Idle) => Exit::Idle,
        _ => Exit::Timeout,
    };
    let said = |(name, end): &(Name, Option<EndLine>)| match (code(end), end) {
        (Exit::Ended, Some(end)) => format!("{name} ended first (exit status {})", status(end)),
        (Exit::Idle, _) => format!("{name} is idle"),
        _ => format!("{name} wasn't ready in time"),
    };
    let first = [Exit::Ended, Exit::Idle].into_iter().find(|exit| unmet.iter().any(|(_, end)| code(end) == *exit));
    let text: Vec<String> = unmet.iter().map(said).collect();
    let error = ApiError::new(Code::NotMet, text.join(", "));
    ApiError { exit: first.unwrap_or(Exit::Timeout).code(), ..error }
}

fn met<'a>(session: &'a Name, waited: &'a Waited) -> Met<'a> {
    let Waited { id, end } = waited;
    Met {
        session,
        id: *id,
        reason: end.reason,
        pattern: end.pattern.as_deref(),
        matched: end.matched.as_deref(),
        status: shell_status(end),
        exit_code: end.exit_code,
        signal: end.signal,
        run: end.run,
        turn: end.turn,
    }
}

fn shell_status(end: &EndLine) -> Option<i32> {
    out::shell_status(end.exit_code, end.signal)
}

fn status(end: &EndLine) -> String {
    shell_status(end).map_or_else(|| "unknown".to_owned(), |status| status.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cursor, Seq};

    fn end(reason: EndReason) -> EndLine {
        EndLine {
            ts: "T".into(),
            session: "a".parse().unwrap(),
            reason,
            pattern: None,
            matched: None,
            exit_code: None,
            signal: Some(9),
            next: Cursor::at(Seq(1)),
            run: 1,
            turn: None,
        }
    }

    #[test]
    fn the_worst_reason_gives_the_code() {
        use EndReason::{Exit as Ended, Idle, Timeout};
        for (reasons, code) in [
            (&[Some(Timeout)][..], 2),
            (&[None], 2),
            (&[Some(Timeout), Some(Idle)], 3),
            (&[Some(Idle), None, Some(Ended)], 4),
        ] {
            let unmet: Vec<_> = reasons.iter().map(|r| ("a".parse().unwrap(), r.map(end))).collect();
            assert_eq!(not_met(&unmet).exit, code, "{reasons:?}");
        }
        let one = not_met(&[("a".parse().unwrap(), Some(end(Ended)))]);
        assert_eq!(one.message, "a ended first (exit status 137)");
    }
}
