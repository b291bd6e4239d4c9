//! Stop conditions of waits: is this the row, the silence, the end that somebody waits for, or only an echo?
//!
//! Pure: rows, events and log time in, a verdict out; no clock, no I/O. Data comes from `follow`, which reads the records of
//! a log through `terminal`; the verdict goes back to `follow`. It must never depend on when somebody looked: a verdict is a
//! function of the records and of the log time at the end of the log, and nothing else.

mod budget;
mod conditions;
mod cut;
mod echo;
mod find;
mod fold;
mod inputs;
mod prompt;
mod screen;
mod set;
mod shown;
mod typed;

pub use conditions::{ConditionError, Conditions, MAX_PATTERN, MAX_PATTERNS, ReplyRule, WAIT_FIRST, row_regex};
pub use find::Hit;
pub use fold::is_marker_alone;
pub(crate) use inputs::Typing;
pub use inputs::{Inputs, LAST_INPUTS, MAX_MASK};
pub use prompt::{ASKS, Answer, DOUBTFUL, Open, Prompt, STANDS};
pub use screen::{LONGEST, SETTLE, ScreenConditions, ScreenSet, Seen, Sight};
pub use set::{Fired, HALF_TYPED, StopSet};
pub(crate) use shown::TurnText;
pub(crate) use typed::TypedEcho;

/// A text that was typed: what an echo repeats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Input {
    /// The text (parts joined), without the Enter that submits it.
    pub text: String,
    /// True when the terminal driver echoed when it was typed.
    pub echo: bool,
}
