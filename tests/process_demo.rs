//! What process-demo promises.

mod common;

use common::*;
use predicates::prelude::*;

#[test]
fn start_comes_before_the_child_and_join_after_it() {
    let assert = run(demo!()).success().stderr("");
    let out = stdout(&assert);

    let parent = capture(&out, r"Parent process (\d+)\.");
    let child = capture(&out, r"Run child process test \((\d+)\)\.\.\.");
    assert_ne!(parent, child);
    // Here start and join enforce the place of every line.
    let lines = [
        format!("Parent process {parent}."),
        "Child process will start.".to_owned(),
        format!("Run child process test ({child})..."),
        "Child process end.".to_owned(),
    ];
    assert_eq!(out, lines.join("\n") + "\n");
}

#[cfg(unix)]
#[test]
fn a_terminal_shows_the_same_lines_as_a_pipe() {
    let seen = run_on_a_terminal(demo!());
    let run_child = capture(&seen, r"(Run child process test \(\d+\)\.\.\.)");
    assert_order(
        &seen,
        [
            "Child process will start.",
            &run_child,
            "Child process end.",
        ],
    );
    assert_eq!(seen.lines().count(), 4, "{seen}");
}

#[test]
fn it_ends_quietly_when_nobody_reads() {
    assert_quiet_without_reader(demo!());
}

#[test]
fn a_full_disk_is_an_error() {
    assert_error_on_full_disk(demo!());
}

#[test]
fn a_function_that_no_child_knows_is_an_error() {
    run(demo!("--child", "nonsense"))
        .code(1)
        .stderr(predicate::str::contains(r#"no function named "nonsense""#));
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
        .stdout(predicate::str::contains("process"));
}
