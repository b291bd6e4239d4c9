//! The keeper with real processes: this binary is the tests, and, by its first argument, keeper and a small host.
//!
//! The host does what the tests tell it over a socket, one JSON object a line, and tells what happens. Every process is
//! a descendant of the test, which adopts orphans and kills all at the end of each case, whatever became of it.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test, though clippy can't see it without the harness")]

#[path = "keeper/cases.rs"]
mod cases;
#[path = "keeper/reexec.rs"]
mod reexec;
#[path = "keeper/host.rs"]
mod host;
#[path = "keeper/world.rs"]
mod world;

use std::{ffi::OsString, os::fd::AsFd, panic::catch_unwind, process::ExitCode};
use termalive::keeper;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let rest = || args.iter().skip(1).cloned();
    match args.first().and_then(|a| a.to_str()) {
        Some(verb) if verb == keeper::VERB => keeper::main(rest()),
        Some("keeper") => start_keeper(rest().collect()),
        Some("host") => host::main(&rest().next().unwrap()),
        Some("host-fails") => host::fail(),
        Some("host-strange") => host::strange(&rest().next().unwrap()),
        Some("host-dies") => ExitCode::from(9),
        _ => run_cases(&args),
    }
}

/// `keeper LOCK HOST-VERB CONTROL`: stdout is the ready pipe.
fn start_keeper(args: Vec<OsString>) -> ExitCode {
    let lock = std::fs::File::open(&args[0]).unwrap();
    lock.try_lock().unwrap();
    let ready = std::io::stdout().as_fd().try_clone_to_owned().unwrap();
    rustix::stdio::dup2_stdout(std::fs::File::create("/dev/null").unwrap()).unwrap();
    keeper::run(keeper::Options { lock, ready: Some(ready), host_args: args[1..].to_vec(), foreground: false })
}

/// As much of the standard harness as cargo and nextest use.
fn run_cases(args: &[OsString]) -> ExitCode {
    let args: Vec<&str> = args.iter().filter_map(|a| a.to_str()).collect();
    let has = |flag| args.contains(&flag);
    let format = args.iter().position(|a| *a == "--format"); // the word after it is no filter
    let words = args.iter().enumerate().filter(|(at, _)| format.is_none_or(|format| *at != format + 1));
    let filter = words.map(|(_, a)| a).find(|a| !a.starts_with('-'));
    let wanted = |name: &str| filter.is_none_or(|f| if has("--exact") { name == *f } else { name.contains(f) });
    let cases = cases::CASES.iter().chain(reexec::CASES).filter(|(name, _)| wanted(name) && !has("--ignored"));
    if has("--list") {
        cases.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let mut failed = Vec::new();
    for (name, case) in cases {
        let ok = catch_unwind(case).is_ok();
        world::kill_descendants();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        if !ok {
            failed.push(name);
        }
    }
    println!("\ntest result: {}. {} failed", if failed.is_empty() { "ok" } else { "FAILED" }, failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
}
