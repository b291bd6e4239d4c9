//! `logs`: prints a session's log, and waits on it.
//!
//! Rows, masks and verdicts are the host's; this prints, gives `--timeout` its meaning, and turns the end's reason into an exit
//! code. Data comes from `client::Follow`, goes to `out` by way of `printer`.

mod printer;

use super::{Done, Failure, check, context, context::Context, failed, reading::Reading, until::Until, wrong};
use crate::client::Item;
use crate::model::{Exit, Name};
use crate::wire::{Content, EndLine, EndReason, FollowQuery, Line};
use clap::{Args, ValueEnum};
use printer::Printer;
pub(super) use printer::gap;
use rustix::{
    event::{PollFd, PollFlags},
    fs::FileType,
    io::Errno,
};
use std::time::Duration;
use tokio::time::Instant;

/// Print a session's log; with a condition, wait for it
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// Session
    name: Name,
    /// Go on at the end, over runs, until the session has ended for good
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    until: Until,
    /// Wait no longer than this: exit 2; 0 decides on the log as it is
    #[arg(long, value_name = "D", value_parser = check::duration)]
    timeout: Option<Duration>,
    /// From where: start, last-send, turn:N, now, a duration, a time, @SEQ
    #[arg(long, value_name = "POINT", value_parser = check::since)]
    since: Option<String>,
    /// Up to where: a time or @SEQ
    #[arg(long, value_name = "POINT", value_parser = check::to)]
    to: Option<String>,
    /// Only the last so many rows
    #[arg(short = 'n', long, value_name = "LINES")]
    lines: Option<u64>,
    /// The exact bytes the program wrote; with --json as text, rows not made
    #[arg(long)]
    raw: bool,
    /// With --json: the exact bytes, as base64
    #[arg(long)]
    base64: bool,
    /// With --json: all events, not output alone
    #[arg(long, value_name = "WHICH")]
    events: Option<Events>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Events {
    All,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Raw,
    Json,
}

pub(super) fn run(args: LogsArgs, context: &mut Context) -> Done {
    let begun = Instant::now();
    let format = format(&args, context)?;
    let query = query(&args, format)?;
    if query.follow && context.inside().as_ref() == Some(&args.name) {
        return Err(wrong(format!("this is inside session {}, whose log would be followed by itself", args.name)));
    }
    let client = context.client()?;
    end_on_interrupt()?;
    let runtime = context::runtime()?;
    let is_wait = query.is_wait();
    let decide_now = args.timeout == Some(Duration::ZERO);
    let deadline = args.timeout.filter(|_| !decide_now).map(|timeout| begun + timeout);
    let end = runtime.block_on(async {
        match Reading::open(client, args.name, query, deadline).await? {
            Some(reading) => print(reading, format, context).await,
            None => Ok(None),
        }
    });
    Ok(match end? {
        None => Exit::Timeout,
        Some(end) => exit(end.reason, is_wait, decide_now),
    })
}

/// Prints a reading until its end; nothing when the time was over and the host didn't answer.
pub(super) async fn print(reading: Reading, format: Format, context: &mut Context) -> Result<Option<EndLine>, Failure> {
    let mut printer = Printer::new(&mut context.out, format, context.quiet);
    let end = copy(reading, &mut printer).await;
    printer.finish()?;
    end
}

/// Until the end; nothing when the time was over and the host didn't answer.
async fn copy(mut reading: Reading, printer: &mut Printer<'_>) -> Result<Option<EndLine>, Failure> {
    let reader_gone = reader_gone();
    tokio::pin!(reader_gone);
    loop {
        tokio::select! {
            biased;
            item = reading.next() => match item? {
                Some(Item::Bytes(bytes)) => printer.bytes(&bytes)?,
                Some(Item::Line(line)) => {
                    printer.line(&line)?;
                    if let Line::End(end) = line {
                        return Ok(Some(end));
                    }
                }
                None => break,
            },
            // reached only when nothing more is there at the moment
            () = std::future::ready(()), if printer.waits() => printer.flush()?,
            () = &mut reader_gone => return Err(Failure::ReaderGone),
        }
    }
    if let Some(end) = reading.follow.end_without_host(EndReason::Timeout, now()) {
        printer.line(&Line::End(end))?;
    }
    Ok(None)
}

/// RFC 3339 with milliseconds.
fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

fn format(args: &LogsArgs, context: &Context) -> Result<Format, Failure> {
    let default = match context.env.text("TERMALIVE_LOGS") {
        None | Some("text") => Format::Text,
        Some("raw") => Format::Raw,
        Some("json") => Format::Json,
        Some(other) => return Err(wrong(format!("bad TERMALIVE_LOGS {other:?}: write text, raw or json"))),
    };
    let format = match (context.json, args.raw) {
        (true, _) => Format::Json,
        (false, true) => Format::Raw,
        (false, false) => default,
    };
    match (format, args.base64, args.events) {
        (Format::Json, ..) | (_, false, None) => Ok(format),
        (_, true, _) => Err(wrong("--base64 is for --json (the exact bytes by themselves: --raw)")),
        (_, false, Some(_)) => Err(wrong("--events all is for --json")),
    }
}

fn query(args: &LogsArgs, format: Format) -> Result<FollowQuery, Failure> {
    let content = match (format, args.raw, args.base64) {
        (Format::Text, ..) | (Format::Json, false, false) => Content::Rows,
        (Format::Raw, ..) => Content::Raw,
        (Format::Json, _, true) => Content::Base64,
        (Format::Json, true, false) => Content::Chars,
    };
    let mut query = FollowQuery {
        since: args.since.clone(),
        to: args.to.clone(),
        lines: args.lines,
        content,
        events_all: args.events.is_some(),
        ..args.until.query()
    };
    // a stop condition implies -f, and so does a time to wait; no time at all is a verdict on what is there
    query.follow = match args.timeout {
        Some(Duration::ZERO) => false,
        Some(_) => true,
        None => args.follow || query.is_wait(),
    };
    Ok(query)
}

fn exit(reason: EndReason, is_wait: bool, decide_now: bool) -> Exit {
    match reason {
        EndReason::Pattern | EndReason::Screen => Exit::Done,
        EndReason::Idle => Exit::Idle,
        EndReason::Timeout => Exit::Timeout,
        EndReason::Exit if is_wait => Exit::Ended,
        EndReason::Complete if is_wait && decide_now => Exit::Timeout, // no condition was met
        EndReason::Exit | EndReason::Complete => Exit::Done,
    }
}

/// Ctrl+C ends with 130, also while a write to a slow reader blocks this thread: so it is heard on another one.
pub(super) fn end_on_interrupt() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|why| failed(format!("can't begin: {why}")))?;
    let listen = move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            std::process::exit(i32::from(Exit::Interrupted.code()));
        }
    };
    let thread = std::thread::Builder::new().name("interrupt".to_owned()).spawn(listen);
    thread.map(drop).map_err(|why| failed(format!("can't begin: {why}")))
}

/// Ready when whoever reads our output has gone: a session that says nothing must not keep us for ever. A thread waits for
/// it; it ends with the command.
pub(super) async fn reader_gone() {
    let stdout = rustix::stdio::stdout();
    let kind = rustix::fs::fstat(stdout).map(|stat| FileType::from_raw_mode(stat.st_mode));
    if !matches!(kind, Ok(FileType::Fifo | FileType::Socket)) {
        return std::future::pending().await;
    }
    let (gone, heard) = tokio::sync::oneshot::channel();
    let watch = move || {
        // nothing is asked for: what comes all the same is that the other side has closed
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        while rustix::event::poll(&mut watched, None) == Err(Errno::INTR) {}
        let _ = gone.send(()); // nobody listens any more when the reading has ended first
    };
    match std::thread::Builder::new().name("reader".to_owned()).spawn(watch) {
        Ok(_) if heard.await.is_ok() => {}
        _ => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_become_codes() {
        use EndReason::{Complete, Exit as Ended, Idle, Pattern, Timeout};
        let table = [
            (Pattern, true, false, 0),
            (Idle, true, false, 3),
            (Timeout, true, true, 2),
            (Timeout, false, false, 2),
            (Ended, true, false, 4),
            (Ended, false, false, 0),
            (Complete, false, false, 0),
            (Complete, false, true, 0),
            (Complete, true, true, 2),
            (Complete, true, false, 0),
        ];
        for (reason, is_wait, decide_now, code) in table {
            assert_eq!(exit(reason, is_wait, decide_now).code(), code, "{reason:?} {is_wait} {decide_now}");
        }
    }
}
