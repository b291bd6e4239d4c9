//! The text of a reply, out of the frames of a reading.
//!
//! Pure. Frames come from [`super::Follow`] by way of the server, which reads a second time up to the place where the program
//! began to read again, if it said where. What goes to the client is exactly what the program printed in answer: the prompt
//! and the row of the marker are taken off its end. It must never hold more than [`MAX_REPLY`].

use super::{Bound, End, Frame, Plan};
use crate::{
    model::MIB,
    stop::{Conditions, is_marker_alone},
    wire::{EndReason, Gap, Line, Reply, ReplyReason, ReplySource},
};

/// The longest reply, in bytes. 4 MiB: what can be typed at once, so that a reply can be sent on.
pub const MAX_REPLY: usize = 4 * MIB;
/// The most gaps that are told of. 100: one is enough to know that something is missing.
const MAX_GAPS: usize = 100;

/// Collects a reply.
#[derive(Debug, Default)]
pub struct ReplyText {
    text: String,
    too_long: bool,
    gaps: Vec<Gap>,
}

/// The reply doesn't fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the reply is longer than {} MiB", MAX_REPLY / MIB)]
pub struct TooLong;

impl ReplyText {
    /// The next frame of a reading of rows.
    pub fn frame(&mut self, frame: &Frame) {
        match frame {
            Frame::Line(Line::Data(data)) if self.text.len() + data.content.len() > MAX_REPLY => self.too_long = true,
            Frame::Line(Line::Data(data)) if !self.too_long => self.text.push_str(&data.content),
            Frame::Line(Line::Other(event)) if event.event == "gap" && self.gaps.len() < MAX_GAPS => {
                self.gaps.push(Gap(event.detail.clone()));
            }
            _ => {}
        }
    }

    /// The reply to the turn that the plan starts from, given how the reading ended; `again`: what the reading of
    /// [`again`] collected, where there is one.
    pub fn finish(self, plan: &Plan, end: &End, again: Option<ReplyText>) -> Result<Reply, TooLong> {
        let exact = end.ends.is_some();
        let ReplyText { text, too_long, gaps } = again.unwrap_or(self);
        if too_long {
            return Err(TooLong);
        }
        let mut reply = text.as_str();
        if let (EndReason::Pattern, Some(matched)) = (end.line.reason, &end.line.matched) {
            let (above, row) = last_row(reply);
            reply = if is_marker_alone(row, matched) { above } else { reply };
        }
        if let (false, Some(prompt)) = (exact, &end.prompt) {
            reply = without_prompt(reply, prompt, end.line.reason == EndReason::Complete);
        }
        Ok(Reply {
            session: end.line.session.clone(),
            id: plan.id,
            turn: plan.turn.unwrap_or_default(),
            reply: reply.trim_end_matches(['\n', ' ']).to_owned(),
            complete: end.whole_reply,
            reason: match end.line.reason {
                EndReason::Pattern => ReplyReason::Pattern,
                EndReason::Complete if end.whole_reply => ReplyReason::Complete,
                EndReason::Idle => ReplyReason::Idle,
                EndReason::Exit => ReplyReason::Exit,
                EndReason::Timeout | EndReason::Complete | EndReason::Screen => ReplyReason::Timeout,
            },
            matched: end.line.matched.clone(),
            source: ReplySource::Rows,
            seq_from: plan.start.seq,
            seq_to: end.seq,
            duration_ms: u64::try_from(end.took.as_millis()).unwrap_or(u64::MAX),
            gaps,
        })
    }
}

/// The reading of what is known to be the reply by its place alone, if it is.
pub fn again(plan: &Plan, end: &End) -> Option<Plan> {
    if end.begins.is_none() && end.ends.is_none() {
        return None;
    }
    let start = end.begins.unwrap_or(plan.start);
    Some(Plan {
        start,
        after: start,
        from_turn: end.begins.is_none(),
        after_editor: end.begins.is_some(),
        to: Some(Bound::Cursor(end.ends.unwrap_or(end.line.next))),
        conditions: Conditions::default(),
        follow: false,
        ..plan.clone()
    })
}

/// What stands above the last row, with the line feed at its end, and that row.
fn last_row(text: &str) -> (&str, &str) {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let at = body.rfind('\n').map_or(0, |at| at + 1);
    (&text[..at], &body[at..])
}

/// Takes the prompt off the end: off the unfinished row's where it is known to stand there, else only where it is all of it.
fn without_prompt<'a>(text: &'a str, prompt: &str, stands: bool) -> &'a str {
    let (above, row) = last_row(text);
    let prompt = prompt.trim_end();
    if text.ends_with('\n') || prompt.is_empty() {
        return text;
    }
    match row.trim_end().strip_suffix(prompt) {
        Some("") => above,
        Some(rest) if stands => &text[..above.len() + rest.len()],
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_is_taken_off_the_unfinished_row_alone() {
        for (text, prompt, stands, wanted) in [
            ("a\n>>>", ">>> ", true, "a\n"),
            ("a\nb>>>", ">>> ", true, "a\nb"),
            ("a\nb>>>", ">>> ", false, "a\nb>>>"),
            ("a\n>>>", ">>> ", false, "a\n"),
            ("a\n>>>\n", ">>> ", true, "a\n>>>\n"),
            (">>>", ">>> ", true, ""),
            ("", ">>> ", true, ""),
            ("a", "", true, "a"),
        ] {
            assert_eq!(without_prompt(text, prompt, stands), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_marker_alone_is_no_part_of_the_answer() {
        for (row, marker, alone) in [
            ("DONE", "DONE", true),
            ("  • DONE", "DONE", true),
            ("│ **DONE │", "DONE", true),
            ("all is DONE", "DONE", false),
            ("DONE.", "DONE", false),
        ] {
            assert_eq!(is_marker_alone(row, marker), alone, "{row:?}");
        }
    }
}
