//! The echo mask: which part of a row only repeats what was typed.
//!
//! Pure. Inputs and rows come in, ranges of a row go to `set`, which hides them from patterns. It must never let an echo
//! through, whoever makes it (driver, line editor, program), however often and however late; and it must never hide an
//! answer because it shares a word with what was sent. The rules, and why:
//!
//! 1. **Folding.** White space, frames and marks without width are left out on both sides: programs wrap and frame.
//! 2. **Whole lines only.** A text of one line is masked where all of it stands: `DONE` counts after `say DONE when ready`.
//! 3. **Words are whole.** A text that begins or ends with a letter is masked only where no letter goes on: `test` doesn't
//!    hide `testing`. From [`LONG`] visible characters on this isn't asked: nobody writes so much twice by accident, and an
//!    echo torn out of its row has no blanks around it.
//! 4. **Short texts** (below [`SHORT`] visible characters: `y`, `2`, `ok`) are masked only where they end the row and begin it
//!    or follow a prompt's sign. That is how they are echoed; `got 5` stays an answer to `5`.
//! 5. **Texts of several lines.** The first line by rules 2 to 4; line k only in the row after the one in which line k-1 was
//!    masked (a blank row in between where the text has a blank line), else a prompt whose last line is `DONE` would
//!    hide every answer. Prompts such as `... ` may stand before it. A line reader answers each line before it shows the
//!    next: a later line is masked, too, where it is all that stands behind the very prompt which stood before the first.
//! 6. **Wrapped and cut by the program.** A beginning of the text of at least [`QUOTE`] characters is masked wherever it
//!    stands, as far as it goes (`Please print DONE when…` in a title); where it goes to the end of the row, the next row goes
//!    on where it broke off. Only beginnings: a long marker at the end of a prompt must stay an answer. But a screen may show
//!    the end of a long text alone: a whole row of [`PIECE`] characters, in whose middle the text goes on with a word, is one.
//! 7. **The driver's budget.** What is typed with ECHO on is echoed once by the driver, and output can tear it anywhere
//!    (`yes, anDONEd yes again`). Until all of it has appeared, each piece of four characters is masked once: see `budget`.
//! 8. **Half-typed echoes.** Where an open row ends in a beginning of a text, that end is *held*: a match that needs it isn't
//!    believed before the row has stood so for [`super::set::HALF_TYPED`]. It may be a prompt, so it isn't hidden for ever.

use super::{
    Input,
    budget::Budget,
    fold::{FoldedRow, FoldedText, common, is_decoration, is_folded, is_word},
    inputs::{Text, Typing},
};
use crate::model::{Event, LogTime, Step};
use crate::terminal::Above;
use memchr::memmem;
use std::{collections::BTreeMap, ops::Range, time::Duration};

/// Visible characters below which a text is short (rule 4). Four: the shortest markers anyone uses have four.
const SHORT: usize = 4;
/// Visible characters from which on a text may stand inside a word (rule 3). 12: longer than a word is by accident.
const LONG: usize = 12;
/// Visible characters of a beginning that is surely a quote (rule 6). 20: half of the narrowest box seen, longer than a marker.
const QUOTE: usize = 20;
/// Visible characters of a row out of the middle of a text (rule 6). 40: half the usual width; no marker is that long, and
/// one that ends a sentence is none of these.
const PIECE: usize = 40;
/// The longest prompt that is learnt, in bytes (rule 5). 256: a folder's path in it.
const PROMPT: usize = 256;
/// The longest half-typed echo that is looked for, in bytes. 4 KiB: a driver's line buffer.
const HALF: usize = 4096;
/// A text that isn't typed after so long never will be. 60 s: as long as a send waits for a program that doesn't read.
const TYPING: Duration = Duration::from_secs(60);
/// The most texts that are masked. 1,024: each row is searched for each; with more the oldest go first.
const MAX_TEXTS: usize = 1024;
/// How many places a broken-off beginning is tried at in one row. 64: repetitive texts would cost a square otherwise.
const MAX_TRIES: usize = 64;
/// How many rows back a text may go on from. 4,096: four of the tallest screens, which is redrawn from its top.
const ROWS_BACK: u64 = 4096;

/// What of a row is echo.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Masked {
    /// Ranges of the row's text: in order, apart from each other.
    pub(super) hidden: Vec<Range<usize>>,
    /// The end of an open row that may become one.
    pub(super) held: Option<Range<usize>>,
}

/// The texts that are masked, and how far each has come.
#[derive(Debug, Default)]
pub(super) struct Masks {
    texts: Vec<Mask>,
    next: u64,
    typing: Typing,
    /// After the row of this id, these go on.
    pending: BTreeMap<u64, Vec<Pending>>,
    /// Since when a text is being typed, if one is.
    busy: Option<LogTime>,
    /// The last text of `texts` is the one that may be replaced by a longer one.
    live: bool,
}

#[derive(Debug)]
struct Mask {
    id: u64,
    text: FoldedText,
    finder: memmem::Finder<'static>,
    /// Of the beginning that is surely a quote, if the text is as long.
    quote: Option<memmem::Finder<'static>>,
    visible: usize,
    /// What stood before the first line, if something did and the text has more lines.
    prompt: Option<String>,
    /// What has not appeared of the driver's one echo; nothing when it is whole, or none is due.
    owed: Option<Budget>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pending {
    mask: u64,
    /// Where in the folded text.
    at: usize,
    /// Blank rows that may still come in between.
    blanks: usize,
}

/// What one text has in one row: in the folded row, and in the folded text.
struct Found {
    row: Range<usize>,
    reached: usize,
}

impl Masks {
    /// With the inputs before the start, whose echoes can come late.
    pub(super) fn new(before: &[Input]) -> Masks {
        let mut masks = Masks::default();
        for input in before {
            masks.add(&Input { echo: false, ..input.clone() }, false);
        }
        masks
    }

    /// An event of the log: an input is masked from here on.
    pub(super) fn event(&mut self, event: &Event, now: LogTime) {
        self.busy = match event {
            Event::Typed { step: Step::Answer, .. } => return,
            Event::Typed { step: Step::TextDone | Step::EnterDone | Step::Abandoned, .. } => None,
            Event::Input { .. } | Event::Typed { .. } => Some(now),
            _ => return,
        };
        for Text { input, replaces } in self.typing.event(event) {
            self.add(&input, replaces);
        }
    }

    /// Rows are numbered afresh.
    pub(super) fn new_rows(&mut self) {
        self.pending.clear();
    }

    /// True while a text is being typed, so that its echo may stop anywhere for as long as it likes.
    pub(super) fn is_busy(&self, now: LogTime) -> bool {
        self.busy.is_some_and(|since| now < since.after(TYPING))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    fn add(&mut self, input: &Input, replaces: bool) {
        let grown = if replaces && std::mem::take(&mut self.live) { self.texts.pop() } else { None };
        let text = FoldedText::new(&input.text);
        if text.text.is_empty() {
            return;
        }
        let echoed =
            grown.map_or(0, |mask| mask.owed.map_or(mask.text.text.len(), |left| left.reached(&mask.text.text)));
        self.texts.retain(|mask| mask.text != text || mask.owed.is_some());
        if self.texts.len() == MAX_TEXTS {
            self.texts.remove(0);
        }
        let finder = memmem::Finder::new(text.first()).into_owned();
        let quote = char_end(&text.text, QUOTE).map(|end| memmem::Finder::new(&text.text[..end]).into_owned());
        let visible = text.first().chars().count();
        let owed = input.echo.then(|| Budget::new(&text.text, echoed.min(text.text.len())));
        self.texts.push(Mask { id: self.next, text, finder, quote, visible, prompt: None, owed });
        self.next += 1;
        self.live = true;
    }

    /// What of this row is echo. `open`: the row may still change, so nothing is used up.
    pub(super) fn row(&mut self, id: u64, above: Option<Above>, text: &str, open: bool, now: LogTime) -> Masked {
        if self.texts.is_empty() {
            return Masked::default();
        }
        let row = FoldedRow::new(text);
        let busy = self.is_busy(now);
        let before = above.map(|above| self.before(above)).unwrap_or_default();
        let mut next = Vec::new();
        let mut hidden = Vec::new();
        if row.head == row.text.len() {
            let still = before.iter().filter(|pending| pending.blanks > 0);
            next.extend(still.map(|pending| Pending { blanks: pending.blanks - 1, ..*pending }));
        }
        for mask in &mut self.texts {
            let due = before.iter().filter(|pending| pending.mask == mask.id);
            let mut found: Vec<Found> = due.filter_map(|pending| mask.goes_on(&row, pending.at)).collect();
            if found.len() < MAX_TRIES {
                found.extend(mask.is_piece(&row)); // of a repetitive text, one of many places
            }
            found.extend(mask.begins(&row));
            mask.learn_prompt(&row, &found);
            found.extend(mask.is_prompted(&row, open));
            found.extend(mask.is_quoted(&row));
            mask.torn(&row, &mut found, open, busy);
            for Found { row: range, reached } in found {
                let goes_on = range.end >= row.tail || mask.text.line_end_before(reached) == reached;
                if goes_on && reached < mask.text.text.len() {
                    next.push(Pending { mask: mask.id, at: reached, blanks: mask.text.blanks_at(reached) });
                }
                hidden.push(row.range(range));
            }
        }
        let held = if open { self.held(&row) } else { None };
        self.remember(id, next);
        Masked { hidden: merge(hidden), held }
    }

    /// What goes on below this row.
    fn before(&self, Above { id, blanks }: Above) -> Vec<Pending> {
        let pending = self.pending.get(&id).into_iter().flatten().copied();
        let mut before: Vec<Pending> = pending.filter(|pending| blanks <= pending.blanks).collect();
        before.sort_unstable();
        before.dedup();
        before
    }

    fn remember(&mut self, id: u64, next: Vec<Pending>) {
        if next.is_empty() {
            self.pending.remove(&id);
        } else {
            self.pending.insert(id, next);
        }
        while self.pending.first_key_value().is_some_and(|(first, _)| *first + ROWS_BACK < id) {
            self.pending.pop_first();
        }
    }

    /// The longest end of the row that begins a text.
    fn held(&self, row: &FoldedRow<'_>) -> Option<Range<usize>> {
        let lengths = self.texts.iter().filter_map(|mask| {
            let most = HALF.min(row.text.len()).min(mask.text.text.len().saturating_sub(1));
            (1..=most).rev().find(|length| {
                row.text.as_bytes().ends_with(&mask.text.text.as_bytes()[..*length])
                    && mask.text.text.is_char_boundary(*length)
                    && mask.stands_apart(row, row.text.len() - length..row.text.len())
            })
        });
        lengths.max().map(|length| row.range(row.text.len() - length..row.text.len()))
    }
}

impl Mask {
    /// Rules 2 to 4: the first line, wherever it stands, and what follows it in the same row.
    fn begins(&self, row: &FoldedRow<'_>) -> Vec<Found> {
        let first = self.text.first().len();
        let places = self.finder.find_iter(row.text.as_bytes());
        places
            .filter(|at| self.is_echo(row, *at..at + first, self.visible))
            .map(|at| self.as_far_as_it_goes(row, at, 0, first))
            .collect()
    }

    /// Rules 5 and 6: the text from `from` on, in the row after the one in which it came so far.
    fn goes_on(&self, row: &FoldedRow<'_>, from: usize) -> Option<Found> {
        let line = self.text.line_at(from);
        let rest = &self.text.text[from..line.end];
        if line.start == from
            && let Some(at) = memmem::find_iter(row.text.as_bytes(), rest.as_bytes())
                .find(|at| self.is_echo(row, *at..at + rest.len(), rest.chars().count()))
        {
            return Some(self.as_far_as_it_goes(row, at, from, line.end));
        }
        let starts = (0..=row.head.min(row.tail)).filter(|at| row.text.is_char_boundary(*at));
        starts.take(MAX_TRIES).find_map(|at| {
            let length = common(&row.text[at..], &self.text.text[from..]);
            let whole_row = length > 0 && at + length >= row.tail;
            let line_ends = from + length >= line.end;
            let apart = self.stands_apart(row, at..at + rest.len().min(length));
            (whole_row || (line_ends && apart && rest.chars().count() >= SHORT)).then(|| {
                let reached = if whole_row { from + length } else { self.text.line_end_before(from + length) };
                Found { row: at..at + (reached - from), reached }
            })
        })
    }

    /// Rule 6: a long beginning of the text.
    fn is_quoted(&self, row: &FoldedRow<'_>) -> Vec<Found> {
        let places = self.quote.iter().flat_map(|quote| quote.find_iter(row.text.as_bytes())).take(MAX_TRIES);
        let found = places.map(|at| (at, common(&row.text[at..], &self.text.text)));
        found.map(|(at, length)| Found { row: at..at + length, reached: length }).collect()
    }

    /// Rule 5: the prompt that the first line was typed at.
    fn learn_prompt(&mut self, row: &FoldedRow<'_>, found: &[Found]) {
        if self.text.lines.len() < 2 {
            return;
        }
        let first = found.iter().find(|f| f.reached == f.row.len());
        let prompt = first
            .map(|f| row.around(f.row.clone()).0)
            .filter(|prompt| prompt.len() <= PROMPT && !prompt.trim().is_empty() && ends_like_a_prompt(prompt));
        if let Some(prompt) = prompt {
            self.prompt = Some(prompt.to_owned());
        }
    }

    /// Rule 5: a later line behind the prompt; in an open row its beginning.
    fn is_prompted(&self, row: &FoldedRow<'_>, open: bool) -> Option<Found> {
        let prompt = self.prompt.as_deref()?;
        let rest = row.source.strip_prefix(prompt)?;
        let at = row.text.len() - rest.chars().filter(|c| !is_folded(*c)).map(char::len_utf8).sum::<usize>();
        let typed = &row.text[at..];
        let starts = self.text.lines.iter().map(|line| line.end);
        let line = starts.map(|start| self.text.line_at(start)).find(|line| {
            let line = &self.text.text[line.clone()];
            !typed.is_empty() && (line == typed || (open && line.starts_with(typed)))
        })?;
        Some(Found { row: at..row.text.len(), reached: line.start + typed.len() })
    }

    /// Rule 6: a row out of the middle of the text, of which only the end stands on the screen.
    fn is_piece(&self, row: &FoldedRow<'_>) -> Vec<Found> {
        let text = self.text.text.as_str();
        let place = row.head.min(row.tail)..row.tail;
        let piece = &row.text[place.clone()];
        if piece.len() >= text.len() || char_end(piece, PIECE).is_none() {
            return Vec::new();
        }
        let ends = memmem::rfind_iter(text.as_bytes(), piece.as_bytes()).take(MAX_TRIES).map(|at| at + piece.len());
        let goes_on =
            |end: usize| self.text.line_end_before(end) != end && text[end..].chars().next().is_some_and(is_word);
        ends.filter(|end| goes_on(*end)).map(|reached| Found { row: place.clone(), reached }).collect()
    }

    /// Rule 7: pieces of the driver's one echo, apart from what was found already.
    fn torn(&mut self, row: &FoldedRow<'_>, found: &mut Vec<Found>, open: bool, busy: bool) {
        let Some(budget) = &mut self.owed else { return };
        let whole = |f: &Found| f.reached == self.text.text.len() && f.row.len() == f.reached;
        if found.iter().any(whole) {
            self.owed = None;
            return;
        }
        let known = found.len();
        let pieces = if known == 0 { budget.pieces(&row.text, &self.text.text) } else { Vec::new() };
        found.extend(pieces.into_iter().map(|(place, part)| Found { row: place, reached: part.end }));
        if open {
            return;
        }
        found.iter().for_each(|f| budget.spend(&(f.reached - f.row.len()..f.reached)));
        budget.wait(if busy { 0 } else { row.text.len() + 1 });
        if budget.is_spent() {
            self.owed = None;
        }
    }

    /// From a match of `text[from..least]` at `at`: also the lines after it, if they stand in the same row.
    fn as_far_as_it_goes(&self, row: &FoldedRow<'_>, at: usize, from: usize, least: usize) -> Found {
        let length = common(&row.text[at..], &self.text.text[from..]);
        let whole_row = at + length >= row.tail;
        let reached = if whole_row { from + length } else { self.text.line_end_before(from + length) }.max(least);
        Found { row: at..at + (reached - from), reached }
    }

    /// Rules 3 and 4, for a whole line.
    fn is_echo(&self, row: &FoldedRow<'_>, range: Range<usize>, visible: usize) -> bool {
        if visible >= LONG {
            return true;
        }
        if !self.stands_apart(row, range.clone()) {
            return false;
        }
        let (before, after) = row.around(range);
        visible >= SHORT || (after.chars().all(is_decoration) && ends_like_a_prompt(before))
    }

    /// True when no word goes on over either end of the range.
    fn stands_apart(&self, row: &FoldedRow<'_>, range: Range<usize>) -> bool {
        let inside = &row.text[range.clone()];
        let (before, after) = row.around(range);
        let joined = |a: Option<char>, b: Option<char>| a.is_some_and(is_word) && b.is_some_and(is_word);
        !joined(before.chars().next_back(), inside.chars().next())
            && !joined(inside.chars().next_back(), after.chars().next())
    }
}

fn ends_like_a_prompt(before: &str) -> bool {
    let last = before.trim_end().chars().next_back();
    last.is_none_or(|c| is_decoration(c) || matches!(c, '?' | ']' | ')' | '}'))
}

/// Where the first `count` characters end; nothing when there are fewer.
fn char_end(text: &str, count: usize) -> Option<usize> {
    text.char_indices().nth(count - 1).map(|(at, c)| at + c.len_utf8())
}

fn merge(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut out: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => out.push(range),
        }
    }
    out
}
