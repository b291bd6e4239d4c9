//! What a test couldn't look at on this machine, said where somebody sees it.

#![allow(clippy::print_stderr, clippy::unwrap_used, unreachable_pub, reason = "test code")]

use std::{fs::File, io::Write, panic::Location};

/// Says on standard error that a test, or a part of it, is left out. The file that `TERMALIVE_TEST_SKIPPED` names gets the
/// line, too: a runner hides what a test that passes says.
#[track_caller]
pub fn skipped(why: &str) {
    let at = Location::caller();
    eprintln!("skipped: {}:{}: {why}", at.file(), at.line());
    if let Some(path) = std::env::var_os("TERMALIVE_TEST_SKIPPED") {
        let mut file = File::options().append(true).create(true).open(path).unwrap();
        file.write_all(format!("{}:{}: {why}\n", at.file(), at.line()).as_bytes()).unwrap(); // in one piece
    }
}
