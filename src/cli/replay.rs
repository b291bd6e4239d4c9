//! `replay`: shows a session as it was, with the times of its log.
//!
//! On a terminal; to a pipe the bytes go as they are, without waiting, since whoever reads them has no use for the times.
//! When each piece is due is `export::Pace`'s; the terminal is `stage`'s. Bytes come from `client::Follow`.

mod stage;

use super::{Done, Failure, check, context::Context, context::converse, context::told_to_end, failed, out, wrong};
use crate::client::{Client, Follow, Item};
use crate::export::Pace;
use crate::model::{Exit, LogTime, Name, Size};
use crate::wire::{Content, FollowQuery, Line, SessionInfo};
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use stage::Stage;
use std::{io::IsTerminal, time::Duration};
use tokio::time::Instant;

/// Show a session as it was, with the times of its log; q or Ctrl+C ends
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// Session, also one that has ended
    name: Name,
    /// From where: start, last-send, turn:N, a duration, a time, @SEQ
    #[arg(long, value_name = "POINT", value_parser = check::since)]
    since: Option<String>,
    /// Up to where: a time or @SEQ
    #[arg(long, value_name = "POINT", value_parser = check::to)]
    to: Option<String>,
    /// So many times as fast
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = speed)]
    speed: f64,
    /// A silence lasts no longer than this
    #[arg(long, value_name = "D", value_parser = check::duration)]
    max_idle: Option<Duration>,
}

fn speed(text: &str) -> Result<f64, String> {
    let factor = text.parse::<f64>().ok().filter(|f| f.is_finite() && *f > 0.0);
    factor.ok_or_else(|| format!("bad speed {text:?}: write a number above 0, such as 2 or 0.5"))
}

pub(super) fn run(args: ReplayArgs, context: &mut Context) -> Done {
    if context.json {
        return Err(wrong("--json is not for replay, which shows bytes (lines of JSON: export --format jsonl)"));
    }
    if context.inside().as_ref() == Some(&args.name) {
        return Err(wrong(format!("this is inside session {}, whose log would be replayed into itself", args.name)));
    }
    let client = context.client()?;
    let on_terminal = std::io::stdout().is_terminal();
    let content = if on_terminal { Content::Base64 } else { Content::Raw };
    let query = FollowQuery { since: args.since, to: args.to, content, ..FollowQuery::default() };
    let pace = Pace::new(args.speed, args.max_idle);
    if !on_terminal {
        super::logs::end_on_interrupt()?;
    }
    converse(async {
        tokio::select! {
            done = async {
                match on_terminal {
                    true => play(client, args.name, query, pace, &mut context.out).await,
                    false => copy(client, args.name, query, &mut context.out).await,
                }
            } => done,
            code = told_to_end() => Err(Failure::Exit(code)),
        }
    })
}

/// A reading up to the end of the log as it is now: a session that goes on would be replayed for ever.
async fn open(client: Client, name: &Name, mut query: FollowQuery) -> Result<Follow, Failure> {
    let session: SessionInfo = client.get(&format!("/v1/sessions/{name}")).await?;
    query.to.get_or_insert(super::export::end_of(&session));
    Ok(Follow::open(client, name.clone(), query).await?)
}

/// All bytes, at once.
async fn copy(client: Client, name: Name, query: FollowQuery, out: &mut out::Out) -> Done {
    let mut follow = open(client, &name, query).await?;
    while let Some(item) = follow.next().await? {
        match item {
            Item::Bytes(bytes) => out.write(&bytes)?,
            Item::Line(line) => note_gap(&line),
        }
    }
    Ok(Exit::Done)
}

/// Each piece at its time.
async fn play(client: Client, name: Name, query: FollowQuery, mut pace: Pace, out: &mut out::Out) -> Done {
    let query = FollowQuery { times: true, events_all: true, ..query };
    let mut follow = open(client, &name, query).await?;
    let mut next = follow.next().await?;
    warn_of_size(follow.hello().and_then(|hello| hello.size), &name);
    let mut stage = Stage::enter()?;
    let (begun, mut exit) = (Instant::now(), Exit::Done);
    while let Some(item) = next {
        if let Item::Line(line) = &item
            && let Some((log, bytes)) = shown(line, &mut stage)?
        {
            let due = begun + pace.due(log);
            if due > Instant::now() {
                out.flush()?;
                if let Some(quit) = stage.quit_before(due).await {
                    exit = quit;
                    break;
                }
            }
            stage.saw(&bytes);
            out.write(&bytes)?;
        }
        next = tokio::select! {
            biased;
            next = follow.next() => next?,
            quit = stage.quit() => {
                exit = quit;
                break;
            }
        };
    }
    out.flush()?;
    Ok(exit)
}

/// What a line puts on the screen, and when.
fn shown(line: &Line, stage: &mut Stage) -> Result<Option<(LogTime, Vec<u8>)>, Failure> {
    match line {
        Line::Data(data) => {
            let bytes = STANDARD.decode(&data.content).map_err(|why| failed(format!("a strange line came: {why}")))?;
            Ok(data.log.map(|log| (log, bytes)))
        }
        // a new run has a new terminal
        Line::Other(event) if event.event == "starting" => Ok(event.log.map(|log| (log, stage.fresh()))),
        _ => Ok(None),
    }
}

fn note_gap(line: &Line) {
    if let Line::Other(event) = line
        && event.event == "gap"
    {
        out::note(&super::logs::gap(event));
    }
}

/// Rows that don't fit would be drawn over each other.
fn warn_of_size(theirs: Option<Size>, name: &Name) {
    if let (Some(theirs), Ok(ours)) = (theirs, rustix::termios::tcgetwinsize(rustix::stdio::stdout()))
        && (ours.ws_col < theirs.cols || ours.ws_row < theirs.rows)
    {
        out::note(&format!("{name} had a terminal of {theirs}, this one has {}x{}", ours.ws_col, ours.ws_row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_checked() {
        for good in ["1", "2", "0.5", "1e3"] {
            assert!(speed(good).is_ok(), "{good}");
        }
        for bad in ["0", "-1", "x", "", "inf", "NaN"] {
            assert!(speed(bad).unwrap_err().contains("write a number"), "{bad}");
        }
    }
}
