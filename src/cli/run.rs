//! `run`: as `new`; with `--wait` it prints what the session writes until it has ended, and exits as its command did.
//!
//! It is a reader like any other: nothing is typed, and the session doesn't depend on it. `--rm` alone ties the two together:
//! however this command ends, the session is ended and removed.

use super::{Done, Failure, context, context::Context, failed, logs, new, out, reading::Reading};
use crate::client::Client;
use crate::model::{Exit, Name};
use crate::wire::{Created, EndLine, FollowQuery};
use clap::Args;
use hyper::Method;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// As new; with --wait print its output and exit as it does
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    new: new::NewArgs,
    /// Print its output until it has ended, then exit as it did (128+n for a signal n)
    #[arg(long, conflicts_with = "attach")]
    wait: bool,
    /// Remove it afterwards, with its log; also when interrupted
    #[arg(long, requires = "wait", conflicts_with = "exist_ok")]
    rm: bool,
}

pub(super) fn run(args: RunArgs, context: &mut Context) -> Done {
    if !args.wait {
        return new::run(args.new, context);
    }
    let client = context.client()?;
    let request = new::request(args.new, client.host.address.is_remote())?;
    let runtime = context::runtime()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let created: Created = tokio::select! {
            biased;
            number = signals.next() => return Err(Failure::Exit(ExitCode::from(128 + number))),
            created = client.post("/v1/sessions", &request) => created?,
        };
        let name = created.session.name.clone();
        let ended = tokio::select! {
            biased;
            number = signals.next() => Ended::Interrupted(number),
            end = print(&client, &created, context) => Ended::Read(end),
        };
        if args.rm {
            tokio::select! {
                biased;
                _ = signals.next() => return Err(failed(format!("{name} is being ended, and may not be removed"))),
                removed = remove(&client, &name) => removed?,
            }
        }
        exit(ended, &name, args.rm)
    })
}

enum Ended {
    /// By a signal to this command.
    Interrupted(u8),
    /// With the session, or with whoever reads our output.
    Read(Result<Option<EndLine>, Failure>),
}

async fn print(client: &Client, created: &Created, context: &mut Context) -> Result<Option<EndLine>, Failure> {
    let query = FollowQuery {
        since: created.start.map(|start| start.to_string()),
        id: Some(created.session.id),
        follow: true,
        ..FollowQuery::default()
    };
    let format = if context.json { logs::Format::Json } else { logs::Format::Text };
    match Reading::open(client.clone(), created.session.name.clone(), query, None).await? {
        Some(reading) => logs::print(reading, format, context).await,
        None => Ok(None),
    }
}

async fn remove(client: &Client, name: &Name) -> Result<(), Failure> {
    Ok(client.order(Method::DELETE, &format!("/v1/sessions/{name}?force=1")).await?)
}

fn exit(ended: Ended, name: &Name, removed: bool) -> Done {
    let end = match ended {
        Ended::Interrupted(number) => {
            match removed {
                true => out::note(&format!("{name} was ended and removed")),
                false => out::note(&format!(
                    "{name} goes on (termalive logs {name} -f shows it, termalive kill {name} ends it)"
                )),
            }
            return Err(Failure::Exit(ExitCode::from(128 + number)));
        }
        Ended::Read(end) => end?,
    };
    match end
        .as_ref()
        .and_then(|end| out::shell_status(end.exit_code, end.signal))
        .and_then(|status| u8::try_from(status).ok())
    {
        Some(0) => Ok(Exit::Done),
        Some(status) => Err(Failure::Exit(ExitCode::from(status))),
        None => Err(failed(format!("how {name} ended isn't known"))),
    }
}

/// What asks a command to end.
struct Signals([(u8, Signal); 3]);

impl Signals {
    fn new() -> Result<Signals, Failure> {
        let hear = |kind: SignalKind| {
            let number = kind.as_raw_value() as u8;
            signal(kind).map(|signal| (number, signal)).map_err(|why| failed(format!("can't listen to signals: {why}")))
        };
        let [hangup, interrupt, terminate] = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()];
        Ok(Signals([hear(hangup)?, hear(interrupt)?, hear(terminate)?]))
    }

    /// The number of the next one.
    async fn next(&mut self) -> u8 {
        let heard = self.0.iter_mut().map(|(number, signal)| {
            Box::pin(async move {
                signal.recv().await;
                *number
            })
        });
        futures_util::future::select_all(heard).await.0
    }
}
