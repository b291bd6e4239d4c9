//! The asks that are open: who waits for whom.
//!
//! Level, not history: an ask is known from before its text is typed until its reader is gone, and again when its client takes
//! it up after a crash of the host. It must never let sessions wait for each other in a circle, which none would ever leave.

use crate::wire::{ApiError, Code};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many may wait at once. 1,024: each holds a screen and up to 4 MiB of a reply; a fleet of workers is smaller.
const MAX_ASKS: usize = 1024;

/// All open asks.
#[derive(Debug, Default)]
pub(super) struct Asks(Mutex<Vec<Edge>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Edge {
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

impl Asks {
    /// Opens one, unless it closes a circle.
    pub(super) fn open(self: &Arc<Asks>, from: Option<&str>, to: &str) -> Result<Ask, ApiError> {
        let edge = Edge { from: from.map(str::to_owned), to: to.to_owned() };
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
        edges.push(edge.clone());
        drop(edges);
        Ok(Ask { asks: self.clone(), edge })
    }

    fn edges(&self) -> MutexGuard<'_, Vec<Edge>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        let mut edges = self.asks.edges();
        if let Some(at) = edges.iter().position(|edge| *edge == self.edge) {
            edges.swap_remove(at);
        }
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
        let _outside = asks.open(None, "a").unwrap();
        let ab = asks.open(Some("a"), "b").unwrap();
        let bc = asks.open(Some("b"), "c").unwrap();
        let _bd = asks.open(Some("b"), "d").unwrap();
        let error = asks.open(Some("c"), "a").unwrap_err();
        assert_eq!((error.code, error.exit), (Code::Circle, 1));
        assert!(error.message.starts_with("c asks a asks b asks c"), "{error}");
        assert!(asks.open(Some("d"), "d").unwrap_err().message.starts_with("d asks d"));
        drop(bc);
        assert!(asks.open(Some("c"), "a").is_ok());
        drop(ab);
        assert_eq!(asks.edges().len(), 2);
    }

    #[test]
    fn there_are_not_too_many() {
        let asks = Arc::new(Asks::default());
        let open: Vec<_> = (0..MAX_ASKS).map(|_| asks.open(None, "a").unwrap()).collect();
        assert!(asks.open(None, "a").is_err());
        drop(open);
        assert!(asks.open(None, "a").is_ok());
    }
}
