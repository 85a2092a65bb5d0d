//! What subprocess-demo promises.

mod common;

use common::*;
use predicates::prelude::*;

/// A demo run whose PATH leads nowhere, so that no program is found, whatever is installed.
fn without_path(mut command: std::process::Command) -> std::process::Command {
    command.env("PATH", "");
    command
}

/// The demo's own program as the child: the one program that is surely there.
fn itself() -> String {
    assert_cmd::cargo::cargo_bin!("subprocess-demo")
        .display()
        .to_string()
}

#[test]
fn the_notes_command_is_what_runs_by_default() {
    run(without_path(demo!())).stdout("$ nslookup www.python.org\n");
}

#[test]
fn a_program_that_does_not_exist_is_exit_code_127_with_a_hint() {
    let expected = predicate::str::contains(r#""nslookup" not found"#).and(
        predicate::str::contains("cargo run -p subprocess-demo -- call"),
    );
    run(without_path(demo!())).code(127).stderr(expected);
}

#[test]
fn the_command_line_comes_first_then_the_childs_output_then_its_exit_code() {
    let program = itself();
    let assert = run(demo!("call", &program, "--version"))
        .success()
        .stderr("");
    let version = format!("subprocess-demo {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        stdout(&assert),
        format!("$ {program} --version\n{version}\nExit code: 0\n")
    );
}

#[test]
fn the_exit_code_of_the_child_is_ours() {
    let assert = run(demo!("call", &itself(), "--nonsense")).code(2);
    assert_order(
        &stdout(&assert),
        [format!("$ {} --nonsense", itself()), "Exit code: 2".into()],
    );
}

#[cfg(unix)]
#[test]
fn a_child_killed_by_a_signal_is_named_with_it() {
    let assert = run(demo!("call", "sh", "-c", "kill -KILL $$")).code(128 + 9);
    assert_order(
        &stdout(&assert),
        ["$ sh -c kill -KILL $$", "Killed by signal: 9 (SIGKILL)"],
    );
}

#[cfg(unix)]
#[test]
fn a_file_that_is_not_executable_is_exit_code_126() {
    run(demo!("call", "/dev/null"))
        .code(126)
        .stderr(predicate::str::contains("/dev/null"));
}

#[cfg(unix)]
#[test]
fn a_terminal_shows_the_same_lines_as_a_pipe() {
    let seen = run_on_a_terminal(demo!("call", &itself(), "--version"));
    let (first, version) = (format!("$ {} --version", itself()), "subprocess-demo 0.1.0");
    assert_order(&seen, [&first, version, "Exit code: 0"]);
}

#[test]
fn it_ends_quietly_when_nobody_reads() {
    assert_quiet_without_reader(demo!("call", &itself(), "--version"));
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
fn help_names_every_lesson() {
    run(demo!("--help"))
        .success()
        .stdout(predicate::str::contains("call"));
}
