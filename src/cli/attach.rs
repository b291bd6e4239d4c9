//! `attach`: the user's terminal shows a session and types into it.
//!
//! The host sends the screen, then output as it comes. Where terminal and session have one size, output goes through as it
//! is (`relay`); else a terminal of the session's size is kept here and what fits of it is painted (`frame`). What is typed is
//! looked through for the prefix key (`prefix`). The terminal is given back on every way out (`tty`). Bounded: a terminal
//! that takes its time gets screens instead of all output.

mod frame;
mod prefix;
mod relay;
mod tty;

use super::{Done, Failure, context, context::Context, failed, out, wrong};
use crate::client::{Attach, Client, ClientError, Shown};
use crate::model::{Exit, KIB, Name, Size};
use crate::wire::RunEnd;
use clap::Args;
use frame::Frame;
use prefix::Prefix;
use relay::Relay;
use std::{process::ExitCode, time::Duration};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tty::Tty;

/// Output that waits for the terminal at most. 256 KiB: a second of the busiest agent; with more the screen is drawn anew.
const BACKLOG: usize = 256 * KIB;
/// How long what was typed last may take to the host before the detaching. 2 s: a host that is being started again.
const LAST_KEYS: Duration = Duration::from_secs(2);
/// A break is said when it lasts so long: a host that was killed is back earlier.
const WORTH_SAYING: Duration = Duration::from_secs(1);
const BELL: &[u8] = b"\x07";

/// Show a session in this terminal and type into it; Ctrl+B D detaches
#[derive(Debug, Args)]
pub(super) struct AttachArgs {
    /// Session
    name: Name,
    /// Type nothing, change no size
    #[arg(short, long)]
    read_only: bool,
}

pub(super) fn run(args: AttachArgs, context: &mut Context) -> Done {
    let prefix = prepare(context, Some(&args.name))?;
    enter(context.client()?, args.name, args.read_only, prefix)
}

/// What has to hold before a host is asked: a terminal, another session than this, settings. Gives the prefix key.
pub(super) fn prepare(context: &Context, name: Option<&Name>) -> Result<u8, Failure> {
    if name.is_some() && context.inside().as_ref() == name {
        let own = name.map(Name::to_string).unwrap_or_default();
        return Err(wrong(format!("this is inside session {own}, which would show itself in itself")));
    }
    if context.json {
        return Err(wrong("attach shows a terminal and has no --json (termalive screen --json is what stands there)"));
    }
    tty::check()?;
    Ok(context.settings()?.attach.prefix)
}

/// True where there is a terminal to attach.
pub(super) fn on_terminal() -> bool {
    tty::check().is_ok()
}

/// The size of the user's terminal.
pub(super) fn size() -> Size {
    tty::size()
}

/// Attaches until the end.
pub(super) fn enter(client: Client, name: Name, read_only: bool, prefix: u8) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| failed(format!("can't begin: {why}")))?;
    let end = runtime.block_on(async {
        let mut signals = Signals::new().map_err(|why| failed(format!("can't hear signals: {why}")))?;
        let size = tty::size();
        let attach = tokio::select! {
            attach = Attach::open(client, name.clone(), size, read_only) => attach?,
            ended = ended_by(&mut signals.ends) => return Err(Failure::Exit(ended)),
        };
        let mut view = View::new(attach, Tty::take()?, Prefix::new(prefix), size, read_only);
        view.resized(); // a change since it was looked at is heard by nobody else
        view.run(&mut signals).await
    });
    // here the terminal is the user's again
    match end? {
        End::Detached => out::note(&format!("detached from {name}")),
        End::Ended(end) => out::note(&format!("{name} {}", ended(&end))),
    }
    Ok(Exit::Done)
}

/// How it came to an end.
enum End {
    Detached,
    Ended(RunEnd),
}

/// In words.
fn ended(end: &RunEnd) -> String {
    match (end.exit_code, end.signal) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "has ended, how is not known".to_owned(),
    }
}

/// Those that matter while a terminal is taken.
struct Signals {
    size: Signal,
    ends: [(i32, Signal); 4],
    /// A stop from outside would leave the terminal as it is: while this is held, it isn't obeyed.
    _stop: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        let end = |number| Ok::<_, std::io::Error>((number, signal(SignalKind::from_raw(number))?));
        Ok(Signals {
            size: signal(SignalKind::window_change())?,
            ends: [end(libc::SIGHUP)?, end(libc::SIGINT)?, end(libc::SIGQUIT)?, end(libc::SIGTERM)?],
            _stop: signal(SignalKind::from_raw(libc::SIGTSTP))?,
        })
    }
}

/// Waits for a signal that ends the command; its exit code.
async fn ended_by(signals: &mut [(i32, Signal)]) -> ExitCode {
    let heard = signals.iter_mut().map(|(number, signal)| {
        Box::pin(async move {
            signal.recv().await;
            *number
        })
    });
    let (number, ..) = futures_util::future::select_all(heard).await;
    by_signal(number)
}

fn by_signal(number: i32) -> ExitCode {
    ExitCode::from(u8::try_from(128 + number).unwrap_or(1))
}

/// Bytes on their way to the terminal.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    written: usize,
}

impl Pending {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    fn took(&mut self, n: usize) {
        self.written += n;
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.written = 0;
        }
    }
}

/// One attachment.
struct View {
    attach: Attach,
    tty: Tty,
    prefix: Prefix,
    relay: Relay,
    /// The session has another size than the terminal.
    frame: Option<Frame>,
    size: Size,
    read_only: bool,
    out: Pending,
    /// Output is worth nothing before the next screen.
    stale: bool,
    /// The terminal didn't keep up: a screen is asked for when it has taken all.
    holding: bool,
    say_broken: Option<Instant>,
}

impl View {
    fn new(attach: Attach, tty: Tty, prefix: Prefix, size: Size, read_only: bool) -> View {
        let relay = Relay::default();
        let (frame, out) = (None, Pending::default());
        View { attach, tty, prefix, relay, frame, size, read_only, out, stale: true, holding: false, say_broken: None }
    }

    async fn run(&mut self, signals: &mut Signals) -> Result<End, Failure> {
        let gone = || Failure::Exit(by_signal(libc::SIGHUP));
        loop {
            let idle = self.out.rest().is_empty();
            let paint = self.frame.as_ref().and_then(Frame::due).filter(|_| idle);
            tokio::select! {
                biased;
                _ = signals.size.recv() => self.resized(),
                ended = ended_by(&mut signals.ends) => return Err(Failure::Exit(ended)),
                typed = self.tty.read() => {
                    if self.typed(&typed.ok_or_else(gone)?) {
                        self.last_keys().await?;
                        return Ok(End::Detached);
                    }
                }
                written = self.tty.write(self.out.rest()), if !idle => self.wrote(written.map_err(|_| gone())?),
                shown = self.attach.next() => match shown? {
                    Some(Shown::End(end)) => return Ok(End::Ended(end)),
                    Some(shown) => self.show(shown),
                    None => return Ok(End::Detached),
                },
                () = context::at(paint) => self.paint(),
                () = context::at(self.say_broken) => {
                    self.say_broken = None;
                    self.say("the host is gone, waiting for it");
                }
            }
        }
    }

    /// True: detach.
    fn typed(&mut self, bytes: &[u8]) -> bool {
        let mut keys = Vec::with_capacity(bytes.len());
        let detach = self.prefix.feed(bytes, &mut keys);
        if !self.read_only && !self.attach.type_keys(&keys) {
            self.out.bytes.extend_from_slice(BELL);
        }
        detach
    }

    /// What was typed before the detaching still goes out.
    async fn last_keys(&mut self) -> Result<(), ClientError> {
        let until = Instant::now() + LAST_KEYS;
        while self.attach.is_typing() {
            match tokio::time::timeout_at(until, self.attach.next()).await {
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) | Err(_) => break,
                Ok(Err(error)) => return Err(error),
            }
        }
        Ok(())
    }

    fn show(&mut self, shown: Shown) {
        match shown {
            Shown::Screen(size, bytes) => self.screen(size, &bytes),
            Shown::Output(_) if self.stale => {}
            Shown::Output(bytes) => self.output(&bytes),
            Shown::Leads(leads) => self.relay.mute = !leads,
            Shown::Lost => self.out.bytes.extend_from_slice(BELL),
            Shown::Restarting(end) => {
                self.say(&format!("run {} {}, the next one is being started", end.run, ended(&end)));
            }
            Shown::Broken => {
                self.stale = true;
                self.say_broken = Some(Instant::now() + WORTH_SAYING);
            }
            Shown::Back => {
                self.say_broken = None;
                self.holding = false;
            }
            Shown::End(_) => {}
        }
    }

    /// A whole screen.
    fn screen(&mut self, size: Size, bytes: &[u8]) {
        self.stale = false;
        self.out.bytes.extend(tty::fresh(self.relay.touched));
        if size == self.size {
            self.frame = None;
            self.relay.draw(bytes, &mut self.out.bytes);
            self.tty.note(self.relay.touched);
        } else {
            self.out.bytes.extend_from_slice(b"\x1b[2J");
            self.frame = Some(Frame::new(size, self.size, bytes));
        }
    }

    fn output(&mut self, bytes: &[u8]) {
        #[cfg(debug_assertions)]
        crate::session::failpoint::reached(bytes);
        match &mut self.frame {
            Some(frame) => frame.feed(bytes),
            None => {
                if self.relay.feed(bytes, &mut self.out.bytes) {
                    self.stale = true;
                    self.attach.redraw();
                }
                self.tty.note(self.relay.touched);
            }
        }
        if self.out.rest().len() > BACKLOG {
            self.stale = true;
            self.holding = true;
            self.attach.hold();
        }
    }

    fn wrote(&mut self, n: usize) {
        self.out.took(n);
        if self.holding && self.out.rest().is_empty() {
            self.holding = false;
            self.attach.redraw();
        }
    }

    fn paint(&mut self) {
        if let Some(frame) = &mut self.frame {
            frame.paint(&mut self.out.bytes);
        }
    }

    fn resized(&mut self) {
        let size = tty::size();
        if size != self.size {
            self.size = size;
            self.stale = true;
            self.attach.resize(size);
            self.attach.redraw();
        }
    }

    /// A word on the last line, until the next screen.
    fn say(&mut self, text: &str) {
        let row = self.size.rows;
        let text: String = text.chars().take(usize::from(self.size.cols).saturating_sub(2)).collect();
        self.out
            .bytes
            .extend_from_slice(format!("\x18\x1b7\x1b[{row};1H\x1b[0;7m {text} \x1b[0m\x1b[K\x1b8").as_bytes());
    }
}
