//! The heavy part of `scripts/torture`: kills, stops and reloads a host of its own under a mix of sessions, and checks every
//! promise of docs/reliability.md. Exit 0 when all of them were kept, 1 when one was broken, 2 when it couldn't be run.
//!
//! ```text
//! args ─plan─► killer ─signals─► keeper, host          (blows)
//!              floods chats typist shorts agains idle     (the mix: programs in sessions and those who read and write)
//!              both                                     (rounds of their own: host and keeper at once)
//!                 └──────────► oracle ◄── final checks  (promises) ──► report
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

mod agains;
mod args;
mod both;
mod chats;
mod checks;
mod dice;
mod floods;
mod host;
mod http;
mod killer;
mod mix;
mod oracle;
mod program;
mod report;
mod shorts;
mod socket;
mod stream;
mod typist;

use std::{error::Error, process::ExitCode};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, rest)) = words.split_first()
        && first == "program"
    {
        return match program::run(rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("{why}");
                ExitCode::from(101)
            }
        };
    }
    match mix::run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(2)
        }
    }
}
