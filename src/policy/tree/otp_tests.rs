//! What Erlang/OTP's documentation of `supervisor` says, as tables: the same order of starts and ends.
//!
//! <https://www.erlang.org/doc/system/sup_princ.html> and <https://www.erlang.org/doc/apps/stdlib/supervisor.html>.

use super::tests::World;

/// A fleet (`name strategy max/seconds: members`, one a line; `~x` is transient, `?x` temporary) and what follows from what
/// happens to it: `+a` is a start, `-a` an end, `!g` the failure of a group, `^g` one that escalates.
fn check(fleet: &str, steps: &[(&str, &str)]) {
    let mut world = World::new(fleet);
    for (what, wanted) in steps {
        assert_eq!(world.does(what), *wanted, "after {what:?} of\n{fleet}");
    }
}

#[test]
fn one_for_one() {
    // "If a child process terminates, only that process is restarted."
    check(
        "g one_for_one 3/5: a b c",
        &[("up", "+a +b +c"), ("b fails", "+b"), ("c exits", "+c"), ("down", "-c -b -a")],
    );
}

#[test]
fn one_for_all() {
    // "If a child process terminates, all remaining child processes are terminated. Subsequently, all child processes,
    // including the terminated one, are restarted."
    check(
        "g one_for_all 3/5: a b c",
        &[("up", "+a +b +c"), ("b fails", "-c -a +a +b +c"), ("a fails", "-c -b +a +b +c"), ("down", "-c -b -a")],
    );
}

#[test]
fn rest_for_one() {
    // "If a child process terminates, the child processes after the terminated process in start order are terminated.
    // Subsequently, the terminated child process and the remaining child processes are restarted."
    check(
        "g rest_for_one 3/5: a b c d",
        &[("up", "+a +b +c +d"), ("b fails", "-d -c +b +c +d"), ("d fails", "+d"), ("a fails", "-d -c -b +a +b +c +d")],
    );
}

#[test]
fn restart_types() {
    // "A permanent child process is always restarted. A temporary child process is never restarted (not even when the
    // supervisor restart strategy is rest_for_one or one_for_all and a sibling death causes the temporary process to be
    // terminated). A transient child process is restarted only if it terminates abnormally."
    check(
        "g one_for_one 9/5: a ~b ?c",
        &[("up", "+a +b +c"), ("a exits", "+a"), ("b exits", ""), ("c fails", ""), ("a fails", "+a"), ("down", "-a")],
    );
    check("g one_for_one 9/5: a ~b", &[("up", "+a +b"), ("b fails", "+b"), ("b killed", "+b")]);
    check(
        "g one_for_all 9/5: a ?b ~c",
        &[
            ("up", "+a +b +c"),
            ("a fails", "-c -b +a +c"),
            ("c exits", ""),
            ("a fails", "+a +c"),
            ("c fails", "-a +a +c"),
        ],
    );
    check("g rest_for_one 9/5: a ?b c", &[("up", "+a +b +c"), ("b fails", ""), ("a fails", "-c +a +c")]);
}

#[test]
fn maximum_restart_intensity() {
    // "If more than MaxR number of restarts occur in the last MaxT seconds, the supervisor terminates all the child processes
    // and then itself."
    let fleet = "g one_for_one 1/5: a b c"; // OTP's own default
    check(fleet, &[("up", "+a +b +c"), ("b fails", "+b"), ("b fails", "-c -a !g")]);
    check(fleet, &[("up", "+a +b +c"), ("b fails", "+b"), ("a fails", "-c -b !g")]);
    check(fleet, &[("up", "+a +b +c"), ("b fails", "+b"), ("5s", ""), ("b fails", "-c -a !g")]);
    check(
        fleet,
        &[("up", "+a +b +c"), ("b fails", "+b"), ("6s", ""), ("b fails", "+b"), ("6s", ""), ("a fails", "+a")],
    );
    check("g one_for_all 0/1: a b", &[("up", "+a +b"), ("a fails", "-b !g"), ("up", "+a +b")]);
    // one restart of a group counts as one, however many it ends and starts
    check(
        "g one_for_all 2/5: a b c d",
        &[("up", "+a +b +c +d"), ("a fails", "-d -c -b +a +b +c +d"), ("b fails", "-d -c -a +a +b +c +d")],
    );
    // two that die together count once where the strategy takes both along
    check("g one_for_all 1/5: a b c", &[("up", "+a +b +c"), ("a+b fail", "-c +a +b +c")]);
}

#[test]
fn the_next_higher_supervisor_takes_over() {
    // "When the supervisor terminates, then the next higher-level supervisor takes some action. It either restarts the
    // terminated supervisor or terminates itself."
    check(
        "top rest_for_one 1/60: a low z\nlow one_for_one 1/60: b c",
        &[
            ("up", "+a +b +c +z"),
            ("c fails", "+c"),
            ("c fails", "-b ^low -z +b +c +z"),
            ("c fails", "+c"), // a new supervisor has counted nothing
            ("b fails", "-c ^low -z -a !top"),
        ],
    );
    // a group is ended as a whole, in reverse, and started as a whole
    check(
        "top one_for_all 9/60: a low z\nlow one_for_one 1/60: b c",
        &[("up", "+a +b +c +z"), ("a fails", "-z -c -b +a +b +c +z"), ("down", "-z -c -b -a")],
    );
}

#[test]
fn intensities_of_levels_multiply() {
    // "if the top level allows 10 restarts, and the next level also allows 10, a crashing child below that level will be
    // restarted 100 times": 10 restarts in each of 11 lives of its supervisor.
    let mut world = World::new("top one_for_one 10/60: low\nlow one_for_one 10/60: a");
    world.does("up");
    let (mut starts, mut last) = (1, String::new());
    while !last.contains("!top") {
        last = world.does("a fails");
        starts += last.matches("+a").count();
        assert!(starts < 1000, "it never gives up");
    }
    assert_eq!((starts, last.matches("^low").count()), (11 * 11, 1));
}

#[test]
fn a_start_that_fails() {
    // "If any child process start function fails …, the supervisor first terminates all already started child processes
    // and then terminates itself."
    check("g one_for_one 9/5: a b c", &[("c can't start", ""), ("up", "+a +b c? -b -a !g")]);
    // when a restart fails, it is tried again, which counts
    check("g one_for_one 3/5: a b", &[("up", "+a +b"), ("b can't start", ""), ("b fails", "b? b? b? -a !g")]);
    check(
        "g rest_for_one 2/5: a b c d",
        &[("up", "+a +b +c +d"), ("c can't start once", ""), ("b fails", "-d -c +b c? +c +d")],
    );
    check(
        "g one_for_all 2/5: a b c",
        &[("up", "+a +b +c"), ("b can't start once", ""), ("c fails", "-b -a +a b? -a +a +b +c")],
    );
    check(
        "top one_for_one 1/60: low z\nlow one_for_one 9/60: a b",
        &[("b can't start", ""), ("up", "+a b? -a ^low !top")],
    );
}

#[test]
fn top_level_stands_alone() {
    // our fleet is started in order and ended in reverse; one group that fails leaves the others alone
    check(
        "a\ng one_for_one 0/5: b\nh one_for_one 1/5: c\nz",
        &[("up", "+a +b +c +z"), ("b fails", "!g"), ("c fails", "+c"), ("up", "+b"), ("down", "-z -c -b -a")],
    );
}

#[test]
fn what_somebody_ended_stays_ended() {
    check(
        "g one_for_all 9/5: a b c",
        &[
            ("up", "+a +b +c"),
            ("b stopped", ""),
            ("a fails", "-c +a +c"),
            ("b starts", ""),
            ("a fails", "-c -b +a +b +c"),
        ],
    );
    check(
        "top one_for_all 9/5: a low\nlow one_for_one 9/5: b c",
        &[
            ("up", "+a +b +c"),
            ("down low", "-c -b"),
            ("a fails", "+a"),
            ("up", "+b +c"),
            ("down low", "-c -b"),
            ("down", "-a"),
        ],
    );
}

#[test]
fn delays_come_before_starts() {
    check(
        "g rest_for_one 9/60: a b c",
        &[
            ("up", "+a +b +c"),
            ("b fails, again in 2s", "2s -c"),
            ("a fails, again in 1s", "1s"),
            ("later", "+a +b +c"),
            ("c fails, again in 4s", "4s"),
            ("down", "-b -a"),
        ],
    );
    check(
        "g one_for_one 9/60: a b",
        &[("up", "+a +b"), ("a fails, again in 2s", "2s"), ("b fails", "+b"), ("later", "+a")],
    );
}
