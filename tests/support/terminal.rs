//! A user's terminal: a PTY in which a command runs, what it shows, what is typed into it.

use super::command::{BOUND, Cmd};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
};

/// See the module.
pub struct Terminal {
    master: File,
    /// Keeps the terminal there when the command has ended.
    slave: File,
    shown: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Terminal {
    /// Runs a command in a terminal of this size.
    pub fn run(cmd: Cmd, cols: u16, rows: u16) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(path.to_str().unwrap()).unwrap();
        tcsetwinsize(&slave, Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let side = || Stdio::from(OwnedFd::from(slave.try_clone().unwrap()));
        let child = cmd.spawn_in(side(), side(), side());
        let (shown, master) = (Arc::new(Mutex::new(Vec::new())), File::from(master));
        let (into, mut from) = (shown.clone(), master.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut part) {
                into.lock().unwrap().extend_from_slice(&part[..n]);
            }
        });
        Terminal { master, slave, shown, child }
    }

    /// All bytes it was sent so far.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until it was sent this text.
    pub fn wait_for(&self, text: &str) {
        let mut last = String::new();
        super::wait_for(&format!("the terminal to show {text:?}"), || {
            last = self.shown();
            last.contains(text).then_some(())
        });
    }

    /// Types.
    pub fn type_in(&self, keys: &[u8]) {
        (&self.master).write_all(keys).unwrap();
    }

    /// Another size; the command is told, as it has no controlling terminal.
    pub fn resize(&self, cols: u16, rows: u16) {
        tcsetwinsize(&self.slave, Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        super::send_signal(self.child.id(), rustix::process::Signal::WINCH);
    }

    /// Its settings, as `stty -a` shows them.
    pub fn settings(&self) -> String {
        format!("{:?}", tcgetattr(&self.slave).unwrap())
    }

    /// Sends the command a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        super::send_signal(self.child.id(), signal);
    }

    /// The exit code, when it ends.
    pub fn code(&mut self) -> i32 {
        let ended = super::wait_for(&format!("the command to end within {BOUND:?}"), || self.child.try_wait().unwrap());
        ended.code().expect("an exit code")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
