//! Retention's thread: looks after each new segment, and now and then, at what may go.
//!
//! It stands beside the writer, never in a session's way. A fault is said and tried again at the next look: what wasn't
//! deleted takes room and nothing else. It must never delete what isn't written down as taken.

use super::{Meta, SegmentStore};
use crate::model::Wall;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

/// Between two looks without a new segment: ages and removals don't press.
const LOOK: Duration = Duration::from_secs(30);

/// The thread; it ends when this goes.
pub struct Sweeper {
    store: Arc<SegmentStore>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sweeper {
    /// Starts it.
    pub fn start(store: Arc<SegmentStore>, meta: Arc<Meta>) -> std::io::Result<Sweeper> {
        let over = Arc::new(AtomicBool::new(false));
        let (its_store, its_over) = (store.clone(), over.clone());
        let run = move || {
            let mut seen = 0;
            while !its_over.load(Ordering::Relaxed) {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let now = Wall(i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
                if let Err(down) = its_store.sweep(&meta.removed(), now) {
                    tracing::warn!("retention: {down}");
                }
                seen = its_store.wait_begun(seen, LOOK);
            }
        };
        let thread = thread::Builder::new().name("log-retention".into()).spawn(run)?;
        Ok(Sweeper { store, over, thread: Some(thread) })
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.store.ring();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the retention thread panicked");
        }
    }
}
