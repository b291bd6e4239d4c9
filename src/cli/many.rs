//! Verbs on several sessions: names, or labels, or both. All are tried; the first failure gives the exit code.

use super::{Failure, check, context::Context, exit_of, list, out, wrong};
use crate::client::{Client, ClientError};
use crate::model::{Exit, Name};
use crate::wire::ApiError;
use clap::Args;
use futures_util::{StreamExt, stream};
use std::future::Future;

/// How many sessions are worked on at a time. 16: ending takes seconds each, a host has room for as many requests.
const AT_A_TIME: usize = 16;

/// Which sessions.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Sessions
    #[arg(value_name = "NAME")]
    names: Vec<Name>,
    /// And all with this label; several: with all of them
    #[arg(long = "label", value_name = "K=V", value_parser = check::label)]
    labels: Vec<check::Pair>,
}

impl Which {
    /// Refuses an empty choice: no name must never mean all.
    pub(super) fn check(&self, verb: &str) -> Result<(), Failure> {
        match self.names.is_empty() && self.labels.is_empty() {
            true => Err(wrong(format!("{verb} what? give one or more names, or --label K=V"))),
            false => Ok(()),
        }
    }

    /// The names, each once. Labels choose among live sessions, with `all` among ended ones too.
    pub(super) async fn names(&self, client: &Client, all: bool) -> Result<Vec<Name>, ClientError> {
        let mut names: Vec<Name> = Vec::new();
        let mut add = |name: &Name| {
            if !names.contains(name) {
                names.push(name.clone());
            }
        };
        self.names.iter().for_each(&mut add);
        if !self.labels.is_empty() {
            list::sessions(client, all, &self.labels).await?.iter().for_each(|session| add(&session.name));
        }
        Ok(names)
    }
}

/// Does `work` to each. What was done comes back in order; a failure is said, or, with `--json`, is the command's own error.
pub(super) async fn each<T, F: Future<Output = Result<T, ClientError>>>(
    client: &Client,
    which: &Which,
    all: bool,
    json: bool,
    work: impl Fn(Name) -> F,
) -> Result<(Vec<(Name, T)>, Exit), Failure> {
    let names = which.names(client, all).await?;
    let mut tries = stream::iter(names.into_iter().map(|name| {
        let doing = work(name.clone());
        async move { (name, doing.await) }
    }))
    .buffered(AT_A_TIME);
    let (mut done, mut first): (Vec<(Name, T)>, Option<ApiError>) = (Vec::new(), None);
    while let Some((name, result)) = tries.next().await {
        match result {
            Ok(value) => done.push((name, value)),
            Err(error) => {
                let error = ApiError::from(error);
                if !json {
                    out::error(&error, false);
                }
                first.get_or_insert(error);
            }
        }
    }
    match first {
        Some(error) if json => Err(error.into()),
        Some(error) => Ok((done, exit_of(&error))),
        None => Ok((done, Exit::Done)),
    }
}

/// Prints what was done: with `--json` one array, with `-q` the names, else nothing.
pub(super) fn show<T: serde::Serialize>(context: &mut Context, done: &[(Name, T)]) -> Result<(), Failure> {
    if context.json {
        context.out.json(&done.iter().map(|(_, value)| value).collect::<Vec<_>>())?;
    } else if context.quiet {
        done.iter().try_for_each(|(name, _)| context.out.line(name.as_str()))?;
    }
    Ok(())
}
