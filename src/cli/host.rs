//! `host`: keeper and host in the foreground, until a signal ends them in order.

use super::{Done, Failure, args::NoNames, check, context, context::Context, hidden, wrong};
use crate::client::{Host, Presence, Setup};
use crate::config::Config;
use crate::wire::{ApiError, Code};
use clap::Args;

/// Run a host in the foreground; it logs to standard error
#[derive(Debug, Args)]
pub(super) struct HostArgs {
    #[command(flatten)]
    pub(super) names: NoNames,
    /// Change a setting, such as store.segment_bytes=64MiB
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = check::setting)]
    pub(super) set: Vec<String>,
}

pub(super) fn run(args: &HostArgs, context: &mut Context) -> Done {
    args.names.check("host", "new NAME")?;
    foreground("host", &args.set, context)
}

/// Becomes the keeper.
pub(super) fn foreground(verb: &str, set: &[String], context: &mut Context) -> Done {
    let setup = local_setup(verb, set, context)?;
    let Presence::Absent(looking) = Host::local(setup.clone()).presence(true)? else {
        // with its own patience: the folder may be held by something that never answers here
        let there = Host::local(Setup { autostart: false, ..setup.clone() });
        context::converse(async { there.open().await.map_err(Failure::from) })?;
        let running = ApiError::new(Code::Exists, format!("a host runs already at {}", setup.paths.socket.display()));
        return Err(running.hint("termalive stop ends it").into());
    };
    let place = hidden::Place {
        ready_on_stdout: false,
        state_dir: setup.paths.state,
        socket: setup.paths.socket,
        config: setup.config,
        set: setup.set,
    };
    hidden::keeper(place, looking)
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
