//! The user's terminal while a session is replayed on it: keys are ours, and all is as before on every way out.
//!
//! What is shown may switch the terminal into any mode; so the end switches off what a program can switch on. Answers that
//! the terminal gives to what is shown are read and dropped: they were given once, to the program.

use super::super::{Failure, failed};
use crate::model::Exit;
use crate::terminal::modes::Modes;
use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
    termios::{OptionalActions, Termios, tcgetattr, tcsetattr},
};
use std::io::{IsTerminal, Write};
use tokio::{sync::watch, time::Instant};

/// Off: synchronized updates, scroll region, insert, mouse, focus, paste, application keys, other key codes. On:
/// wrapping, cursor and its shape, plain characters.
const LEAVE: &str = "\x1b[?2026l\x1b7\x1b[r\x1b8\x1b[4l\x1b[?7h\x1b[?1l\x1b>\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\
\x1b[?1006l\x1b[?1015l\x1b[?1004l\x1b[?2004l\x1b[<9u\x1b[>4;0m\x1b[?25h\x1b[0 q\x1b(B\x0f\x1b[0m";
const LEAVE_ALTERNATE: &str = "\x1b[?1049l";
const CLEAR: &str = "\x1b[2J\x1b[H";

const CTRL_C: u8 = 3;
const ESCAPE: u8 = 0x1b;

/// See the module.
pub(super) struct Stage {
    before: Option<Termios>,
    modes: Modes,
    /// Something was shown.
    used: bool,
    quit: watch::Receiver<Option<Exit>>,
}

impl Stage {
    pub(super) fn enter() -> Result<Stage, Failure> {
        let (tell, quit) = watch::channel(None);
        let mut stage = Stage { before: None, modes: Modes::default(), used: false, quit };
        if std::io::stdin().is_terminal() {
            let stdin = rustix::stdio::stdin();
            let said = |why: Errno| failed(format!("can't use this terminal: {why}"));
            let before = tcgetattr(stdin).map_err(said)?;
            let mut raw = before.clone();
            raw.make_raw();
            stage.before = Some(before);
            tcsetattr(stdin, OptionalActions::Now, &raw).map_err(said)?;
            let keys = std::thread::Builder::new().name("keys".to_owned()).spawn(move || listen(&tell));
            keys.map_err(|why| failed(format!("can't begin: {why}")))?;
        }
        Ok(stage)
    }

    /// These bytes are shown.
    pub(super) fn saw(&mut self, bytes: &[u8]) {
        self.used = true;
        self.modes.scan(bytes);
    }

    /// What makes the terminal as good as new; nothing while it is.
    pub(super) fn fresh(&mut self) -> Vec<u8> {
        if self.used { format!("{}{CLEAR}", self.leave()).into_bytes() } else { Vec::new() }
    }

    /// Ready when the user has asked for the end.
    pub(super) async fn quit(&mut self) -> Exit {
        match self.quit.wait_for(Option::is_some).await.map(|quit| *quit) {
            Ok(Some(exit)) => exit,
            _ => std::future::pending().await, // there is no keyboard
        }
    }

    /// Waits until `due`, unless the user asks for the end before.
    pub(super) async fn quit_before(&mut self, due: Instant) -> Option<Exit> {
        tokio::time::timeout_at(due, self.quit()).await.ok()
    }

    fn leave(&self) -> String {
        let alternate = if self.modes.alternate_screen() { LEAVE_ALTERNATE } else { "" };
        format!("{LEAVE}{alternate}")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.used {
            // a terminal that is gone has nothing to be restored
            let mut stdout = std::io::stdout();
            let _ = stdout
                .write_all(self.leave().as_bytes())
                .and_then(|()| stdout.write_all(b"\r\n"))
                .and_then(|()| stdout.flush());
        }
        if let Some(before) = &self.before {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, before);
        }
    }
}

/// Waits for q or Ctrl+C. What begins with an escape is a key with a name, or an answer of the terminal.
fn listen(tell: &watch::Sender<Option<Exit>>) {
    let stdin = rustix::stdio::stdin();
    let mut bytes = [0; 256];
    loop {
        match rustix::io::read(stdin, &mut bytes) {
            Ok(0) => return,
            Ok(n) if bytes[0] != ESCAPE && bytes[..n].iter().any(|b| matches!(*b, b'q' | b'Q' | CTRL_C)) => {
                let interrupted = bytes[..n].contains(&CTRL_C);
                tell.send_replace(Some(if interrupted { Exit::Interrupted } else { Exit::Done }));
                return;
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = rustix::event::poll(&mut [PollFd::new(&stdin, PollFlags::IN)], None);
            }
            Err(_) => return,
        }
    }
}
