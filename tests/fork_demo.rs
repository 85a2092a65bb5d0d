//! What fork-demo promises.
#![cfg(unix)]

mod common;

use std::{collections::HashSet, os::unix::process::CommandExt, process::Command};

use assert_cmd::assert::Assert;
use common::*;
use nix::{
    sys::{
        resource::{Resource, setrlimit},
        signal::{SigHandler, Signal, signal},
    },
    unistd::Uid,
};
use predicates::prelude::*;

const LESSONS: [&str; 3] = ["many", "copy", "orphan"];

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
fn each_of_many_children_is_reaped_once_and_with_its_own_exit_code() {
    for children in [0, 1, 3, 200, 300] {
        let assert = run(demo!("many", "--children", &children.to_string()))
            .success()
            .stderr("");
        let out = stdout(&assert);
        let forked = captures(&out, r"Child \d+ is forked \((\d+)\)\.");
        assert_eq!(forked.len(), children, "{out}");
        let ids: HashSet<&String> = forked.iter().collect();
        assert_eq!(ids.len(), children, "{out}");
        for (number, child) in (1..).zip(&forked) {
            let code = number % 256;
            assert_order(
                &out,
                [
                    format!("Child {number} is forked ({child})."),
                    format!("Child {number} ({child}) ended with exit code {code}."),
                    "No child is left.".to_owned(),
                ],
            );
        }
        assert_eq!(out.lines().count(), 2 * children + 1, "{out}");
    }
}

#[test]
fn when_a_fork_is_refused_the_children_before_it_are_reaped() {
    let mut command = demo!("many", "--children", "5");
    // The number of processes is limited per user, but not for root. So root becomes a user who has
    // no other process: that user's third child is the fourth process.
    let root = Uid::effective().is_root();
    let (limit, refused) = if root { (3, 3) } else { (1, 1) };
    let copy = ExecutableForAll::copy_of(&command);
    if root {
        command = common::command(&copy.0, &["many", "--children", "5"]);
        command.uid(54_321).gid(54_321);
    }
    limit_processes(&mut command, limit);

    let assert = run(command)
        .code(1)
        .stderr(predicate::str::contains(format!(
            "cannot fork child {refused} of 5: Resource temporarily unavailable"
        )));
    let out = stdout(&assert);
    let forked = captures(&out, r"Child \d+ is forked \((\d+)\)\.");
    let ended = captures(&out, r"Child \d+ \((\d+)\) ended with exit code \d\.");
    assert_eq!(forked.len(), refused - 1, "{out}");
    assert_eq!(
        forked.iter().collect::<HashSet<_>>(),
        ended.iter().collect(),
        "{out}"
    );
}

fn limit_processes(command: &mut Command, limit: u64) {
    let set = move || Ok(setrlimit(Resource::RLIMIT_NPROC, limit, limit)?);
    // SAFETY: the closure makes one system call and touches no memory but its own.
    unsafe { command.pre_exec(set) };
}

#[test]
fn children_are_reaped_even_if_whoever_started_the_demo_ignores_its_own() {
    let mut command = demo!("many");
    // SAFETY: `signal` is async-signal-safe, and sets no handler of ours.
    unsafe {
        command.pre_exec(|| {
            signal(Signal::SIGCHLD, SigHandler::SigIgn)?;
            Ok(())
        })
    };
    run(command)
        .success()
        .stdout(predicate::str::contains("ended with exit code").count(3));
}

#[test]
fn memory_is_copied_an_open_file_is_shared_and_threads_stay_behind() {
    run(demo!("copy")).success().stderr("").stdout(
        "A variable, set to 2 by the child: 1 in the parent, 2 in the child.\n\
         Bytes in a buffer: written 2 times; flushed before the fork: 1 time.\n\
         An open file, of which the child read 10 bytes: the parent stands at byte 10.\n\
         The same file, opened by the child for itself: the parent stands at byte 0.\n\
         Threads: 2 in the parent, 1 in the child.\n",
    );
}

/// Checks what `orphan` printed, and returns the orphan's new parent.
#[track_caller]
fn assert_a_zombie_and_an_orphan(out: &str) -> String {
    let zombie = r"Child (\d+) has ended, but nobody has waited for it: state Z, a zombie\.";
    let gone = r"Child (\d+) is waited for, exit code 7: it is gone from the process table\.";
    assert_eq!(capture(out, zombie), capture(out, gone));
    let old = capture(
        out,
        r"Child \d+ has outlived its parent (\d+): its new parent is \d+\.",
    );
    let new = capture(
        out,
        r"Child \d+ has outlived its parent \d+: its new parent is (\d+)\.",
    );
    assert_ne!(old, new, "{out}");
    assert_eq!(out.lines().count(), 3, "{out}");
    new
}

#[test]
fn a_child_that_nobody_waits_for_is_a_zombie_and_an_orphan_gets_a_new_parent() {
    adopt_orphans();
    let demo = demo!("orphan").spawn().expect("the demo can be started");
    let output = finish_with_orphans(demo);

    let assert = Assert::new(output).success().stderr("");
    let new_parent = assert_a_zombie_and_an_orphan(&stdout(&assert));
    if cfg!(target_os = "linux") {
        assert_eq!(new_parent, std::process::id().to_string());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_orphan_that_comes_to_the_demo_itself_is_waited_for() {
    let mut command = demo!("orphan");
    // SAFETY: the closure makes one system call. (The setting outlives the start of the demo.)
    unsafe { command.pre_exec(|| Ok(nix::sys::prctl::set_child_subreaper(true)?)) };
    let demo = command.spawn().expect("the demo can be started");
    let id = demo.id().to_string();
    let assert = Assert::new(finish(demo)).success().stderr("");
    assert_eq!(assert_a_zombie_and_an_orphan(&stdout(&assert)), id);
}

#[test]
fn the_parent_waits_even_when_nobody_reads() {
    for lesson in LESSONS {
        assert_quiet_without_reader(demo!(lesson));
    }
}

#[test]
fn a_full_disk_is_an_error() {
    assert_error_on_full_disk(demo!());
    for lesson in LESSONS {
        assert_error_on_full_disk(demo!(lesson));
    }
}

#[test]
fn wrong_arguments_are_refused_with_what_is_allowed() {
    assert_usage_error(demo!("--nonsense"), "--nonsense");
    assert_usage_error(demo!("nonsense"), "nonsense");
    assert_usage_error(demo!("many", "--children", "-1"), "0..=10000");
    assert_usage_error(demo!("many", "--children", "x"), "invalid digit");
}

#[test]
fn help_names_every_lesson() {
    let assert = run(demo!("--help")).success();
    for lesson in LESSONS.into_iter().chain(["serve"]) {
        assert!(stdout(&assert).contains(lesson), "{lesson}");
    }
}
