//! `host`: keeper and host in the foreground, until a signal ends them in order.

use super::{Done, Failure, args::NoNames, check, context, context::Context, failed, hidden, wrong};
use crate::client::{Host, Presence, Setup};
use crate::config::Config;
use crate::keeper::notify;
use crate::model::Exit;
use crate::wire::{ApiError, Code, HostStatus};
use clap::{Args, ValueEnum};
use std::net::SocketAddr;

/// Run a host in the foreground; it logs to standard error
#[derive(Debug, Args)]
pub(super) struct HostArgs {
    #[command(flatten)]
    pub(super) names: NoNames,
    #[command(flatten)]
    pub(super) settings: Settings,
}

/// What a host that is started is told, and every later one of its keeper, too.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Also serve TCP, with tokens: 127.0.0.1:7777
    #[arg(long, value_name = "ADDRESS", value_parser = check::address)]
    listen: Vec<SocketAddr>,
    /// With --listen: also an address that others can reach, unencrypted
    #[arg(long, requires = "listen", hide_short_help = true)]
    insecure: bool,
    /// How it logs: text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<Format>,
    /// Change a setting, such as store.segment_bytes=64MiB
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = check::setting)]
    set: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Settings {
    /// All of it as `KEY=VALUE`.
    pub(super) fn pairs(&self) -> Vec<String> {
        let mut pairs = self.set.clone();
        if !self.listen.is_empty() {
            pairs.push(format!("http.listen={}", self.listen().join(",")));
        }
        if self.insecure {
            pairs.push("http.insecure=true".to_owned());
        }
        match self.log_format {
            Some(Format::Text) => pairs.push("host.log_format=text".to_owned()),
            Some(Format::Json) => pairs.push("host.log_format=json".to_owned()),
            None => {}
        }
        pairs
    }

    /// The addresses that were asked for.
    pub(super) fn listen(&self) -> Vec<String> {
        self.listen.iter().map(ToString::to_string).collect()
    }
}

pub(super) fn run(args: &HostArgs, context: &mut Context) -> Done {
    args.names.check("host", "new NAME")?;
    foreground("host", &args.settings.pairs(), context)
}

/// Becomes the keeper.
pub(super) fn foreground(verb: &str, set: &[String], context: &mut Context) -> Done {
    let setup = local_setup(verb, set, context)?;
    let Presence::Absent(looking) = Host::local(setup.clone()).presence(true)? else {
        // with its own patience: the folder may be held by something that never answers here
        let there = Host::local(Setup { autostart: false, ..setup.clone() });
        context::converse(async { there.open().await.map_err(Failure::from) })?;
        if notify::is_awaited() && verb == "host" {
            return join(context);
        }
        let running = ApiError::new(Code::Exists, format!("a host runs already at {}", setup.paths.socket.display()));
        return Err(running.hint("termalive stop ends it").into());
    };
    let place = hidden::Place {
        ready_on_stdout: false,
        state_dir: setup.paths.state,
        socket: setup.paths.socket,
        config: setup.config,
        set: setup.set,
        program: None,
    };
    hidden::keeper(place, looking)
}

/// Under systemd: a keeper that its unit was left with goes on as the unit's main process, and nothing is started.
fn join(context: &Context) -> Done {
    let client = context.running()?;
    let status: HostStatus = context::converse(async { Ok(client.get("/v1/status").await?) })?;
    let keeper = status.keeper_pid;
    let cgroup = |process: &str| std::fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    if cgroup("self") != cgroup(&keeper.to_string()) {
        let elsewhere =
            ApiError::new(Code::Exists, format!("a host runs already, outside of this unit: keeper {keeper}"));
        return Err(elsewhere.hint("termalive stop ends it; then start the unit").into());
    }
    notify::ready(keeper).map_err(|e| failed(format!("cannot tell systemd that the host is up: {e}")))?;
    Ok(Exit::Done)
}

/// How this machine's own host is started; settings that can't be are said here.
pub(super) fn local_setup(verb: &str, set: &[String], context: &Context) -> Result<Setup, Failure> {
    if context.names_a_host() {
        return Err(wrong(format!("{verb} starts this machine's own host: leave --host out")));
    }
    let setup = context.setup(set, true)?;
    Config::load(setup.config.as_deref(), &setup.env, &setup.set).map_err(crate::client::ClientError::from)?;
    Ok(setup)
}
