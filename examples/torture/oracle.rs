//! What was promised, and whether it was kept: counts, and each promise that was broken, in words.
//!
//! It knows nothing of how the run is made. A broken promise ends the run, so that what is left can be looked at.

use crate::stream::Wrong;
use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// A promise, by how it can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Broken {
    /// Output that a program wrote isn't there.
    Hole,
    /// Output is there twice.
    Double,
    /// A byte is another one.
    Byte,
    /// Something acknowledged isn't in the log, or is gone.
    Lost,
    /// Something was done twice.
    Twice,
    /// The same request was answered in two ways.
    Receipt,
    /// An exit status that isn't the program's.
    Status,
    /// A wait ended otherwise than its condition says, or a client of ours gave up.
    Client,
    /// After a reload, a process of the program before, or another keeper.
    Reload,
    /// Nothing happens any more.
    Hang,
    /// Something is left over at the end.
    Left,
}

pub(crate) const BROKEN: [(Broken, &str); 11] = [
    (Broken::Hole, "holes"),
    (Broken::Double, "doubles"),
    (Broken::Byte, "wrong bytes"),
    (Broken::Lost, "lost acknowledged events"),
    (Broken::Twice, "things done twice"),
    (Broken::Receipt, "receipts that differ"),
    (Broken::Status, "wrong exit statuses"),
    (Broken::Client, "waits and clients that failed"),
    (Broken::Reload, "reloads that weren't whole"),
    (Broken::Hang, "hangs"),
    (Broken::Left, "leftovers"),
];

/// One broken promise.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) broken: Broken,
    pub(crate) after: Duration,
    pub(crate) words: String,
}

/// Shared by all parts of a run.
pub(crate) struct Oracle {
    begun: Instant,
    over: AtomicBool,
    inner: Mutex<Inner>,
    /// What was done when.
    diary: File,
}

#[derive(Default)]
struct Inner {
    counts: BTreeMap<&'static str, u64>,
    cases: Vec<Case>,
}

/// Cases that are kept.
const CASES: usize = 200;

impl Oracle {
    pub(crate) fn new(diary: File) -> Oracle {
        Oracle { begun: Instant::now(), over: AtomicBool::new(false), inner: Mutex::default(), diary }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self, what: &'static str, n: u64) {
        *self.lock().counts.entry(what).or_default() += n;
    }

    pub(crate) fn counted(&self, what: &str) -> u64 {
        self.lock().counts.get(what).copied().unwrap_or(0)
    }

    /// A promise is broken: that ends the run.
    pub(crate) fn broke(&self, broken: Broken, words: impl Into<String>) {
        let (after, words) = (self.begun.elapsed(), words.into());
        self.note(format!("BROKEN {broken:?}: {words}"));
        let mut inner = self.lock();
        if inner.cases.len() < CASES {
            inner.cases.push(Case { broken, after, words });
        }
        self.over.store(true, Ordering::Relaxed);
    }

    /// The same, of a stream.
    pub(crate) fn wrong(&self, whose: &str, wrong: Option<Wrong>) -> bool {
        let Some(wrong) = wrong else { return false };
        let broken = match wrong {
            Wrong::Hole { .. } => Broken::Hole,
            Wrong::Double { .. } => Broken::Double,
            Wrong::Other { .. } => Broken::Byte,
        };
        self.broke(broken, format!("{whose}: {wrong}"));
        true
    }

    /// What is done to the host, to be read beside a case.
    pub(crate) fn note(&self, words: impl Into<String>) {
        let line = format!("{:9.3} s  {}\n", self.begun.elapsed().as_secs_f64(), words.into());
        if let Err(why) = (&self.diary).write_all(line.as_bytes()) {
            eprint!("the diary can't be written: {why}: {line}");
        }
    }

    /// The parts shall come to their end.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(crate) fn cases(&self) -> Vec<Case> {
        self.lock().cases.clone()
    }
}
