//! What a session's log says so far: a pure fold over its records.
//!
//! Kept up to date by the session's actor record by record, saved in `meta` now and then as derived data, and made whole
//! at a start by folding what came after. Never the truth itself: it can be thrown away.

use crate::model::{Cursor, Event, Key, Kind, LogTime, Process, Record, Seq, Size, Stamp, Status, Step, Wall};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// So many inputs before a turn are masked as echo: more than any program repaints.
pub const REMEMBERED_INPUTS: usize = 16;
/// Reading for a turn begins so many bytes of output before it, that the screen is as the program thinks it is.
pub const PREROLL: u64 = 256 * 1024;
const TRAIL_STEP: u64 = PREROLL / 8; // one mark each 32 KiB: nine marks a session
/// Retries of a request come within a minute: so many sends a session are answered from here, older ones from `meta`.
pub const REMEMBERED_SENDS: usize = 64;
/// Restarts older than the 100 newest never matter: `max_restarts` is capped by it.
pub const REMEMBERED_RESTARTS: usize = 100;

/// So many attached clients' typing is counted: a client that comes back after a crash is one of the newest.
pub const REMEMBERED_CLIENTS: usize = 32;

/// A turn, as far as readers need it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TurnMark {
    /// Its number.
    pub turn: u64,
    /// Of its first input record.
    pub seq: Seq,
    /// In which run.
    pub run: u32,
    /// Where feeding an emulator for this turn begins.
    pub preroll: Cursor,
    /// The terminal's size there.
    pub size: Size,
    /// The inputs before it in its run, oldest first.
    pub inputs: Vec<Seq>,
}

/// Where a run stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing has run.
    Created,
    /// Being started.
    Starting,
    /// Runs.
    Running {
        /// The leader.
        process: Process,
    },
    /// Has ended; another run follows.
    Restarting {
        /// When it was decided.
        since: LogTime,
        /// After this delay.
        after: std::time::Duration,
    },
    /// Has ended.
    Ended {
        /// How.
        status: Status,
        /// Nothing restarts it.
        last: bool,
    },
}

/// An input of which not all steps are in the log yet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PendingInput {
    /// Its first record.
    pub seq: Seq,
    /// Its turn.
    pub turn: Option<u64>,
    /// Enter follows.
    pub submit: bool,
    /// Parts that are in the log, of so many.
    pub parts: (u16, u16),
    /// The last step that is in the log.
    pub step: Option<Step>,
}

/// A text that was submitted whole, and nothing was typed since.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Work {
    /// Its turn.
    pub turn: u64,
    /// When it was submitted, or something last came after that.
    pub progress: LogTime,
}

/// A text that was sent under an idempotency key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// The client's.
    pub key: Key,
    /// Of the request.
    pub digest: u32,
    /// Its first record.
    pub seq: Seq,
    /// Its turn.
    pub turn: Option<u64>,
    /// Its run.
    pub run: u32,
    /// Typed whole: the receipt may be given again.
    pub done: bool,
}

/// The fold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Of this structure; another one is thrown away and made again.
    pub v: u32,
    /// The last record in it.
    pub seq: Seq,
    /// The newest time.
    pub at: Stamp,
    /// The newest run, 0 before the first.
    pub run: u32,
    /// Where it stands.
    pub phase: Phase,
    /// The terminal's size.
    pub size: Size,
    /// The first record of the newest run.
    pub run_start: Seq,
    /// The newest turn.
    pub turn: Option<TurnMark>,
    /// The newest inputs of this run, oldest first.
    pub inputs: VecDeque<Seq>,
    /// The newest texts sent under a key, oldest first.
    pub sent: VecDeque<Sent>,
    /// How much of what attached clients typed is in the log, by client, the one that typed last at the end.
    #[serde(default)]
    pub keystrokes: VecDeque<(String, u64)>,
    /// Input that is on its way.
    pub pending: Option<PendingInput>,
    /// What the program may be at work on.
    #[serde(default)]
    pub work: Option<Work>,
    /// The newest run hangs, or hung: its watchdog ends it.
    #[serde(default)]
    pub hung: bool,
    /// When the newest run started.
    pub started_at: Option<Wall>,
    /// Its leader, also after its end: it may have left others. None of a run that is being started.
    #[serde(default)]
    pub leader: Option<Process>,
    /// When the newest ended run ended.
    pub exited_at: Option<Wall>,
    /// When a program last wrote.
    pub last_output_at: Option<Wall>,
    /// How the newest ended run ended.
    pub status: Option<Status>,
    /// When restarts were decided, oldest first.
    pub restarts_at: VecDeque<LogTime>,
    /// How many there were in all.
    pub restarts: u32,
    /// Bytes of output in all.
    pub output: u64,
    /// Saved while nothing wrote to the session: no record came behind this one, seen by readers or not, until a later
    /// summary took that back.
    #[serde(default)]
    pub rests: bool,
    trail: VecDeque<(Seq, u64)>,
}

const VERSION: u32 = 1;

impl Summary {
    /// How much an attached client has typed, as far as it is remembered.
    pub fn keystrokes_of(&self, client: &str) -> u64 {
        self.keystrokes.iter().find(|(other, _)| other == client).map_or(0, |(_, upto)| *upto)
    }

    /// Of a session without records.
    pub fn new(size: Size) -> Summary {
        Summary {
            v: VERSION,
            seq: Seq(0),
            at: Stamp::default(),
            run: 0,
            phase: Phase::Created,
            size,
            run_start: Seq(1),
            turn: None,
            inputs: VecDeque::new(),
            sent: VecDeque::new(),
            keystrokes: VecDeque::new(),
            pending: None,
            work: None,
            hung: false,
            started_at: None,
            leader: None,
            exited_at: None,
            last_output_at: None,
            status: None,
            restarts_at: VecDeque::new(),
            restarts: 0,
            output: 0,
            rests: false,
            trail: VecDeque::new(),
        }
    }

    /// From its saved form; nothing when it is of another version or damaged.
    pub fn load(json: &[u8]) -> Option<Summary> {
        serde_json::from_slice::<Summary>(json).ok().filter(|s| s.v == VERSION)
    }

    /// Takes the next record. Returns the turn it opened. A record that is in already changes nothing.
    pub fn apply(&mut self, record: &Record) -> Option<TurnMark> {
        if record.seq <= self.seq {
            return None;
        }
        self.seq = record.seq;
        self.at.wall = record.at.wall;
        self.at.log = self.at.log.max(record.at.log);
        self.rests &= record.kind == Kind::Gap; // that says what is lost; it is nothing that came
        if record.kind == Kind::Output {
            self.output_came(record);
            return None;
        }
        match record.event() {
            Ok(event) => self.event(record, event),
            Err(_) => None, // written by a newer version: nothing here depends on it
        }
    }

    /// Where feeding an emulator for a reading that starts now begins.
    pub fn preroll(&self) -> Cursor {
        Cursor::at(self.trail.front().map_or(self.run_start, |(seq, _)| *seq))
    }

    fn output_came(&mut self, record: &Record) {
        self.last_output_at = Some(record.at.wall);
        if let Some(work) = &mut self.work {
            work.progress = record.at.log;
        }
        if self.trail.back().is_none_or(|(_, at)| self.output - at >= TRAIL_STEP) {
            self.trail.push_back((record.seq, self.output));
        }
        self.output += record.body.len() as u64;
        while self.trail.get(1).is_some_and(|(_, at)| self.output - at >= PREROLL) {
            self.trail.pop_front();
        }
    }

    fn event(&mut self, record: &Record, event: Event) -> Option<TurnMark> {
        match event {
            Event::Input { part: (1.., _), .. } => {
                if let Some(pending) = &mut self.pending {
                    pending.parts.0 += 1;
                }
            }
            Event::Input { turn, part, key, digest, submit, .. } => {
                self.pending = Some(PendingInput { seq: record.seq, turn, submit, parts: (1, part.1), step: None });
                self.work = None;
                if let Some((client, upto)) = key.as_ref().and_then(Key::of_keystrokes) {
                    self.keystrokes.retain(|(other, _)| other != client);
                    self.keystrokes.push_back((client.to_owned(), upto));
                    self.keystrokes.drain(..self.keystrokes.len().saturating_sub(REMEMBERED_CLIENTS));
                    return None; // single keys mask nothing that a later turn prints
                }
                if let Some(key) = key {
                    self.sent.push_back(Sent { key, digest, seq: record.seq, turn, run: self.run, done: false });
                    self.sent.drain(..self.sent.len().saturating_sub(REMEMBERED_SENDS));
                }
                return self.input(record.seq, turn);
            }
            Event::Typed { of, step, .. } => self.typed(of, step, record.at.log),
            Event::Resize(size) => self.size = size,
            Event::Starting { run, size } => self.starting(record, run, size),
            Event::Started { pid, start_time, .. } => {
                self.started_at = Some(record.at.wall);
                let leader = Process { pid, start_time };
                self.leader = Some(leader);
                self.phase = Phase::Running { process: leader };
            }
            Event::Exited { status, last, .. } => {
                self.exited_at = Some(record.at.wall);
                self.status = Some(status);
                self.phase = Phase::Ended { status, last };
                self.pending = None;
                self.work = None;
            }
            Event::Hung { .. } => self.hung = true,
            Event::Restarting { after, .. } => {
                self.phase = Phase::Restarting { since: record.at.log, after };
                self.restarts += 1;
                self.restarts_at.push_back(record.at.log);
                while self.restarts_at.len() > REMEMBERED_RESTARTS {
                    self.restarts_at.pop_front();
                }
            }
            Event::Output(_) | Event::Gap { .. } | Event::Span { .. } => {}
        }
        None
    }

    fn starting(&mut self, record: &Record, run: u32, size: Size) {
        self.run = run;
        self.run_start = record.seq;
        self.size = size;
        self.phase = Phase::Starting;
        self.leader = None;
        self.inputs.clear();
        self.trail.clear();
        self.pending = None;
        (self.work, self.hung) = (None, false);
    }

    fn input(&mut self, seq: Seq, turn: Option<u64>) -> Option<TurnMark> {
        let mark = turn.map(|turn| TurnMark {
            turn,
            seq,
            run: self.run,
            preroll: self.preroll(),
            size: self.size,
            inputs: self.inputs.iter().copied().collect(),
        });
        self.inputs.push_back(seq);
        while self.inputs.len() > REMEMBERED_INPUTS {
            self.inputs.pop_front();
        }
        self.turn = mark.clone().or(self.turn.take());
        mark
    }

    fn typed(&mut self, of: Seq, step: Step, at: LogTime) {
        let Some(pending) = self.pending.as_mut().filter(|p| p.seq == of) else { return };
        let done = match step {
            Step::TextDone => !pending.submit,
            Step::EnterDone | Step::Abandoned => true,
            Step::Text | Step::Enter | Step::Answer => false,
        };
        pending.step = Some(step);
        if done {
            let turn = pending.turn.filter(|_| step == Step::EnterDone);
            self.work = turn.map(|turn| Work { turn, progress: at });
            self.pending = None;
            let whole = step != Step::Abandoned;
            self.sent.iter_mut().filter(|s| s.seq == of).for_each(|s| s.done = whole);
        }
    }
}

#[cfg(test)]
mod tests;
