//! What was typed, as texts that an echo may repeat.
//!
//! Pure. Events come from the log in order; texts go to the masks of a wait, and to the host, which keeps the last few of a
//! session for waits that begin later. Parts of a long text are joined, and so is what was typed without Enter, key by key,
//! up to the Enter that ends it. It must never keep a hidden input (a password): that has no echo, and is nobody's business.

use super::Input;
use crate::model::{Event, InputText, KIB, Record};
use std::collections::VecDeque;

/// How many inputs before a wait are masked. 16: an echo later than that many sends has not been seen.
pub const LAST_INPUTS: usize = 16;
/// The longest text that is masked, in bytes; of a longer one its beginning. 64 KiB: no row of an echo begins later.
pub const MAX_MASK: usize = 64 * KIB;
/// A text typed without Enter that is shorter stands for nothing alone, in visible characters. Four: single keys are shorter.
const ALONE: usize = 4;

/// The last inputs of a session's run.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    typing: Typing,
    last: VecDeque<Input>,
}

impl Inputs {
    /// None yet.
    pub fn new() -> Inputs {
        Inputs::default()
    }

    /// The next record of the log. Those which say nothing about input are passed over.
    pub fn record(&mut self, record: &Record) {
        if let Ok(event) = record.event() {
            self.event(&event);
        }
    }

    /// The next event of the log.
    pub fn event(&mut self, event: &Event) {
        if matches!(event, Event::Starting { .. }) {
            *self = Inputs::new();
        }
        for Text { input, replaces } in self.typing.event(event) {
            if replaces {
                self.last.pop_back();
            }
            self.last.push_back(input);
            if self.last.len() > LAST_INPUTS {
                self.last.pop_front();
            }
        }
    }

    /// At most [`LAST_INPUTS`], oldest first.
    pub fn last(&self) -> Vec<Input> {
        self.last.iter().cloned().collect()
    }
}

/// A text to mask from now on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Text {
    pub(crate) input: Input,
    /// It is the last one, grown longer.
    pub(crate) replaces: bool,
}

/// Joins what was typed in pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Typing {
    parts: Vec<u8>,
    line: String,
    echo: bool,
    open: bool,
}

impl Typing {
    pub(crate) fn event(&mut self, event: &Event) -> Vec<Text> {
        let Event::Input { part, submit, echo, text, .. } = event else { return Vec::new() };
        let InputText::Shown(text) = text else {
            *self = Typing::default();
            return Vec::new();
        };
        let room = MAX_MASK.saturating_sub(self.parts.len());
        self.parts.extend(text.0.iter().take(room));
        if part.0 + 1 < part.1 {
            return Vec::new();
        }
        let text = String::from_utf8_lossy(&std::mem::take(&mut self.parts)).into_owned();
        self.text(&text, *submit, *echo)
    }

    fn text(&mut self, text: &str, submit: bool, echo: bool) -> Vec<Text> {
        let replaces = self.open;
        let alone = !self.line.is_empty() && text.chars().filter(|c| !c.is_whitespace()).count() >= ALONE;
        self.line.extend(text.chars().scan(self.line.len(), |len, c| {
            *len += c.len_utf8();
            (*len <= MAX_MASK).then_some(c)
        }));
        self.echo = echo && (self.echo || self.line.len() == text.len());
        let mut out = Vec::new();
        let mut replaces = replaces;
        if alone {
            out.push(Text { input: Input { text: text.to_owned(), echo: false }, replaces });
            replaces = false;
        }
        out.push(Text { input: Input { text: self.line.clone(), echo: self.echo }, replaces });
        self.open = !(submit || text.ends_with(['\r', '\n']));
        if !self.open {
            *self = Typing::default();
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Seq;

    fn typed(text: &str, part: (u16, u16), submit: bool) -> Event {
        let text = InputText::Shown(text.into());
        Event::Input {
            turn: None,
            part,
            key: None,
            digest: 0,
            from: "cli".into(),
            submit,
            echo: true,
            at_enter: false,
            text,
            asked: None,
        }
    }

    fn texts(inputs: &Inputs) -> Vec<String> {
        inputs.last().into_iter().map(|i| i.text).collect()
    }

    #[test]
    fn parts_and_keys_are_joined_up_to_enter() {
        let mut inputs = Inputs::new();
        inputs.event(&typed("hello, ", (0, 2), true));
        assert_eq!(texts(&inputs), [""; 0]);
        inputs.event(&typed("world", (1, 2), true));
        for key in ["l", "s", "\r"] {
            inputs.event(&typed(key, (0, 1), false));
        }
        inputs.event(&typed("make", (0, 1), false));
        inputs.event(&typed("-j8 all", (0, 1), true));
        assert_eq!(texts(&inputs), ["hello, world", "ls\r", "-j8 all", "make-j8 all"]);
    }

    #[test]
    fn no_password_is_kept_and_a_run_starts_afresh() {
        let mut inputs = Inputs::new();
        let mut hidden = typed("", (0, 1), true);
        if let Event::Input { text, .. } = &mut hidden {
            *text = InputText::Hidden { len: 7 };
        }
        inputs.event(&hidden);
        inputs.event(&typed("x", (0, 1), true));
        assert_eq!(texts(&inputs), ["x"]);
        let (kind, body) = Event::Starting { run: 2, size: "80x24".parse().unwrap() }.encode();
        inputs.record(&Record { seq: Seq(9), kind, at: Default::default(), body });
        assert_eq!(texts(&inputs), [""; 0]);
    }
}
