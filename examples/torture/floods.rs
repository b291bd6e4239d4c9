//! Sessions whose output is foreseeable byte by byte, and everybody who reads it: `logs -f` over all kills, a WebSocket client
//! that breaks off and comes back, readings from cursors in the middle, and the whole log at the end.

use crate::{
    dice::Dice,
    host::{HANG, Host, pause},
    oracle::{Broken, Oracle},
    program::{FLOOD_STATUS, total},
    socket,
    stream::{Checker, Stream},
};
use std::{
    io::Read,
    process::{Child, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// One such session.
pub(crate) struct Flood {
    pub(crate) name: String,
    pub(crate) stream: Stream,
    /// Cursors that a reader got, each with the byte of the stream it stands for.
    marks: Mutex<Vec<(String, u64)>>,
    /// How far the first reader has come.
    seen: AtomicU64,
}

/// Cursors that are kept.
const MARKS: usize = 4096;
/// What a reading from a cursor reads.
const SPOT: u64 = 2 << 20;

impl Flood {
    pub(crate) fn new(name: String, stream: Stream) -> Flood {
        Flood { name, stream, marks: Mutex::default(), seen: AtomicU64::new(0) }
    }

    fn marks(&self) -> std::sync::MutexGuard<'_, Vec<(String, u64)>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `logs -f --raw`: one command from the first to the last byte.
    pub(crate) fn follow(&self, host: &Host, oracle: &Oracle) {
        let whose = format!("logs {} -f --raw", self.name);
        let child = host.command(&["logs", &self.name, "-f", "--raw", "--since", "start"]);
        let Some(mut child) = piped(child, &whose, oracle) else { return };
        let mut checker = Checker::new(self.stream, 0);
        self.check(&mut child, &mut checker, u64::MAX, &whose, oracle);
        self.end_of(child, &whose, oracle);
        self.compare_total(checker.at(), &whose, host, oracle);
    }

    /// The same over a WebSocket, with cursors.
    pub(crate) fn listen(&self, host: &Host, oracle: &Oracle, mut dice: Dice) {
        let whose = format!("a WebSocket client of {}", self.name);
        let mut checker = Checker::new(self.stream, 0);
        let result = socket::follow(&host.socket, &self.name, |cursor, bytes| {
            if dice.chance(2) {
                let (mut marks, mark) = (self.marks(), (cursor.to_owned(), checker.at()));
                if marks.len() < MARKS {
                    marks.push(mark);
                } else {
                    let place = dice.below(MARKS as u64) as usize;
                    marks[place] = mark;
                }
            }
            if oracle.wrong(&format!("{whose} at {cursor}"), checker.feed(bytes)) {
                return socket::Next::End;
            }
            oracle.count("bytes checked", bytes.len() as u64);
            if dice.below(400) == 0 { socket::Next::Reconnect } else { socket::Next::GoOn }
        });
        match result {
            Err(why) => oracle.broke(Broken::Client, format!("{whose} after {} bytes: {why}", checker.at())),
            Ok(breaks) => {
                oracle.count("WebSocket connections that broke", breaks);
                oracle.wrong(&whose, checker.finish());
                self.compare_total(checker.at(), &whose, host, oracle);
            }
        }
    }

    /// Reads from some earlier cursor, again and again until the run is over.
    pub(crate) fn spots(&self, host: &Host, oracle: &Oracle, mut dice: Dice) {
        while !oracle.is_over() {
            pause(dice.up_to(Duration::from_secs(4)));
            self.spot(host, oracle, &mut dice);
        }
    }

    /// Once.
    pub(crate) fn spot(&self, host: &Host, oracle: &Oracle, dice: &mut Dice) {
        let mark = {
            let marks = self.marks();
            marks.get(dice.below(marks.len() as u64) as usize).cloned()
        };
        let Some((cursor, at)) = mark else { return };
        let whose = format!("logs {} --raw --since {cursor} (byte {at})", self.name);
        let child = host.command(&["logs", &self.name, "--raw", "--since", &cursor]);
        let Some(mut child) = piped(child, &whose, oracle) else { return };
        let mut checker = Checker::new(self.stream, at);
        self.check(&mut child, &mut checker, SPOT, &whose, oracle);
        self.end_of(child, &whose, oracle);
        oracle.count("readings from a cursor", 1);
    }

    /// The whole log, when the session has ended.
    pub(crate) fn whole(&self, host: &Host, oracle: &Oracle) {
        let whose = format!("logs {} --raw", self.name);
        let Some(mut child) = piped(host.command(&["logs", &self.name, "--raw"]), &whose, oracle) else { return };
        let mut checker = Checker::new(self.stream, 0);
        self.check(&mut child, &mut checker, u64::MAX, &whose, oracle);
        self.end_of(child, &whose, oracle);
        self.compare_total(checker.at(), &whose, host, oracle);
    }

    /// Reads at most so much of what a command prints, and closes its pipe.
    fn check(&self, child: &mut Child, checker: &mut Checker, most: u64, whose: &str, oracle: &Oracle) {
        let Some(mut stdout) = child.stdout.take() else { return };
        let (mut part, from) = (vec![0; 128 << 10], checker.at());
        while checker.at() - from < most {
            let n = match stdout.read(&mut part) {
                Ok(0) | Err(_) => break,
                Ok(n) => n,
            };
            oracle.count("bytes checked", n as u64);
            if oracle.wrong(whose, checker.feed(&part[..n])) {
                return;
            }
            self.seen.fetch_max(checker.at(), Ordering::Relaxed);
        }
        oracle.wrong(whose, checker.finish());
    }

    fn end_of(&self, child: Child, whose: &str, oracle: &Oracle) {
        match child.wait_with_output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                oracle.broke(Broken::Client, format!("{whose}: {}: {said}", output.status));
            }
            Err(why) => oracle.broke(Broken::Client, format!("{whose}: {why}")),
        }
    }

    /// All that the program wrote was read.
    fn compare_total(&self, read: u64, whose: &str, host: &Host, oracle: &Oracle) {
        match total(&host.work, &self.name) {
            Some(written) if written == read => {}
            Some(written) if written > read => {
                oracle.broke(Broken::Hole, format!("{whose}: {read} bytes, and {} more were written", written - read));
            }
            Some(written) => oracle.broke(Broken::Double, format!("{whose}: {read} bytes, but {written} were written")),
            None => oracle.broke(Broken::Client, format!("{whose}: ended, though the program goes on")),
        }
    }

    /// True while a reader gets on; a reader that gets nothing for long hangs.
    pub(crate) fn watch(&self, oracle: &Oracle) {
        let (mut last, mut since) = (self.seen.load(Ordering::Relaxed), Instant::now());
        while !oracle.is_over() {
            let now = self.seen.load(Ordering::Relaxed);
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > HANG {
                return oracle.broke(Broken::Hang, format!("logs {} -f: nothing after byte {now}", self.name));
            }
            pause(Duration::from_millis(100));
        }
    }

    /// How the session itself must have ended.
    pub(crate) fn status(&self) -> i32 {
        FLOOD_STATUS
    }
}

fn piped(mut command: std::process::Command, whose: &str, oracle: &Oracle) -> Option<Child> {
    match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(child) => Some(child),
        Err(why) => {
            oracle.broke(Broken::Client, format!("{whose}: {why}"));
            None
        }
    }
}
