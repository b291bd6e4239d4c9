//! The asks that are open: who waits for whom, and whose turn it is to type.
//!
//! Level, not history: an ask is known from before its text is typed until its reader is gone, and again when its client takes
//! it up after a crash of the host. It must never let sessions wait for each other in a circle, which none would ever leave, nor two asks type
//! into one session at a time: whose answer would it be?

use crate::wire::{ApiError, Code};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// So many may wait at once. 1,024: each holds a screen and up to 4 MiB of a reply; a fleet of workers is smaller.
const MAX_ASKS: usize = 1024;

/// All open asks.
#[derive(Debug)]
pub(super) struct Asks {
    edges: Mutex<Vec<Edge>>,
    /// How many there have been; changes also when one ends.
    opened: watch::Sender<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Edge {
    /// Rising.
    number: u64,
    /// It types; else it only reads.
    types: bool,
    /// A session, where the one who asks sits in one.
    from: Option<String>,
    to: String,
}

/// An open ask; dropping it ends it.
#[derive(Debug)]
pub(super) struct Ask {
    asks: Arc<Asks>,
    edge: Edge,
}

impl Default for Asks {
    fn default() -> Asks {
        Asks { edges: Mutex::default(), opened: watch::Sender::new(0) }
    }
}

impl Asks {
    /// Opens one, unless it closes a circle. `types`: it types a text first; else it only reads.
    pub(super) fn open(self: &Arc<Asks>, from: Option<&str>, to: &str, types: bool) -> Result<Ask, ApiError> {
        let mut edges = self.edges();
        if let Some(path) = from.and_then(|from| path(&edges, to, from)) {
            let circle = [from.unwrap_or_default()].into_iter().chain(path.iter().map(String::as_str));
            let circle = circle.collect::<Vec<_>>().join(" asks ");
            return Err(ApiError::new(Code::Circle, format!("{circle}: none of them would ever answer"))
                .hint("send doesn't wait for a reply"));
        }
        if edges.len() >= MAX_ASKS {
            return Err(ApiError::new(Code::Failed, format!("{MAX_ASKS} asks are open already")).hint("try later"));
        }
        let number = *self.opened.borrow() + 1;
        let edge = Edge { number, types, from: from.map(str::to_owned), to: to.to_owned() };
        edges.push(edge.clone());
        self.opened.send_replace(number);
        drop(edges);
        Ok(Ask { asks: self.clone(), edge })
    }

    fn edges(&self) -> MutexGuard<'_, Vec<Edge>> {
        self.edges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ask {
    /// No ask that was opened earlier will type into this session, or waits for what it typed.
    pub(super) fn is_first(&self) -> bool {
        let edges = self.asks.edges();
        !edges.iter().any(|edge| edge.types && edge.to == self.edge.to && edge.number < self.edge.number)
    }

    /// Until that is so.
    pub(super) async fn first(&self) {
        let mut opened = self.asks.opened.subscribe();
        while !self.is_first() && opened.changed().await.is_ok() {}
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        let mut edges = self.asks.edges();
        edges.retain(|edge| *edge != self.edge);
        self.asks.opened.send_modify(|_| {}); // others look again
    }
}

/// From whom to whom, over open asks, both ends included.
fn path(edges: &[Edge], start: &str, goal: &str) -> Option<Vec<String>> {
    let mut paths = vec![vec![start.to_owned()]];
    let mut seen = vec![start.to_owned()];
    while let Some(path) = paths.pop() {
        let Some(here) = path.last() else { continue };
        if here == goal {
            return Some(path);
        }
        for edge in edges.iter().filter(|edge| edge.from.as_ref() == Some(here)) {
            if !seen.contains(&edge.to) {
                seen.push(edge.to.clone());
                paths.push(path.iter().cloned().chain([edge.to.clone()]).collect());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_refused_and_shown() {
        let asks = Arc::new(Asks::default());
        let _outside = asks.open(None, "a", true).unwrap();
        let ab = asks.open(Some("a"), "b", true).unwrap();
        let bc = asks.open(Some("b"), "c", true).unwrap();
        let _bd = asks.open(Some("b"), "d", true).unwrap();
        let error = asks.open(Some("c"), "a", true).unwrap_err();
        assert_eq!((error.code, error.exit), (Code::Circle, 1));
        assert!(error.message.starts_with("c asks a asks b asks c"), "{error}");
        assert!(asks.open(Some("d"), "d", true).unwrap_err().message.starts_with("d asks d"));
        drop(bc);
        assert!(asks.open(Some("c"), "a", true).is_ok());
        drop(ab);
        assert_eq!(asks.edges().len(), 2);
    }

    #[test]
    fn one_types_after_the_other() {
        let asks = Arc::new(Asks::default());
        let _reads = asks.open(None, "a", false).unwrap();
        let first = asks.open(None, "a", true).unwrap();
        let second = asks.open(None, "a", true).unwrap();
        assert!(asks.open(None, "b", true).unwrap().is_first());
        assert!((first.is_first(), second.is_first()) == (true, false));
        drop(first);
        assert!(second.is_first());
    }

    #[test]
    fn there_are_not_too_many() {
        let asks = Arc::new(Asks::default());
        let open: Vec<_> = (0..MAX_ASKS).map(|_| asks.open(None, "a", true).unwrap()).collect();
        assert!(asks.open(None, "a", true).is_err());
        drop(open);
        assert!(asks.open(None, "a", true).is_ok());
    }
}
