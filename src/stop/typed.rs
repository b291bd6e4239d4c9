//! The echo of the send a reading starts from: its rows aren't printed, once.
//!
//! Pure. The typed text and the final rows come in, in order; whether a row is that echo goes to `follow`. It must never drop
//! a later copy (`send cat hello` shows `hello`), nor more rows than the text has. An echo is what stood on the row already
//! followed by the text, or the text alone where the driver echoes it into output, or the text behind a prompt's sign where a
//! screen program shows it in its transcript; a row that has more in it is printed.

use super::{
    Input,
    fold::{FoldedRow, FoldedText, common, is_decoration},
};

/// How many rows the driver's echo may come late. 1,000: what a flood prints before a send is typed into it.
const LATE: u32 = 1000;
/// How long a prompt before a line may be that didn't stand there, in bytes. 16: `dquote cmdsubst>` of zsh.
const PROMPT: usize = 16;
/// The same of a shell's own, which has user, host and folder in it: 64.
const LONG_PROMPT: usize = 64;
/// Bytes of a row that breaks a line off, at least. 20: see rule 6 of `echo`.
const BROKEN_OFF: usize = 20;

/// The echo that is waited for.
#[derive(Debug, Default)]
pub(crate) struct TypedEcho {
    text: Option<FoldedText>,
    /// How much of it has been echoed.
    at: usize,
    standing: String,
    /// What stood there, which a line reader shows again before each line that it reads.
    prompt: String,
    /// The last row was echo, too.
    goes_on: bool,
    /// The program echoes, not the driver: it may put a prompt's sign or a frame before the text that didn't stand there.
    by_program: bool,
    /// How many more rows may come before it: a line editor echoes at once, the driver's echo may come late.
    patience: u32,
    blanks: usize,
}

impl TypedEcho {
    /// `standing`: what stood on the row of the cursor at the start.
    pub(crate) fn new(standing: &str) -> TypedEcho {
        let (standing, prompt) = (standing.to_owned(), standing.trim_end().to_owned());
        TypedEcho { standing, prompt, ..TypedEcho::default() }
    }

    /// What the turn typed, all of it.
    pub(crate) fn typed(&mut self, input: &Input) {
        let text = FoldedText::new(&input.text);
        self.by_program = !input.echo;
        self.patience = if input.echo { LATE } else { 1 };
        self.text = Some(text).filter(|text| !text.text.is_empty());
    }

    /// True when the row is not to be printed: a part of the echo, or nothing but what stood there already.
    pub(crate) fn drops(&mut self, row: &str) -> bool {
        let standing = std::mem::take(&mut self.standing);
        let new = row.strip_prefix(standing.as_str()).or_else(|| row.strip_prefix(standing.trim_end()));
        if !standing.trim_end().is_empty() && new.is_some_and(|new| new.trim().is_empty()) {
            return true;
        }
        let folded = FoldedRow::new(new.unwrap_or(row));
        let prompt_alone = folded.text.len() <= PROMPT && folded.text.chars().all(is_decoration);
        let Some(text) = &self.text else {
            // the blank line at the end of the text, at a prompt of its own
            let last = std::mem::take(&mut self.blanks) > 0 && self.by_program;
            return last && prompt_alone && !folded.text.is_empty();
        };
        if self.at > 0 && self.blanks > 0 && prompt_alone && (self.goes_on || self.is_prompt(row)) {
            self.blanks -= 1;
            return true;
        }
        let framed = || (self.by_program && self.at == 0).then(|| reached(text, 0, folded.bare()?)).flatten();
        let twice = || (!self.by_program && self.at == 0).then(|| echoed_twice(text, &folded.text)).flatten();
        let found = match self.at > 0 && !self.goes_on {
            true => self.prompted(text, &folded),
            false => reached(text, self.at, &folded.text).or_else(framed).or_else(twice),
        };
        self.goes_on = found.is_some();
        if let Some(reached) = found {
            self.at = reached;
            self.blanks = text.blanks_at(reached);
            if reached == text.text.len() {
                self.text = None;
            }
            return true;
        }
        let waits = self.by_program && !self.prompt.is_empty() && text.line_end_before(self.at) == self.at;
        self.patience = if self.at > 0 && !waits { 0 } else { self.patience.saturating_sub(1) };
        if self.patience == 0 && !(self.at > 0 && waits) {
            self.text = None;
        }
        false
    }

    /// The prompt alone; what stood there may have had the end of an unfinished row before it.
    fn is_prompt(&self, row: &str) -> bool {
        let row = row.trim_end();
        !row.is_empty() && self.prompt.ends_with(row)
    }

    /// The next line behind the prompt: a line reader has answered the one before.
    fn prompted(&self, text: &FoldedText, row: &FoldedRow<'_>) -> Option<usize> {
        let line = text.line_at(self.at);
        let prompt = row.text.strip_suffix(&text.text[line.clone()])?;
        (!prompt.is_empty() && FoldedRow::new(&self.prompt).text.ends_with(prompt)).then_some(line.end)
    }
}

/// How much of the text has been echoed with this row, if all of the row is the text's next piece.
fn reached(text: &FoldedText, at: usize, row: &str) -> Option<usize> {
    if row.is_empty() {
        return None;
    }
    let line = text.line_at(at);
    let rest = &text.text[at..line.end];
    let length = common(row, &text.text[at..]);
    let ends_well = text.line_end_before(at + length) == at + length || length >= BROKEN_OFF || line.start < at;
    if length == row.len() && ends_well {
        return Some(at + length);
    }
    let before = row.strip_suffix(rest).filter(|_| line.start == at)?;
    // The driver may have echoed a beginning of it before the program reads and shows all of it.
    let torn = common(before, rest);
    let prompt = before[torn..].trim_end_matches(is_decoration);
    let short = before.len() - torn <= PROMPT;
    let shown =
        if torn > 0 { prompt.is_empty() } else { at > 0 && before.chars().next_back().is_none_or(is_decoration) };
    (short && shown).then_some(line.end)
}

/// How much has been echoed with a row that the driver began and a program ended, which had just begun to read: the text, a
/// prompt, and the text again.
fn echoed_twice(text: &FoldedText, row: &str) -> Option<usize> {
    let line = text.line_at(0);
    let prompt = row.strip_prefix(&text.text[line.clone()])?.strip_suffix(&text.text[line.clone()])?;
    let shown = prompt.len() <= LONG_PROMPT && prompt.ends_with(is_decoration);
    shown.then_some(line.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(standing: &str, text: &str, echo: bool, rows: &[&str]) -> Vec<String> {
        let mut typed = TypedEcho::new(standing);
        typed.typed(&Input { text: text.into(), echo });
        rows.iter().filter(|row| !typed.drops(row)).map(|row| (*row).to_owned()).collect()
    }

    #[test]
    fn the_first_copy_is_dropped_and_later_ones_are_printed() {
        for (standing, text, echo, rows, wanted) in [
            ("", "hello", true, vec!["hello", "hello"], vec!["hello"]),
            ("$ ", "ls -l", false, vec!["$ ls -l", "total 0", "$ ls -l"], vec!["total 0", "$ ls -l"]),
            ("", "hello", true, vec!["busy", "hello", "hello"], vec!["busy", "hello"]),
            ("", "hello", false, vec!["busy", "hello"], vec!["busy", "hello"]),
            (">>> ", "def f():\n  x\n", false, vec![">>> def f():", "...   x", "...", "1"], vec!["1"]),
            (">>> ", "x\ny\nz", false, vec![">>> x", ">>> y", "1", ">>> z", "2"], vec!["1", "2"]),
            ("abc>>> ", "x\ny", false, vec!["abc>>> x", "1", ">>> y", "2"], vec!["1", "2"]),
            (">>> ", "x\n\ny", false, vec![">>> x", "1", ">>>", ">>> y", "2", ">>> y"], vec!["1", "2", ">>> y"]),
            (">>> ", "x\ny", false, vec![">>> x", "y", "1", ">>> y"], vec!["1", ">>> y"]),
            ("$ ", "x\n", false, vec!["$ x", "", "1"], vec!["", "1"]),
            ("$ ", "a\n\nb", false, vec!["$ a", "> ", "> b", "b"], vec!["b"]),
            ("│ > │", "hello", false, vec!["> hello", "> hello"], vec!["> hello"]),
            ("", "hello", false, vec!["you: hello"], vec!["you: hello"]),
            ("$ ", "a\n\nb", false, vec!["$ a", "", "b", "b"], vec!["b"]),
            ("Password: ", "x", true, vec!["Password:", "OK"], vec!["OK"]),
            ("", "hello", true, vec!["hello world"], vec!["hello world"]),
            ("", "hello", true, vec!["he", "hello"], vec!["he"]),
            ("│ >  │", "make it so", false, vec!["> make it", "  so", "", "yes"], vec!["> make it", "  so", "", "yes"]),
            (
                "│ >  │",
                "please make all of it so. DONE",
                false,
                vec!["> please make all of it so.", "  DONE", "yes"],
                vec!["yes"],
            ),
            ("│ >  │", "hello", false, vec!["│ ❯ hello │", "hello"], vec!["hello"]),
            ("", "hello", true, vec!["> hello", "hello"], vec!["> hello"]),
            ("", "hello there", true, vec!["hello th> hello there", "yes"], vec!["yes"]),
            ("", "ls -l", true, vec!["ls -lme@here:~/work$ ls -l", "total 0", "$ ls -l"], vec!["total 0", "$ ls -l"]),
            ("", "hello there", true, vec!["hello or hello there", "yes"], vec!["hello or hello there", "yes"]),
        ] {
            assert_eq!(printed(standing, text, echo, &rows), wanted, "{text:?} after {standing:?}");
        }
    }
}
