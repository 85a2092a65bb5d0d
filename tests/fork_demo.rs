//! What fork-demo promises.
#![cfg(unix)]

mod common;

use common::*;
use predicates::prelude::*;

#[test]
fn the_parent_and_the_child_name_each_other() {
    let assert = run(demo!()).success().stderr("");
    let out = stdout(&assert);

    let parent = capture(&out, r"Process \((\d+)\) start\.\.\.");
    let child = capture(&out, r"I am child process \((\d+)\) and my parent is \d+\.");
    assert_ne!(parent, child);
    let start = format!("Process ({parent}) start...");
    let created = format!("I ({parent}) just created a child process ({child}).");
    let born = format!("I am child process ({child}) and my parent is {parent}.");
    // The system may run either of the two first.
    assert_order(&out, [&start, &created]);
    assert_order(&out, [&start, &born]);
    assert_eq!(out.lines().count(), 3, "{out}");
}

#[test]
fn a_terminal_shows_the_same_lines_as_a_pipe() {
    let seen = run_on_a_terminal(demo!());
    assert_eq!(seen.lines().count(), 3, "{seen}");
    assert_eq!(
        captures(&seen, r"(Process \(\d+\) start\.\.\.)").len(),
        1,
        "{seen}"
    );
}

#[test]
fn the_parent_waits_even_when_nobody_reads() {
    assert_quiet_without_reader(demo!());
}

#[test]
fn a_full_disk_is_an_error() {
    assert_error_on_full_disk(demo!());
}

#[test]
fn wrong_arguments_are_refused() {
    assert_usage_error(demo!("--nonsense"), "--nonsense");
    assert_usage_error(demo!("nonsense"), "nonsense");
}

#[test]
fn help_says_what_the_demo_is_about() {
    run(demo!("--help"))
        .success()
        .stdout(predicate::str::contains("fork"));
}
