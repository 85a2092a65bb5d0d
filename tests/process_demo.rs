//! What process-demo promises.

mod common;
mod readme;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use common::*;
use predicates::prelude::*;

/// Every lesson's command line, the notes' own program first.
const LESSONS: &[&[&str]] = &[
    &[],
    &["join"],
    &["status"],
    &["methods", "--starts", "2", "--memory", "8"],
    #[cfg(unix)]
    &["signals"],
    // (Elsewhere its orphans may be there for a moment longer than it.)
    #[cfg(target_os = "linux")]
    &["daemon"],
];

fn program() -> String {
    let program = assert_cmd::cargo::cargo_bin!("process-demo");
    program.display().to_string()
}

/// A lesson of this demo.
fn lesson(arguments: &[&str]) -> Command {
    command(program(), arguments)
}

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

/// The lines between one heading and the next, or the end.
#[track_caller]
fn section<'a>(out: &'a str, heading: &str, next: Option<&str>) -> Vec<&'a str> {
    let (_, text) = out.split_once(heading).expect("the heading is there");
    let text = match next {
        Some(next) => text.split_once(next).expect("the next heading follows").0,
        None => text,
    };
    text.lines().skip(1).collect()
}

#[test]
fn a_join_holds_the_parent_back_until_the_child_has_ended() {
    let out = stdout(&run(demo!("join")).success().stderr(""));
    let lines = section(&out, "With join, ", Some("20 times, "));
    capture(lines[0], r"(Run child process test \(\d+\)\.\.\.)");
    assert_eq!(lines[1..], ["Parent process goes on."], "{out}");
}

#[test]
fn a_process_that_is_dropped_while_it_runs_is_waited_for() {
    let out = stdout(&run(demo!("join")).success());
    // In which order these two come, nothing ensures; but both come before what follows the drop.
    let mut lines = section(&out, "Without join, ", Some("With join, "));
    lines.sort();
    assert_eq!(lines.len(), 2, "{out}");
    assert_eq!(lines[0], "Parent process goes on.", "{out}");
    capture(lines[1], r"(Run child process test \(\d+\)\.\.\.)");
}

#[test]
fn a_join_with_a_timeout_waits_that_long_and_leaves_the_child_alive() {
    let start = Instant::now();
    let out = stdout(&run(demo!("join")).success());
    assert!(start.elapsed() >= Duration::from_millis(200));
    let pid = capture(&out, r"started: pid (\d+), .*");
    // Windows has no signals: there, who is terminated has an exit code.
    let code = if cfg!(windows) { 1 } else { -15 };
    let lines = [
        "new: pid None, is_alive false, exit_code None".to_owned(),
        format!("started: pid {pid}, is_alive true, exit_code None"),
        format!("after the timeout: pid {pid}, is_alive true, exit_code None"),
        format!("terminated and joined: pid {pid}, is_alive false, exit_code {code}"),
    ];
    let seen = section(
        &out,
        "With a timeout of 200ms",
        Some("With a timeout of 30s"),
    );
    assert_eq!(seen, lines, "{out}");
}

#[test]
fn a_join_with_a_timeout_ends_when_the_child_does() {
    let out = stdout(&run(demo!("join")).success());
    let lines = section(&out, "With a timeout of 30s", Some("What is refused"));
    let time = capture(&lines.join("\n"), r"joined after (\d+) ms: exit_code 0");
    assert!(
        time.parse::<u32>().expect("it is a number") < 30_000,
        "{out}"
    );
}

#[test]
fn children_that_are_joined_later_run_in_some_order_and_each_once() {
    let out = stdout(&run(demo!("join")).success());
    let lines = section(&out, "20 times, ", Some("With a timeout of 200ms"));
    let mut times = 0;
    for line in lines {
        let (order, count) = line.trim().split_once(' ').expect("two words");
        let mut names: Vec<_> = order.chars().collect();
        names.sort();
        assert_eq!(names, ['A', 'B', 'C'], "{out}");
        let count = count.strip_suffix('×').expect("how often");
        times += count.parse::<u32>().expect("it is a number");
    }
    assert_eq!(times, 20, "{out}");
}

#[test]
fn what_makes_no_sense_is_an_error_with_a_clear_message() {
    let out = stdout(&run(demo!("join")).success());
    let lines = [
        "join before start: a process must be started before it can be joined",
        "start after start: a process can be started only once",
        r#"start of what does not exist: no function named "do_noting" can run in a child"#,
    ];
    assert_eq!(section(&out, "What is refused", None), lines, "{out}");
}

/// The cells of the rows below a table's header.
fn rows(out: &str) -> Vec<Vec<&str>> {
    let lines = out.lines().filter(|line| line.starts_with('│'));
    lines
        .skip(1)
        .map(|line| line.trim_matches('│').split('┆').map(str::trim).collect())
        .collect()
}

#[cfg(unix)]
#[test]
fn the_parent_sees_an_exit_code_or_a_signal_and_python_has_one_number_for_both() {
    let assert = run(lesson(&["status"])).success().stderr("");
    let out = stdout(&assert);
    let expected = [
        ["returns", "exit status: 0", "0"],
        ["exits by code 3", "exit status: 3", "3"],
        ["returns an error", "exit status: 1", "1"],
        ["panics", "exit status: 101", "101"],
        ["aborts", "signal: 6 (SIGABRT)", "-6"],
        ["is terminated", "signal: 15 (SIGTERM)", "-15"],
        ["is killed", "signal: 9 (SIGKILL)", "-9"],
    ];
    let rows = rows(&out);
    assert_eq!(rows[..expected.len()], expected, "{out}");
    #[cfg(target_os = "linux")]
    assert_eq!(
        rows[expected.len()][2],
        format!("{}", -nix::libc::SIGRTMIN())
    );
}

#[test]
fn what_a_child_wrote_before_it_failed_is_shown() {
    let out = stdout(&run(lesson(&["status"])).success());
    let (error, panic) = out
        .split_once("The child that panics wrote to stderr:\n")
        .expect("the child wrote something");
    let error = error
        .split_once("The child that returns an error wrote to stderr:\n")
        .expect("the child wrote something");
    assert_eq!(error.1, "  process-demo: an error that nobody handled\n");
    assert_order(panic, ["  a bug that shows at run time"]);
    capture(panic, r"  thread 'main' (.*panicked) at .*status\.rs.*");
}

#[cfg(unix)]
#[test]
fn the_child_that_aborts_leaves_no_file_for_the_debugger() {
    let directory = std::env::temp_dir().join(format!("process-demo-{}", std::process::id()));
    std::fs::create_dir(&directory).expect("it can be made");
    let script = r#"ulimit -c unlimited && exec "$0" status"#;
    let mut command = command("sh", &["-c", script, &program()]);
    command.current_dir(&directory);
    run(command).success();
    let left = std::fs::read_dir(&directory).expect("it is there").count();
    std::fs::remove_dir_all(&directory).expect("it can be removed");
    assert_eq!(left, 0, "there is a file left of the child that aborted");
}

#[cfg(target_os = "linux")]
#[test]
fn the_child_that_panics_ends_where_there_is_no_memory_for_a_backtrace() {
    // While it made one, it waited for a lock of its own, for ever.
    for kilobytes in [40_000, 50_000] {
        let script = format!(r#"ulimit -v {kilobytes}; exec "$0" status"#);
        let mut command = command("sh", &["-c", &script, &program()]);
        command.env("RUST_BACKTRACE", "1");
        let out = stdout(&run(command).success().stderr(""));
        assert!(!out.contains("stack backtrace"), "{out}");
    }
}

#[cfg(unix)]
#[test]
fn a_child_may_catch_ignore_or_block_a_signal_and_a_stop_is_no_end() {
    run(demo!("signals")).success().stderr("").stdout(
        "SIGTERM to a child that catches it: it finishes its work; exit_code 0.\n\
         SIGTERM to a child that ignores it: nothing happens; SIGKILL ends it: exit_code -9.\n\
         A child that is sent SIGSTOP: stopped by SIGSTOP, is_alive true; \
         then SIGCONT: continued, is_alive true.\n\
         SIGUSR1, sent 10 times to a child that blocks it for a while. Times handled: 1.\n\
         A read that waits while signals are handled:\n  \
           without SA_RESTART: it fails by EINTR: Interrupted system call\n  \
           with SA_RESTART: it goes on waiting\n",
    );
}

#[cfg(not(unix))]
#[test]
fn where_there_are_no_signals_that_is_said() {
    run(demo!("signals"))
        .code(1)
        .stderr(predicate::str::contains("this lesson needs signals"));
}

#[test]
fn a_daemon_is_terminated_unless_its_parent_is_killed_and_a_detached_child_is_not_waited_for() {
    let out = stdout(&run(demo!("daemon")).success().stderr(""));
    let finishes = "the child finishes its work";
    let returns = "the parent returns";
    let expected = [
        ["ordinary", &format!("{finishes}, then {returns}"), finishes],
        ["daemon", returns, finishes],
        ["detached", &format!("{returns}, then {finishes}"), finishes],
    ];
    assert_eq!(rows(&out), expected, "{out}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_detached_child_has_a_session_of_its_own() {
    use nix::{sys::wait::waitpid, unistd::getsid};
    adopt_orphans();
    // The parent's stdin is empty, so the parent returns at once.
    let parent = lesson(&["--child", "parent", "detached"]).spawn();
    let output = finish_with_orphans(parent.expect("the demo can be started"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let child = capture(&stderr, r"started (\d+)");
    let child = pid(child.parse().expect("a process id"));
    // Until we reap it, its session can be asked for.
    assert_eq!(getsid(Some(child)), Ok(child), "{stderr}");
    waitpid(child, None).expect("it is our child now");
}

#[test]
fn a_function_does_the_same_however_it_is_started() {
    let out = stdout(
        &run(lesson(&["methods", "--starts", "2", "--memory", "8"]))
            .success()
            .stderr(""),
    );
    let mut ids = Vec::new();
    for method in METHODS {
        let line = format!(r"{method}: +Run child process test \((\d+)\)\.\.\.");
        ids.push(capture(&out, &line));
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), METHODS.len(), "{out}");
    let methods: Vec<_> = rows(&out).iter().map(|row| row[0].to_owned()).collect();
    assert_eq!(methods, METHODS, "{out}");
    for row in rows(&out) {
        capture(row[2], r"([1-9]\d*) µs");
        capture(row[3], r"([1-9]\d*) µs");
    }
}

#[test]
fn a_lock_of_another_thread_is_copied_by_fork_alone() {
    let out = stdout(&run(lesson(LESSONS[3])).success());
    for row in rows(&out) {
        let found = if row[0] == "fork" {
            "locked for ever"
        } else {
            "free"
        };
        assert_eq!(row[4], found, "{out}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn more_memory_than_there_is_is_an_error() {
    let script = r#"ulimit -v 200000; exec "$0" methods --starts 1 --memory 1000"#;
    run(command("sh", &["-c", script, &program()]))
        .code(1)
        .stderr(predicate::str::contains("cannot get 1000 MiB of memory"));
}

#[cfg(unix)]
const METHODS: [&str; 3] = ["fork", "forkserver", "spawn"];
#[cfg(not(unix))]
const METHODS: [&str; 1] = ["spawn"];

#[cfg(target_os = "linux")]
#[test]
fn every_child_is_waited_for() {
    adopt_orphans();
    for &arguments in LESSONS {
        assert_leaves_no_child(lesson(arguments).spawn().expect("the demo can be started"));
    }
}

/// Waits for a demo that was started after [`adopt_orphans`]: a child that it left, dead or alive,
/// is ours now.
#[cfg(target_os = "linux")]
fn assert_leaves_no_child(mut demo: std::process::Child) {
    use nix::{
        errno::Errno,
        sys::wait::{WaitPidFlag, waitpid},
        unistd::Pid,
    };
    let status = wait(&mut demo);
    let group = Pid::from_raw(-pid(demo.id()).as_raw());
    let left = waitpid(group, Some(WaitPidFlag::WNOHANG));
    assert_eq!(left, Err(Errno::ECHILD), "{}", finish(demo).status);
    assert!(status.success(), "{status}");
}

/// Whoever starts a program also decides how it treats signals, until it decides otherwise.
#[cfg(unix)]
mod signals_that_are_inherited {
    use std::os::unix::process::CommandExt;

    use nix::sys::signal::{SigHandler, SigSet, Signal, signal};

    use super::*;

    fn assert_all_lessons_work(inherited: fn() -> std::io::Result<()>) {
        for arguments in LESSONS {
            let mut command = lesson(arguments);
            // SAFETY: the closure makes system calls, and touches no memory but its own.
            unsafe { command.pre_exec(inherited) };
            run(command).success().stderr("");
        }
    }

    #[test]
    fn as_ignored_do_not_take_the_childrens_ends_away() {
        assert_all_lessons_work(|| {
            // SAFETY: no handler of ours is set.
            unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
            Ok(())
        });
    }

    #[test]
    fn as_ignored_do_not_make_children_that_cannot_be_terminated() {
        assert_all_lessons_work(|| {
            // SAFETY: no handler of ours is set.
            unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }?;
            Ok(())
        });
    }

    #[test]
    fn as_blocked_do_not_stop_any_lesson() {
        assert_all_lessons_work(|| Ok(SigSet::all().thread_block()?));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn as_ignored_do_not_keep_a_child_from_ending_by_a_real_time_signal() {
        let mut command = lesson(&["status"]);
        let ignore = || {
            // SAFETY: no handler of ours is set.
            unsafe { nix::libc::signal(nix::libc::SIGRTMIN(), nix::libc::SIG_IGN) };
            Ok(())
        };
        // SAFETY: the closure makes one system call.
        unsafe { command.pre_exec(ignore) };
        let out = stdout(&run(command).success());
        capture(&out, "│ sends itself SIGRTMIN +┆ (signal: 34) .*");
    }

    #[test]
    fn as_blocked_do_not_make_a_join_wait_for_its_whole_timeout() {
        let mut command = lesson(&["join"]);
        // SAFETY: the closure makes one system call and touches no memory but its own.
        unsafe { command.pre_exec(|| Ok(SigSet::all().thread_block()?)) };
        let out = stdout(&run(command).success().stderr(""));
        let time = capture(&out, r"joined after (\d+) ms: .*");
        assert!(
            time.parse::<u32>().expect("it is a number") < 30_000,
            "{out}"
        );
    }
}

#[cfg(unix)]
mod fork_server {
    use std::{
        io::{BufRead, BufReader, Write},
        os::{fd::OwnedFd, unix::net::UnixStream},
        process::Child,
    };

    use super::*;

    /// A fork server of ours: it, our end of its socket, and who kills it when the test fails.
    fn start() -> (Child, BufReader<UnixStream>, Guard) {
        let (ours, servers) = UnixStream::pair().expect("a socket can be made");
        let limit = ours.set_read_timeout(Some(Duration::from_secs(10)));
        limit.expect("an answer can be awaited for a while");
        let mut command = lesson(&["--child", "forkserver"]);
        command.stdin(OwnedFd::from(servers));
        let server = command.spawn().expect("the demo can be started");
        let guard = Guard(server.id());
        (server, BufReader::new(ours), guard)
    }

    fn ask(socket: &mut BufReader<UnixStream>, request: &[&str]) -> String {
        let request = format!("{}\0{}\0", request.len(), request.join("\0"));
        let sent = socket.get_ref().write_all(request.as_bytes());
        sent.expect("the server is there");
        let mut answer = Vec::new();
        for _ in 0..2 {
            answer.clear();
            let read = socket.read_until(0, &mut answer);
            read.expect("the server answers");
        }
        String::from_utf8(answer)
            .expect("it answers in UTF-8")
            .trim_end_matches('\0')
            .to_owned()
    }

    #[test]
    fn reports_how_each_of_its_children_ended() {
        let (server, mut socket, _guard) = start();
        // All are there at the same time, and they are waited for in another order.
        let expected = [
            ("exit", "3"),
            ("panic", "101"),
            ("abort", "-6"),
            ("fail", "1"),
            // It reads its stdin to the end; the server's own stdin would not end.
            ("work_while_needed", "0"),
        ];
        let children = expected.map(|(target, code)| (ask(&mut socket, &["fork", target]), code));
        for (child, code) in children.iter().rev() {
            assert_eq!(ask(&mut socket, &["wait", child]), *code);
        }
        drop(socket);
        assert!(finish(server).status.success());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn knows_real_time_signals_and_waits_for_the_children_that_they_ended() {
        adopt_orphans();
        let (server, mut socket, _guard) = start();
        let children = [(); 3].map(|()| ask(&mut socket, &["fork", "send_itself_sigrtmin"]));
        let code = ask(&mut socket, &["wait", &children[0]]);
        assert_eq!(code, (-nix::libc::SIGRTMIN()).to_string());
        // The other two are left to the server.
        drop(socket);
        assert_leaves_no_child(server);
    }

    #[test]
    fn goes_on_after_a_request_that_it_must_refuse() {
        let (server, mut socket, _guard) = start();
        let refused = [
            (&["fork", "nonsense"][..], "no function named \"nonsense\""),
            (&["wait", "1"], "cannot wait for child 1"),
            (&["sing"], "does not know what to do"),
        ];
        for (request, message) in refused {
            let answer = ask(&mut socket, request);
            assert!(answer.contains(message), "{answer}");
        }
        let child = ask(&mut socket, &["fork", "run_child", "test"]);
        assert_eq!(ask(&mut socket, &["wait", &child]), "0");
        drop(socket);
        let output = finish(server);
        let line = format!("Run child process test ({child})...\n");
        assert_eq!(String::from_utf8_lossy(&output.stdout), line);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn waits_for_the_children_that_its_parent_did_not_ask_for() {
        adopt_orphans();
        let (server, mut socket, _guard) = start();
        for _ in 0..10 {
            ask(&mut socket, &["fork", "run_child", "test"]);
        }
        drop(socket);
        assert_leaves_no_child(server);
    }

    #[test]
    fn needs_a_parent() {
        let expected =
            predicate::str::contains("a fork server's stdin must be a socket from its parent");
        run(demo!("--child", "forkserver")).code(1).stderr(expected);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn is_missed_when_somebody_kills_it() {
        let mut demo = lesson(&["methods", "--starts", "3000"])
            .spawn()
            .expect("it starts");
        read_until(&mut demo, "of its own.\n");
        let server = loop {
            if let Some(server) = find(demo.id()) {
                break server;
            }
            let ended = demo.try_wait().expect("the demo is our child");
            assert_eq!(ended, None, "it ended before it had a fork server");
            std::thread::yield_now();
        };
        adopt_orphans();
        nix::sys::signal::kill(server, nix::sys::signal::SIGKILL).expect("it is there");
        let output = finish_with_orphans(demo);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("the fork server"), "{stderr}");
    }

    /// The fork server among a demo's children.
    #[cfg(target_os = "linux")]
    fn find(demo: u32) -> Option<nix::unistd::Pid> {
        let children = std::fs::read_to_string(format!("/proc/{demo}/task/{demo}/children"));
        let children = children.expect("the demo runs");
        let server = children.split_whitespace().find(|child| {
            let line = std::fs::read(format!("/proc/{child}/cmdline"));
            line.is_ok_and(|line| line.ends_with(b"\0--child\0forkserver\0"))
        });
        Some(pid(server?.parse().expect("a process id")))
    }
}

#[cfg(unix)]
#[test]
fn whoever_kills_the_parent_ends_its_children_too() {
    let moments = [
        (LESSONS[0], "Child process will start.\n"),
        (LESSONS[1], "exit_code None\n"),
        (LESSONS[1], "is_alive true, exit_code None\n"),
        (LESSONS[2], ""),
        (&["daemon"], ""),
        (&["signals"], ""),
        (&["signals"], "exit_code 0.\n"),
        (&["signals"], "signals are handled:\n"),
        (&["methods", "--starts", "3000"], "fork:"),
        (&["methods", "--starts", "3000"], "of its own.\n"),
    ];
    for (arguments, text) in moments {
        let mut demo = lesson(arguments).spawn().expect("the demo can be started");
        read_until(&mut demo, text);
        kill_only_the_parent(demo);
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_parent_and_children() {
    use std::os::unix::process::ExitStatusExt;

    use nix::sys::signal::{SIGINT, killpg};
    for (arguments, text) in [
        (LESSONS[1], "exit_code None\n"),
        (&["methods", "--starts", "3000"], "of its own.\n"),
    ] {
        let mut demo = lesson(arguments).spawn().expect("the demo can be started");
        read_until(&mut demo, text);
        adopt_orphans();
        killpg(pid(demo.id()), SIGINT).expect("the demo runs");
        assert_eq!(
            finish_with_orphans(demo).status.signal(),
            Some(SIGINT as i32)
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_cannot_be_started_is_an_error() {
    // Four files, of which three are taken, are too few for a pipe.
    let script = r#"exec 3>&-; ulimit -n 4; exec "$0""#;
    let expected = r#"cannot start a process for "run_child": Too many open files"#;
    run(command("sh", &["-c", script, &program()]))
        .code(1)
        .stdout(predicate::str::ends_with("Child process will start.\n"))
        .stderr(predicate::str::contains(expected));
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
    for arguments in LESSONS {
        assert_quiet_without_reader(lesson(arguments));
    }
}

#[test]
fn a_full_disk_is_an_error() {
    for arguments in LESSONS {
        assert_error_on_full_disk(lesson(arguments));
    }
    // The child fails here. Whoever started it says so, by whatever method that was.
    for method in METHODS {
        assert_error_on_full_disk(lesson(&["--child", "start_by", method]));
    }
}

#[test]
fn a_function_that_no_child_knows_is_an_error() {
    run(demo!("--child", "nonsense"))
        .code(1)
        .stderr(predicate::str::contains(r#"no function named "nonsense""#));
    run(demo!("--child"))
        .code(1)
        .stderr(predicate::str::contains("needs the name of a function"));
    run(demo!("--child", "start_by", "nonsense"))
        .code(1)
        .stderr(predicate::str::contains("no such start method"));
}

#[test]
fn wrong_arguments_are_refused() {
    assert_usage_error(demo!("--nonsense"), "--nonsense");
    assert_usage_error(demo!("nonsense"), "nonsense");
    assert_usage_error(demo!("methods", "--starts", "0"), "1..=1000000");
    assert_usage_error(demo!("methods", "--starts", "-1"), "1..=1000000");
    assert_usage_error(demo!("methods", "--memory", "0"), "1..=65536");
}

#[test]
fn help_names_every_lesson() {
    let assert = run(demo!("--help")).success();
    for lesson in ["process", "join", "status", "signals", "daemon", "methods"] {
        assert!(stdout(&assert).contains(lesson), "{lesson}");
    }
}
