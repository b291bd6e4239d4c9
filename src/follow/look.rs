//! A wait for a state of the screen: the screen as it is, then what records and time make of it.
//!
//! Pure. It starts with a terminal that shows the present screen, and gets the records after it; nothing of the output is
//! put out, only how it ended. It must never judge what a synchronized update holds back: the terminal doesn't show it.

use super::{
    End, Frame, Reader, exit_code,
    lines::{code_and_signal, timestamp},
};
use crate::{
    model::{Cursor, Event, LogTime, Name, Record, Seq, SessionId, Stamp, Status, Wall},
    stop::{ScreenConditions, ScreenSet, Seen, Sight},
    terminal::Vt,
    wire::{API, EndLine, EndReason, Hello, Line, StartLine},
};
use std::time::Duration;

/// Where it starts.
pub struct LookPlan {
    /// Whose screen.
    pub session: Name,
    /// The session behind the name.
    pub id: SessionId,
    /// The run at the start: the wait ends with it.
    pub run: u32,
    /// The last turn.
    pub turn: Option<u64>,
    /// The screen before `next`.
    pub vt: Vt,
    /// The first byte that isn't on it.
    pub next: Cursor,
    /// Nothing on it has changed since then.
    pub since: LogTime,
    /// How the run ended, where it has.
    pub ended: Option<Status>,
    /// What it must be like.
    pub conditions: ScreenConditions,
    /// Wait for it, or decide on the screen as it is.
    pub follow: bool,
    /// The host's, for `hello`.
    pub generation: u64,
}

/// The wait.
pub struct Look {
    plan: LookPlan,
    set: ScreenSet,
    opened: Wall,
    reached: Cursor,
    /// The last record that was read.
    last: (Seq, LogTime),
    /// When the first and the last of what was drawn since the last look came.
    unseen: Option<(LogTime, LogTime)>,
    over: bool,
}

/// What is drawn within so much log time is looked at once. 10 ms: a flood is a hundred looks a second, not one a record.
const LOOK_EACH: Duration = Duration::from_millis(10);

enum Ending {
    Seen(Seen),
    Exit(Status),
    Timeout,
}

impl Look {
    /// Begins; `now` is shown in its start line.
    pub fn new(mut plan: LookPlan, now: Wall) -> Look {
        let set = ScreenSet::new(plan.conditions.clone(), sight(&mut plan.vt), plan.since);
        Look {
            set,
            opened: now,
            reached: plan.next,
            last: (plan.next.seq, plan.since),
            unseen: None,
            over: false,
            plan,
        }
    }

    /// What time alone brings about up to `limit`; with it where `inclusive`.
    fn advance(&mut self, limit: LogTime, inclusive: bool) -> Option<Seen> {
        while let Some(at) = self.deadline().filter(|at| *at < limit || (inclusive && *at == limit)) {
            let seen = if self.plan.vt.deadline().is_some_and(|due| due <= at) {
                self.plan.vt.settle(at);
                self.drawn(at);
                None
            } else if self.unseen.is_some() {
                self.look() // also before a screen that has stood long enough is judged
            } else {
                self.set.time(at)
            };
            if seen.is_some() {
                return seen;
            }
        }
        None
    }

    /// Something was drawn.
    fn drawn(&mut self, now: LogTime) {
        let (first, _) = self.unseen.unwrap_or((now, now));
        self.unseen = Some((first, now));
    }

    /// Sees what was drawn.
    fn look(&mut self) -> Option<Seen> {
        let (_, last) = self.unseen.take()?;
        self.set.look(sight(&mut self.plan.vt), last)
    }

    fn read(&mut self, record: &Record) -> Option<Ending> {
        let now = record.at.log;
        if let Some(seen) = self.advance(now, false) {
            return Some(Ending::Seen(seen));
        }
        self.reached = record.end();
        self.last = (record.seq, now);
        match record.event() {
            Ok(Event::Output(bytes)) => {
                let shown = if record.seq == self.plan.next.seq { self.plan.next.byte as usize } else { 0 };
                self.plan.vt.feed(now, &bytes[shown.min(bytes.len())..]);
                self.drawn(now);
            }
            Ok(Event::Resize(size)) => {
                self.plan.vt.resize(size);
                self.drawn(now);
            }
            Ok(Event::Exited { run, status, .. }) if run >= self.plan.run => return Some(self.ended(status, now)),
            Ok(Event::Starting { run, .. }) if run > self.plan.run => return Some(self.ended(Status::Unknown, now)),
            // of no interest, or of a kind that a later version writes
            _ => {}
        }
        None
    }

    /// The screen stays as it is: it is looked at, then the end of the run counts.
    fn ended(&mut self, status: Status, now: LogTime) -> Ending {
        self.finish_look(now).map_or(Ending::Exit(status), Ending::Seen)
    }

    /// The screen as it is, however long it has stood.
    fn finish_look(&mut self, now: LogTime) -> Option<Seen> {
        self.look().or_else(|| self.set.finish(now))
    }

    fn finish(&mut self, ending: Ending, at: Wall, out: &mut Vec<Frame>) -> End {
        self.over = true;
        let (reason, seen, status) = match ending {
            Ending::Seen(seen) => (EndReason::Screen, seen, None),
            Ending::Exit(status) => (EndReason::Exit, Seen::default(), Some(status)),
            Ending::Timeout => (EndReason::Timeout, Seen::default(), None),
        };
        let (exit_code_of_run, signal) = status.map_or((None, None), code_and_signal);
        let line = EndLine {
            ts: timestamp(at),
            session: self.plan.session.clone(),
            reason,
            pattern: seen.pattern,
            matched: seen.matched,
            exit_code: exit_code_of_run,
            signal,
            next: self.reached,
            run: self.plan.run,
            turn: self.plan.turn,
        };
        out.push(Frame::Line(Line::End(line.clone())));
        let (seq, log) = self.last;
        End {
            line,
            exit: exit_code(reason, true),
            whole_reply: reason == EndReason::Screen,
            prompt: None,
            begins: None,
            ends: None,
            seq,
            took: log.since(self.plan.since),
        }
    }
}

impl Reader for Look {
    fn open(&mut self, out: &mut Vec<Frame>) {
        let LookPlan { session, id, run, generation, next, .. } = &self.plan;
        let (id, run, next) = (*id, *run, *next);
        out.push(Frame::Line(Line::Hello(Hello {
            api: API,
            generation: *generation,
            id,
            run,
            start: next,
            next,
            size: None,
        })));
        let ts = timestamp(self.opened);
        out.push(Frame::Line(Line::Start(StartLine { ts, session: session.clone(), v: 1, id, run, next })));
    }

    fn record(&mut self, record: &Record, out: &mut Vec<Frame>) -> Option<End> {
        if self.over || record.end() <= self.plan.next {
            return None;
        }
        let ending = self.read(record)?;
        Some(self.finish(ending, record.at.wall, out))
    }

    fn time(&mut self, now: Stamp, out: &mut Vec<Frame>) -> Option<End> {
        if self.over {
            return None;
        }
        let ending = match (self.advance(now.log, true), self.plan.ended) {
            (Some(seen), _) => Ending::Seen(seen),
            (None, Some(status)) => self.ended(status, now.log),
            (None, None) => return None,
        };
        Some(self.finish(ending, now.wall, out))
    }

    fn deadline(&self) -> Option<LogTime> {
        let look = self.unseen.map(|(first, _)| first.after(LOOK_EACH));
        [look, self.set.deadline(), self.plan.vt.deadline()].into_iter().flatten().min()
    }

    fn end_of_log(&mut self, now: Stamp, live: bool, out: &mut Vec<Frame>) -> Option<End> {
        if self.over {
            return None;
        }
        if let Some(end) = self.time(now, out) {
            return Some(end);
        }
        let ending = match (live, self.plan.follow) {
            (true, true) => return None,
            (true, false) => self.finish_look(now.log).map_or(Ending::Timeout, Ending::Seen),
            (false, _) => self.ended(Status::Unknown, now.log),
        };
        Some(self.finish(ending, now.wall, out))
    }

    fn abandon(&mut self, now: Stamp, out: &mut Vec<Frame>) -> Option<End> {
        if self.over {
            return None;
        }
        self.time(now, out).or_else(|| Some(self.finish(Ending::Timeout, now.wall, out)))
    }
}

fn sight(vt: &mut Vt) -> Sight {
    let shown = vt.shown();
    Sight { rows: shown.lines, cursor: (shown.x, shown.y), visible: shown.visible }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Size;

    const SIZE: Size = Size { cols: 20, rows: 3 };

    fn look(screen: &[&str], no_screen: &[&str], stable: Option<u64>, ended: Option<Status>, follow: bool) -> Look {
        let texts = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let stable = stable.map(Duration::from_millis);
        let conditions = ScreenConditions::parse(&texts(screen), &texts(no_screen), stable).unwrap();
        let mut vt = Vt::new(SIZE);
        vt.feed(LogTime(0), b"old");
        let (session, id) = ("s".parse().unwrap(), SessionId([1; 16]));
        let plan = LookPlan {
            session,
            id,
            run: 1,
            turn: None,
            vt,
            next: Cursor { seq: Seq(5), byte: 1 },
            since: LogTime(0),
            ended,
            conditions,
            follow,
            generation: 1,
        };
        Look::new(plan, Wall(0))
    }

    fn at(ms: u64) -> Stamp {
        Stamp { wall: Wall(0), log: LogTime(ms * 1_000_000) }
    }

    /// Records from seq 5 on at their times in ms, then the end of the log at `now`: how it ended, and the match.
    fn play(mut look: Look, events: &[(u64, Event)], now: u64, live: bool) -> Option<(EndReason, Option<String>)> {
        let mut out = Vec::new();
        let mut end = None;
        for ((ms, event), seq) in events.iter().zip(5..) {
            let (kind, body) = event.encode();
            end = end.or_else(|| look.record(&Record { seq: Seq(seq), kind, at: at(*ms), body }, &mut out));
        }
        end.or_else(|| look.end_of_log(at(now), live, &mut out)).map(|end| (end.line.reason, end.line.matched))
    }

    fn output(text: &str) -> Event {
        Event::Output(text.as_bytes().to_vec().into())
    }

    fn exited(status: Status) -> Event {
        Event::Exited { run: 1, status, last: true }
    }

    #[test]
    fn the_present_screen_counts() {
        let seen = |text: &str| Some((EndReason::Screen, Some(text.to_owned())));
        assert_eq!(play(look(&["old"], &[], None, None, true), &[], 100, true), seen("old"));
        assert_eq!(play(look(&["new"], &[], None, None, true), &[], 100, true), None);
        let gone = [(10, output("?\x1b[2Jnew"))]; // its first byte is on the screen already
        assert_eq!(play(look(&["new"], &["old"], None, None, true), &gone, 20, true), None, "not yet");
        assert_eq!(play(look(&["new"], &["old"], None, None, true), &gone, 60, true), seen("new"));
        assert_eq!(play(look(&["new"], &[], None, None, false), &gone, 20, true), seen("new"), "as it is");
        assert_eq!(play(look(&["never"], &[], None, None, false), &gone, 20, true), Some((EndReason::Timeout, None)));
    }

    #[test]
    fn an_update_counts_when_it_shows() {
        let half = (10, output("?\x1b[?2026h\x1b[2J\x1b[H"));
        let rest = (90, output("new\x1b[?2026l"));
        let wait = || look(&[], &["old"], None, None, true);
        assert_eq!(play(wait(), &[half.clone(), rest.clone()], 139, true), None);
        assert_eq!(play(wait(), &[half.clone(), rest], 140, true), Some((EndReason::Screen, None)));
        assert_eq!(play(wait(), &[half], 5000, true), Some((EndReason::Screen, None)), "one that is never ended");
    }

    #[test]
    fn an_end_comes_after_the_last_look() {
        let code = Status::Code(3);
        let last = [(10, output("?bye")), (11, exited(code))];
        assert_eq!(play(look(&["bye"], &[], None, None, true), &last, 12, false).unwrap().0, EndReason::Screen);
        assert_eq!(play(look(&["never"], &[], None, None, true), &last, 12, false).unwrap().0, EndReason::Exit);
        assert_eq!(play(look(&["old"], &[], None, Some(code), true), &[], 12, false).unwrap().0, EndReason::Screen);
        assert_eq!(play(look(&["never"], &[], None, Some(code), true), &[], 99, true).unwrap().0, EndReason::Exit);
        let stable = |since: u64| play(look(&[], &[], Some(since), Some(code), true), &[], 100, false).unwrap().0;
        assert_eq!((stable(90), stable(200)), (EndReason::Screen, EndReason::Exit));
    }
}
