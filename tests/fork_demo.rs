//! What fork-demo promises.
#![cfg(unix)]

mod common;
mod fork_demo_serve;
mod readme;

use std::{collections::HashSet, os::unix::process::CommandExt, thread};

use assert_cmd::assert::Assert;
use common::*;
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use predicates::prelude::*;

const LESSONS: [&str; 6] = ["many", "copy", "order", "exec", "locked", "orphan"];

/// The command for a lesson that is run to see how it ends, with few forks.
fn short(lesson: &str) -> std::process::Command {
    match lesson {
        "order" => demo!("order", "--forks", "100"),
        _ => demo!(lesson),
    }
}

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
fn children_that_the_process_had_before_it_became_this_demo_are_not_counted() {
    let mut command = common::command("sh", &["-c", "true & exec \"$0\" many"]);
    command.arg(demo!().get_program());
    run(command)
        .success()
        .stdout(predicate::str::contains("ended with exit code").count(3));
}

#[test]
fn children_that_the_process_had_before_are_not_waited_for() {
    let script = "sleep 30 >/dev/null 2>&1 & echo \"Before: $!.\"; exec \"$0\" many";
    let mut command = common::command("sh", &["-c", script]);
    command.arg(demo!().get_program());
    let out = command.output().expect("sh is there").stdout;
    let out = String::from_utf8(out).expect("it is text");
    assert!(out.ends_with("No child is left.\n"), "{out}");
    let before = capture(&out, r"Before: (\d+)\.")
        .parse()
        .expect("it is an id");
    // It is still there: the demo ended before it.
    kill(pid(before), Signal::SIGKILL).expect("it runs");
}

#[test]
fn children_are_reaped_even_if_whoever_started_the_demo_ignores_its_own() {
    // One lesson leaves orphans, and here they come to us.
    adopt_orphans();
    // All at once, since some of them wait.
    thread::scope(|scope| {
        for lesson in LESSONS {
            let mut command = short(lesson);
            // SAFETY: `signal` is async-signal-safe, and sets no handler of ours.
            unsafe {
                command.pre_exec(|| {
                    signal(Signal::SIGCHLD, SigHandler::SigIgn)?;
                    Ok(())
                })
            };
            let demo = command.spawn().expect("the demo can be started");
            scope.spawn(|| Assert::new(finish_with_orphans(demo)).success().stderr(""));
        }
    });
}

#[test]
fn memory_is_copied_an_open_file_is_shared_and_threads_stay_behind() {
    let assert = run(demo!("copy")).success().stderr("");
    let lines = stdout(&assert);
    let lines: Vec<&str> = lines
        .lines()
        .filter(|line| !line.starts_with("Copy-on-write: "))
        .collect();
    assert_eq!(
        lines,
        [
            "A variable, set to 2 by the child: 1 in the parent, 2 in the child.",
            "Bytes in a buffer: written 2 times; flushed before the fork: 1 time.",
            "An open file, of which the child read 10 bytes: the parent stands at byte 10.",
            "The same file, opened by the child for itself: the parent stands at byte 0.",
            "Threads: 2 in the parent, 1 in the child.",
        ]
    );
}

#[test]
fn nobody_decides_which_of_the_two_runs_first_but_a_pipe_does() {
    let shares = r"the parent in (\d+\.\d)%, the child in (\d+\.\d)%\.";
    for (demo, title) in [
        (demo!("order"), "1000 forks."),
        (short("order"), "100 forks."),
    ] {
        let assert = run(demo).success().stderr("");
        let out = stdout(&assert);
        assert!(out.starts_with(title), "{out}");
        for who in ["Nobody decides", "The parent sleeps first"] {
            capture(&out, &format!("{who}: {shares}"));
        }
        let enforced = "The parent waits at a pipe: the parent in 0.0%, the child in 100.0%.";
        assert_eq!(out.lines().last(), Some(enforced), "{out}");
        assert_eq!(out.lines().count(), 4, "{out}");
    }
}

#[test]
fn exec_keeps_what_is_about_the_process_and_nothing_that_was_in_its_memory() {
    let assert = run(demo!("exec")).success().stderr("");
    let out = stdout(&assert);
    let ids = captures(&out, r"  process id: (\d+)");
    assert!(ids.len() == 2 && ids[0] == ids[1], "{out}");
    let expected = |marked, handler, variable, threads| {
        format!(
            "  process id: {}\n\
             \x20 descriptor: open\n\
             \x20 descriptor, close-on-exec: {marked}\n\
             \x20 variable LESSON of the environment: Some(\"exec\")\n\
             \x20 working directory: /\n\
             \x20 SIGUSR1, ignored: ignored\n\
             \x20 SIGUSR2, with a handler: {handler}\n\
             \x20 SIGALRM blocked: true\n\
             \x20 variable in memory: {variable}\n\
             \x20 threads: {threads}\n",
            ids[0]
        )
    };
    let before = expected("open", "handled", 2, 2);
    let after = expected("closed", "default", 1, 1);
    let expected = format!(
        "Before exec, in the forked child:\n{before}After exec, in the new program:\n{after}"
    );
    assert!(out.starts_with(&expected), "{out}");
}

const LOCKED: &str = "\
    Forked while another thread has the lock: it never gets the lock, and a watchdog (SIGALRM) ends it.\n\
    Forked before the thread was started: it gets the lock.\n\
    A new program, started meanwhile: it gets the lock.\n";

#[test]
fn a_child_forked_while_another_thread_has_a_lock_never_gets_it() {
    run(demo!("locked")).success().stderr("").stdout(LOCKED);
}

#[test]
fn the_watchdog_bites_even_if_whoever_started_the_demo_ignores_and_blocks_its_signal() {
    let mut command = demo!("locked");
    // SAFETY: the closure makes system calls and nothing else, and sets no handler of ours.
    unsafe {
        command.pre_exec(|| {
            signal(Signal::SIGALRM, SigHandler::SigIgn)?;
            Ok(SigSet::from(Signal::SIGALRM).thread_block()?)
        })
    };
    run(command).success().stderr("").stdout(LOCKED);
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
    assert_eq!(out.lines().count(), 5, "{out}");
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

#[test]
fn a_daemon_has_no_terminal_and_by_its_second_fork_gets_none() {
    adopt_orphans();
    let demo = demo!("orphan").spawn().expect("the demo can be started");
    let out = stdout(&Assert::new(finish_with_orphans(demo)).success());
    let lines: Vec<&str> = out.lines().collect();

    let leader = r"After setsid, process (\d+ leads session \d+), with no controlling terminal; the terminal that it opens (?:becomes|does not become) one\.";
    let leader = capture(lines[3], leader);
    let (leader, session) = leader.split_once(" leads session ").expect("it matches");
    assert_eq!(leader, session);
    let daemon = r"After setsid and a second fork, process (\d+ is in session \d+), with no controlling terminal; the terminal that it opens does not become one\.";
    capture(lines[4], daemon);
    // Elsewhere a terminal may have to be asked for more than by opening it.
    if cfg!(target_os = "linux") {
        assert!(out.contains("it opens becomes one."), "{out}");
    }
}

#[test]
fn a_reader_that_left_ends_the_demo_quietly() {
    assert_quiet_without_reader(demo!());
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
    assert_usage_error(demo!("order", "--forks", "1"), "2..=1000000");
}

#[test]
fn help_names_every_lesson() {
    let assert = run(demo!("--help")).success();
    for lesson in LESSONS.into_iter().chain(["serve"]) {
        // The word alone also stands in descriptions ("Fork many children").
        let line = stdout(&assert)
            .lines()
            .any(|line| line.starts_with(&format!("  {lesson} ")));
        assert!(line, "{lesson}");
    }
}

/// What a test can bring about, or see, on Linux only.
#[cfg(target_os = "linux")]
mod on_linux {
    use std::{
        fs::{self, File},
        os::fd::AsRawFd,
        process::{Child, Command},
        sync::atomic::{AtomicU32, Ordering},
        thread,
    };

    use nix::{
        errno::Errno,
        fcntl::{FcntlArg, OFlag, fcntl},
        sys::{
            memfd::{MFdFlags, memfd_create},
            prctl,
            resource::{Resource, setrlimit},
            signal::kill,
            wait::{WaitPidFlag, waitpid},
        },
        unistd::{Pid, Uid},
    };

    use super::*;

    /// Limits a demo to so many children at a time, and returns how many that are.
    fn limit_children(command: &mut Command, copy: &ExecutableForAll, children: u8) -> u8 {
        static USERS: AtomicU32 = AtomicU32::new(0);
        let mut allowed = 0;
        // The number of processes is limited per user, but not for root. So root becomes a user who
        // has no other process, and whom no other test becomes. Somebody else has other processes
        // already, and so no child at all.
        if Uid::effective().is_root() {
            let user = std::process::id() * 8 + USERS.fetch_add(1, Ordering::Relaxed);
            let user = 20_000 + user % 40_000;
            let mut as_user = common::command(&copy.0, &[]);
            as_user.args(command.get_args()).uid(user).gid(user);
            *command = as_user;
            allowed = children;
        }
        let processes = 1 + u64::from(allowed);
        let limit = move || Ok(setrlimit(Resource::RLIMIT_NPROC, processes, processes)?);
        // SAFETY: the closure makes one system call and touches no memory but its own.
        unsafe { command.pre_exec(limit) };
        allowed
    }

    #[test]
    fn a_page_is_copied_when_it_is_written_to_and_not_when_it_is_read() {
        let assert = run(demo!("copy")).success();
        let figures = capture(
            &stdout(&assert),
            r"Copy-on-write: the child has read 1024 KiB: (\d+ page faults, \d+ KiB are its own\. It has written to them: \d+ page faults, \d+ KiB)\.",
        );
        let figures: Vec<&str> = figures
            .split(' ')
            .filter(|word| word.parse::<i64>().is_ok())
            .collect();
        let [read, before, written, after] = figures[..] else {
            panic!("four figures: {figures:?}");
        };
        assert_is_a_mebibyte(written);
        let number = |figure: &str| -> i64 { figure.parse().expect("it is a number") };
        assert!(number(read) < number(written) / 2, "{read}, {written}");
        let (before, after) = (number(before), number(after));
        // All is copied but what the system may have written out to disk since.
        assert!(after - before > 900, "{before}, {after}");
    }

    #[test]
    fn a_command_forks_only_if_code_is_to_run_before_exec() {
        let out = stdout(&run(demo!("exec")).success());
        capture(&out, "  Command: (hardly any page faults)");
        let faults = capture(&out, r"  Command with pre_exec: (\d+) page faults");
        assert_is_a_mebibyte(&faults);
    }

    /// Asserts that this many page faults are those of a write to 1024 KiB.
    #[track_caller]
    fn assert_is_a_mebibyte(faults: &str) {
        let faults: usize = faults.parse().expect("it is a number");
        // A page has from 4 to 64 KiB.
        assert!((16..=256 + 16).contains(&faults), "{faults}");
    }

    #[test]
    fn when_the_fork_is_refused_the_first_line_was_already_printed() {
        let mut command = demo!();
        let copy = ExecutableForAll::copy_of(&command);
        limit_children(&mut command, &copy, 0);
        run(command)
            .code(1)
            .stdout(
                predicate::str::is_match(r"\AProcess \(\d+\) start\.\.\.\n\z")
                    .expect("it is valid"),
            )
            .stderr(predicate::str::contains("cannot fork: Resource temp"));
    }

    #[test]
    fn when_a_fork_is_refused_the_children_before_it_are_reaped() {
        let mut command = demo!("many", "--children", "5");
        let copy = ExecutableForAll::copy_of(&command);
        let children = limit_children(&mut command, &copy, 2);
        let refused = format!("cannot fork child {} of 5: Resource temp", children + 1);
        let assert = run(command)
            .code(1)
            .stderr(predicate::str::contains(refused));
        let out = stdout(&assert);
        let forked = captures(&out, r"Child \d+ is forked \((\d+)\)\.");
        let ended = captures(&out, r"Child \d+ \((\d+)\) ended with exit code \d\.");
        assert_eq!(forked.len(), children.into(), "{out}");
        assert_eq!(
            forked.iter().collect::<HashSet<_>>(),
            ended.iter().collect(),
            "{out}"
        );
    }

    #[test]
    fn when_a_child_may_have_no_child_the_demo_says_so() {
        let mut command = demo!("orphan");
        let copy = ExecutableForAll::copy_of(&command);
        let whose = ["a", "its"][usize::from(limit_children(&mut command, &copy, 1))];
        let refused = format!("cannot fork {whose} child: Resource temp");
        run(command)
            .code(1)
            .stderr(predicate::str::contains(refused));
    }

    #[test]
    fn a_thread_that_cannot_be_started_is_an_error() {
        for lesson in ["copy", "exec", "locked"] {
            let mut command = demo!(lesson);
            // The size of a thread's stack, in bytes. The memory of a process is not so large.
            command.env("RUST_MIN_STACK", (1_u64 << 47).to_string());
            run(command)
                .code(1)
                .stderr(predicate::str::contains("cannot start a thread"));
        }
    }

    #[test]
    fn a_new_program_that_cannot_be_started_is_an_error() {
        let copy = ExecutableForAll::copy_of(&demo!());
        let file = File::open(&copy.0).expect("it can be read");
        // This removes the file's name. We can still start the demo from the open file, but the demo
        // cannot start itself by its name.
        drop(copy);
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        run(common::command(&path, &["locked"]))
            .code(1)
            .stdout("")
            .stderr(predicate::str::contains("cannot run \"/"));
        run(common::command(&path, &["exec"]))
            .code(1)
            .stderr(predicate::str::contains("cannot exec \"/"));
    }

    #[test]
    fn a_child_that_is_killed_before_it_takes_the_lock_is_told_from_the_others() {
        let told = "fork-demo: Forked before the thread was started: the child failed: signal: 9 (SIGKILL)\n";
        let killed = || {
            let demo = demo!("locked").spawn().expect("the demo can be started");
            let children = format!("/proc/{0}/task/{0}/children", demo.id());
            // The first one waits until the others have ended. (That takes a second. On a busy
            // machine, we may come too late all the same.)
            let first = loop {
                let children = fs::read_to_string(&children).unwrap_or_default();
                if let Some(first) = children.split(' ').next().filter(|id| !id.is_empty()) {
                    break first.parse().expect("it is an id");
                }
                if state(demo.id()).is_none_or(|state| state == 'Z') {
                    finish(demo);
                    return false;
                }
                thread::yield_now();
            };
            let _ = kill(pid(first), Signal::SIGKILL);
            let output = finish(demo);
            output.stderr == told.as_bytes() && output.status.code() == Some(1)
        };
        assert!((0..10).any(|_| killed()), "no killed child is named");
    }

    #[test]
    fn children_are_reaped_as_they_end_and_a_killed_one_is_named_with_its_signal() {
        let (demo, children) = (0..50)
            .find_map(|_| many_with_the_first_child_stopped())
            .expect("one of fifty first children is still at work when the last is forked");
        for &child in &children[1..] {
            let what = format!("child {child} waits for child {}", children[0]);
            wait_until(&what, || state(child).is_none());
        }
        kill(pid(children[0]), Signal::SIGKILL).expect("it is stopped");
        let output = finish(demo);
        let killed = format!(
            "Child 1 ({}) was killed by signal: 9 (SIGKILL).",
            children[0]
        );
        assert_order(
            &String::from_utf8_lossy(&output.stdout),
            [&killed, "No child is left."],
        );
    }

    /// A demo of three children, of which the first cannot end; and the children's ids. `None` if
    /// it had ended before we came.
    fn many_with_the_first_child_stopped() -> Option<(Child, Vec<u32>)> {
        let mut demo = demo!("many").spawn().expect("the demo can be started");
        let mut forked = read_until(&mut demo, "Child 3 is forked (");
        forked += &read_until(&mut demo, ").");
        let children: Vec<u32> = captures(&forked, r"Child \d is forked \((\d+)\)\.")
            .iter()
            .map(|child| child.parse().expect("it is an id"))
            .collect();
        // It fails if the child is gone.
        let _ = kill(pid(children[0]), Signal::SIGSTOP);
        loop {
            match state(children[0]) {
                Some('T') => return Some((demo, children)),
                Some('Z') | None => break,
                // The signal is on its way.
                Some(_) => thread::yield_now(),
            }
        }
        finish(demo);
        None
    }

    /// The state of a process: `T` it is stopped, `Z` it is a zombie; or `None` if there is no such
    /// process.
    fn state(process: u32) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let (_, state) = stat.rsplit_once(") ")?;
        state.chars().next()
    }

    #[test]
    fn every_child_is_waited_for_however_little_can_be_printed() {
        adopt_orphans();
        let mut runs = Vec::new();
        for lesson in LESSONS {
            runs.extend([0, 30, 90].map(|bytes| (short(lesson), bytes, 1)));
        }
        // Room for no line, or for the first.
        runs.extend([0, 30].map(|bytes| (demo!(), bytes, 1)));
        // Room for one more, of the parent or of the child: the other one fails.
        runs.extend([(); 10].map(|()| (demo!(), 90, 1)));
        // Room for all.
        runs.push((demo!(), 1000, 0));
        for lesson in ["many", "copy", "order", "exec", "locked"] {
            runs.push((short(lesson), 1000, 0));
        }
        // All at once, since `locked` waits for a second.
        thread::scope(|scope| {
            for (demo, bytes, code) in runs {
                scope.spawn(move || assert_leaves_no_child(demo, bytes, code));
            }
        });
    }

    /// Runs a demo whose output goes to a file that may have no more than `bytes`, and asserts that
    /// it ends with this exit code and leaves nobody behind.
    fn assert_leaves_no_child(mut command: Command, bytes: u64, code: i32) {
        let file = memfd_create("output", MFdFlags::empty()).expect("a file can be made");
        // Or else the parent and the child could write to the same place at the same time.
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND)).expect("it is ours");
        let limit = move || {
            // SAFETY: no handler of ours is set.
            unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }?;
            Ok(setrlimit(Resource::RLIMIT_FSIZE, bytes, bytes)?)
        };
        // SAFETY: the closure makes two system calls and touches no memory but its own.
        unsafe { command.stdout(file).pre_exec(limit) };
        let mut demo = command.spawn().expect("the demo can be started");
        let status = wait(&mut demo);
        // Those that it has left, dead or alive, have come to us.
        let group = Pid::from_raw(-pid(demo.id()).as_raw());
        let left = waitpid(group, Some(WaitPidFlag::WNOHANG));
        let output = finish(demo);
        assert_eq!(left, Err(Errno::ECHILD), "{command:?}, {bytes}: {output:?}");
        assert_eq!(
            status.code(),
            Some(code),
            "{command:?}, {bytes}: {output:?}"
        );
    }

    #[test]
    fn an_orphan_that_comes_to_the_demo_itself_is_waited_for() {
        adopt_orphans();
        let demo = || {
            let mut command = demo!("orphan");
            // SAFETY: the closure makes one system call. (The setting outlives the start of the
            // demo.)
            unsafe { command.pre_exec(|| Ok(prctl::set_child_subreaper(true)?)) };
            command
        };
        let running = demo().spawn().expect("the demo can be started");
        let id = running.id().to_string();
        let assert = Assert::new(finish(running)).success().stderr("");
        assert_eq!(assert_a_zombie_and_an_orphan(&stdout(&assert)), id);
        assert_leaves_no_child(demo(), 1000, 0);
    }
}
