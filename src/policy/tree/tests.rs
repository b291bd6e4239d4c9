//! A world in which trees are tried out, and what holds in it whatever happens.

use super::{Effect, Input, Seen, Stand, Tree};
use crate::model::{Group, LogTime, Name, RestartMode, Shape, Strategy};
use crate::policy::Decision;
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

/// Sessions that do what they are told at once.
pub(super) struct World {
    tree: Tree,
    shape: Shape,
    now: LogTime,
    runs: BTreeMap<Name, u32>,
    running: BTreeSet<Name>,
    /// How often a start of it still fails.
    cannot: BTreeMap<Name, u32>,
    waits: Vec<u64>,
    said: Vec<String>,
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

impl World {
    pub(super) fn new(fleet: &str) -> World {
        let mut shape = Shape::default();
        let mut order = Vec::new();
        for line in fleet.lines() {
            let Some((head, members)) = line.split_once(": ") else {
                shape.sessions.insert(name(line), RestartMode::Always);
                order.push(name(line));
                continue;
            };
            let [group, strategy, intensity] = head.split(' ').collect::<Vec<_>>()[..] else { panic!("{head}") };
            let (max, within) = intensity.split_once('/').unwrap();
            let members = members.split(' ').map(|member| {
                let (mode, member) = match member.split_at(1) {
                    ("~", rest) => (RestartMode::OnFailure, rest),
                    ("?", rest) => (RestartMode::Never, rest),
                    _ => (RestartMode::Always, member),
                };
                if !fleet.contains(&format!("\n{member} ")) {
                    shape.sessions.insert(name(member), mode);
                }
                name(member)
            });
            let group_spec = Group {
                strategy: [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]
                    .into_iter()
                    .find(|s| s.as_str() == strategy)
                    .unwrap(),
                max_restarts: max.parse().unwrap(),
                within: Duration::from_secs(within.parse().unwrap()),
                backoff_min: Duration::ZERO,
                backoff_max: Duration::ZERO,
                members: members.collect(),
            };
            shape.groups.insert(name(group), group_spec);
            order.push(name(group));
        }
        let inner: BTreeSet<Name> = shape.groups.values().flat_map(|group| group.members.clone()).collect();
        shape.top = order.into_iter().filter(|name| !inner.contains(name)).collect();
        shape.in_order().unwrap();
        World {
            tree: Tree::new(name("fleet"), &shape),
            shape,
            now: LogTime(0),
            runs: BTreeMap::new(),
            running: BTreeSet::new(),
            cannot: BTreeMap::new(),
            waits: Vec::new(),
            said: Vec::new(),
        }
    }

    /// What follows from something, in words.
    pub(super) fn does(&mut self, what: &str) -> String {
        self.said.clear();
        let words: Vec<&str> = what.split(' ').collect();
        match words[..] {
            ["up"] => {
                let down = self.shape.sessions.keys().filter(|name| !self.running.contains(name));
                self.feed(Input::Open(down.cloned().collect()));
            }
            ["down"] => self.feed(Input::Close(name("fleet"))),
            ["down", group] => self.feed(Input::Close(name(group))),
            ["later"] => {
                for token in std::mem::take(&mut self.waits) {
                    self.feed(Input::Due { token });
                }
            }
            [time] => self.now = self.now.after(Duration::from_secs(time.trim_end_matches('s').parse().unwrap())),
            [who, "can't", "start"] => drop(self.cannot.insert(name(who), u32::MAX)),
            [who, "can't", "start", "once"] => drop(self.cannot.insert(name(who), 1)),
            [who, "stopped"] => self.die(&[who], Decision::Stay, true),
            [who, "starts"] => self.begin(&name(who)),
            [who, "exits"] => {
                let again = self.shape.sessions[&name(who)] == RestartMode::Always;
                self.die(&[who], if again { Decision::Restart(Duration::ZERO) } else { Decision::Stay }, false);
            }
            [who, "fails," | "fails" | "fail" | "killed", ..] => {
                let after = words.last().and_then(|word| word.strip_suffix('s')).and_then(|n| n.parse().ok());
                let who: Vec<&str> = who.split('+').collect();
                let decision = match self.shape.sessions[&name(who[0])] {
                    RestartMode::Never => Decision::Stay,
                    _ => Decision::Restart(Duration::from_secs(after.unwrap_or(0))),
                };
                self.die(&who, decision, false);
            }
            _ => panic!("{what}"),
        }
        self.said.join(" ")
    }

    /// All at once: their ends are heard of one after the other, before anything is done.
    fn die(&mut self, who: &[&str], decision: Decision, wanted: bool) {
        let mut effects = VecDeque::new();
        for who in who {
            let name = name(who);
            assert!(self.running.remove(&name), "{name} doesn't run");
            let run = self.runs[&name];
            effects.extend(self.tree.step(Input::Exited { name, run, decision, wanted }, self.now, 0.5));
        }
        self.carry_out(effects);
    }

    fn begin(&mut self, name: &Name) {
        self.running.insert(name.clone());
        let run = self.runs.entry(name.clone()).or_default();
        *run += 1;
        let run = *run;
        self.feed(Input::Started { name: name.clone(), run });
    }

    fn feed(&mut self, input: Input) {
        let effects = self.tree.step(input, self.now, 0.5);
        self.carry_out(effects.into());
    }

    fn carry_out(&mut self, mut effects: VecDeque<Effect>) {
        while let Some(effect) = effects.pop_front() {
            let answer = match effect {
                Effect::Start(name) => {
                    assert!(!self.running.contains(&name), "{name} runs already");
                    let left = self.cannot.get(&name).copied().unwrap_or(0);
                    if left > 0 {
                        self.cannot.insert(name.clone(), left.saturating_sub(u32::from(left < u32::MAX)));
                        self.said.push(format!("{name}?"));
                        Input::NotStarted { name }
                    } else {
                        self.said.push(format!("+{name}"));
                        self.running.insert(name.clone());
                        let run = self.runs.entry(name.clone()).or_default();
                        *run += 1;
                        Input::Started { run: *run, name }
                    }
                }
                Effect::End { name, .. } => {
                    if self.running.remove(&name) {
                        self.said.push(format!("-{name}"));
                    }
                    Input::Ended { name }
                }
                Effect::Wait { token, after } => {
                    self.said.push(format!("{}s", after.as_secs()));
                    self.waits.push(token);
                    continue;
                }
                Effect::Failed { group, escalates, .. } => {
                    self.said.push(format!("{}{group}", if escalates { '^' } else { '!' }));
                    continue;
                }
                Effect::Restarts { .. } => continue,
            };
            effects.extend(self.tree.step(answer, self.now, 0.5));
        }
    }
}

/// What is under way in a world where things take time and go wrong.
#[derive(Default)]
struct Slow {
    open: Vec<Effect>,
    waits: Vec<u64>,
    runs: BTreeMap<Name, u32>,
    running: BTreeSet<Name>,
    effects: usize,
}

impl Slow {
    fn take(&mut self, shape: &Shape, effects: Vec<Effect>) {
        for effect in effects {
            self.effects += 1;
            match effect {
                Effect::Wait { token, .. } => self.waits.push(token),
                Effect::Start(ref name) | Effect::End { ref name, .. } => {
                    let group = shape.group_of(name);
                    let busy = self.open.iter().find(|other| match other {
                        Effect::Start(other) | Effect::End { name: other, .. } => shape.group_of(other) == group,
                        _ => false,
                    });
                    assert_eq!(busy, None, "two things at once in a group: {effect:?}");
                    assert!(!matches!(effect, Effect::Start(_)) || !self.running.contains(name), "two runs of {name}");
                    self.open.push(effect);
                }
                Effect::Restarts { .. } | Effect::Failed { .. } => {}
            }
        }
    }

    /// Something that is under way is done.
    fn finish(&mut self, which: usize, well: bool) -> Option<Input> {
        if self.open.is_empty() {
            return None;
        }
        Some(match self.open.remove(which % self.open.len()) {
            Effect::Start(name) if well => {
                let run = self.runs.entry(name.clone()).or_default();
                *run += 1;
                self.running.insert(name.clone());
                Input::Started { run: *run, name }
            }
            Effect::Start(name) => Input::NotStarted { name },
            Effect::End { name, .. } => {
                self.running.remove(&name);
                Input::Ended { name }
            }
            other => panic!("{other:?}"),
        })
    }

    fn dies(&mut self, shape: &Shape, which: usize, how: u8) -> Option<Input> {
        let name = self.running.iter().nth(which % self.running.len().max(1))?.clone();
        self.running.remove(&name);
        let mode = shape.sessions[&name];
        let decision = match (mode, how % 3) {
            (RestartMode::Never, _) | (RestartMode::OnFailure, 0) | (_, 1) => Decision::Stay,
            _ => Decision::Restart(Duration::from_secs(u64::from(how) % 2)),
        };
        Some(Input::Exited { run: self.runs[&name], wanted: how % 3 == 1, decision, name })
    }
}

const FLEETS: [&str; 5] = [
    "g one_for_all 2/50: a ?b ~c",
    "g rest_for_one 2/50: a low z\nlow one_for_all 1/50: b ~c",
    "s\ng one_for_one 3/50: low a\nlow rest_for_one 1/50: b lower c\nlower one_for_one 1/50: d e",
    "g one_for_all 1/50: a b\nh rest_for_one 4/50: c ~d ?e\ns",
    "g one_for_one 0/50: a low\nlow one_for_all 0/50: b c",
];

proptest! {
    /// Whatever happens: one thing at a time in a group, never two runs of a session, and in the end all is as it should be.
    #[test]
    fn it_comes_to_rest(
        fleet in 0usize..FLEETS.len(),
        steps in proptest::collection::vec((0u8..12, 0usize..9, 0u8..6), 0..60),
    ) {
        let shape = World::new(FLEETS[fleet]).shape;
        let mut tree = Tree::new(name("fleet"), &shape);
        let mut slow = Slow::default();
        let mut now = LogTime(0);
        let everything: BTreeSet<Name> = shape.sessions.keys().cloned().collect();
        slow.take(&shape, tree.step(Input::Open(everything.clone()), now, 0.5));
        for (what, which, how) in steps {
            now = now.after(Duration::from_secs(1));
            let input = match what {
                0..=4 => slow.finish(which, how != 1),
                5..=7 => slow.dies(&shape, which, how),
                8 => slow.waits.pop().map(|token| Input::Due { token }),
                9 => Some(Input::Open(everything.difference(&slow.running).cloned().collect())),
                10 if which == 0 => Some(Input::Close(name("fleet"))),
                10 => shape.groups.keys().nth(which % shape.groups.len()).cloned().map(Input::Close),
                _ => {
                    // the host dies: nothing that was under way is answered, half of it was done
                    for effect in std::mem::take(&mut slow.open) {
                        match effect {
                            Effect::Start(name) if how % 2 == 0 => {
                                *slow.runs.entry(name.clone()).or_default() += 1;
                                slow.running.insert(name);
                            }
                            Effect::End { name, .. } if how % 2 == 0 => drop(slow.running.remove(&name)),
                            _ => {}
                        }
                    }
                    slow.waits.clear();
                    let kept = serde_json::to_vec(&tree).unwrap();
                    tree = serde_json::from_slice(&kept).unwrap();
                    let seen = shape.sessions.keys().map(|name| {
                        let up = Seen::Up { run: slow.runs.get(name).copied().unwrap_or(0) };
                        (name.clone(), if slow.running.contains(name) { up } else { Seen::Lost })
                    });
                    let effects = tree.wake(&seen.collect(), now, 0.5);
                    slow.take(&shape, effects);
                    None
                }
            };
            if let Some(input) = input {
                slow.take(&shape, tree.step(input, now, 0.5));
            }
        }
        let before = slow.effects;
        loop {
            let input = match slow.finish(0, true) {
                Some(input) => input,
                None => match slow.waits.pop() {
                    Some(token) => Input::Due { token },
                    None => break,
                },
            };
            slow.take(&shape, tree.step(input, now, 0.5));
            prop_assert!(slow.effects - before < 1000, "it never ends: {tree:?}");
        }
        prop_assert!(!tree.is_busy(), "{tree:?}");
        for group in shape.groups.keys() {
            prop_assert!(matches!(tree.stand(group), Stand::Up | Stand::Down | Stand::Failed), "{group} of {tree:?}");
        }
    }
}

/// Starts follow the order of the fleet, ends the reverse of it.
#[test]
fn up_and_down_keep_the_order() {
    for fleet in FLEETS {
        let mut world = World::new(fleet);
        let mut order = world.shape.in_order().unwrap();
        order.retain(|name| world.shape.sessions.contains_key(name));
        let mut order: Vec<String> = order.iter().map(ToString::to_string).collect();
        assert_eq!(world.does("up").replace('+', ""), order.join(" "));
        assert_eq!(world.does("up"), "");
        order.reverse();
        assert_eq!(world.does("down").replace('-', ""), order.join(" "));
    }
}

#[test]
fn a_group_that_was_cut_off_by_a_crash_is_finished() {
    // one_for_all, `b` fell, `c` is ended, the host dies before `a` is
    let mut world = World::new("g one_for_all 3/60: a b c");
    world.does("up");
    let (b, c) = (name("b"), name("c"));
    let exited = Input::Exited { name: b, run: 1, decision: Decision::Restart(Duration::ZERO), wanted: false };
    let effects = world.tree.step(exited, world.now, 0.5);
    assert!(matches!(effects.last(), Some(Effect::End { name, again: true, .. }) if *name == c), "{effects:?}");
    let mut tree: Tree = serde_json::from_slice(&serde_json::to_vec(&world.tree).unwrap()).unwrap();
    let seen = [("a", Seen::Up { run: 1 }), ("b", Seen::Restarts), ("c", Seen::Restarts)];
    let effects = tree.wake(&seen.map(|(who, seen)| (name(who), seen)).into(), world.now, 0.5);
    world.tree = tree;
    world.running = [name("a")].into();
    world.said.clear();
    world.carry_out(effects.into());
    assert_eq!(world.said.join(" "), "-a +a +b +c");
    assert_eq!((world.tree.stand(&name("g")), world.tree.restarts(&name("g"), world.now)), (Stand::Up, 1));
}

#[test]
fn after_a_reboot_all_start_again_in_order_and_nothing_is_counted() {
    let mut world = World::new("s\ng one_for_all 0/60: a ?b ~c");
    world.does("up");
    let lost: BTreeMap<Name, Seen> = world.shape.sessions.keys().map(|name| (name.clone(), Seen::Lost)).collect();
    world.running.clear();
    let effects = world.tree.wake(&lost, world.now, 0.5);
    world.said.clear();
    world.carry_out(effects.into());
    assert_eq!(world.said.join(" "), "+a +c");
}

#[test]
fn an_orderly_end_of_the_host_is_nobodys_failure() {
    let mut world = World::new("g one_for_all 0/60: a ?b ~c");
    world.does("up");
    world.tree.rest();
    world.running.clear();
    let (again, ended) = (Seen::Restarts, Seen::Ended { wanted: true });
    let seen = [("a", again), ("b", ended), ("c", ended)].map(|(who, seen)| (name(who), seen));
    let effects = world.tree.wake(&seen.into(), world.now, 0.5);
    world.said.clear();
    world.carry_out(effects.into());
    assert_eq!(world.said.join(" "), "+a");
}

#[test]
fn another_shape_keeps_what_stands_in_both() {
    let mut world = World::new("g one_for_all 3/60: a b c");
    world.does("up");
    let mut shape = world.shape.clone();
    shape.groups.get_mut(&name("g")).unwrap().members = vec![name("d"), name("a"), name("c")];
    shape.sessions.remove(&name("b"));
    shape.sessions.insert(name("d"), RestartMode::Always);
    world.tree.reshape(&shape);
    world.shape = shape;
    world.running.remove(&name("b"));
    assert_eq!(world.does("up"), "+d");
    assert_eq!(world.does("a fails"), "-c -d +d +a +c");
    world.said.clear();
    world.feed(Input::Cycle(name("a")));
    assert_eq!(world.said.join(" "), "-a +a");
    assert_eq!(world.tree.restarts(&name("g"), world.now), 1);
}
