//! The user's terminal, taken over and given back.
//!
//! While it is taken, it is in raw mode and shows its alternate screen. It is given back on every way out: at the end, by
//! [`Tty`]'s drop, on a panic by a hook, so that a message can be read. It has its own open description, which is non-blocking
//! without the shell's being so. Must never be read or written elsewhere in between.

use super::relay::Touched;
use crate::cli::{Failure, failed, wrong};
use crate::model::{KIB, Size};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, ttyname};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::unix::pipe;

/// Read at once. 4 KiB: what a terminal hands over at most.
const READ: usize = 4 * KIB;
/// How long a terminal that takes nothing is waited for when it is given back. 1 s: one that is stopped for good must not
/// keep the command.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// The title is kept, then the screen.
const ENTER: &[u8] = b"\x1b[22;0t\x1b[?1049h\x1b[H\x1b[2J";
const LEAVE: &[u8] = b"\x1b[H\x1b[2J\x1b[?1049l\x1b[23;0t";
/// Ends an unfinished sequence, and all modes that a program may have set; the screen stays as it is. In the order of the
/// manual (`ctlseqs`): synchronized output, colours, links, margins, origin, wrap, insert, newline, cursor keys and keypad,
/// character sets, reverse, mouse, focus, paste, scheme and size reports, cursor shape, cursor shown.
const RESET: &[u8] = b"\x18\x1b[?2026l\x1b[0m\x1b]8;;\x1b\\\x1b[?69l\x1b[r\x1b[?6l\x1b[?7h\x1b[4l\x1b[20l\x1b[?1l\x1b>\
\x1b(B\x1b)B\x0f\x1b[?5l\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1016l\
\x1b[?2004l\x1b[?2031l\x1b[?2048l\x1b[?12l\x1b[0 q\x1b[?25h";
/// The title as it was, still put aside.
const TITLE: &[u8] = b"\x1b[23;0t\x1b[22;0t";
/// Forgets what was put aside, sets none.
pub(super) const NO_KITTY: &[u8] = b"\x1b[<99u\x1b[=0;1u";
const NO_OTHER_KEYS: &[u8] = b"\x1b[>4m\x1b[0m";
const OWN_COLOURS: &[u8] = b"\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\\x1b]117\x1b\\\x1b]119\x1b\\";

/// What is given back, once.
struct Taken {
    fd: OwnedFd,
    before: Termios,
    touched: Touched,
}

type Shared = Arc<Mutex<Option<Taken>>>;

/// See the module.
pub(super) struct Tty {
    // no pipes, but read and written like some
    keyboard: pipe::Receiver,
    screen: pipe::Sender,
    taken: Shared,
}

/// Refuses what isn't a terminal, before anything is asked of a host.
pub(super) fn check() -> Result<(), Failure> {
    match isatty(rustix::stdio::stdin()) && isatty(rustix::stdio::stdout()) {
        true => Ok(()),
        false => Err(wrong(
            "attach needs a terminal, and standard input or output is none (termalive logs -f shows, termalive send types)",
        )),
    }
}

/// The size of the user's terminal.
pub(super) fn size() -> Size {
    let (cols, rows) = tcgetwinsize(rustix::stdio::stdin()).map_or((0, 0), |size| (size.ws_col, size.ws_row));
    let sane = |n: u16, default: u16| if n == 0 { default } else { n.min(1000) };
    Size { cols: sane(cols, 80), rows: sane(rows, 24) }
}

/// To a known state, whatever a program has done to the terminal; the screen stays as it is.
fn reset(touched: Touched) -> Vec<u8> {
    let all =
        [(true, RESET), (touched.kitty, NO_KITTY), (touched.other_keys, NO_OTHER_KEYS), (touched.colours, OWN_COLOURS)];
    all.iter().filter(|(needed, _)| *needed).flat_map(|(_, bytes)| bytes.iter().copied()).collect()
}

/// Before a whole screen is drawn: to a known state, with the title as it was.
pub(super) fn fresh(touched: Touched) -> Vec<u8> {
    [&reset(touched), TITLE].concat()
}

impl Tty {
    /// Takes the terminal. Within a runtime.
    pub(super) fn take() -> Result<Tty, Failure> {
        let cannot = |why: io::Error| failed(format!("can't use this terminal: {why}"));
        let fd = reopen().map_err(|e| cannot(e.into()))?;
        let before = tcgetattr(&fd).map_err(|e| cannot(e.into()))?;
        let mut raw = before.clone();
        raw.make_raw();
        let taken = Taken { fd: fd.try_clone().map_err(cannot)?, before, touched: Touched::default() };
        let taken = Arc::new(Mutex::new(Some(taken)));
        let hooked = taken.clone();
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back(&hooked);
            hook(info);
        }));
        let (keyboard, screen) = (fd.try_clone().map_err(cannot)?.into(), fd.try_clone().map_err(cannot)?.into());
        let tty = Tty {
            keyboard: pipe::Receiver::from_file_unchecked(keyboard).map_err(cannot)?,
            screen: pipe::Sender::from_file_unchecked(screen).map_err(cannot)?,
            taken,
        };
        tcsetattr(&fd, OptionalActions::Now, &raw).map_err(|e| cannot(e.into()))?;
        put(&fd, ENTER);
        Ok(tty)
    }

    /// What is typed; nothing when the terminal is gone. May be dropped and called again.
    pub(super) async fn read(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; READ];
        loop {
            self.keyboard.readable().await.ok()?;
            match self.keyboard.try_read(&mut bytes) {
                Ok(0) => return None,
                Ok(n) => {
                    bytes.truncate(n);
                    return Some(bytes);
                }
                Err(why) if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => return None,
            }
        }
    }

    /// Writes some of it: how much. An error: the terminal is gone. May be dropped and called again.
    pub(super) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.screen.writable().await?;
            match self.screen.try_write(bytes) {
                Err(why) if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                written => return written,
            }
        }
    }

    /// What has to be undone at the end.
    pub(super) fn note(&self, touched: Touched) {
        if let Some(taken) = lock(&self.taken).as_mut() {
            taken.touched = touched;
        }
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        give_back(&self.taken);
    }
}

/// A description of our own of the terminal on standard input.
fn reopen() -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let named = ttyname(rustix::stdio::stdin(), Vec::new()).and_then(|path| open(path, flags, Mode::empty()));
    named.or_else(|_| open("/dev/tty", flags, Mode::empty())) // another user's, after su
}

fn give_back(taken: &Shared) {
    let Some(Taken { fd, before, touched }) = lock(taken).take() else { return };
    put(&fd, &[&reset(touched), LEAVE].concat());
    // nothing can be done where it fails: the terminal is gone
    let _ = tcsetattr(&fd, OptionalActions::Now, &before);
}

/// Writes all of it, or as much as the terminal takes in a while.
fn put(fd: &OwnedFd, mut bytes: &[u8]) {
    let until = Instant::now() + GIVE_BACK;
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let left = until.saturating_duration_since(Instant::now());
                let wait = rustix::event::Timespec::try_from(left).ok();
                let fd = fd.as_fd();
                if left.is_zero() || !matches!(poll(&mut [PollFd::new(&fd, PollFlags::OUT)], wait.as_ref()), Ok(1..)) {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

fn lock(taken: &Shared) -> MutexGuard<'_, Option<Taken>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}
