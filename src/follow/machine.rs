//! The machine of a reading: when it begins, what time does, when it ends. What records do stands in `reading`.
//!
//! Pure: time comes as an argument, from records or the server. It must never let time pass after a record that time passed
//! before: what a silence decides, it decides whether or not anyone looked.

use super::{
    Bound, End, Frame, Plan, exit_code,
    lines::{code_and_signal, timestamp},
    rewrite::Rewrite,
    writer::Writer,
};
use crate::{
    model::{Cursor, LogTime, Record, Seq, Size, Stamp, Status, Wall},
    stop::{Answer, Fired, Hit, Open, Prompt, StopSet, TypedEcho, Typing},
    terminal::Rows,
    wire::{API, Content, EndLine, EndReason, Hello, Line, StartLine},
};
use std::time::Duration;

/// One reading of one session's log. It is given each record from the plan's `scan_from` on, once, in order.
///
/// Without `lines`, frames come out with the call that brought what is in them. A data frame of rows ends with a line feed,
/// but for the last of a reading that ends in a row which isn't final, and for a part of a row that is cut.
pub struct Follow {
    pub(super) plan: Plan,
    opened: Wall,
    is_wait: bool,
    ended: bool,
    pub(super) screen: Option<Rows>,
    pub(super) size: Size,
    /// The screen isn't blank.
    pub(super) fed: bool,
    /// Judging has begun: the start was reached.
    pub(super) begun: bool,
    pub(super) stops: Option<StopSet>,
    /// A row was printed.
    pub(super) answered: bool,
    /// Of a reading that waits for a whole reply.
    pub(super) prompt: Option<Prompt>,
    pub(super) writer: Writer,
    pub(super) typed: TypedEcho,
    pub(super) rewrite: Rewrite,
    /// Of the send the reading starts from, until it is whole.
    pub(super) typing: Option<Typing>,
    /// The program has nothing yet of the send the reading starts from: what it writes is printed, and is no answer.
    pub(super) before_enter: bool,
    /// What stood on the row of the cursor at a start that is no turn's: printed before.
    pub(super) printed: Option<String>,
    /// Of the last record.
    pub(super) anchor: Stamp,
    /// Log time of the record that the start is, if it is one.
    pub(super) started: Option<LogTime>,
    /// The last record.
    pub(super) last: Seq,
    /// After the last record.
    pub(super) reached: Cursor,
    /// After the last record that isn't output: what is printed from here on stands behind it, for who goes on.
    pub(super) floor: Cursor,
    /// The last record with output.
    pub(super) read: (Seq, Wall),
    pub(super) run: u32,
    pub(super) turn: Option<u64>,
    /// The last run that ended, and how.
    pub(super) status: Option<(u32, Status)>,
    /// No run will follow, as far as the log says.
    pub(super) over: bool,
}

/// Why a reading ends, with what belongs to it.
pub(super) enum Ending {
    Pattern(Hit, Cursor),
    Exit(Status),
    Idle,
    Timeout,
    Complete,
    Answer(Answer),
}

/// What time alone brings about. Of one moment, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Due {
    /// Rows that have stood long enough are judged.
    Rows,
    /// The screen has been written anew.
    Burst,
    /// A silence is long enough, or a doubt is over.
    Stop,
}

impl Follow {
    /// Begins a reading; `now` is shown in its start line.
    pub fn new(plan: Plan, now: Wall) -> Follow {
        let conditions = &plan.conditions;
        let is_wait = conditions.is_wait();
        let judges = conditions.has_patterns() || (conditions.has_idle() && plan.from_turn);
        let needs_rows = plan.content == Content::Rows || judges;
        let lines = plan.lines.filter(|_| plan.after <= plan.start); // who goes on has had the beginning of the tail
        Follow {
            opened: now,
            is_wait,
            ended: false,
            screen: needs_rows.then(|| Rows::new(plan.size)),
            size: plan.size,
            fed: false,
            begun: false,
            stops: None,
            answered: false,
            prompt: plan.conditions.reply().map(Prompt::new),
            writer: Writer::new(plan.session.clone(), plan.content, plan.after, lines),
            typed: TypedEcho::default(),
            rewrite: Rewrite::default(),
            typing: plan.from_turn.then(Typing::default),
            before_enter: false,
            printed: None,
            anchor: Stamp::default(),
            started: None,
            last: plan.start.seq,
            reached: plan.start,
            floor: plan.start,
            read: (plan.start.seq, now),
            run: plan.run,
            turn: plan.turn,
            status: plan.ended.map(|status| (plan.run, status)),
            over: false,
            plan,
        }
    }

    /// What it reads.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The first frames of a connection: `hello` and `start`.
    pub fn open(&mut self, out: &mut Vec<Frame>) {
        let Plan { session, id, run, start, after: next, generation, times, size, .. } = self.plan.clone();
        let size = times.then_some(size);
        out.push(Frame::Line(Line::Hello(Hello { api: API, generation, id, run, start, next, size })));
        let ts = timestamp(self.opened);
        out.push(Frame::Line(Line::Start(StartLine { ts, session, v: 1, id, run, next })));
        if let Some(before) = self.plan.before.take().filter(|_| next <= self.plan.start) {
            self.writer.before(self.plan.start, before, out); // who goes on has it
        }
    }

    /// The next record. After an end nothing more happens.
    pub fn record(&mut self, record: &Record, out: &mut Vec<Frame>) -> Option<End> {
        if self.ended || record.end() <= self.plan.scan_from {
            return None;
        }
        if self.plan.times {
            self.writer.at(record.at.log);
        }
        let end = self.read_record(record, out);
        if end.is_none() {
            self.flush(out);
        }
        end
    }

    /// All records up to `now` have been given; later ones are later than `now`.
    pub fn time(&mut self, now: Stamp, out: &mut Vec<Frame>) -> Option<End> {
        if self.ended {
            return None;
        }
        let end = self.begin(now.log, false, out).or_else(|| self.advance(now.log, true, out));
        let end = end.or_else(|| match self.plan.to {
            Some(Bound::Wall(to)) if now.wall > to => Some(self.finish(Ending::Complete, to, out)),
            _ => None,
        });
        if end.is_none() {
            self.flush(out);
        }
        end
    }

    /// When [`Follow::time`] has something to do, if no record comes before. Nothing while the log is still being read up to
    /// the start.
    pub fn deadline(&self) -> Option<LogTime> {
        if !self.begun || self.ended {
            return None;
        }
        let to = match self.plan.to {
            Some(Bound::Wall(Wall(to))) => {
                let left = u64::try_from(to - self.anchor.wall.0).unwrap_or(0);
                Some(self.anchor.log.after(Duration::from_micros(left.saturating_add(1))))
            }
            _ => None,
        };
        [self.next_event().map(|(at, _)| at), to].into_iter().flatten().min()
    }

    /// All there is has been given. `live`: the session runs, or will run again by itself. To be called each time the end of
    /// the log is reached, and when the session has ended for good.
    pub fn end_of_log(&mut self, now: Stamp, live: bool, out: &mut Vec<Frame>) -> Option<End> {
        if self.ended {
            return None;
        }
        if let Some(end) = self.time(now, out) {
            return Some(end);
        }
        let status = self.status.filter(|(run, _)| *run == self.run).map_or(Status::Unknown, |(_, status)| status);
        let is_over = !live || self.over;
        let ending = match (is_over, self.plan.follow, self.is_wait) {
            (true, _, true) => Some(Ending::Exit(status)),
            (true, true, false) => Some(Ending::Exit(status)),
            (_, false, false) => Some(Ending::Complete),
            (false, false, true) => Some(Ending::Timeout),
            (false, true, _) => None,
        };
        let Some(ending) = ending else {
            self.writer.release(out);
            self.flush(out);
            return None;
        };
        let at = if matches!(ending, Ending::Exit(_)) { self.anchor.wall } else { now.wall };
        Some(self.finish(ending, at, out))
    }

    /// The client's own time is up: prints the unfinished row and ends with `timeout`, if nothing else has ended the reading
    /// by `now`. All records up to `now` have been given.
    pub fn abandon(&mut self, now: Stamp, out: &mut Vec<Frame>) -> Option<End> {
        if self.ended {
            return None;
        }
        self.time(now, out).or_else(|| Some(self.finish(Ending::Timeout, now.wall, out)))
    }

    /// The start is reached, if it wasn't before. Ends at once when its run had ended before it.
    ///
    /// `now`: log time of the first record from the start on, if there is one; `marks`: that record is what the start is
    /// named after (a turn, a run). Else the start is a place in the log, and its time that of the record before it, so that
    /// it is the same whether or not another record has come.
    pub(super) fn begin(&mut self, now: LogTime, marks: bool, out: &mut Vec<Frame>) -> Option<End> {
        if self.begun {
            return None;
        }
        self.begun = true;
        let before = Some(self.anchor).filter(|anchor| !marks && *anchor != Stamp::default()).map(|anchor| anchor.log);
        let start = self.plan.start_log.or(before).unwrap_or(now);
        let Plan { from_turn, after_editor, .. } = self.plan;
        let standing = self.screen.as_mut().map_or_else(String::new, |screen| {
            if after_editor {
                screen.clear_below();
            }
            if !from_turn {
                screen.new_row();
            }
            let text = screen.open_text();
            screen.baseline();
            text
        });
        if self.anchor == Stamp::default() {
            self.anchor.log = start;
            self.anchor.wall = self.opened;
        }
        if let Some(prompt) = &mut self.prompt {
            prompt.begin(&standing, start);
        }
        if self.plan.from_turn {
            self.typed = TypedEcho::new(&standing);
        } else {
            self.printed = Some(standing.clone()).filter(|text| !text.trim().is_empty());
        }
        if self.is_wait {
            let Plan { conditions, run, from_turn, masks, .. } = &self.plan;
            self.stops = Some(StopSet::new(conditions.clone(), *run, *from_turn, masks, &standing, start));
            if let Some((run, status)) = self.status
                && run >= self.plan.run
            {
                return Some(self.finish(Ending::Exit(status), self.anchor.wall, out));
            }
        }
        None
    }

    /// What time alone brings about, up to `limit`; with it where `inclusive`.
    pub(super) fn advance(&mut self, limit: LogTime, inclusive: bool, out: &mut Vec<Frame>) -> Option<End> {
        while let Some((at, due)) = self.next_event() {
            if at > limit || (at == limit && !inclusive) {
                break;
            }
            let fired = match due {
                Due::Rows => self.settle(at, out),
                Due::Burst => self.end_burst(out),
                Due::Stop => self.silence(at),
            };
            if let Some(fired) = fired {
                if let (Due::Stop, Fired::Pattern { row, .. }) = (due, &fired) {
                    self.print_up_to(row, out);
                }
                return Some(self.fire(fired, self.wall_at(at), out));
            }
            if self.next_event().is_some_and(|(next, again)| next <= at && again == due) {
                break; // no progress: never spin on a deadline that isn't met
            }
        }
        None
    }

    /// A silence has lasted up to `now`.
    fn silence(&mut self, now: LogTime) -> Option<Fired> {
        if let Some(fired) = self.stops.as_mut().and_then(|stops| stops.time(now)) {
            return Some(fired);
        }
        let prompt = self.prompt.as_mut().filter(|prompt| prompt.deadline().is_some_and(|at| at <= now))?;
        let (text, paints) = self.screen.as_ref().map_or_else(Default::default, |s| (s.open_text(), s.paints()));
        let answered = self.answered || self.stops.as_ref().is_some_and(StopSet::answered);
        prompt.look(now, &Open { text: &text, paints, answered }).map(Fired::Answer)
    }

    /// What comes next by time alone.
    fn next_event(&self) -> Option<(LogTime, Due)> {
        let wants_rows = self.stops.as_ref().is_some_and(StopSet::wants_rows);
        let rows = self.screen.as_ref().filter(|_| wants_rows).and_then(|screen| screen.deadline());
        let stop = self.stops.as_ref().and_then(StopSet::deadline).into_iter();
        let stop = stop.chain(self.prompt.as_ref().and_then(Prompt::deadline)).min();
        let events = [(rows, Due::Rows), (self.rewrite.deadline(), Due::Burst), (stop, Due::Stop)];
        events.into_iter().filter_map(|(at, due)| Some((at?, due))).min()
    }

    /// A condition was met: what is printed up to it, and the end.
    pub(super) fn fire(&mut self, fired: Fired, at: Wall, out: &mut Vec<Frame>) -> End {
        let ending = match fired {
            Fired::Pattern { hit, row } => Ending::Pattern(hit, row.end),
            Fired::Exit(status) => Ending::Exit(status),
            Fired::Idle => Ending::Idle,
            Fired::Answer(answer) => Ending::Answer(answer),
        };
        self.finish(ending, at, out)
    }

    /// Prints what is unfinished and ends. A row that is final only because the reading ends is judged where the log alone
    /// decides that it ends here.
    pub(super) fn finish(&mut self, mut ending: Ending, at: Wall, out: &mut Vec<Frame>) -> End {
        if !matches!(ending, Ending::Pattern(..)) {
            self.raise_floor();
            let judged = matches!(ending, Ending::Idle | Ending::Exit(_));
            if let Some(Fired::Pattern { hit, row }) = self.finish_rows(judged, false, out) {
                ending = Ending::Pattern(hit, row.end);
            }
        }
        self.ended = true;
        let whole = matches!(ending, Ending::Exit(_));
        let (seq, wall) = self.read;
        let held = self.writer.finish(whole, seq, wall, out);
        let reached = held.unwrap_or(self.reached).max(self.plan.start);
        let whole_reply = match &ending {
            Ending::Pattern(..) | Ending::Answer(Answer::Prompt(..)) => true,
            Ending::Answer(Answer::Quiet { whole }) => *whole,
            _ => false,
        };
        let mut prompt = self.prompt.as_ref().map(|prompt| prompt.known().to_owned()).filter(|known| !known.is_empty());
        let begins = self.prompt.as_ref().and_then(Prompt::begins);
        let ends = self.prompt.as_ref().and_then(Prompt::ends).filter(|_| matches!(ending, Ending::Answer(_)));
        let (reason, hit, status, next) = match ending {
            Ending::Pattern(hit, next) => (EndReason::Pattern, Some(hit), None, held.unwrap_or(next)),
            Ending::Exit(status) => (EndReason::Exit, None, Some(status), reached),
            Ending::Idle => (EndReason::Idle, None, None, reached),
            Ending::Timeout => (EndReason::Timeout, None, None, reached),
            Ending::Complete => (EndReason::Complete, None, None, reached),
            Ending::Answer(Answer::Quiet { .. }) => (EndReason::Idle, None, None, reached),
            Ending::Answer(Answer::Prompt(stands)) => {
                prompt = Some(stands);
                (EndReason::Complete, None, None, reached)
            }
        };
        let (pattern, matched) = hit.map(|hit| (hit.pattern, hit.matched)).unzip();
        let (exit_code_of_run, signal) = status.map_or((None, None), code_and_signal);
        let line = EndLine {
            ts: timestamp(at),
            session: self.plan.session.clone(),
            reason,
            pattern,
            matched,
            exit_code: exit_code_of_run,
            signal,
            next,
            run: self.run,
            turn: self.turn,
        };
        out.push(Frame::Line(Line::End(line.clone())));
        let took = self.started.map_or(Duration::ZERO, |started| self.anchor.log.since(started));
        End { line, exit: exit_code(reason, self.is_wait), whole_reply, prompt, begins, ends, seq: self.last, took }
    }

    /// What is printed because the reading ends stands behind all that was printed before, also where its bytes don't.
    pub(super) fn raise_floor(&mut self) {
        self.floor = self.floor.max(self.end_place());
    }

    fn end_place(&self) -> Cursor {
        let Cursor { seq, byte } = self.reached;
        Cursor { seq, byte: byte.saturating_add(u32::from(byte > 0)) }
    }

    /// Prints what is whole, but for rows with a place that a row which comes later can have, too: who goes on there would miss
    /// that one.
    fn flush(&mut self, out: &mut Vec<Frame>) {
        let rows = self.screen.as_ref().map(Rows::next_end).into_iter().chain(self.rewrite.first_end());
        let later = rows.chain([self.end_place()]).min().unwrap_or_default();
        self.writer.flush_before(later.max(self.floor), out);
    }

    /// A blank screen, as a new run has it.
    pub(super) fn blank(&mut self) {
        if self.screen.is_some() {
            self.screen = Some(Rows::new(self.size));
        }
        self.fed = false;
        self.before_enter = false;
        self.rewrite.new_rows();
        if let Some(stops) = &mut self.stops {
            stops.new_rows();
        }
    }

    /// When log time `at` was, for people.
    fn wall_at(&self, at: LogTime) -> Wall {
        let later = i64::try_from(at.since(self.anchor.log).as_micros()).unwrap_or(0);
        Wall(self.anchor.wall.0.saturating_add(later))
    }
}
