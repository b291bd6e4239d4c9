//! Faults of the writer: an error it met, a panic, a commit that hangs (sled does on a full disk, and can't be woken).
//!
//! It must never say more than one fault: the host ends on purpose at the first.

use super::{StoreDown, disk, lock};
use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::watch;

type OnFault = Box<dyn Fn(StoreDown) + Send>;

/// Watches over commits; says a fault once.
pub(super) struct Alarm {
    /// Gone when the fault was said.
    on_fault: Mutex<Option<OnFault>>,
    stopping: watch::Sender<bool>,
    state: Mutex<Watched>,
    bell: Condvar,
}

#[derive(Default)]
struct Watched {
    busy_since: Option<Instant>,
    over: bool,
}

impl Alarm {
    /// `stopping` is set when nothing is written any more.
    pub(super) fn new(on_fault: impl Fn(StoreDown) + Send + 'static, stopping: watch::Sender<bool>) -> Alarm {
        let (state, bell) = Default::default();
        Alarm { on_fault: Mutex::new(Some(Box::new(on_fault))), stopping, state, bell }
    }

    /// A commit begins.
    pub(super) fn begin(&self) {
        lock(&self.state).busy_since = Some(Instant::now());
    }

    /// A commit came to its end; an error when that was too late.
    pub(super) fn done(&self) -> Result<(), StoreDown> {
        lock(&self.state).busy_since = None;
        match lock(&self.on_fault).is_some() {
            true => Ok(()),
            false => Err(disk::down("the log".as_ref(), "a commit took too long")),
        }
    }

    /// The thread has ended.
    pub(super) fn end(&self) {
        lock(&self.state).over = true;
        self.bell.notify_one();
        self.stopping.send_replace(true);
    }

    /// Says a fault, if none was said yet.
    pub(super) fn fault(&self, down: StoreDown) {
        self.stopping.send_replace(true);
        let on_fault = lock(&self.on_fault).take();
        if let Some(on_fault) = on_fault {
            on_fault(down);
        }
    }

    /// The watchdog's thread: returns when the writer has ended or hangs.
    pub(super) fn watch(&self, bound: Duration) {
        let mut state = lock(&self.state);
        while !state.over {
            if state.busy_since.is_some_and(|since| since.elapsed() >= bound) {
                drop(state);
                let why = format!("a commit takes more than {} s: is its disk full or gone?", bound.as_secs());
                return self.fault(disk::down("the log".as_ref(), why));
            }
            state = self.bell.wait_timeout(state, bound / 4).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
