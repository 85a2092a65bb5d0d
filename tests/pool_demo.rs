//! What pool-demo promises.

mod common;
mod pool_demo_remote;
mod readme;

use std::collections::{BTreeSet, HashMap, HashSet};

#[cfg(target_os = "linux")]
use std::time::{Duration, Instant};

use assert_cmd::assert::Assert;
use common::*;
use predicates::prelude::*;

/// Long enough for a slow and busy machine.
#[cfg(target_os = "linux")]
const LIMIT: Duration = Duration::from_secs(60);

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
        let (lines, timeline) = lines.split_at(1 + 1 + 5 * 2 + 1);
        capture(lines[0], r"(Parent process \d+\.)");
        capture(&out, r"(Waiting for all subprocesses done\.\.\.)");
        assert_eq!(lines[12], "All subprocesses done.");
        assert_a_timeline(&workers_of(&out), 80, timeline);
    }
}

/// The workers that ran tasks, in the order in which they began.
fn workers_of(out: &str) -> Vec<String> {
    captures(out, r"Run task \d+ \((.+)\)\.\.\.")
}

#[track_caller]
fn assert_a_timeline(workers: &[String], columns: usize, timeline: &[&str]) {
    let workers: BTreeSet<&str> = workers.iter().map(String::as_str).collect();
    let (scale, rows) = timeline.split_first().expect("there is a timeline");
    capture(scale, r" +(0 +\d+\.\d\d s)");
    assert_eq!(scale.chars().count(), columns, "{timeline:#?}");
    let mut names = BTreeSet::new();
    for row in rows {
        assert!(row.chars().count() <= columns, "{row:?}");
        // A name, some space, and bars that end with a half line each.
        names.insert(row.split_whitespace().next().expect("a row has a name"));
        assert!(row.ends_with('╸'), "{row:?}");
    }
    assert_eq!(names, workers, "{timeline:#?}");
    assert_eq!(rows.len(), workers.len(), "one row for each: {timeline:#?}");
}

#[test]
fn the_timeline_shows_in_which_row_each_task_ran() {
    let assert = run(demo!("--seed", "2", "--max-seconds", "1")).success();
    let out = stdout(&assert);
    let (_, timeline) = out
        .split_once("All subprocesses done.\n")
        .expect("the timeline comes last");
    // These tasks are all long enough to show their numbers.
    for task in 0..5 {
        let worker = capture(&out, &format!(r"Run task {task} \((.+)\)\.\.\."));
        capture(timeline, &format!(" *({worker} .*{task}━.*)"));
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

#[cfg(unix)]
#[test]
fn four_tasks_run_at_once_and_the_fifth_waits() {
    adopt_orphans();
    let mut demo = demo!("--seed", "2", "--max-seconds", "3600")
        .spawn()
        .expect("the demo can be started");
    let _guard = Guard(demo.id());
    // Each takes minutes: so all of them run when the last of them has begun.
    let mut out = String::new();
    for _ in 0..4 {
        out += &read_until(&mut demo, ")...\n");
    }
    nix::sys::signal::killpg(pid(demo.id()), nix::sys::signal::SIGKILL).expect("they run");
    out += &stdout_of(&finish_with_orphans(demo));
    let tasks: BTreeSet<String> = captures(&out, r"Run task (\d+) .*").into_iter().collect();
    assert_eq!(Vec::from_iter(tasks), ["0", "1", "2", "3"], "{out}");
    let workers: HashSet<String> = HashSet::from_iter(workers_of(&out));
    assert_eq!(workers.len(), 4, "{out}");
}

#[cfg(unix)]
fn stdout_of(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
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
fn a_terminal_shows_the_same_lines_as_a_pipe_and_a_timeline_as_wide_as_itself() {
    let seen = run_on_a_terminal(demo!("--max-seconds", "0.02"));
    assert_a_pool_of(4, 5, &seen);

    let lines: Vec<&str> = seen.lines().collect();
    assert_a_timeline(&workers_of(&seen), TERMINAL_COLUMNS.into(), &lines[13..]);
}

#[test]
fn it_ends_quietly_when_nobody_reads() {
    for backend in BACKENDS {
        assert_quiet_without_reader(demo!("--backend", backend));
    }
    assert_quiet_without_reader(demo!("map", "--tasks", "1000"));
    assert_quiet_without_reader(demo!("crash"));
}

#[test]
fn a_full_disk_is_an_error() {
    assert_error_on_full_disk(demo!());
    assert_error_on_full_disk(demo!("map", "--tasks", "1000"));
    assert_error_on_full_disk(demo!("crash"));
    assert_error_on_full_disk(demo!("errors"));
}

#[test]
fn a_task_that_fails_or_panics_fails_alone() {
    for backend in BACKENDS {
        let assert = run(demo!("errors", "--backend", backend))
            .success()
            // Where the panics happened.
            .stderr(predicate::str::contains("src/errors.rs:").count(2));
        let out = stdout(&assert);
        let worker = captures(&out, r"get returned: worker (.+) has done it");
        assert_eq!(worker.len(), 2, "before the failures and after them: {out}");
        assert_eq!(worker[0], worker[1], "{out}");
        let done = format!("get returned: worker {} has done it", worker[0]);
        let expected = [
            &done,
            "get failed: the bad task failed: what it needs is not there",
            "get failed: the worse task panicked: it was not written for this",
            &done,
            "map failed: the worse task panicked: it was not written for this",
            "get_timeout returned nothing yet: 50 ms were too short",
            "get returned after all",
            "join failed: a pool must be closed before it can be joined",
            "apply_async failed: a closed pool takes no task",
            // This one also shows that a process that sleeps for an hour can be terminated.
            "get failed: the pool ended before the task did",
        ];
        assert_eq!(out.lines().collect::<Vec<_>>(), expected);
    }
}

/// The table that `map` prints: how many tasks make a chunk, for each pool and each way.
#[track_caller]
fn assert_mapped(arguments: &[&str], chosen: &str) {
    let mut command = demo!("map", "--rounds", "1");
    command.args(arguments);
    let assert = run(command).success().stderr("");
    let out = stdout(&assert);
    let figures = "┆ +\\d+\\.\\d ms ┆ +\\d+\\.\\d\\d µs ┆ +\\d+ │";
    for workers in ["processes", "threads"] {
        let chunks = captures(&out, &format!("│ {workers} +┆ +(\\d+) {figures}"));
        assert_eq!(chunks, ["1", chosen], "{out}");
    }
    // The demo looks at all results itself.
    capture(&out, r"(All results are right, and in order\..*)");
}

#[test]
fn imap_unordered_returns_each_result_once_and_in_order_if_one_worker_does_all() {
    let mut times = Vec::new();
    let runs = [
        (&[][..], [false, false]),
        (&["--workers", "1"], [true, true]),
        // The first time, all tasks are in one chunk.
        (&["--chunk", "12"], [true, false]),
    ];
    // All at once, since their tasks sleep.
    let runs = runs.map(|(arguments, one_worker)| {
        let demo = demo!("imap-unordered").args(arguments).spawn();
        (
            arguments,
            one_worker,
            demo.expect("the demo can be started"),
        )
    });
    for (arguments, one_worker, demo) in runs {
        let out = stdout(&Assert::new(finish(demo)).success().stderr(""));
        let first = captures(&out, r"imap_unordered .* (\d\.\d\d) to \d\.\d\d s\.");
        let last = captures(&out, r"imap_unordered .* to (\d\.\d\d) s\.");
        times.extend(first.into_iter().zip(last));
        let orders = captures(&out, "They came in this order: (.*)");
        assert_eq!(orders.len(), 2, "{out}");
        // The timelines' rows.
        let workers: HashSet<_> = captures(&out, r" *(\d+) .*╸").into_iter().collect();
        let all_by_one = one_worker == [true, true];
        assert_eq!(workers.len() == 1, all_by_one, "{arguments:?}: {out}");
        for (order, one_worker) in orders.iter().zip(one_worker) {
            let number = |n: &str| n.parse::<u32>().expect("a number");
            let mut order: Vec<u32> = order.split(' ').map(number).collect();
            if !one_worker {
                order.sort();
            }
            assert!(order.into_iter().eq(0..12), "{arguments:?}: {out}");
        }
    }
    // Where one chunk has all tasks, they come at once.
    assert!(times.iter().any(|(first, last)| first < last), "{times:?}");
}

#[test]
fn map_works_for_any_number_of_tasks_and_workers() {
    // The second number is the size of chunks: so many that each worker gets four.
    for (tasks, workers, chunk) in [
        ("0", "4", "1"),
        ("1", "1", "1"),
        ("100", "4", "7"),
        ("1000", "64", "4"),
        ("20000", "2", "2500"),
    ] {
        assert_mapped(&["--tasks", tasks, "--workers", workers], chunk);
    }
    assert_mapped(&["--tasks", "7", "--chunk", "3"], "3");
    assert_mapped(&["--tasks", "7", "--chunk", "4294967295"], "4294967295");
}

#[test]
fn arguments_and_results_may_be_longer_than_a_pipe_holds() {
    assert_mapped(&["--tasks", "6", "--bytes", "1048576", "--chunk", "2"], "2");
}

#[test]
fn arguments_that_would_fill_the_memory_are_refused() {
    assert_usage_error(demo!("map", "--bytes", "1048576"), "512 MiB are allowed");
}

/// The task in which a worker is killed.
fn chosen_task(out: &str) -> String {
    capture(out, r"Task (\d+) will be killed with its worker, .*")
}

#[cfg(unix)]
#[test]
fn a_task_whose_worker_dies_is_run_once_more_by_another() {
    let crash = |seed| {
        let assert = run(demo!("crash", "--seed", seed, "--max-seconds", "0.05"))
            .success()
            .stderr("");
        let out = stdout(&assert);
        let task = chosen_task(&out);
        let dead = capture(
            &out,
            &format!(
                r"Worker (\d+) died in task {task} \(signal: 9 \(SIGKILL\)\); worker \d+ takes its place\."
            ),
        );
        let new = capture(&out, r"Worker .* worker (\d+) takes its place\.");
        let died = out.lines().find(|line| line.starts_with("Worker "));
        assert_order(
            &out,
            [
                &format!("Run task {task} ({dead})..."),
                died.expect("it was captured"),
                &format!("Run task {task} ({new})..."),
                "All subprocesses done.",
                "8 of 8 tasks are done.",
            ],
        );
        assert_eq!(captures(&out, r"Task (\d+) runs .*").len(), 8, "{out}");
        task
    };
    let tasks = ["1", "2", "3", "4"].map(crash);
    assert_eq!(tasks, ["1", "2", "3", "4"].map(crash), "the seed chooses");
    assert_ne!(HashSet::from(tasks).len(), 1, "other seeds, other tasks");
}

#[cfg(unix)]
#[test]
fn what_a_task_did_before_its_worker_died_is_done_twice_unless_it_may_be_repeated() {
    let out = stdout(&run(demo!("crash", "--max-seconds", "0.02")).success());
    capture(&out, r"(9 payments received, 8 different ones\.)");
}

#[cfg(target_os = "linux")]
#[test]
fn a_stop_in_the_middle_of_a_payment_does_not_fail_its_task() {
    use nix::sys::signal::{Signal, killpg};
    let mut demo = demo!("crash", "--workers", "1", "--tasks", "1000")
        .args(["--max-seconds", "0"])
        .spawn()
        .expect("the demo can be started");
    let _guard = Guard(demo.id());
    // Some of these stops find the worker while it waits for the bank's reply.
    for _ in 0..600 {
        read_until(&mut demo, "Run task ");
        for signal in [Signal::SIGSTOP, Signal::SIGCONT] {
            killpg(pid(demo.id()), signal).expect("it runs");
        }
    }
    let output = finish(demo);
    assert!(output.status.success(), "{output:#?}");
}

#[cfg(unix)]
#[test]
fn a_task_that_kills_every_worker_is_given_up_and_the_others_finish() {
    let assert = run(demo!("crash", "--poison", "--max-seconds", "0.05")).code(1);
    let out = stdout(&assert);
    let task = chosen_task(&out);
    let error = format!("pool-demo: task {task} was given up: two workers died in it\n");
    assert_eq!(String::from_utf8_lossy(&assert.get_output().stderr), error);
    let runs = captures(&out, &format!(r"Run task {task} \((\d+)\)\.\.\."));
    assert_eq!(HashSet::<&String>::from_iter(&runs).len(), 2, "{out}");
    capture(&out, "(7 of 8 tasks are done.)");
}

#[cfg(unix)]
fn kill(id: &str) {
    let id = pid(id.parse().expect("a process id is a number"));
    // One that has just ended by itself does not matter.
    let _ = nix::sys::signal::kill(id, nix::sys::signal::SIGKILL);
}

#[cfg(unix)]
#[test]
fn killing_all_workers_at_once_loses_no_task_and_no_descriptor() {
    // What they print fills a pipe several times: so the demo cannot be far ahead of this reader.
    let mut demo = demo!("--tasks", "6000", "--max-seconds", "0.001")
        .spawn()
        .expect("the demo can be started");
    let mut out = String::new();
    let mut descriptors = HashSet::new();
    let mut killed = HashSet::new();
    for _ in 0..3 {
        for _ in 0..200 {
            out += &read_until(&mut demo, "\n");
        }
        descriptors.insert(open_descriptors(demo.id()));
        let workers = HashSet::from_iter(workers_of(&out));
        let alive: Vec<String> = workers.difference(&killed).cloned().collect();
        alive.iter().for_each(|id| kill(id));
        for _ in &alive {
            out += &read_until(&mut demo, "takes its place.\n");
        }
        killed.extend(alive);
    }
    descriptors.insert(open_descriptors(demo.id()));
    let rest = finish(demo);
    assert!(rest.status.success(), "{rest:#?}");
    out += &String::from_utf8_lossy(&rest.stdout);
    let done: HashSet<String> = captures(&out, r"Task (\d+) runs .*").into_iter().collect();
    assert_eq!(done.len(), 6000);
    assert_eq!(
        descriptors.len(),
        1,
        "more or less of them: {descriptors:?}"
    );
}

/// How many descriptors a process has open, where the system says so.
fn open_descriptors(id: u32) -> usize {
    std::fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count)
}

/// Kills every child that a process has.
#[cfg(target_os = "linux")]
fn kill_children(id: u32) -> std::io::Result<()> {
    // A child is listed with the thread that started it.
    for thread in std::fs::read_dir(format!("/proc/{id}/task"))? {
        let children = std::fs::read_to_string(thread?.path().join("children"))?;
        children.split_whitespace().for_each(kill);
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn ten_workers_that_die_in_a_row_end_the_pool() {
    let mut demo = demo!("--workers", "1", "--max-seconds", "3600")
        .args(["--tasks", "1000"])
        .spawn()
        .expect("the demo can be started");
    let _guard = Guard(demo.id());
    let mut dead = String::new();
    for _ in 0..10 {
        let out = read_until(&mut demo, ")...\n");
        dead = capture(&out, r"Run task \d+ \((\d+)\)\.\.\.");
        kill(&dead);
    }
    let output = finish(demo);
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
    // Two deaths for each of the tasks 0 to 4.
    let error = format!(
        "pool-demo: 10 workers in a row died without finishing anything, \
         the last of them, {dead}, in task 4 (signal: 9 (SIGKILL))\n"
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), error);
}

/// Waits until a process does something, which `/proc` shows. (If this user may not see it, this does
/// not wait.)
#[cfg(target_os = "linux")]
fn wait_until_it(does: impl Fn(&str) -> bool, id: &str, file: &str) {
    let file = format!("/proc/{id}/{file}");
    wait_until(&file, || {
        std::fs::read_to_string(&file).map_or(true, |now| does(&now))
    });
}

#[cfg(target_os = "linux")]
#[test]
fn the_death_of_an_idle_worker_is_noticed_with_its_next_task() {
    use nix::sys::{
        signal::{Signal, kill as send},
        wait::{WaitPidFlag, waitpid},
    };
    // What they print fills a pipe: so the demo cannot end before this test reads all of it.
    let mut demo = demo!("--workers", "1", "--tasks", "3000", "--max-seconds", "0")
        // If every task failed, the errors would fill a pipe too.
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the demo can be started");
    let _guard = Guard(demo.id());
    let out = read_until(&mut demo, ")...\n");
    let worker = &workers_of(&out)[0];
    // While the master is stopped, the worker finishes its task, and then waits for the next.
    send(pid(demo.id()), Signal::SIGSTOP).expect("it runs");
    waitpid(pid(demo.id()), Some(WaitPidFlag::WUNTRACED)).expect("it stops");
    let read = format!("{} ", nix::libc::SYS_read);
    wait_until_it(|call| call.starts_with(&read), worker, "syscall");
    kill(worker);
    wait_until_it(|stat| stat.contains(") Z "), worker, "stat");
    send(pid(demo.id()), Signal::SIGCONT).expect("it is stopped");

    let out = read_until(&mut demo, "takes its place.\n");
    let died = r"Worker (\d+) died in task \d+ \(signal: 9 \(SIGKILL\)\); worker \d+ .*";
    assert_eq!(capture(&out, died), *worker);
    let output = finish(demo);
    assert!(output.status.success(), "{output:#?}");
}

#[cfg(target_os = "linux")]
#[test]
fn workers_that_die_as_fast_as_they_are_started_end_the_pool() {
    let mut demo = demo!("--workers", "1", "--max-seconds", "3600")
        .args(["--tasks", "1000"])
        .spawn()
        .expect("the demo can be started");
    let _guard = Guard(demo.id());
    read_until(&mut demo, "Run task 0");
    let start = Instant::now();
    while demo.try_wait().expect("it can be waited for").is_none() {
        // It fails when the process or a thread ends in the middle of it.
        let _ = kill_children(demo.id());
        if start.elapsed() > LIMIT {
            demo.kill().expect("a running demo can be killed");
        }
    }
    let output = finish(demo);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
    // It depends on how far the last of them came.
    let (unready, deaths) = ("before it was ready", "10 workers in a row died");
    assert!(
        errors.contains(unready) || errors.contains(deaths),
        "{errors}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_cannot_be_replaced_ends_the_pool() {
    // A copy of the program, which can be taken away while it runs.
    let copy = ExecutableForAll::copy_of(&demo!());
    let mut demo = command(&copy.0, &["--workers", "2", "--max-seconds", "3600"])
        .spawn()
        .expect("the demo can be started");
    let _guard = Guard(demo.id());
    let mut out = read_until(&mut demo, "Run task 1");
    out += &read_until(&mut demo, ")...\n");
    drop(copy);
    kill(&workers_of(&out)[0]);

    let output = finish(demo);
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
    let worker = &workers_of(&out)[0];
    let errors = String::from_utf8_lossy(&output.stderr);
    let pattern = format!(
        r"pool-demo: cannot replace worker {worker}, which died in (task [01]): No such file .*"
    );
    capture(&errors, &pattern);
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[cfg(unix)]
#[test]
fn workers_that_cannot_be_started_are_an_error() {
    let limited = r#"ulimit -n 40; exec "$0" --workers 1000"#;
    let mut command = command("sh", &["-c", limited]);
    command.arg(demo!().get_program());
    run(command).code(1).stderr(
        predicate::str::is_match(
            r"\Apool-demo: cannot start worker \d+ of 1000: Too many open files .*\n\z",
        )
        .expect("the pattern is valid"),
    );
}

#[cfg(unix)]
#[test]
fn workers_end_after_their_tasks_when_their_master_is_killed() {
    for task in 0..5 {
        let mut demo = demo!("--max-seconds", "0.5")
            .spawn()
            .expect("the demo can be started");
        read_until(&mut demo, &format!("Run task {task} ("));
        let output = kill_only_the_parent(demo);
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "",
            "orphans report no error"
        );
    }
    // In the middle of many messages, at no particular moment.
    for _ in 0..5 {
        let mut demo = demo!("map", "--tasks", "1000000")
            .spawn()
            .expect("the demo can be started");
        // It prints nothing before its end, and elsewhere nobody tells how far it is.
        wait_until("all pipes of the pool", || {
            assert_eq!(demo.try_wait().ok().flatten(), None, "it has ended");
            cfg!(not(target_os = "linux")) || open_descriptors(demo.id()) >= 11
        });
        let output = kill_only_the_parent(demo);
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "",
            "orphans report no error"
        );
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_the_master_and_its_workers() {
    use nix::sys::signal::{Signal::SIGINT, kill, killpg};
    use std::os::unix::process::ExitStatusExt;
    adopt_orphans();
    for backend in BACKENDS {
        // A terminal interrupts all; `kill` only the one who is named.
        for interrupt in [killpg, kill] {
            let mut demo = demo!("--backend", backend, "--max-seconds", "0.5")
                // Enough for it to be still at work when the interrupt comes.
                .args(["--tasks", "200"])
                .spawn()
                .expect("the demo can be started");
            read_until(&mut demo, "Run task 3");
            interrupt(pid(demo.id()), SIGINT).expect("a running demo can be interrupted");
            let output = finish_with_orphans(demo);
            // A shell would call this exit code 130.
            assert_eq!(output.status.signal(), Some(2), "{output:#?}");
            assert!(output.stderr.is_empty(), "{output:#?}");
        }
    }
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
    assert_usage_error(demo!("nonsense"), "nonsense");
    assert_usage_error(demo!("--workers", "2", "map"), "cannot be used with");
    assert_usage_error(demo!("map", "--workers", "0"), "1..=1000");
    assert_usage_error(demo!("imap-unordered", "--chunk", "0"), "1..=1000");
    assert_usage_error(demo!("map", "--chunk", "0"), "1..");
    assert_usage_error(demo!("map", "--tasks", "-1"), "0..=10000000");
    assert_usage_error(demo!("crash", "--tasks", "0"), "1..=100000");
    assert_usage_error(demo!("errors", "--workers", "2"), "--workers");
}

#[test]
fn a_worker_without_a_pool_is_an_error() {
    for command in [
        demo!("--worker"),
        demo!("--worker", "nonsense"),
        demo!("--worker", "echo", "nonsense"),
        demo!("--worker", "echo", "-1"),
        demo!("--worker", "echo", "99"),
    ] {
        run(command)
            .code(1)
            .stderr(predicate::str::contains("started by a pool only"));
    }
}

/// Runs a shell's script, with the demo as `$0`.
#[cfg(unix)]
fn shell(script: &str) -> Assert {
    let mut shell = command("sh", &["-c", script]);
    shell.arg(demo!().get_program());
    run(shell)
}

#[cfg(unix)]
#[test]
fn it_ends_quietly_when_its_reader_leaves_while_a_chunk_runs() {
    let script = r#"{ "$0" crash --chunk 4 --max-seconds 0.05; echo $? >&2; } | head -1"#;
    shell(script).success().stderr("0\n");
}

#[cfg(unix)]
#[test]
fn a_worker_that_gets_no_messages_says_so() {
    shell(r#"echo "tasks, please" | "$0" --worker echo"#)
        .code(1)
        .stderr(predicate::str::contains("what arrived is no message"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_pool_waits_for_its_workers_though_sigchld_was_ignored() {
    shell(r#"exec env --ignore-signal=CHLD "$0" crash --max-seconds 0.01"#)
        .success()
        .stderr("");
}

#[cfg(target_os = "linux")]
#[test]
fn too_little_memory_for_the_arguments_is_an_error() {
    shell(r#"ulimit -v 700000; exec "$0" map --tasks 20000 --bytes 26000"#)
        .code(1)
        .stderr(predicate::str::contains("cannot reserve 1986 MiB for"));
    // So many bytes are allowed, but are not there.
    shell(r#"ulimit -v 700000; exec "$0" map --tasks 1 --bytes 536870912"#)
        .code(1)
        .stderr(predicate::str::contains("cannot reserve 2048 MiB for"));
}

/// What a process has open, and whether a program that it starts inherits it.
#[cfg(target_os = "linux")]
fn descriptors(id: &str) -> Vec<(String, bool)> {
    let entries = std::fs::read_dir(format!("/proc/{id}/fdinfo")).expect("it lives");
    let descriptor = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("it can be read").path();
        let info = std::fs::read_to_string(&path).expect("it is open");
        let flags = capture(&info, r"flags:\s+(\d+)");
        let flags = u32::from_str_radix(&flags, 8).expect("an octal number");
        let number = path.file_name().expect("it has one").to_string_lossy();
        let link = std::fs::read_link(format!("/proc/{id}/fd/{number}")).expect("it is open");
        (link.display().to_string(), flags & 0o2_000_000 == 0)
    };
    entries.map(descriptor).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_program_that_a_task_starts_does_not_inherit_the_connection() {
    adopt_orphans();
    let mut demo = demo!("--workers", "1", "--tasks", "1", "--max-seconds", "3600")
        .spawn()
        .expect("the demo can be started");
    let _guard = Guard(demo.id());
    let out = read_until(&mut demo, ")...\n");
    let worker = &workers_of(&out)[0];
    let stdin = std::fs::read_link(format!("/proc/{worker}/fd/0"));
    assert_eq!(
        stdin.expect("it has a stdin").to_str(),
        Some("/dev/null"),
        "the tasks"
    );
    let open = |n| std::fs::read_link(format!("/proc/{worker}/fd/{n}")).ok();
    assert_eq!(open("1"), open("2"), "the replies");
    // The pipes that only the master and its worker know.
    let connection: Vec<_> = descriptors(&demo.id().to_string())
        .into_iter()
        .filter(|(link, inherited)| link.starts_with("pipe:") && !inherited)
        .map(|(link, _)| link)
        .collect();
    let mut found = 0;
    for (link, inherited) in descriptors(worker) {
        if connection.contains(&link) {
            assert!(!inherited, "{link}");
            found += 1;
        }
    }
    assert_eq!(found, 2, "its ends of {connection:?}");
    nix::sys::signal::killpg(pid(demo.id()), nix::sys::signal::SIGKILL).expect("they run");
    finish_with_orphans(demo);
}

/// Starts a demo with a single task, which takes many minutes. Returns the demo and its worker.
#[cfg(target_os = "linux")]
fn start_a_long_task() -> (std::process::Child, String) {
    let mut demo = demo!("--workers", "1", "--tasks", "1", "--seed", "2")
        .args(["--max-seconds", "3600"])
        .spawn()
        .expect("the demo can be started");
    let out = read_until(&mut demo, ")...\n");
    (demo, workers_of(&out).remove(0))
}

/// Writes to the pipe for a worker's replies, as if the worker did.
#[cfg(target_os = "linux")]
fn write_to_the_master(worker: &str, bytes: &[u8]) {
    use nix::libc::{O_ACCMODE, O_CLOEXEC, O_WRONLY};
    let pipe = (3..100).find(|n| {
        let info = std::fs::read_to_string(format!("/proc/{worker}/fdinfo/{n}"));
        info.is_ok_and(|info| {
            let flags = capture(&info, r"flags:\s+(\d+)");
            let flags = i32::from_str_radix(&flags, 8).expect("an octal number");
            flags & (O_CLOEXEC | O_ACCMODE) == O_CLOEXEC | O_WRONLY
        })
    });
    let pipe = format!("/proc/{worker}/fd/{}", pipe.expect("it has one"));
    std::fs::write(pipe, bytes).expect("the pipe is open");
}

#[cfg(target_os = "linux")]
#[test]
fn a_reply_that_is_no_message_ends_the_pool() {
    use std::io::BufRead;
    let (mut demo, worker) = start_a_long_task();
    let _guard = Guard(demo.id());
    write_to_the_master(&worker, b"Last login: Monday\n");
    let out = demo.stdout.take().expect("it is a pipe");
    let mut lines = std::io::BufReader::new(out).lines().map_while(Result::ok);
    let died = lines.find(|line| line.starts_with("Worker "));
    assert_eq!(died, None, "it lives");
    let output = finish(demo);
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
    let error = format!("pool-demo: worker {worker} replied: what arrived is no message\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), error);
}

#[cfg(target_os = "linux")]
#[test]
fn a_worker_that_dies_within_a_reply_is_replaced() {
    adopt_orphans();
    let (mut demo, worker) = start_a_long_task();
    let _guard = Guard(demo.id());
    // Three of the eight bytes of a length.
    write_to_the_master(&worker, &[1, 0, 0]);
    kill(&worker);
    let out = read_until(&mut demo, "takes its place.\n");
    assert_eq!(capture(&out, r"Worker (\d+) died in task 0 .*"), worker);
    nix::sys::signal::killpg(pid(demo.id()), nix::sys::signal::SIGKILL).expect("they run");
    finish_with_orphans(demo);
}

#[cfg(unix)]
#[test]
fn a_death_within_a_chunk_runs_its_tasks_one_by_one() {
    let arguments = ["--chunk", "4", "--max-seconds", "0.02"];
    let mut crash = demo!("crash");
    crash.args(arguments);
    let out = stdout(&run(crash).success().stderr(""));
    capture(
        &out,
        r"Worker \d+ (died in one of task [04] to task [37]) .*",
    );
    capture(&out, "(8 of 8 tasks are done.)");
    let task = chosen_task(&out);
    let runs = captures(&out, &format!(r"Run task {task} \((\d+)\)\.\.\."));
    assert_eq!(runs.len(), 2, "the second attempt succeeds: {out}");

    let mut poison = demo!("crash", "--poison");
    poison.args(arguments);
    let assert = run(poison).code(1);
    let out = stdout(&assert);
    let task = chosen_task(&out);
    // Once in the chunk, and then alone, until two workers died in this task and no other.
    let runs = captures(&out, &format!(r"Run task {task} \((\d+)\)\.\.\."));
    assert_eq!(runs.len(), 3, "{out}");
    let errors = String::from_utf8_lossy(&assert.get_output().stderr);
    assert!(errors.contains(&format!("task {task} was given up")));
    for other in (0..8).map(|n| n.to_string()).filter(|n| *n != task) {
        assert!(
            !captures(&out, &format!("Task {other} (runs) .*")).is_empty(),
            "{out}"
        );
    }
}

#[test]
fn help_names_every_lesson_and_option() {
    let assert = run(demo!("--help")).success();
    for option in [
        "errors",
        "map",
        "crash",
        "remote",
        "--workers",
        "--tasks",
        "--max-seconds",
        "--seed",
        "--backend",
    ] {
        assert!(stdout(&assert).contains(option), "{option}");
    }
}
