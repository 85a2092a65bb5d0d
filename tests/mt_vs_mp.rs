//! What mt-vs-mp promises. How fast anything is, it does not promise.

mod common;

use common::*;
use predicates::prelude::*;

/// The cells of the table rows whose first cell is `name`.
fn rows(out: &str, name: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        let cells = line.split(['│', '┆']).map(|cell| cell.trim().to_owned());
        cells.filter(|cell| !cell.is_empty()).collect()
    };
    out.lines()
        .map(cells)
        .filter(|row| row.first().is_some_and(|first| first == name))
        .collect()
}

#[test]
fn every_way_finds_the_same_primes() {
    for workers in ["1", "3"] {
        let assert = run(demo!("--workers", workers)).success().stderr("");
        let out = stdout(&assert);
        for (way, its_workers) in [
            ("serial", "1"),
            ("threads", workers),
            ("processes", workers),
        ] {
            let row = &rows(&out, way)[0];
            assert_eq!(
                (row[1].as_str(), row[4].as_str()),
                (its_workers, "216816"),
                "{out}"
            );
        }
        assert!(out.contains("The results are equal, and right."), "{out}");
    }
}

#[cfg(unix)]
#[test]
fn an_abort_takes_all_threads_along_but_no_process() {
    let assert = run(demo!()).success();
    let out = stdout(&assert);
    assert_eq!(
        rows(&out, "threads")[1],
        ["threads", "died: signal: 6 (SIGABRT)", "0 of 3"],
        "{out}"
    );
    assert_eq!(
        rows(&out, "processes")[1],
        ["processes", "goes on", "3 of 3"],
        "{out}"
    );
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
fn wrong_arguments_are_refused_with_what_is_allowed() {
    assert_usage_error(demo!("--workers", "0"), "1..=256");
    assert_usage_error(demo!("--workers", "-1"), "1..=256");
    assert_usage_error(demo!("--nonsense"), "--nonsense");
}

#[test]
fn a_trial_that_does_not_exist_is_an_error() {
    run(demo!("--trial", "nonsense", "x"))
        .code(1)
        .stderr(predicate::str::contains("no such trial"));
}

#[test]
fn help_names_every_option() {
    run(demo!("--help"))
        .success()
        .stdout(predicate::str::contains("--workers"));
}
