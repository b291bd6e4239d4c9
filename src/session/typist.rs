//! Typing, as a pure machine: texts in, records and writes out, in the order that survives a crash at any point.
//!
//! `input` is recorded before anything is typed; each of the two writes (text, Enter) stands between a mark and its
//! confirmation. Killed between mark and confirmation, nothing is typed again and the outcome is said to be unknown.
//! One text at a time: writers never interleave. The actor carries out each [`Act`] and reports back.

use crate::model::{Event, InputText, Key, LogTime, RawString, Seq, Step};
use bytes::Bytes;
use std::{collections::VecDeque, time::Duration};

/// A text that waits to be typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// The caller's handle for the outcome.
    pub ticket: u64,
    /// The client's key.
    pub key: Option<Key>,
    /// A checksum of the request under that key.
    pub digest: u32,
    /// Who sends.
    pub from: String,
    /// The text as it was sent.
    pub text: Vec<u8>,
    /// How it is typed.
    pub manner: Manner,
    /// See [`Event::Input`].
    pub asked: Option<String>,
}

/// How a text is typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// Pasted, then Enter; opens a turn.
    Submit,
    /// Pasted.
    Paste,
    /// As it is: keys, raw bytes.
    Verbatim,
    /// As it is, what a person types: each client has one such text waiting at most, and a line may be of any length, as at a
    /// terminal.
    Keystrokes,
}

/// How the program reads, when typing begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reading {
    /// The terminal echoes.
    pub echo: bool,
    /// The terminal edits lines.
    pub canonical: bool,
    /// The program asked for bracketed paste.
    pub bracketed: bool,
}

impl Reading {
    /// The program gets nothing of this text before the Enter that follows it.
    fn takes_with_enter(self, text: &[u8]) -> bool {
        self.bracketed || (self.canonical && !text.iter().any(u8::is_ascii_control))
    }
}

/// What the actor does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Nothing to do.
    Idle,
    /// A text is next: say how the program reads, by [`Typist::begin`].
    Begin,
    /// Put this into the log, then [`Typist::recorded`].
    Record(Event),
    /// Write some of this to the PTY, then [`Typist::wrote`].
    Write(Bytes),
    /// Nothing before this time.
    Pause(LogTime),
    /// The text is finished.
    Done {
        /// Of its job.
        ticket: u64,
        /// What became of it.
        outcome: Outcome,
    },
}

/// What became of a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Typed whole. The receipt may be given when `last` is durable.
    Typed {
        /// The first input record.
        seq: Seq,
        /// Its turn.
        turn: Option<u64>,
        /// The last record of it.
        last: Seq,
    },
    /// Given up after `typed` of `of` bytes.
    Abandoned {
        /// Bytes the PTY took.
        typed: usize,
        /// Bytes there were.
        of: usize,
    },
    /// Not typed: it can't be, as it is.
    Refused(String),
    /// The run ended first.
    Ended,
}

/// The kernel cuts a longer line of a program in cooked mode, in silence.
pub const LONGEST_COOKED_LINE: usize = 4095;
/// One input record holds so much of a text: with every byte escaped in JSON it still fits into what a ring keeps for it.
const PART: usize = 8 * 1024;
/// Texts that may wait for one program. More is a sender that doesn't look at its receipts.
pub const MAX_WAITING: usize = 64;
/// Bytes that may wait for one program: two of the largest requests.
pub const MAX_WAITING_BYTES: usize = 16 * crate::model::MIB;
const ENTER: &[u8] = b"\r";

/// The machine.
pub struct Typist {
    waiting: VecDeque<Job>,
    active: Option<Active>,
    next_turn: u64,
    enter_delay: Duration,
}

struct Active {
    job: Job,
    bytes: Bytes, // as typed
    hidden: bool,
    echo: bool,
    at_enter: bool,
    turn: Option<u64>,
    seq: Option<Seq>,
    last: Seq,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Begin,
    Announce { part: u16 },
    MarkText,
    Text { written: usize },
    ConfirmText,
    Pause { until: Option<LogTime> },
    MarkEnter,
    Enter,
    ConfirmEnter,
    GiveUp { typed: usize },
    Finished { typed: Option<usize> },
    Refused,
}

impl Typist {
    /// `last_turn`: the newest turn of the session.
    pub fn new(last_turn: u64, enter_delay: Duration) -> Typist {
        Typist { waiting: VecDeque::new(), active: None, next_turn: last_turn + 1, enter_delay }
    }

    /// Queues a text. It comes back when too much waits already.
    pub fn push(&mut self, job: Job) -> Result<(), Job> {
        let bytes: usize = self.waiting.iter().map(|j| j.text.len()).sum();
        let full = self.waiting.len() >= MAX_WAITING || bytes + job.text.len() > MAX_WAITING_BYTES;
        if full && job.manner != Manner::Keystrokes {
            return Err(job);
        }
        self.waiting.push_back(job);
        Ok(())
    }

    /// Goes on after a crash: `job` was recorded at `seq` and its last step in the log is `step`. Nothing is typed twice:
    /// false when it was in the middle of a write, and what came of it can't be known.
    pub fn resume(&mut self, job: Job, bytes: Bytes, seq: Seq, turn: Option<u64>, step: Option<Step>) -> bool {
        let stage = match step {
            None => Stage::MarkText,
            Some(Step::TextDone) => Stage::Pause { until: None },
            Some(Step::Text | Step::Enter | Step::EnterDone | Step::Abandoned | Step::Answer) => return false,
        };
        let (hidden, echo, at_enter, last) = (false, false, false, seq); // of a text that is announced already
        self.active = Some(Active { job, bytes, hidden, echo, at_enter, turn, seq: Some(seq), last, stage });
        true
    }

    /// The text that [`Act::Begin`] is about, and how it is typed.
    pub fn beginning(&self) -> Option<(&[u8], Manner)> {
        self.active.as_ref().map(|a| (a.job.text.as_slice(), a.job.manner))
    }

    /// Of the keystrokes that [`Act::Begin`] is about: whose, and where in all that this client types they begin and end.
    pub fn keystrokes(&self) -> Option<(&str, u64, u64)> {
        let job = &self.active.as_ref()?.job;
        let (client, upto) = job.key.as_ref()?.of_keystrokes()?;
        Some((client, upto.saturating_sub(job.text.len() as u64), upto))
    }

    /// The first `n` bytes of them have come over another connection already. False when nothing is left to be typed.
    pub fn leave_out(&mut self, n: usize) -> bool {
        let Some(active) = &mut self.active else { return false };
        active.job.text.drain(..n.min(active.job.text.len()));
        if active.job.text.is_empty() {
            active.stage = Stage::Finished { typed: None };
        }
        !active.job.text.is_empty()
    }

    /// True from the first byte of a text up to its Enter: nothing else may come in between.
    pub fn is_in_a_text(&self) -> bool {
        let begun = |a: &Active| match a.stage {
            Stage::Text { written } => written > 0,
            Stage::ConfirmText | Stage::Pause { .. } | Stage::MarkEnter | Stage::Enter => true,
            Stage::Begin | Stage::Announce { .. } | Stage::MarkText => false,
            Stage::ConfirmEnter | Stage::GiveUp { .. } | Stage::Finished { .. } | Stage::Refused => false,
        };
        self.active.as_ref().is_some_and(begun)
    }

    /// How many texts wait or are being typed.
    pub fn queued(&self) -> usize {
        self.waiting.len() + usize::from(self.active.is_some())
    }

    /// What to do next.
    pub fn next(&mut self, now: LogTime) -> Act {
        if self.active.is_none() {
            let Some(job) = self.waiting.pop_front() else { return Act::Idle };
            let last = Seq(0);
            self.active = Some(Active {
                job,
                bytes: Bytes::new(),
                hidden: false,
                echo: false,
                at_enter: false,
                turn: None,
                seq: None,
                last,
                stage: Stage::Begin,
            });
        }
        let delay = self.enter_delay;
        let Some(active) = &mut self.active else { return Act::Idle };
        match active.stage {
            Stage::Begin => Act::Begin,
            Stage::Announce { part } => Act::Record(active.announcement(part)),
            Stage::MarkText => Act::Record(active.typed(Step::Text, 0)),
            Stage::Text { written } => Act::Write(active.bytes.slice(written..)),
            Stage::ConfirmText => Act::Record(active.typed(Step::TextDone, active.bytes.len())),
            Stage::Pause { until } => {
                let until = until.unwrap_or_else(|| now.after(delay));
                active.stage = if now < until { Stage::Pause { until: Some(until) } } else { Stage::MarkEnter };
                if now < until { Act::Pause(until) } else { self.next(now) }
            }
            Stage::MarkEnter => Act::Record(active.typed(Step::Enter, 0)),
            Stage::Enter => Act::Write(Bytes::from_static(ENTER)),
            Stage::ConfirmEnter => Act::Record(active.typed(Step::EnterDone, ENTER.len())),
            Stage::GiveUp { typed } => Act::Record(active.typed(Step::Abandoned, typed)),
            Stage::Finished { typed: None } => {
                self.finish(|a| Outcome::Typed { seq: a.seq.unwrap_or_default(), turn: a.turn, last: a.last })
            }
            Stage::Finished { typed: Some(typed) } => self.finish(|a| Outcome::Abandoned { typed, of: a.bytes.len() }),
            Stage::Refused => self.finish(|a| Outcome::Refused(String::from_utf8_lossy(&a.bytes).into_owned())),
        }
    }

    /// The answer to [`Act::Begin`]: `typed` is the text as it will be typed, or why it can't be.
    pub fn begin(&mut self, reading: Reading, typed: Result<Vec<u8>, String>) {
        let Some(active) = &mut self.active else { return };
        let checked = active.job.manner != Manner::Keystrokes;
        let typed =
            typed.and_then(|bytes| if checked { check_lines(&bytes, reading).map(|()| bytes) } else { Ok(bytes) });
        active.hidden = reading.canonical && !reading.echo;
        active.echo = reading.echo;
        active.at_enter = active.job.manner == Manner::Submit && reading.takes_with_enter(&active.job.text);
        (active.bytes, active.stage) = match typed {
            Ok(bytes) => (bytes.into(), Stage::Announce { part: 0 }),
            Err(why) => (why.into(), Stage::Refused),
        };
        if active.stage != Stage::Refused && active.job.manner == Manner::Submit {
            active.turn = Some(self.next_turn);
            self.next_turn += 1;
        }
    }

    /// The record of [`Act::Record`] is in the log.
    pub fn recorded(&mut self, seq: Seq) {
        let Some(active) = &mut self.active else { return };
        active.last = seq;
        active.stage = match active.stage {
            Stage::Announce { part } => {
                active.seq.get_or_insert(seq);
                if part + 1 < active.parts() { Stage::Announce { part: part + 1 } } else { Stage::MarkText }
            }
            Stage::MarkText if active.bytes.is_empty() => Stage::ConfirmText,
            Stage::MarkText => Stage::Text { written: 0 },
            Stage::ConfirmText if active.job.manner == Manner::Submit => Stage::Pause { until: None },
            Stage::ConfirmText | Stage::ConfirmEnter => Stage::Finished { typed: None },
            Stage::MarkEnter => Stage::Enter,
            Stage::GiveUp { typed } => Stage::Finished { typed: Some(typed) },
            other => other,
        };
    }

    /// The PTY took `n` bytes of [`Act::Write`].
    pub fn wrote(&mut self, n: usize) {
        let Some(active) = &mut self.active else { return };
        active.stage = match active.stage {
            Stage::Text { written } if written + n < active.bytes.len() => Stage::Text { written: written + n },
            Stage::Text { .. } => Stage::ConfirmText,
            Stage::Enter if n > 0 => Stage::ConfirmEnter,
            other => other,
        };
    }

    /// The caller of `ticket` waits no longer. A text that waits is dropped, one that is being typed is given up where it
    /// is. The outcome comes by [`Typist::next`] or, for one that waited, at once.
    pub fn abandon(&mut self, ticket: u64) -> Option<Outcome> {
        if let Some(at) = self.waiting.iter().position(|j| j.ticket == ticket) {
            let of = self.waiting.remove(at).map_or(0, |job| job.text.len());
            return Some(Outcome::Abandoned { typed: 0, of });
        }
        let active = self.active.as_mut().filter(|a| a.job.ticket == ticket)?;
        match active.stage {
            Stage::Text { written } => active.stage = Stage::GiveUp { typed: written },
            Stage::Enter => active.stage = Stage::GiveUp { typed: active.bytes.len() },
            _ => {} // between two writes: it goes on by itself
        }
        None
    }

    /// The run has ended: nothing can be typed any more.
    pub fn end(&mut self) -> Vec<u64> {
        let active = self.active.take().map(|a| a.job.ticket);
        active.into_iter().chain(self.waiting.drain(..).map(|j| j.ticket)).collect()
    }

    fn finish(&mut self, outcome: impl FnOnce(&Active) -> Outcome) -> Act {
        match self.active.take() {
            Some(active) => Act::Done { ticket: active.job.ticket, outcome: outcome(&active) },
            None => Act::Idle,
        }
    }
}

impl Active {
    fn parts(&self) -> u16 {
        let parts = self.job.text.len().div_ceil(PART).max(1);
        if self.hidden { 1 } else { u16::try_from(parts).unwrap_or(u16::MAX) }
    }

    fn announcement(&self, part: u16) -> Event {
        let from = usize::from(part) * PART;
        let to = self.job.text.len().min(from + PART);
        let text = if self.hidden {
            InputText::Hidden { len: u32::try_from(self.job.text.len()).unwrap_or(u32::MAX) }
        } else {
            InputText::Shown(RawString(self.job.text[from..to].to_vec()))
        };
        Event::Input {
            turn: self.turn,
            part: (part, self.parts()),
            key: self.job.key.clone(),
            digest: self.job.digest,
            from: self.job.from.clone(),
            submit: self.job.manner == Manner::Submit,
            echo: self.echo,
            at_enter: self.at_enter,
            text,
            asked: self.job.asked.clone().filter(|_| part == 0),
        }
    }

    fn typed(&self, step: Step, n: usize) -> Event {
        Event::Typed { of: self.seq.unwrap_or_default(), step, n: n as u64 }
    }
}

fn check_lines(bytes: &[u8], reading: Reading) -> Result<(), String> {
    let longest = bytes.split(|b| matches!(b, b'\r' | b'\n')).map(<[u8]>::len).max().unwrap_or(0);
    if reading.canonical && longest > LONGEST_COOKED_LINE {
        return Err(format!(
            "a line of {longest} bytes: the program reads in cooked mode, where the kernel cuts a line at {LONGEST_COOKED_LINE} bytes in silence"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
