//! What records do to a reading: output becomes rows, rows are judged and printed, events change what is read.
//!
//! Records come from `machine`, rows go to `stop` and `writer`. It must never judge or print what stands before the start,
//! nor print a row behind the one that was waited for.

use super::{
    Bound, End, Follow, Frame,
    lines::{event_line, is_always_shown},
    machine::Ending,
    rewrite,
    tail::after,
};
use crate::{
    model::{Cursor, Event, InputText, Kind, LogTime, Record, Step},
    stop::{Fired, Prompt, StopSet},
    terminal::{Row, RowEvent},
    wire::Content,
};
use bytes::Bytes;

impl Follow {
    /// A record at or after `scan_from`.
    pub(super) fn read_record(&mut self, record: &Record, out: &mut Vec<Frame>) -> Option<End> {
        let at = record.at;
        let place = Cursor::at(record.seq);
        let marks = self.plan.from_turn || record.kind == Kind::Starting;
        if place == self.plan.start {
            self.started = Some(at.log);
        }
        if place >= self.plan.start
            && let Some(end) = self.begin(at.log, marks, out)
        {
            return Some(end);
        }
        if let Some(end) = self.advance(at.log, false, out) {
            return Some(end);
        }
        let beyond = match self.plan.to {
            Some(Bound::Cursor(to)) => (to <= place).then_some(self.anchor.wall),
            Some(Bound::Wall(to)) => (at.wall > to).then_some(to),
            None => None,
        };
        if let Some(wall) = beyond {
            return Some(self.finish(Ending::Complete, wall, out));
        }
        (self.anchor, self.last) = (at, record.seq);
        match record.event() {
            Ok(Event::Output(bytes)) => self.output(record, &bytes, out),
            Ok(event) => self.event(record, &event, out),
            // Of a kind or shape that a later version writes: passed over.
            Err(_) => None,
        }
    }

    /// Output: what stands before the start is only shown to the screen.
    fn output(&mut self, record: &Record, bytes: &Bytes, out: &mut Vec<Frame>) -> Option<End> {
        let here = |cursor: Cursor| (cursor.seq == record.seq).then_some(cursor.byte as usize);
        let to = match self.plan.to {
            Some(Bound::Cursor(to)) => here(to).filter(|to| *to < bytes.len()),
            _ => None,
        };
        let upto = to.unwrap_or(bytes.len());
        let from = here(self.plan.scan_from).unwrap_or(0).min(upto);
        let mut at = after(Cursor::at(record.seq), from);
        let mut rest = bytes.slice(from..upto);
        if !self.begun {
            let known = here(self.plan.start).map_or(rest.len(), |start| start.saturating_sub(from).min(rest.len()));
            let mut unseen = Vec::new();
            self.feed(at, record.at.log, &rest[..known], &mut unseen);
            (at, rest) = (after(at, known), rest.slice(known..));
            if rest.is_empty() {
                return None;
            }
            if let Some(end) = self.begin(record.at.log, true, out) {
                return Some(end);
            }
        }
        self.read = (record.seq, record.at.wall);
        let place = if upto == bytes.len() { record.end() } else { after(Cursor::at(record.seq), upto) };
        self.reached = self.reached.max(place);
        if let Some(fired) = self.new_output(at, record, &rest, out) {
            return Some(self.fire(fired, record.at.wall, out));
        }
        to.map(|_| self.finish(Ending::Complete, record.at.wall, out))
    }

    fn new_output(&mut self, at: Cursor, record: &Record, bytes: &Bytes, out: &mut Vec<Frame>) -> Option<Fired> {
        if let Some(stops) = &mut self.stops {
            stops.output(record.at.log);
        }
        if let Some(prompt) = &mut self.prompt {
            prompt.output(record.at.log);
        }
        self.rewrite.output(record.at.log);
        let mut rows = Vec::new();
        self.feed(at, record.at.log, bytes, &mut rows);
        let fired = self.rows(rows, record.at.log, out);
        if self.plan.content != Content::Rows {
            let end = match &fired {
                Some(Fired::Pattern { row, .. }) if row.end <= at => 0,
                Some(Fired::Pattern { row, .. }) if row.end.seq == at.seq => (row.end.byte - at.byte) as usize,
                _ => bytes.len(),
            };
            let end = end.min(bytes.len());
            self.writer.bytes(at, &bytes.slice(..end), record.at.wall, out);
        }
        fired
    }

    fn feed(&mut self, at: Cursor, now: LogTime, bytes: &[u8], rows: &mut Vec<RowEvent>) {
        let Some(screen) = &mut self.screen else { return };
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            let was_on = self.prompt.as_ref().is_some_and(Prompt::pastes);
            let part = self.prompt.as_mut().map_or(rest.len(), |prompt| prompt.part(rest));
            screen.feed(at, now, &rest[..part], rows);
            at = after(at, part);
            if let Some(prompt) = &mut self.prompt {
                prompt.read_on(&rest[..part], at, was_on, || screen.open_text());
            }
            rest = &rest[part..];
            self.fed = true;
        }
    }

    /// Rows have stood long enough at log time `now`.
    pub(super) fn settle(&mut self, now: LogTime, out: &mut Vec<Frame>) -> Option<Fired> {
        let mut rows = Vec::new();
        if let Some(screen) = &mut self.screen {
            screen.settle(now, &mut rows);
        }
        self.rows(rows, now, out)
    }

    fn rows(&mut self, rows: Vec<RowEvent>, now: LogTime, out: &mut Vec<Frame>) -> Option<Fired> {
        let rows = self.rewrite.rows(rows, now);
        self.judge(rows, out)
    }

    /// The screen has been written anew.
    pub(super) fn end_burst(&mut self, out: &mut Vec<Frame>) -> Option<Fired> {
        let rows = self.rewrite.release();
        self.judge(rows, out)
    }

    /// Judges and prints, in order, up to the row that is waited for.
    fn judge(&mut self, rows: rewrite::Rows, out: &mut Vec<Frame>) -> Option<Fired> {
        for (event, at) in rows {
            let (row, is_final) = match &event {
                RowEvent::Judged(row) => (row, false),
                RowEvent::Final(row) => (row, true),
                RowEvent::Wiped => continue,
            };
            let fired = self.look_for_stop(row, is_final, at);
            if is_final {
                self.print(row, !row.more, out);
            } else if let Some(Fired::Pattern { row, .. }) = &fired {
                self.print_up_to(row, out);
            }
            if fired.is_some() {
                return fired;
            }
        }
        None
    }

    fn look_for_stop(&mut self, row: &Row, is_final: bool, at: LogTime) -> Option<Fired> {
        let stops = self.stops.as_mut()?;
        if self.before_enter {
            stops.echo(row, is_final, at);
            return None;
        }
        stops.row(row, is_final, at)
    }

    /// The reading, or the run, ends here: what stands on the screen is final. `lf`: the last row is whole, too.
    pub(super) fn finish_rows(&mut self, judged: bool, lf: bool, out: &mut Vec<Frame>) -> Option<Fired> {
        for (event, at) in self.rewrite.release() {
            let RowEvent::Final(row) = &event else { continue }; // what only stands on the screen comes with its last rows
            let fired = if judged { self.look_for_stop(row, true, at) } else { None };
            self.print(row, !row.more, out);
            if fired.is_some() {
                return fired;
            }
        }
        let rows = self.last_rows();
        let count = rows.len();
        let now = self.anchor.log;
        for (index, row) in rows.into_iter().enumerate() {
            let fired = if judged { self.look_for_stop(&row, true, now) } else { None };
            let last = index + 1 == count;
            if !(last && row.text.is_empty()) {
                self.print(&row, !row.more && (lf || !last), out);
            }
            if fired.is_some() {
                return fired;
            }
        }
        None
    }

    fn last_rows(&mut self) -> Vec<Row> {
        let mut rows = Vec::new();
        if let Some(screen) = &mut self.screen
            && self.begun
        {
            screen.finish(&mut rows);
        }
        let finals = rows.into_iter().filter_map(|event| match event {
            RowEvent::Final(row) => Some(row),
            RowEvent::Judged(_) | RowEvent::Wiped => None,
        });
        finals.filter(|row| !self.rewrite.is_old(row)).collect()
    }

    /// The rows that stand above an open row, and that row as it stood when it was judged.
    pub(super) fn print_up_to(&mut self, row: &Row, out: &mut Vec<Frame>) {
        if self.plan.content != Content::Rows {
            return;
        }
        self.raise_floor();
        let rows = self.last_rows();
        let place = rows.iter().position(|other| other.id == row.id);
        for (index, above) in rows.into_iter().enumerate() {
            if place.map_or(above.id < row.id, |place| index < place) {
                self.print(&above, !above.more, out);
            }
        }
        self.print(row, false, out);
    }

    fn print(&mut self, row: &Row, lf: bool, out: &mut Vec<Frame>) {
        if self.plan.content != Content::Rows || !self.begun || self.typed.drops(&row.text) {
            return;
        }
        let known = self.printed.take().unwrap_or_default();
        let new = row.text.strip_prefix(known.as_str()).or_else(|| row.text.strip_prefix(known.trim_end()));
        let new = new.unwrap_or(&row.text);
        if !known.is_empty() && new.is_empty() {
            return;
        }
        self.answered |= !new.is_empty() && !self.before_enter;
        let (seq, wall) = self.read;
        self.writer.row(row.end.max(self.floor), new, lf, seq, wall, out);
    }

    /// Something other than output.
    fn event(&mut self, record: &Record, event: &Event, out: &mut Vec<Frame>) -> Option<End> {
        self.floor = self.floor.max(Cursor::at(record.seq));
        if let Some(end) = self.change_screen(record, event, out) {
            return Some(end);
        }
        self.floor = self.floor.max(record.end());
        self.reached = self.reached.max(record.end());
        if self.begun
            && (self.plan.events_all || is_always_shown(record.kind))
            && let Some(line) = event_line(record, event, &self.plan.session, self.plan.times)
        {
            self.writer.event(line, out);
        }
        self.note_prompt(event);
        match event {
            Event::Starting { run, .. } | Event::Started { run, .. } => (self.run, self.over) = (*run, false),
            Event::Exited { run, status, last } => (self.status, self.over) = (Some((*run, *status)), *last),
            Event::Input { turn, .. } if self.begun => {
                self.turn = turn.or(self.turn);
                self.note_send(event);
            }
            Event::Typed { of, step, .. } if Cursor::at(*of) == self.plan.start => {
                self.note_step(*step, record.at.log, out)
            }
            _ => {}
        }
        let fired = self.stops.as_mut().and_then(|stops: &mut StopSet| stops.event(event, record.at.log))?;
        Some(self.fire(fired, record.at.wall, out))
    }

    /// A new size, or the end of all rows because a run ends or begins, or because nobody knows what came next.
    fn change_screen(&mut self, record: &Record, event: &Event, out: &mut Vec<Frame>) -> Option<End> {
        let fired = match event {
            Event::Resize(size) => {
                self.size = *size;
                let mut rows = Vec::new();
                if let Some(screen) = &mut self.screen {
                    screen.resize(*size, &mut rows);
                }
                if self.begun { self.rows(rows, record.at.log, out) } else { None }
            }
            Event::Gap { .. } if !self.fed => None,
            Event::Exited { .. } | Event::Starting { .. } | Event::Gap { .. } => {
                let fired = self.finish_rows(true, true, out);
                if let Event::Starting { size, .. } = event {
                    self.size = *size;
                }
                if fired.is_none() && (self.fed || matches!(event, Event::Starting { .. })) {
                    self.blank();
                }
                fired
            }
            _ => None,
        }?;
        Some(self.fire(fired, record.at.wall, out))
    }

    /// What events say of the prompt: texts before the start were typed at one, a new run has its own.
    fn note_prompt(&mut self, event: &Event) {
        let Some(prompt) = &mut self.prompt else { return };
        match event {
            Event::Starting { .. } if !self.begun => prompt.new_run(),
            Event::Input { turn: Some(_), part: (0, _), .. } if !self.begun => {
                prompt.typed_before(&self.screen.as_ref().map_or_else(String::new, |screen| screen.open_text()));
            }
            _ if self.begun => prompt.event(event),
            _ => {}
        }
    }

    /// The send the reading starts from tells what its echo is, and whether the program gets it with Enter alone.
    fn note_send(&mut self, event: &Event) {
        self.before_enter = self.typing.is_some() && matches!(event, Event::Input { at_enter: true, .. });
        let Some(typing) = &mut self.typing else { return };
        let hidden = matches!(event, Event::Input { text: InputText::Hidden { .. }, .. });
        let text = typing.event(event).pop();
        if let Some(text) = &text {
            self.typed.typed(&text.input);
            self.rewrite.typed(&text.input);
        }
        if hidden || text.is_some() {
            self.typing = None;
        }
    }

    fn note_step(&mut self, step: Step, now: LogTime, out: &mut Vec<Frame>) {
        match step {
            Step::Enter if self.before_enter => self.enter(now, out),
            Step::Abandoned => self.before_enter = false,
            Step::Text | Step::TextDone | Step::Enter | Step::EnterDone | Step::Answer => {}
        }
    }

    /// What stands on the screen at `now` was there before the program had what was sent.
    fn enter(&mut self, now: LogTime, out: &mut Vec<Frame>) {
        let mut rows = Vec::new();
        let standing = self.screen.as_mut().map_or_else(String::new, |screen| {
            screen.all_old(&mut rows);
            screen.open_text()
        });
        let mut rows = self.rewrite.rows(rows, now);
        rows.extend(self.rewrite.enter());
        let none = self.judge(rows, out);
        debug_assert!(none.is_none(), "nothing is believed before Enter");
        self.before_enter = false;
        if let Some(stops) = &mut self.stops {
            stops.enter(&standing);
        }
    }
}
