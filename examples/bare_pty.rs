//! The yardstick of `scripts/bench`: runs a command on a PTY and does nothing but read what it writes.
//!
//! `bare_pty COMMAND ARG…` prints how many bytes it read.

#![allow(clippy::print_stdout, reason = "a program")]

use rustix::{
    io::Errno,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use std::{error::Error, fs::OpenOptions, os::unix::ffi::OsStrExt, process::Command};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().ok_or("which command?")?;
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let slave = OpenOptions::new().read(true).write(true).open(std::ffi::OsStr::from_bytes(name.as_bytes()))?;
    let mut command = Command::new(program);
    command.args(words).stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
    let mut child = command.spawn()?;
    drop(command); // it holds the slave's side
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0;
    loop {
        match rustix::io::read(&master, &mut buffer) {
            Ok(0) | Err(Errno::IO) => break, // the last slave was closed
            Ok(n) => total += n,
            Err(Errno::INTR) => {}
            Err(why) => return Err(why.into()),
        }
    }
    println!("{total}");
    if child.wait()?.success() { Ok(()) } else { Err("the command failed".into()) }
}
