//! One session's log as one thing: its tail, and the store for what is older.

use crate::log::{EventLog, Feed, TailRead};
use crate::model::{Event, GapReason, KIB, Kind, Record, Seq, SessionId, Wall};
use crate::stop::{Input, Inputs};
use std::sync::Arc;

/// Parts of one input that are read for a mask: 64 KiB of text are masked at most.
const MASK_PARTS: u16 = 8;
const MASK_PAGE: usize = 128 * KIB;

/// A log that can be read from any seq on.
#[derive(Clone)]
pub struct LogView {
    feed: Arc<Feed>,
    store: Arc<dyn EventLog>,
}

/// Why a log can't be read on.
#[derive(Debug, thiserror::Error)]
#[error("the log can't be read: {0}")]
pub struct Unreadable(String);

impl LogView {
    /// Of the session with this feed.
    pub fn new(feed: Arc<Feed>, store: Arc<dyn EventLog>) -> LogView {
        LogView { feed, store }
    }

    /// Whose.
    pub fn id(&self) -> SessionId {
        self.feed.id()
    }

    /// The tail.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Until all that stands in the log now survives a power loss, or nobody writes any more.
    pub async fn durable(&self) {
        let newest = *self.feed.newest().borrow();
        let mut durable = self.feed.durable();
        drop(durable.wait_for(|upto| *upto >= newest).await); // an error: its writer is gone, and the host ends
    }

    /// Records from `from` on, about `budget` bytes; empty at the end of the log. Blocks where the store is asked.
    pub fn read(&self, from: Seq, budget: usize) -> Result<Vec<Record>, Unreadable> {
        match self.feed.read(from, budget) {
            TailRead::Records(records) => Ok(records),
            TailRead::UpToDate => Ok(Vec::new()),
            TailRead::Behind => self.stored(from, budget),
        }
    }

    /// As [`LogView::read`]; a blocking thread asks the store.
    pub async fn read_async(&self, from: Seq, budget: usize) -> Result<Vec<Record>, Unreadable> {
        match self.feed.read(from, budget) {
            TailRead::Records(records) => Ok(records),
            TailRead::UpToDate => Ok(Vec::new()),
            TailRead::Behind => {
                let view = self.clone();
                let read = tokio::task::spawn_blocking(move || view.stored(from, budget)).await;
                read.map_err(|e| Unreadable(e.to_string()))?
            }
        }
    }

    fn stored(&self, from: Seq, budget: usize) -> Result<Vec<Record>, Unreadable> {
        self.store.read(self.id(), from, budget).map_err(|e| Unreadable(e.to_string()))
    }

    /// The first record up to `last` that is not older than `wall`, else the one after it. The wall clock can jump: where
    /// it did, one of several such places is found. Blocks.
    pub fn first_since(&self, wall: Wall, last: Seq) -> Result<Seq, Unreadable> {
        let (mut low, mut high) = (1, last.0 + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.read(Seq(middle), 1)?.first() {
                Some(record) if record.at.wall < wall => low = record.seq.0 + 1,
                _ => high = middle,
            }
        }
        Ok(Seq(low))
    }

    /// Up to which record all is lost from this one on, and why; nothing where it is not lost. Blocks.
    pub fn lost(&self, seq: Seq) -> Result<Option<(Seq, GapReason)>, Unreadable> {
        match self.read(seq, 1)?.first().map(Record::event) {
            Some(Ok(Event::Gap { from, to, reason })) if from <= seq && seq <= to => Ok(Some((to, reason))),
            _ => Ok(None),
        }
    }

    /// What these inputs say, for masks; of a session's last ones. Blocks.
    pub fn inputs(&self, seqs: impl IntoIterator<Item = Seq>) -> Result<Vec<Input>, Unreadable> {
        let mut inputs = Inputs::new();
        for seq in seqs {
            // most have one part: what stands behind it isn't read, it may lie in many segments
            let Some(first) = self.one(seq)? else { continue };
            let Ok(Event::Input { part, .. }) = first.event() else { continue }; // it was lost
            inputs.record(&first);
            let more = usize::from(part.1.min(MASK_PARTS).saturating_sub(1));
            if more > 0 {
                let page = self.read(seq.next(), MASK_PAGE)?;
                let known = page.iter().take_while(|record| record.kind != Kind::Gap); // the rest was lost
                // output may stand between the parts
                known.filter(|record| record.kind == Kind::Input).take(more).for_each(|part| inputs.record(part));
            }
        }
        Ok(inputs.last())
    }

    /// The one record with this number, if there is one.
    pub fn one(&self, seq: Seq) -> Result<Option<Record>, Unreadable> {
        Ok(self.read(seq, 1)?.into_iter().next().filter(|r| r.seq == seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{MemoryStore, StoreDown};
    use crate::model::{InputText, RawString, Stamp};
    use std::sync::Mutex;

    /// A store that notes how much is asked for at once.
    #[derive(Default)]
    struct Noted(MemoryStore, Mutex<Vec<(Seq, usize)>>);

    impl EventLog for Noted {
        fn append(&self, batch: &[(SessionId, Record)]) -> Result<(), StoreDown> {
            self.0.append(batch)
        }
        fn sync(&self) -> Result<(), StoreDown> {
            self.0.sync()
        }
        fn read(&self, id: SessionId, from: Seq, budget: usize) -> Result<Vec<Record>, StoreDown> {
            self.1.lock().unwrap().push((from, budget));
            self.0.read(id, from, budget)
        }
        fn last(&self, id: SessionId) -> Result<Option<Seq>, StoreDown> {
            self.0.last(id)
        }
    }

    fn record(seq: u64, event: &Event) -> Record {
        let (kind, body) = event.encode();
        Record { seq: Seq(seq), kind, at: Stamp::default(), body }
    }

    fn input(text: &str, part: (u16, u16)) -> Event {
        Event::Input {
            turn: Some(1),
            part,
            key: None,
            digest: 0,
            from: String::new(),
            submit: true,
            echo: true,
            at_enter: false,
            text: InputText::Shown(RawString(text.into())),
            asked: None,
        }
    }

    #[test]
    fn of_what_was_typed_nothing_behind_it_is_read() {
        let (id, store) = (SessionId([1; 16]), Arc::new(Noted::default()));
        let records = [
            record(1, &input("one", (0, 1))),
            record(2, &Event::Output(b"o".as_slice().into())),
            record(3, &input("tw", (0, 2))),
            record(4, &Event::Output(b"o".as_slice().into())),
            record(5, &input("o", (1, 2))),
            record(6, &Event::Output(b"o".as_slice().into())),
        ];
        store.append(&records.map(|record| (id, record))).unwrap();
        let view = LogView::new(Feed::new(id, Seq(6)), store.clone());
        assert_eq!(view.inputs([Seq(1)]).unwrap().len(), 1);
        assert_eq!(*store.1.lock().unwrap(), [(Seq(1), 1)]);
        assert_eq!(view.inputs([Seq(1), Seq(2), Seq(3)]).unwrap().len(), 2, "what isn't one is left out");
        assert_eq!(store.1.lock().unwrap()[1..], [(Seq(1), 1), (Seq(2), 1), (Seq(3), 1), (Seq(4), MASK_PAGE)]);
    }
}
