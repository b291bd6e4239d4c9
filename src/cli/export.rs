//! `export`: a session's log as a file: a recording, text, lines of JSON, bytes.
//!
//! The format is made by `export`, of what `client::Follow` reads; this writes it, whole or not at all, and shows how far it
//! is.

mod file;

use super::{Done, Failure, check, context::Context, context::converse, context::told_to_end, failed, out, wrong};
use crate::client::{Client, Follow, Item};
use crate::export::{Export, Format};
use crate::model::{Cursor, Exit, KIB, Name, Seq};
use crate::wire::{FollowQuery, Line, SessionInfo};
use clap::{Args, ValueEnum};
use file::WholeFile;
use indicatif::{ProgressBar, ProgressStyle};
use std::{io::IsTerminal, path::PathBuf, time::Duration};

/// What is collected before it is written.
const CHUNK: usize = 64 * KIB;
/// How often the bar is drawn at most: a person sees no more.
const DRAW: Duration = Duration::from_millis(100);

/// Write a session's log as a recording, text, JSON lines or bytes
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Session, also one that has ended
    name: Name,
    /// How
    #[arg(short, long, value_name = "FORMAT", default_value = "asciicast-v2")]
    format: Which,
    /// Where to, whole or not at all, for you alone to read; without it, or with -, standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// From where: start, last-send, turn:N, a duration, a time, @SEQ
    #[arg(long, value_name = "POINT", value_parser = check::since)]
    since: Option<String>,
    /// Up to where: a time or @SEQ
    #[arg(long, value_name = "POINT", value_parser = check::to)]
    to: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// A recording, for asciinema and its kin
    #[value(name = "asciicast-v2", alias = "asciicast")]
    AsciicastV2,
    /// Rows as a person reads them
    Text,
    /// As logs --json --events all
    Jsonl,
    /// The bytes that the program wrote
    Raw,
}

/// Where it goes.
enum Sink<'a> {
    Out(&'a mut out::Out),
    File(WholeFile),
}

pub(super) fn run(args: ExportArgs, context: &mut Context) -> Done {
    let path = args.output.filter(|path| path.as_os_str() != "-");
    if path.is_none() && context.json {
        return Err(wrong("--json is for export -o FILE (lines of JSON: --format jsonl)"));
    }
    let format = match args.format {
        Which::AsciicastV2 => Format::AsciicastV2,
        Which::Text => Format::Text,
        Which::Jsonl => Format::Jsonl,
        Which::Raw => Format::Raw,
    };
    let mut query = FollowQuery { since: args.since, to: args.to, ..FollowQuery::default() };
    format.ask(&mut query);
    let client = context.client()?;
    if path.is_none() {
        super::logs::end_on_interrupt()?; // also while a slow reader lets us wait in a write
    }
    let bytes = converse(async {
        tokio::select! {
            done = write(client, args.name.clone(), format, query, path.clone(), &mut context.out) => done,
            code = told_to_end() => Err(Failure::Exit(code)),
        }
    })?;
    if let (Some(path), true) = (path, context.json) {
        let written = serde_json::json!({"session": args.name, "output": path.to_string_lossy(), "bytes": bytes});
        context.out.json(&written)?;
    }
    Ok(Exit::Done)
}

/// Writes it, says how many bytes it has.
async fn write(
    client: Client,
    name: Name,
    format: Format,
    mut query: FollowQuery,
    path: Option<PathBuf>,
    stdout: &mut out::Out,
) -> Result<u64, Failure> {
    let about: SessionInfo = client.get(&format!("/v1/sessions/{name}")).await?;
    query.to.get_or_insert(end_of(&about)); // what comes from now on would never end
    let bar = bar(about.last_seq, path.is_some());
    let mut follow = Follow::open(client, name.clone(), query).await?;
    let mut export = Export::new(format, name.as_str(), &about.command);
    let mut greeted = false;
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    let mut sink = None; // made once the host has agreed: what is refused leaves no file
    loop {
        let item = follow.next().await?;
        if let Some(hello) = follow.hello().filter(|_| !std::mem::replace(&mut greeted, true)) {
            export.hello(hello);
        }
        let over = matches!(item, None | Some(Item::Line(Line::End(_))));
        match &item {
            Some(Item::Line(line)) => {
                note_gap(line, &bar);
                export.line(line, &mut chunk).map_err(|why| failed(format!("can't write: {why}")))?;
            }
            Some(Item::Bytes(bytes)) => export.bytes(bytes, &mut chunk),
            None => {}
        }
        if over {
            export.finish(&mut chunk).map_err(|why| failed(format!("can't write: {why}")))?;
        }
        if over || chunk.len() >= CHUNK {
            if sink.is_none() {
                sink = Some(match &path {
                    Some(path) => Sink::File(WholeFile::create(path)?),
                    None => Sink::Out(&mut *stdout),
                });
            }
            bytes += chunk.len() as u64;
            match &mut sink {
                Some(Sink::Out(out)) => out.write(&chunk)?,
                Some(Sink::File(file)) => file.write(&chunk)?,
                None => {}
            }
            chunk.clear();
            bar.set_position(follow.reached().map_or(0, |seq| seq.0));
        }
        if over {
            break;
        }
    }
    bar.finish_and_clear();
    match sink {
        Some(Sink::File(file)) => file.keep()?,
        Some(Sink::Out(out)) => out.flush()?,
        None => {}
    }
    Ok(bytes)
}

/// The end of a session's log as it is now.
pub(super) fn end_of(session: &SessionInfo) -> String {
    Cursor::at(Seq(session.last_seq).next()).to_string()
}

/// What is missing is said, whatever the format makes of it.
fn note_gap(line: &Line, bar: &ProgressBar) {
    if let Line::Other(event) = line
        && event.event == "gap"
    {
        bar.suspend(|| out::note(&super::logs::gap(event)));
    }
}

/// A bar on a terminal's standard error, where nothing else is printed on that terminal.
fn bar(records: u64, to_file: bool) -> ProgressBar {
    let shown = std::io::stderr().is_terminal() && (to_file || !std::io::stdout().is_terminal());
    if !shown {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(records);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent:>3}% {elapsed}") {
        bar.set_style(style);
    }
    bar.tick(); // at once, also for what takes less
    bar.enable_steady_tick(DRAW);
    bar
}
