//! What ipc-demo promises.

mod common;

use common::*;
use predicates::prelude::*;

/// Checks every order that the queue enforces, and none that it does not.
#[track_caller]
fn assert_a_queue(out: &str) {
    let writer = capture(out, r"Process to write: (\d+)");
    let reader = capture(out, r"Process to read: (\d+)");
    assert_ne!(writer, reader);
    let put = ["A", "B", "C"].map(|item| format!("Put {item} to queue..."));
    let get = ["A", "B", "C"].map(|item| format!("Get {item} from queue."));
    assert_order(
        out,
        [&format!("Process to write: {writer}")]
            .into_iter()
            .chain(&put),
    );
    assert_order(
        out,
        [&format!("Process to read: {reader}")]
            .into_iter()
            .chain(&get),
    );
    for (put, get) in put.iter().zip(&get) {
        assert_order(out, [put, get]);
    }
    assert_eq!(out.lines().count(), 8, "{out}");
}

#[test]
fn what_is_put_into_the_queue_is_got_from_it_in_order() {
    for command in [demo!(), demo!("queue")] {
        assert_a_queue(&stdout(&run(command).success().stderr("")));
    }
}

#[cfg(unix)]
#[test]
fn a_terminal_shows_the_same_lines_as_a_pipe() {
    assert_a_queue(&run_on_a_terminal(demo!()));
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
fn nothing_is_left_in_the_temporary_directory() {
    let directory = new_directory();
    let mut command = demo!();
    command.env("TMPDIR", &directory);
    run(command).success();
    let left: Vec<_> = std::fs::read_dir(&directory)
        .expect("it is there")
        .collect();
    assert!(left.is_empty(), "{left:?}");
    std::fs::remove_dir(&directory).expect("it is empty");
}

/// A new and empty directory.
fn new_directory() -> std::path::PathBuf {
    let directory = std::env::temp_dir().join(format!("ipc-demo-test-{}", std::process::id()));
    std::fs::create_dir(&directory).expect("it can be made");
    directory
}

#[test]
fn a_role_that_no_child_has_is_an_error() {
    run(demo!("--child", "nonsense"))
        .code(1)
        .stderr(predicate::str::contains(
            r#"no child has the role "nonsense""#,
        ));
}

#[test]
fn wrong_arguments_are_refused() {
    assert_usage_error(demo!("--nonsense"), "--nonsense");
    assert_usage_error(demo!("nonsense"), "nonsense");
}

#[test]
fn help_names_every_lesson() {
    run(demo!("--help"))
        .success()
        .stdout(predicate::str::contains("queue"));
}
