//! What clap has to say, in the form of every other message: one line, exit 64; help and version as they are, exit 0.

use super::{Failure, out};
use crate::model::Exit;
use crate::wire::{ApiError, Code};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::OsString;

/// Prints it, gives the exit code.
pub(super) fn explain(error: &clap::Error, args: &[OsString]) -> Exit {
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let mut out = out::Out::default();
        return match out.write(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) | Err(Failure::ReaderGone) => Exit::Done,
            Err(_) => Exit::Failed,
        };
    }
    let said = ApiError::new(Code::Usage, what(error, &text)).hint(help(error, args));
    let json = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json");
    out::error(&said, json);
    Exit::Usage
}

/// The first paragraph, in one line.
fn what(error: &clap::Error, text: &str) -> String {
    if let (ErrorKind::ValueValidation, Some(source)) = (error.kind(), std::error::Error::source(error)) {
        return match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(option)) if option.starts_with('-') => {
                format!("{}: {source}", option.split(' ').next().unwrap_or(option))
            }
            _ => source.to_string(),
        };
    }
    let first: Vec<&str> = text.lines().take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
    first.join(" ").trim_start_matches("error: ").to_owned()
}

fn help(error: &clap::Error, args: &[OsString]) -> String {
    let similar = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| match error.get(kind)? {
            ContextValue::String(word) => Some(word.clone()),
            ContextValue::Strings(words) => words.first().cloned(),
            _ => None,
        });
    if let Some(word) = similar {
        return format!("did you mean {word}?");
    }
    let verb = args
        .get(1)
        .and_then(|arg| arg.to_str())
        .filter(|arg| !arg.starts_with('-') && !matches!(error.kind(), ErrorKind::InvalidSubcommand));
    match verb {
        Some(verb @ ("new" | "run")) if error.kind() == ErrorKind::UnknownArgument => {
            format!("a command stands after --: termalive {verb} NAME -- COMMAND ARGUMENTS")
        }
        Some(verb) => format!("termalive {verb} --help shows how"),
        None => "termalive --help shows how".to_owned(),
    }
}
