//! The command line, one file per verb.
//!
//! [`main`] parses, runs the verb, gives its exit code. Values are checked before any host is asked or started. Printing goes
//! through `out` alone; what a verb knows of the outside it has from its `Context`. Data comes from arguments, standard
//! input and the host, by way of `client`.

mod args;
mod ask;
mod attach;
mod check;
mod completions;
mod context;
mod doctor;
mod down;
mod events;
mod export;
mod fleet;
mod hidden;
mod host;
mod kill;
mod list;
mod log;
mod logs;
mod many;
mod new;
mod out;
mod reading;
mod reload;
mod replay;
mod reply;
mod resize;
mod restart;
mod rm;
mod run;
mod screen;
mod search;
mod send;
mod show;
mod start;
mod status;
mod stop;
mod table;
mod turns;
mod until;
mod up;
mod usage;
mod wait;

use crate::client::ClientError;
use crate::model::Exit;
use crate::wire::ApiError;
use args::{Cli, Later, Verb};
use clap::{FromArgMatches, Parser};
use context::Context;
use std::{ffi::OsString, process::ExitCode};

/// Parses the arguments, runs the verb, gives its exit code.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = hidden::dispatch(&args) {
        return code;
    }
    // what is wrong, and help, need all verbs described
    let parsed = Cli::try_parse_from(&args)
        .or_else(|_| args::described().try_get_matches_from(&args).and_then(|m| Cli::from_arg_matches(&m)));
    match parsed {
        Ok(cli) => run(cli),
        Err(error) => ExitCode::from(usage::explain(&error, &args).code()),
    }
}

/// How a verb ends.
pub(crate) type Done = Result<Exit, Failure>;

/// Why it ended otherwise.
#[derive(Debug)]
pub(crate) enum Failure {
    /// To be said.
    Error(Box<ApiError>),
    /// It was said.
    Said(Exit),
    /// The process was a keeper until now.
    Exit(ExitCode),
    /// Whoever read our output has closed it: there is nothing more to do.
    ReaderGone,
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Failure {
        Failure::Error(Box::new(error))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        ApiError::from(error).into()
    }
}

/// A refusal of the command line as a whole: exit 64.
pub(crate) fn wrong(message: impl Into<String>) -> Failure {
    ApiError::new(crate::wire::Code::Usage, message).into()
}

/// A plain failure: exit 1.
pub(crate) fn failed(message: impl Into<String>) -> Failure {
    ApiError::new(crate::wire::Code::Failed, message).into()
}

fn run(cli: Cli) -> ExitCode {
    let json = cli.common.json;
    let done = Context::new(cli.common).and_then(|mut context| {
        let exit = dispatch(cli.verb, &mut context)?;
        context.out.flush()?;
        Ok(exit)
    });
    let exit = match done {
        Err(Failure::Exit(code)) => return code,
        Ok(exit) | Err(Failure::Said(exit)) => exit,
        Err(Failure::ReaderGone) => Exit::Done,
        Err(Failure::Error(error)) => {
            out::error(&error, json);
            exit_of(&error)
        }
    };
    ExitCode::from(exit.code())
}

fn dispatch(verb: Option<Verb>, context: &mut Context) -> Done {
    match verb {
        None => new::shell(context),
        Some(Verb::Host(Later(args))) => host::run(&args, context),
        Some(Verb::Start(Later(args))) => start::run(&args, context),
        Some(Verb::Status(Later(args))) => status::run(&args, context),
        Some(Verb::Completions(Later(args))) => completions::run(&args, context),
        Some(Verb::Doctor(Later(args))) => doctor::run(&args, context),
        Some(Verb::Reload(Later(args))) => reload::run(&args, context),
        Some(Verb::Stop(Later(args))) => stop::run(&args, context),
        Some(Verb::New(Later(args))) => new::run(args, context),
        Some(Verb::Run(Later(args))) => run::run(args, context),
        Some(Verb::List(Later(args))) => list::run(&args, context),
        Some(Verb::Show(Later(args))) => show::run(&args, context),
        Some(Verb::Attach(Later(args))) => attach::run(args, context),
        Some(Verb::Send(Later(args))) => send::run(args, context),
        Some(Verb::Ask(Later(args))) => ask::run(args, context),
        Some(Verb::Reply(Later(args))) => reply::run(args, context),
        Some(Verb::Turns(Later(args))) => turns::run(&args, context),
        Some(Verb::Logs(Later(args))) => logs::run(args, context),
        Some(Verb::Log(Later(args))) => log::run(&args, context),
        Some(Verb::Up(Later(args))) => up::run(&args, context),
        Some(Verb::Down(Later(args))) => down::run(&args, context),
        Some(Verb::Wait(Later(args))) => wait::run(args, context),
        Some(Verb::Screen(Later(args))) => screen::run(&args, context),
        Some(Verb::Kill(Later(args))) => kill::run(&args, context),
        Some(Verb::Restart(Later(args))) => restart::run(&args, context),
        Some(Verb::Resize(Later(args))) => resize::run(&args, context),
        Some(Verb::Rm(Later(args))) => rm::run(&args, context),
        Some(Verb::Replay(Later(args))) => replay::run(args, context),
        Some(Verb::Export(Later(args))) => export::run(args, context),
        Some(Verb::Search(Later(args))) => search::run(args, context),
        Some(Verb::Events(Later(args))) => events::run(args, context),
    }
}

/// The exit code of an error: of its word, where it is one this program knows, else the number the host gives.
fn exit_of(error: &ApiError) -> Exit {
    const KNOWN: [Exit; 8] = [
        Exit::Failed,
        Exit::Timeout,
        Exit::Idle,
        Exit::Ended,
        Exit::Usage,
        Exit::NotFound,
        Exit::NoHost,
        Exit::NotPermitted,
    ];
    KNOWN.into_iter().find(|exit| exit.code() == error.exit).unwrap_or_else(|| error.code.exit())
}
