//! What pool-demo promises.

mod common;

use std::collections::{HashMap, HashSet};

use common::*;
use predicates::prelude::*;

const BACKENDS: [&str; 2] = ["process", "thread"];

#[test]
fn the_parents_own_lines_frame_those_of_the_tasks() {
    for backend in BACKENDS {
        let assert = run(demo!("--backend", backend, "--max-seconds", "0.1"))
            .success()
            .stderr("");
        let out = stdout(&assert);
        let lines: Vec<&str> = out.lines().collect();
        // Parent, "Waiting", two lines for each of five tasks, "All … done".
        assert_eq!(lines.len(), 1 + 1 + 5 * 2 + 1, "{out}");
        capture(lines[0], r"(Parent process \d+\.)");
        capture(&out, r"(Waiting for all subprocesses done\.\.\.)");
        assert_eq!(lines[12], "All subprocesses done.");
    }
}

/// Reads the output as the pool's history, and checks every step of it.
#[track_caller]
fn assert_a_pool_of(workers: usize, tasks: usize, out: &str) {
    let run = regex::Regex::new(r"^Run task (\d+) \((.+)\)\.\.\.$").expect("the pattern is valid");
    let end =
        regex::Regex::new(r"^Task (\d+) runs \d+\.\d\d seconds\.$").expect("the pattern is valid");
    let mut running: HashMap<&str, &str> = HashMap::new(); // task -> worker
    let mut ids = HashSet::new();
    let mut done = HashSet::new();
    for line in out.lines() {
        if let Some((_, [task, worker])) = run.captures(line).map(|found| found.extract()) {
            assert!(
                !running.values().any(|busy| *busy == worker),
                "{line:?}: a busy worker, in:\n{out}"
            );
            assert!(
                !done.contains(task),
                "{line:?}: a task that was done before, in:\n{out}"
            );
            assert_eq!(
                running.insert(task, worker),
                None,
                "{line:?}: a running task, in:\n{out}"
            );
            assert!(
                running.len() <= workers,
                "{line:?}: one too many at once, in:\n{out}"
            );
            ids.insert(worker);
        } else if let Some((_, [task])) = end.captures(line).map(|found| found.extract()) {
            assert!(
                running.remove(task).is_some(),
                "{line:?}: it did not run, in:\n{out}"
            );
            done.insert(task);
        }
    }
    assert!(running.is_empty(), "not ended: {running:?}, in:\n{out}");
    assert_eq!(done.len(), tasks, "in:\n{out}");
    assert!(
        ids.len() <= workers,
        "{} workers instead of {workers}, in:\n{out}",
        ids.len()
    );
}

#[test]
fn every_task_runs_once_and_never_more_at_once_than_there_are_workers() {
    for backend in BACKENDS {
        for seed in ["1", "2", "3"] {
            for (workers, tasks) in [(4, 5), (1, 4), (3, 20), (8, 2)] {
                let assert = run(demo!(
                    "--backend",
                    backend,
                    "--seed",
                    seed,
                    "--max-seconds",
                    "0.02",
                    "--workers",
                    &workers.to_string(),
                    "--tasks",
                    &tasks.to_string(),
                ))
                .success();
                assert_a_pool_of(workers, tasks, &stdout(&assert));
            }
        }
    }
}

#[test]
fn a_pool_without_tasks_just_ends() {
    for backend in BACKENDS {
        let assert = run(demo!("--backend", backend, "--tasks", "0")).success();
        assert_order(
            &stdout(&assert),
            [
                "Waiting for all subprocesses done...",
                "All subprocesses done.",
            ],
        );
    }
}

#[test]
fn the_same_seed_makes_the_same_tasks() {
    let durations = |seed| {
        // A worker for each task: all run at once, and a busy machine hardly stretches a sleep.
        let assert = run(demo!(
            "--workers",
            "5",
            "--seed",
            seed,
            "--max-seconds",
            "1"
        ))
        .success();
        let task = |n| {
            capture(
                &stdout(&assert),
                &format!(r"Task {n} runs (\d\.\d\d) seconds\."),
            )
        };
        [0, 1, 2, 3, 4].map(|n| task(n).parse::<f64>().expect("a number of seconds"))
    };
    let (first, second, other) = (durations("7"), durations("7"), durations("8"));
    let near = |a: [f64; 5], b: [f64; 5]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.25);
    assert!(near(first, second), "{first:?} and {second:?}");
    assert!(!near(first, other), "{first:?} and {other:?}");
}

#[cfg(unix)]
#[test]
fn a_terminal_shows_the_same_lines_as_a_pipe() {
    let seen = run_on_a_terminal(demo!("--max-seconds", "0.02"));
    assert_a_pool_of(4, 5, &seen);
}

#[test]
fn it_ends_quietly_when_nobody_reads() {
    for backend in BACKENDS {
        assert_quiet_without_reader(demo!("--backend", backend));
    }
}

#[test]
fn a_full_disk_is_an_error() {
    assert_error_on_full_disk(demo!());
}

#[test]
fn wrong_arguments_are_refused_with_what_is_allowed() {
    assert_usage_error(demo!("--workers", "0"), "1..=1000");
    assert_usage_error(demo!("--workers", "-1"), "1..=1000");
    assert_usage_error(demo!("--max-seconds", "-1"), "from 0 to 3600");
    assert_usage_error(demo!("--max-seconds", "NaN"), "from 0 to 3600");
    assert_usage_error(demo!("--tasks", "x"), "invalid digit");
    assert_usage_error(demo!("--backend", "coroutine"), "process, thread");
    assert_usage_error(demo!("--nonsense"), "--nonsense");
}

#[test]
fn a_worker_without_a_pool_is_an_error() {
    run(demo!("--worker"))
        .code(1)
        .stderr(predicate::str::contains("started by a pool only"));
}

#[test]
fn help_names_every_option() {
    let assert = run(demo!("--help")).success();
    for option in [
        "--workers",
        "--tasks",
        "--max-seconds",
        "--seed",
        "--backend",
    ] {
        assert!(stdout(&assert).contains(option), "{option}");
    }
}
