//! The shape of the command line: verbs, and what they have in common. Each verb's own arguments stand in its file.

use super::{
    ask, attach, completions, doctor, down, events, export, host, kill, list, log, logs, new, reload, replay, reply,
    resize, restart, rm, run, screen, search, send, show, start, status, stop, turns, up, wait,
};
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::path::PathBuf;

/// Keeps terminal sessions alive and lets programs, people and agents talk to them.
#[derive(Debug, Parser)]
#[command(name = "termalive", version, after_help = EXITS)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,
}

const EXITS: &str = "Exit codes: 0 done, 1 failed, 2 --timeout passed, 3 idle for --wait-idle, 4 the run ended first,
64 usage, 66 no such session, 69 no host, 77 not permitted, 130 Ctrl+C.
Durations: 500ms, 10s, 2m, 1h; a number alone is seconds.
Begin with: termalive new demo -- bash; termalive send demo 'echo hi'; termalive logs demo; termalive kill demo.
termalive COMMAND --help says more about each; termalive doctor looks for what is missing.";

/// On every command.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// The host to talk to: unix:///path, ws://127.0.0.1:7777 [env: TERMALIVE_HOST; default: the local one, started when needed]
    #[arg(long, global = true, value_name = "URI")]
    pub(super) host: Option<String>,
    /// Print JSON; an error is one line of JSON on standard error
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Print names only, one a line
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Holds the token for a host over TCP [env: TERMALIVE_TOKEN is the token itself]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(super) token_file: Option<PathBuf>,
    /// The settings for a host that is started [env: TERMALIVE_CONFIG]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(super) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    New(Later<new::NewArgs>),
    Run(Later<run::RunArgs>),
    #[command(visible_alias = "ls")]
    List(Later<list::ListArgs>),
    Show(Later<show::ShowArgs>),
    #[command(visible_alias = "a")]
    Attach(Later<attach::AttachArgs>),
    Send(Later<send::SendArgs>),
    Ask(Later<ask::AskArgs>),
    Reply(Later<reply::ReplyArgs>),
    Turns(Later<turns::TurnsArgs>),
    Logs(Later<logs::LogsArgs>),
    Log(Later<log::LogArgs>),
    Wait(Later<wait::WaitArgs>),
    Screen(Later<screen::ScreenArgs>),
    Kill(Later<kill::KillArgs>),
    Restart(Later<restart::RestartArgs>),
    Resize(Later<resize::ResizeArgs>),
    Rm(Later<rm::RmArgs>),
    Up(Later<up::UpArgs>),
    Down(Later<down::DownArgs>),
    Replay(Later<replay::ReplayArgs>),
    Export(Later<export::ExportArgs>),
    Search(Later<search::SearchArgs>),
    Events(Later<events::EventsArgs>),
    Host(Later<host::HostArgs>),
    Start(Later<start::StartArgs>),
    Status(Later<status::StatusArgs>),
    Reload(Later<reload::ReloadArgs>),
    Stop(Later<stop::StopArgs>),
    Doctor(Later<doctor::DoctorArgs>),
    Completions(Later<completions::CompletionsArgs>),
}

/// The arguments of a verb, described when it is the one that was asked for: describing all verbs takes longer than most run.
#[derive(Debug)]
pub(super) struct Later<T>(pub(super) T);

impl<T: Args> Args for Later<T> {
    fn augment_args(verb: Command) -> Command {
        verb.defer(T::augment_args)
    }

    fn augment_args_for_update(verb: Command) -> Command {
        verb.defer(T::augment_args_for_update)
    }
}

impl<T: FromArgMatches> FromArgMatches for Later<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Later<T>, clap::Error> {
        T::from_arg_matches(matches).map(Later)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

/// All verbs with all they take: for help, completions, and words about what is wrong.
pub(super) fn described() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

/// Names given to a command that takes none, so that the right command can be named.
#[derive(Debug, Args)]
pub(super) struct NoNames {
    #[arg(hide = true, num_args = 0.., value_name = "NAME")]
    names: Vec<String>,
}

impl NoNames {
    /// Refuses names: `verb` is about the host; `instead` is what is meant for the session NAME.
    pub(super) fn check(&self, verb: &str, instead: &str) -> Result<(), super::Failure> {
        match self.names.first() {
            None => Ok(()),
            Some(name) => Err(super::wrong(format!(
                "{verb} is about the host and takes no session (for a session: termalive {})",
                instead.replace("NAME", name)
            ))),
        }
    }
}
