//! What a verb knows of the outside: the environment, the common options, the output, and the way to its host.

use super::{Failure, args::Common, failed, out::Out, table::Style};
use crate::client::{Client, ClientError, Credentials, Host, Setup, Token};
use crate::config::{Config, Env, Paths};
use crate::model::{Exit, Name};
use std::{
    future::Future,
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
};
use tokio::{runtime::Runtime, time::Instant};

/// See the module.
pub(super) struct Context {
    pub(super) env: Env,
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) out: Out,
    host: Option<String>,
    token_file: Option<PathBuf>,
    config: Option<PathBuf>,
}

impl Context {
    pub(super) fn new(common: Common) -> Result<Context, Failure> {
        let env = Env::from_process();
        let config = common.config.map(std::path::absolute).transpose();
        Ok(Context {
            json: common.json,
            quiet: common.quiet,
            out: Out::default(),
            host: common.host,
            token_file: common.token_file,
            config: config.map_err(|why| failed(format!("can't find --config: {why}")))?,
            env,
        })
    }

    /// How the local host is started, with `--set` of a verb that has it.
    pub(super) fn setup(&self, set: &[String], autostart: bool) -> Result<Setup, ClientError> {
        Ok(Setup {
            paths: Paths::from_process(&self.env)?,
            program: super::hidden::program()
                .map_err(|why| ClientError::System { what: "find this program".to_owned(), why })?,
            env: self.env.clone(),
            config: self.config.clone(),
            set: set.to_vec(),
            autostart,
        })
    }

    /// The settings, for what this side does with them.
    pub(super) fn settings(&self) -> Result<Config, Failure> {
        Config::load(self.config.as_deref(), &self.env, &[]).map_err(|why| ClientError::from(why).into())
    }

    /// The host, started where there is none, unless `TERMALIVE_NO_AUTOSTART` is on.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        self.reach(!self.env.is_on("TERMALIVE_NO_AUTOSTART"))
    }

    /// The host, if there is one.
    pub(super) fn running(&self) -> Result<Client, Failure> {
        self.reach(false)
    }

    fn reach(&self, autostart: bool) -> Result<Client, Failure> {
        Ok(Client::new(Host::choose(self.uri().as_deref(), self.credentials()?, self.setup(&[], autostart))?))
    }

    fn credentials(&self) -> Result<Credentials, Failure> {
        let token = match (&self.token_file, self.env.text("TERMALIVE_TOKEN")) {
            (Some(file), _) => Some(token_of(file)?),
            (None, Some(text)) => {
                Some(Token::new(text).ok_or_else(|| ClientError::NoToken("TERMALIVE_TOKEN".to_owned()))?)
            }
            (None, None) => None,
        };
        Ok(Credentials { token, insecure: self.env.is_on("TERMALIVE_INSECURE") })
    }

    fn uri(&self) -> Option<String> {
        self.host.clone().or_else(|| self.env.text("TERMALIVE_HOST").map(str::to_owned))
    }

    /// True when `--host` was given: `host` and `start` are about this machine's own.
    pub(super) fn names_a_host(&self) -> bool {
        self.host.is_some()
    }

    /// How a table is printed: fitted to the terminal, and coloured, where standard output is one.
    pub(super) fn style(&self) -> Style {
        let stdout = std::io::stdout();
        if !stdout.is_terminal() {
            return Style::default();
        }
        let size = rustix::termios::tcgetwinsize(&stdout).ok();
        let colour = self.env.get("NO_COLOR").is_none() && self.env.text("TERM").is_some_and(|term| term != "dumb");
        Style { width: size.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0), colour }
    }

    /// The session this command runs in, when it talks to the host of that session.
    pub(super) fn inside(&self) -> Option<Name> {
        let theirs = self.env.text("TERMALIVE_HOST");
        if self.host.is_some() && self.host.as_deref() != theirs {
            return None;
        }
        self.sender()
    }

    /// The id of that session.
    pub(super) fn inside_id(&self) -> Option<String> {
        self.inside().and_then(|_| self.env.text("TERMALIVE_SESSION_ID")).map(str::to_owned)
    }

    /// The session this command runs in, whoever it talks to.
    pub(super) fn sender(&self) -> Option<Name> {
        self.env.text("TERMALIVE_SESSION")?.parse().ok()
    }
}

/// What a verb's conversation runs on.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|why| failed(format!("can't begin: {why}")))
}

fn token_of(file: &Path) -> Result<Token, Failure> {
    let text = std::fs::read_to_string(file).map_err(|why| failed(format!("can't read {}: {why}", file.display())))?;
    Ok(Token::new(&text).ok_or_else(|| ClientError::NoToken(file.display().to_string()))?)
}

/// Ready when something asks this command to end, other than Ctrl+C; with the exit code for it.
pub(super) async fn told_to_end() -> ExitCode {
    use tokio::signal::unix::{SignalKind, signal};
    let heard = async |kind: SignalKind| match signal(kind) {
        Ok(mut signals) => drop(signals.recv().await),
        Err(_) => std::future::pending().await, // then it ends as any program
    };
    let signal = tokio::select! {
        () = heard(SignalKind::terminate()) => libc::SIGTERM,
        () = heard(SignalKind::hangup()) => libc::SIGHUP,
    };
    ExitCode::from(128 + signal as u8)
}

/// Runs a verb's conversation with its host on one thread; Ctrl+C ends it.
pub(super) fn converse<T>(talk: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    runtime()?.block_on(async {
        tokio::select! {
            done = talk => done,
            Ok(()) = tokio::signal::ctrl_c() => Err(Failure::Said(Exit::Interrupted)),
        }
    })
}

/// Ready at a time; never, without one.
pub(super) async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
