//! What has to change for a fleet to be what its file says: pure, so that a dry run says the same as the doing.
//!
//! Compared is what was asked for then and now, not what came of it: the environment of whoever asks is not a difference.

use crate::model::{Name, Shape};
use crate::wire::{FleetChange, FleetWord, NewSession};
use std::collections::{BTreeMap, BTreeSet};

/// A fleet as it was asked for.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// How it hangs together.
    pub shape: &'a Shape,
    /// What was asked for, session by session, without the caller's own environment.
    pub sessions: &'a BTreeMap<Name, NewSession>,
    /// Sessions that are not yet as was asked for: their change was cut off.
    pub stale: &'a BTreeSet<Name>,
}

/// How a session stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Present {
    /// There is none of that name.
    Absent,
    /// It runs, or waits for its next run.
    Live,
    /// It has ended well, by itself, and may rest.
    Done,
    /// It has ended.
    Ended,
}

/// What is to be done with a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Todo {
    /// Nothing.
    Keep,
    /// Make it.
    Create,
    /// Tell it what it is now.
    Amend,
    /// The same, and start it.
    Start,
    /// The same, and end it first.
    Restart,
    /// End it: it is in the fleet no more.
    End,
}

/// One line of a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What is said.
    pub change: FleetChange,
    /// What is done, with a session.
    pub todo: Todo,
    /// Its environment, too, is a new one.
    pub env: bool,
}

/// What has to change, in the order in which it is done.
pub type Plan = Vec<Step>;

/// Compares. `stands` says how sessions stand, `is_up` whether a group is (else all of it will be started). Both shapes have
/// been checked.
pub fn plan(
    old: Option<Known<'_>>,
    new: Known<'_>,
    stands: impl Fn(&Name) -> Present,
    is_up: impl Fn(&Name) -> bool,
) -> Plan {
    let mut steps = Vec::new();
    let order = |known: &Known<'_>| known.shape.in_order().unwrap_or_default();
    let gone = old
        .iter()
        .flat_map(|old| order(old).into_iter().rev())
        .filter(|name| !new.shape.sessions.contains_key(name) && !new.shape.groups.contains_key(name));
    for name in gone {
        let group = old.is_some_and(|old| old.shape.groups.contains_key(&name));
        let why = Some("no longer in the fleet".to_owned());
        let (word, todo) = match (group, stands(&name)) {
            (true, _) => (FleetWord::Removed, Todo::Keep),
            (false, Present::Absent) => continue,
            (false, Present::Live) => (FleetWord::Ended, Todo::End),
            (false, _) => (FleetWord::Removed, Todo::End),
        };
        steps.push(step(&name, group, word, why, todo));
    }
    for name in order(&new) {
        steps.push(match new.sessions.get(&name) {
            Some(session) => {
                let group = new.shape.group_of(&name);
                let opens = group.is_some_and(|group| !is_up(group));
                self::session(&name, session, old, new, stands(&name), opens)
            }
            None => self::group(&name, old, new, &is_up),
        });
    }
    steps
}

fn step(name: &Name, group: bool, word: FleetWord, why: Option<String>, todo: Todo) -> Step {
    Step { change: FleetChange { change: word, group, name: name.clone(), why }, todo, env: false }
}

fn session(
    name: &Name,
    new: &NewSession,
    old: Option<Known<'_>>,
    fleet: Known<'_>,
    stands: Present,
    opens: bool,
) -> Step {
    let before = old.and_then(|old| old.sessions.get(name));
    let stale = old.is_some_and(|old| old.stale.contains(name));
    let mut hard = before.map(|before| needs_a_run(before, new)).unwrap_or_default();
    if stale {
        hard.push("what was last asked for");
    }
    let soft = before.map(|before| needs_no_run(before, new)).unwrap_or_default();
    let place = match (old.and_then(|old| old.shape.group_of(name)), fleet.shape.group_of(name)) {
        _ if before.is_none() => None,
        (Some(from), None) => Some(format!("removed from group {from}")),
        (Some(from), Some(to)) if from != to => Some(format!("moved from group {from} to {to}")),
        (None, Some(to)) => Some(format!("added to group {to}")),
        _ => None,
    };
    let env = stale || before.is_none_or(|before| before.set_env != new.set_env || needs_program(before, new));
    let differs = differs(&[&hard[..], &soft[..]].concat());
    let why: Vec<String> = [differs, place].into_iter().flatten().collect();
    let because = |or: Option<&str>| (!why.is_empty()).then(|| why.join(", ")).or(or.map(str::to_owned));
    let (word, todo, why) = match stands {
        Present::Absent => (FleetWord::Created, Todo::Create, because(None)),
        Present::Live if !hard.is_empty() => (FleetWord::Restarted, Todo::Restart, because(None)),
        Present::Live if why.is_empty() => (FleetWord::Unchanged, Todo::Keep, None),
        Present::Live => (FleetWord::Changed, Todo::Amend, because(None)),
        Present::Done if hard.is_empty() && !opens && before.is_some() => match why.is_empty() {
            true => (FleetWord::Unchanged, Todo::Keep, Some("it is done".to_owned())),
            false => (FleetWord::Changed, Todo::Amend, because(None)),
        },
        Present::Done | Present::Ended => (FleetWord::Started, Todo::Start, because(Some("it had ended"))),
    };
    Step { env, ..step(name, false, word, why, todo) }
}

fn group(name: &Name, old: Option<Known<'_>>, new: Known<'_>, is_up: impl Fn(&Name) -> bool) -> Step {
    let before = old.and_then(|old| old.shape.groups.get(name));
    let (Some(before), Some(now)) = (before, new.shape.groups.get(name)) else {
        return step(name, true, FleetWord::Created, None, Todo::Keep);
    };
    let mut parts = Vec::new();
    let mut check = |same: bool, part: &'static str| parts.extend((!same).then_some(part));
    check(before.strategy == now.strategy, "strategy");
    check(before.max_restarts == now.max_restarts, "max_restarts");
    check(before.within == now.within, "within");
    check((before.backoff_min, before.backoff_max) == (now.backoff_min, now.backoff_max), "backoff");
    check(before.members == now.members, "members");
    match (differs(&parts), is_up(name)) {
        (None, true) => step(name, true, FleetWord::Unchanged, None, Todo::Keep),
        (Some(why), true) => step(name, true, FleetWord::Changed, Some(why), Todo::Keep),
        (why, false) => step(name, true, FleetWord::Started, why.or(Some("it wasn't up".to_owned())), Todo::Keep),
    }
}

/// `command differs`, `command and env differ`.
fn differs(parts: &[&str]) -> Option<String> {
    match parts {
        [] => None,
        [one] => Some(format!("{one} {}", if one.ends_with('s') { "differ" } else { "differs" })),
        [first @ .., last] => Some(format!("{} and {last} differ", first.join(", "))),
    }
}

fn needs_program(before: &NewSession, now: &NewSession) -> bool {
    before.command != now.command || before.argv != now.argv || before.cwd != now.cwd
}

fn needs_a_run(before: &NewSession, now: &NewSession) -> Vec<&'static str> {
    let mut parts = Vec::new();
    let mut check = |same: bool, part: &'static str| parts.extend((!same).then_some(part));
    check(before.command == now.command && before.argv == now.argv, "command");
    check(before.cwd == now.cwd, "cwd");
    check(before.set_env == now.set_env, "env");
    parts
}

fn needs_no_run(before: &NewSession, now: &NewSession) -> Vec<&'static str> {
    let mut parts = Vec::new();
    let mut check = |same: bool, part: &'static str| parts.extend((!same).then_some(part));
    let policy = |session: &NewSession| session.restart.unwrap_or_default();
    let (old, new) = (policy(before), policy(now));
    check(before.size == now.size, "size");
    check(before.labels == now.labels, "labels");
    check(old.mode == new.mode, "restart");
    check((old.backoff_min, old.backoff_max) == (new.backoff_min, new.backoff_max), "backoff");
    check(old.max_restarts == new.max_restarts, "max_restarts");
    check(old.within == new.within, "within");
    check(before.restart_command == now.restart_command, "restart_command");
    check(before.stop_signal == now.stop_signal, "stop_signal");
    check(before.stop_timeout_ms == now.stop_timeout_ms, "stop_timeout");
    check(before.watchdog_ms == now.watchdog_ms, "watchdog");
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Group, RestartMode, Size, Strategy};

    struct Fleet {
        shape: Shape,
        sessions: BTreeMap<Name, NewSession>,
        stale: BTreeSet<Name>,
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    /// `a b g(c d)`: sessions that are called as their commands, and groups.
    fn fleet(text: &str) -> Fleet {
        let (mut shape, mut sessions) = (Shape::default(), BTreeMap::new());
        let words = text.replace('(', " ( ").replace(')', " ) ");
        let mut open: Option<(Name, Vec<Name>)> = None;
        let mut words = words.split_whitespace().peekable();
        while let Some(word) = words.next() {
            match (word, &mut open) {
                ("(", _) => {}
                (")", group) => {
                    let (name, members) = group.take().unwrap();
                    shape.groups.insert(name, Group::of(members));
                }
                (word, None) if words.peek() == Some(&"(") => {
                    shape.top.push(name(word));
                    open = Some((name(word), Vec::new()));
                }
                (word, group) => {
                    let command = Some(word.to_owned());
                    sessions.insert(name(word), NewSession { name: word.into(), command, ..NewSession::default() });
                    shape.sessions.insert(name(word), RestartMode::Always);
                    match group {
                        Some((_, members)) => members.push(name(word)),
                        None => shape.top.push(name(word)),
                    }
                }
            }
        }
        shape.in_order().unwrap();
        Fleet { shape, sessions, stale: BTreeSet::new() }
    }

    impl Fleet {
        fn known(&self) -> Known<'_> {
            Known { shape: &self.shape, sessions: &self.sessions, stale: &self.stale }
        }

        fn with(mut self, who: &str, change: impl FnOnce(&mut NewSession)) -> Fleet {
            change(self.sessions.get_mut(&name(who)).unwrap());
            self
        }
    }

    /// `stands`: `+` live, `.` done, `-` ended, other names are absent. Lines as a person sees them, `*` with a new environment.
    fn check(old: Option<&Fleet>, new: &Fleet, stands: &str, down: &str, wanted: &[&str]) {
        let present = |name: &Name| {
            let found = stands.split_whitespace().find(|word| &word[1..] == name.as_str());
            match found.map(|word| &word[..1]) {
                Some("+") => Present::Live,
                Some(".") => Present::Done,
                Some("-") => Present::Ended,
                _ => Present::Absent,
            }
        };
        let steps = plan(old.map(Fleet::known), new.known(), present, |group| group.as_str() != down);
        let lines: Vec<String> = steps
            .iter()
            .map(|Step { change, todo, .. }| {
                let kind = if change.group { "group " } else { "" };
                let why = change.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                format!("{todo:?}: {} {kind}{}{why}", change.change.as_str(), change.name)
            })
            .collect();
        assert_eq!(lines, wanted);
    }

    #[test]
    fn a_first_time() {
        let new = fleet("a g(b c)");
        check(
            None,
            &new,
            "-c",
            "g",
            &["Create: created a", "Keep: created group g", "Create: created b", "Start: started c: it had ended"],
        );
    }

    #[test]
    fn a_second_time_nothing_changes() {
        let new = fleet("a g(b c)");
        check(
            Some(&new),
            &new,
            "+a +b .c",
            "",
            &["Keep: unchanged a", "Keep: unchanged group g", "Keep: unchanged b", "Keep: unchanged c: it is done"],
        );
        check(
            Some(&new),
            &new,
            "+a .b -c",
            "g",
            &[
                "Keep: unchanged a",
                "Keep: started group g: it wasn't up",
                "Start: started b: it had ended",
                "Start: started c: it had ended",
            ],
        );
    }

    #[test]
    fn only_what_differs_changes() {
        let old = fleet("a b c d");
        let new = fleet("a b c d")
            .with("a", |a| a.command = Some("other".into()))
            .with("b", |b| b.size = Some(Size { cols: 1, rows: 2 }))
            .with("c", |c| c.set_env = vec![("K".into(), "V".into())])
            .with("c", |c| drop(c.labels.insert("k".into(), "v".into())))
            .with("d", |d| d.env = Some(vec![("CALLER".into(), "x".into())]));
        check(
            Some(&old),
            &new,
            "+a +b -c +d",
            "",
            &[
                "Restart: restarted a: command differs",
                "Amend: changed b: size differs",
                "Start: started c: env and labels differ",
                "Keep: unchanged d",
            ],
        );
        let cut = Fleet { stale: [name("b")].into(), ..fleet("a b c d") };
        check(
            Some(&cut),
            &old,
            "+a +b +c +d",
            "",
            &[
                "Keep: unchanged a",
                "Restart: restarted b: what was last asked for differs",
                "Keep: unchanged c",
                "Keep: unchanged d",
            ],
        );
    }

    #[test]
    fn what_left_is_ended_in_reverse_and_groups_are_compared() {
        let old = fleet("x g(a b) y h(c)");
        let mut new = fleet("g(a) b i(c)");
        new.shape.groups.get_mut(&name("g")).unwrap().strategy = Strategy::OneForAll;
        check(
            Some(&old),
            &new,
            "+a +b +c -x +y",
            "",
            &[
                "Keep: removed group h: no longer in the fleet",
                "End: ended y: no longer in the fleet",
                "End: removed x: no longer in the fleet",
                "Keep: changed group g: strategy and members differ",
                "Keep: unchanged a",
                "Amend: changed b: removed from group g",
                "Keep: created group i",
                "Amend: changed c: moved from group h to i",
            ],
        );
    }
}
