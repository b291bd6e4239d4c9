//! The driver's budget: what is typed with ECHO on is echoed once by the terminal driver, and output can tear it to pieces.
//!
//! Pure. Rows come in, what in them is a piece of that one echo goes to `echo`. It must never hide the same piece twice:
//! that is an answer. It is used up by what has appeared, and given up when the echo is later than it can be.

use super::fold::common;
use std::{collections::HashMap, ops::Range};

/// The least piece, in bytes and in visible characters. Four: what is shorter holds no marker, and stands in any row.
const PIECE: usize = 4;
/// How many bytes of final rows may come before the echo. 256 KiB: more than the driver buffers.
const LATE: usize = 256 * 1024;
/// How many places of a text are tried for one place of a row. 16: repetitive texts would cost a square otherwise.
const MAX_TRIES: usize = 16;

/// What of a text's one echo has not appeared yet.
#[derive(Debug)]
pub(super) struct Budget {
    left: Vec<Range<usize>>,
    /// Where in the text each [`PIECE`] bytes stand.
    grams: HashMap<[u8; PIECE], Vec<u32>>,
    patience: usize,
}

impl Budget {
    /// For the text from `from` on.
    pub(super) fn new(text: &str, from: usize) -> Budget {
        let mut grams: HashMap<[u8; PIECE], Vec<u32>> = HashMap::new();
        for (at, gram) in text.as_bytes().windows(PIECE).enumerate() {
            if let (Ok(gram), Ok(at)) = (gram.try_into(), u32::try_from(at)) {
                let places = grams.entry(gram).or_default();
                if places.len() < MAX_TRIES {
                    places.push(at);
                }
            }
        }
        Budget { left: std::iter::once(from..text.len()).collect(), grams, patience: LATE }
    }

    /// True when nothing is left that could be recognised.
    pub(super) fn is_spent(&self) -> bool {
        self.patience == 0 || self.left.iter().all(|range| range.len() < PIECE)
    }

    /// How far the beginning has been echoed.
    pub(super) fn reached(&self, text: &str) -> usize {
        self.left.first().map_or(text.len(), |range| range.start)
    }

    /// A part of the text has appeared.
    pub(super) fn spend(&mut self, part: &Range<usize>) {
        let left = self.left.drain(..).flat_map(|range| {
            let before = range.start..range.end.min(part.start);
            let after = range.start.max(part.end)..range.end;
            [before, after].into_iter().filter(|range| range.start < range.end)
        });
        self.left = left.collect();
    }

    /// So much other output came before.
    pub(super) fn wait(&mut self, bytes: usize) {
        self.patience = self.patience.saturating_sub(bytes);
    }

    /// Pieces in a row: where in the row, and where in the text. What is found isn't spent yet.
    pub(super) fn pieces(&self, row: &str, text: &str) -> Vec<(Range<usize>, Range<usize>)> {
        let mut found: Vec<(Range<usize>, Range<usize>)> = Vec::new();
        let mut at = 0;
        while let Some(gram) = row.as_bytes().get(at..at + PIECE) {
            let places = gram.try_into().ok().and_then(|gram: [u8; PIECE]| self.grams.get(&gram));
            let longest = places.into_iter().flatten().filter_map(|place| {
                let place = *place as usize;
                let left = self.left.iter().find(|left| left.contains(&place))?;
                let taken = found.iter().any(|(_, part)| part.contains(&place));
                let length = common(row.get(at..)?, text.get(place..left.end)?);
                let piece = text.get(place..place + length)?;
                (!taken && piece.chars().count() >= PIECE).then_some(place..place + length)
            });
            match longest.max_by_key(Range::len) {
                Some(part) => {
                    found.push((at..at + part.len(), part.clone()));
                    at += part.len();
                }
                None => at += 1,
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_is_hidden_once() {
        let text = "sayPLAN_DONEwhenready";
        let mut budget = Budget::new(text, 0);
        let mut hidden = |row: &str| {
            let pieces = budget.pieces(row, text);
            pieces.iter().for_each(|(_, part)| budget.spend(part));
            pieces.into_iter().map(|(place, _)| row[place].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(hidden("yes,sayyes"), [""; 0]);
        assert_eq!(hidden("yesPLAN_DONEwheyes"), ["PLAN_DONEwhe"]);
        assert_eq!(hidden("PLAN_DONE"), [""; 0]);
        assert_eq!(hidden("nready"), ["nready"]);
        assert!(budget.is_spent());
    }
}
