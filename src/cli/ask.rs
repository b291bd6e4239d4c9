//! `ask`: types a text, waits for the whole reply, prints it alone.
//!
//! What is whole is the host's to say; this turns it into an exit code, and one line on standard error where it isn't. Data
//! comes from arguments and standard input as for `send`, goes to `out`.

use super::{Done, Failure, check, context::Context, context::converse, out, send};
use crate::model::{Exit, Name};
use crate::wire::{Reply, ReplyReason, TurnRequest, When};
use clap::Args;
use std::{ffi::OsString, time::Duration};
use tokio::time::Instant;

/// Type a text into a session, wait for the reply, print it
#[derive(Debug, Args)]
pub(super) struct AskArgs {
    /// Session
    name: Name,
    /// The text, joined by blanks; a last - reads standard input, put after the rest and an empty line
    #[arg(value_name = "TEXT", allow_negative_numbers = true)]
    text: Vec<OsString>,
    #[command(flatten)]
    when: WhenArgs,
    /// Wait no longer than this: exit 2 [default: 30m]
    #[arg(long, value_name = "D", value_parser = check::duration)]
    timeout: Option<Duration>,
}

/// When a reply is whole; without any of it, when the program's prompt stands again.
#[derive(Debug, Args)]
pub(super) struct WhenArgs {
    /// The reply ends with a row that matches this regex (not an echo of what was sent)
    #[arg(long, value_name = "RE", allow_hyphen_values = true)]
    until: Vec<String>,
    /// The reply ends with a row that is exactly this, blanks and bullets left out
    #[arg(long, value_name = "S", allow_hyphen_values = true)]
    until_line: Vec<String>,
    /// The reply ends with a row that has this text
    #[arg(long, value_name = "S", allow_hyphen_values = true)]
    until_literal: Vec<String>,
    /// The reply ends when there was no output for so long: 0 where nothing better can be told, else 3
    #[arg(long, value_name = "D", value_parser = check::duration_text)]
    wait_idle: Option<String>,
}

impl WhenArgs {
    pub(super) fn into_when(self) -> When {
        let WhenArgs { until, until_line, until_literal, wait_idle } = self;
        When { until, until_line, until_literal, wait_idle }
    }
}

pub(super) fn run(args: AskArgs, context: &mut Context) -> Done {
    let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
    let text = send::text("ask", args.text, false)?;
    let from = context.sender().map(|name| name.to_string());
    let request = TurnRequest { text, from, when: args.when.into_when(), ..TurnRequest::default() };
    let client = context.client()?;
    let reply = converse(async { Ok(client.ask(&args.name, request, deadline).await?) })?;
    print(reply, context)
}

/// The reply, and how the command ends; nothing: the time was over before the host said anything.
pub(super) fn print(reply: Option<Reply>, context: &mut Context) -> Done {
    let Some(reply) = reply else {
        out::note("the time is over, and the host doesn't answer");
        return Ok(Exit::Timeout);
    };
    if context.json {
        context.out.json(&reply)?;
    } else if context.quiet {
        context.out.line(reply.session.as_str())?;
    } else if !reply.reply.is_empty() {
        context.out.line(&reply.reply)?;
    }
    context.out.flush()?;
    tell(&reply, context)?;
    Ok(exit(&reply))
}

/// Why a reply isn't whole, and what gaps it has, for people.
fn tell(reply: &Reply, context: &Context) -> Result<(), Failure> {
    if context.json || context.quiet {
        return Ok(());
    }
    if !reply.gaps.is_empty() {
        out::note(
            "output is missing in this reply: the machine went down, the log was damaged, or the limit of what is kept took it \
             (--json shows where)",
        );
    }
    let why = match reply.reason {
        _ if reply.complete => return Ok(()),
        ReplyReason::Exit => "the run has ended",
        ReplyReason::Idle => "it is quiet and its prompt isn't back",
        ReplyReason::Timeout | ReplyReason::Pattern | ReplyReason::Complete => "more may come",
    };
    let Reply { session, turn, .. } = reply;
    out::note(&format!("this may not be all: {why} (later: termalive reply {session} --turn {turn} --wait)"));
    Ok(())
}

fn exit(reply: &Reply) -> Exit {
    match reply.reason {
        _ if reply.complete => Exit::Done,
        ReplyReason::Exit => Exit::Ended,
        ReplyReason::Idle => Exit::Idle,
        ReplyReason::Timeout | ReplyReason::Pattern | ReplyReason::Complete => Exit::Timeout,
    }
}
