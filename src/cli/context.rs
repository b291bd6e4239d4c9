//! What a verb knows of the outside: the environment, the common options, the output, and the way to its host.

use super::{Failure, args::Common, failed, out::Out};
use crate::client::{Client, ClientError, Host, Setup};
use crate::config::{Config, Env, Paths};
use crate::model::{Exit, Name};
use std::{future::Future, path::PathBuf};

/// See the module.
pub(super) struct Context {
    pub(super) env: Env,
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) out: Out,
    host: Option<String>,
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
            config: config.map_err(|why| failed(format!("can't find --config: {why}")))?,
            env,
        })
    }

    /// How the local host is started, with `--set` of a verb that has it.
    pub(super) fn setup(&self, set: &[String], autostart: bool) -> Result<Setup, ClientError> {
        Ok(Setup {
            paths: Paths::from_process(&self.env)?,
            program: std::env::current_exe()
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
        Ok(Client::new(Host::choose(self.uri().as_deref(), self.setup(&[], autostart))?))
    }

    fn uri(&self) -> Option<String> {
        self.host.clone().or_else(|| self.env.text("TERMALIVE_HOST").map(str::to_owned))
    }

    /// True when `--host` was given: `host` and `start` are about this machine's own.
    pub(super) fn names_a_host(&self) -> bool {
        self.host.is_some()
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

/// Runs a verb's conversation with its host on one thread; Ctrl+C ends it.
pub(super) fn converse<T>(talk: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| failed(format!("can't begin: {why}")))?;
    runtime.block_on(async {
        tokio::select! {
            done = talk => done,
            Ok(()) = tokio::signal::ctrl_c() => Err(Failure::Said(Exit::Interrupted)),
        }
    })
}
