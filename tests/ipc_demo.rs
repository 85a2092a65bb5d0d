//! What ipc-demo promises.

mod common;
mod readme;

use common::*;
use predicates::prelude::*;

/// Every lesson, as one types it, and how many lines it prints.
const LESSONS: &[(&[&str], usize)] = &[
    (&[], 8),
    (&["queue", "--writers", "3"], 22),
    (&["queue", "--items", "1000"], 3),
    (&["queue", "--readers", "2"], 9),
    (&["pipe"], 17),
    (&["pipe", "--items", "100"], WAYS_OF_BLOCKS.len()),
    (&["shared", "--mib", "1"], 9),
    (&["lock"], LINES_OF_LOCK),
    #[cfg(unix)]
    (&["fds"], 3),
    (&["hangup"], 23),
];

const LINES_OF_LOCK: usize = if cfg!(target_os = "linux") { 12 } else { 6 };

/// A lesson's command line.
fn lesson(arguments: &[&str]) -> std::process::Command {
    command(
        assert_cmd::cargo::cargo_bin!(env!("CARGO_PKG_NAME")),
        arguments,
    )
}

/// Checks every order that the queue enforces, and none that it does not.
#[track_caller]
fn assert_a_queue(out: &str, writers: &[&str], letters: &str) {
    let reader = capture(out, r"Process to read: (\d+)");
    let ids = captures(out, r"Process to write: (\d+)");
    assert_eq!(ids.len(), writers.len(), "{out}");
    assert!(!ids.contains(&reader), "{out}");
    for writer in writers {
        let items = || {
            letters
                .chars()
                .map(move |letter| format!("{letter}{writer}"))
        };
        let put: Vec<_> = items()
            .map(|item| format!("Put {item} to queue..."))
            .collect();
        let get: Vec<_> = items()
            .map(|item| format!("Get {item} from queue."))
            .collect();
        assert_order(out, &put);
        assert_order(
            out,
            [&format!("Process to read: {reader}")]
                .into_iter()
                .chain(&get),
        );
        for (put, get) in put.iter().zip(&get) {
            assert_order(out, [put, get]);
        }
    }
    let lines = 1 + writers.len() * (1 + 2 * letters.len());
    assert_eq!(out.lines().count(), lines, "{out}");
}

#[test]
fn what_is_put_into_the_queue_is_got_from_it_in_order() {
    for command in [demo!(), demo!("queue")] {
        let out = stdout(&run(command).success().stderr(""));
        assert_a_queue(&out, &[""], "ABC");
        let writer = capture(&out, r"Process to write: (\d+)");
        assert_order(
            &out,
            [&*format!("Process to write: {writer}"), "Put A to queue..."],
        );
    }
}

#[test]
fn each_writers_items_come_once_and_in_its_own_order() {
    let assert = run(demo!("queue", "--writers", "3", "--items", "5"));
    assert_a_queue(
        &stdout(&assert.success().stderr("")),
        &["1", "2", "3"],
        "ABCDE",
    );
    let assert = run(demo!("queue", "--items", "26"));
    assert_a_queue(
        &stdout(&assert.success().stderr("")),
        &[""],
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    );
}

#[test]
fn a_queue_without_items_just_ends() {
    let assert = run(demo!("queue", "--items", "0", "--writers", "2"));
    assert_a_queue(&stdout(&assert.success().stderr("")), &["1", "2"], "");
}

#[test]
fn a_long_queue_loses_nothing_and_says_how_fast_it_was() {
    let assert = run(demo!("queue", "--items", "20000", "--writers", "3"))
        .success()
        .stderr("");
    let out = stdout(&assert);
    capture(
        &out,
        r"(Got 60000 items from 3 writers in \d+\.\d\d s: \d+ per second, each once and in order\.)",
    );
    assert_eq!(out.lines().count(), 1 + 3 + 1, "{out}");
}

#[test]
fn several_readers_get_each_item_once_and_all_learn_of_the_end() {
    let assert = run(demo!(
        "queue",
        "--readers",
        "3",
        "--writers",
        "2",
        "--items",
        "6"
    ));
    let out = stdout(&assert.success().stderr(""));
    assert_eq!(captures(&out, r"Process to read: (\d+)").len(), 3, "{out}");
    let mut got = captures(&out, r"Reader [123] gets (\w+) from queue\.");
    got.sort();
    let all = "A1 A2 B1 B2 C1 C2 D1 D2 E1 E2 F1 F2";
    assert_eq!(got.join(" "), all, "{out}");

    let assert = run(demo!("queue", "--readers", "3", "--items", "1000"));
    let out = stdout(&assert.success().stderr(""));
    let got = captures(&out, r"Reader [123] got (\d+) items\.");
    let total: u32 = got
        .iter()
        .map(|n| n.parse::<u32>().expect("a number"))
        .sum();
    assert_eq!((got.len(), total), (3, 1000), "{out}");
}

/// Such a queue goes on until somebody stops it.
const ENDLESS: &str = "4294967295";

#[cfg(unix)]
mod somebody_dies {
    use std::{
        io::{BufRead, BufReader, Read},
        process::{Child, Output},
        sync::mpsc,
        thread,
        time::{Duration, Instant},
    };

    use nix::sys::signal::{
        Signal::{SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM},
        kill, killpg,
    };

    use super::*;

    /// A queue that runs, with what it has said so far.
    struct Running {
        demo: Child,
        lines: BufReader<std::process::ChildStdout>,
        reader: u32,
        writers: Vec<u32>,
        _guard: Guard,
    }

    fn start(items: &str, writers: usize) -> Running {
        let mut command = demo!("queue", "--items", items, "--writers", &writers.to_string());
        let mut demo = command.spawn().expect("the demo can be started");
        let guard = Guard(demo.id());
        let mut lines = BufReader::new(demo.stdout.take().expect("it is piped"));
        let mut said = String::new();
        for _ in 0..=writers {
            lines.read_line(&mut said).expect("the demo says something");
        }
        let number = |id: String| id.parse().expect("an id is a number");
        Running {
            reader: number(capture(&said, r"Process to read: (\d+)")),
            writers: captures(&said, r"Process to write: (\d+)")
                .into_iter()
                .map(number)
                .collect(),
            demo,
            lines,
            _guard: guard,
        }
    }

    impl Running {
        /// Waits for the end, and returns it with the rest of what was said.
        fn end(mut self) -> (Output, String) {
            let demo = self.demo.id();
            // The lines are read here, so that `finish` watches over this too.
            let rest = thread::spawn(move || {
                let mut rest = String::new();
                self.lines
                    .read_to_string(&mut rest)
                    .expect("the output is UTF-8");
                rest
            });
            let output = finish(self.demo);
            assert!(group_is_gone(demo));
            (output, rest.join().expect("reading does not panic"))
        }
    }

    /// A field of the process's `/proc/PID/status`.
    #[cfg(target_os = "linux")]
    fn status_of(id: u32, field: &str) -> String {
        let status = std::fs::read_to_string(format!("/proc/{id}/status"));
        capture(&status.expect("it is there"), &format!(r"{field}:\s*(\S+)"))
    }

    #[test]
    fn a_writer_that_is_killed_is_named_with_what_is_lost() {
        for (writers, signal) in [(1, SIGTERM), (2, SIGKILL)] {
            let queue = start(ENDLESS, writers);
            let ids = queue.writers.clone();
            for &id in &ids {
                // While a child is started, these are blocked. Now they may not be.
                #[cfg(target_os = "linux")]
                for ending in [SIGINT, SIGQUIT, SIGTERM, SIGHUP] {
                    let blocked = status_of(id, "SigBlk");
                    let blocked = u64::from_str_radix(&blocked, 16).expect("it is a number");
                    // The lowest bit stands for signal 1.
                    assert_eq!(blocked >> (ending as i32 - 1) & 1, 0, "{ending}");
                }
                kill(pid(id), signal).expect("it is there");
            }
            let (output, _) = queue.end();
            assert_eq!(output.status.code(), Some(1));
            let errors = String::from_utf8(output.stderr).expect("it is UTF-8");
            for id in ids {
                let how = format!("signal: {} ({signal})", signal as i32);
                let error = format!("ipc-demo: the queue-writer ({id}) failed: {how}");
                assert_order(&errors, [error]);
            }
            for number in 1..=writers {
                let lost = format!(r"writer {number} put \d+ of {ENDLESS} items");
                assert!(
                    predicate::str::is_match(lost).expect("valid").eval(&errors),
                    "{errors}"
                );
            }
        }
    }

    #[test]
    fn a_reader_that_is_killed_is_named_with_what_is_lost() {
        let queue = start(ENDLESS, 2);
        let reader = queue.reader;
        kill(pid(reader), SIGKILL).expect("it is there");
        let (output, _) = queue.end();
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8(output.stderr).expect("it is UTF-8");
        let error = format!("ipc-demo: the queue-reader ({reader}) failed: signal: 9 (SIGKILL)");
        assert_order(&errors, [error]);
        for number in 1..=2 {
            // Both writers report at once, so what stands on the same line may be the other's.
            let lost = format!(
                r"writer {number} \(\d+\) could put \d+ of {ENDLESS} items, and those not yet received are lost"
            );
            let once = predicate::str::is_match(lost).expect("valid").count(1);
            assert!(once.eval(&errors), "{errors}");
        }
    }

    #[test]
    fn nobody_is_left_when_the_parent_is_killed() {
        let mut queue = start(ENDLESS, 2);
        let parent = queue.demo.id();
        kill(pid(parent), SIGKILL).expect("it is there");
        queue.demo.wait().expect("it can be waited for");
        // Stdout ends when the last process that holds it has ended. (Whether a process is left
        // cannot be asked: init may take its time to wait for the orphans.)
        let (ended, end) = mpsc::channel();
        thread::spawn(move || ended.send(queue.lines.read_to_end(&mut Vec::new())));
        let in_time = end.recv_timeout(Duration::from_secs(30)).is_ok();
        // It fails if nobody is left, and else ends who is.
        let _ = killpg(pid(parent), SIGKILL);
        assert!(in_time, "the queue goes on without the parent");
    }

    #[test]
    fn the_other_readers_go_on_when_one_is_killed() {
        let mut command = demo!("queue", "--readers", "2", "--items", "20000");
        let mut demo = command.spawn().expect("the demo can be started");
        let said = read_until(&mut demo, "Process to write");
        let reader = captures(&said, r"Process to read: (\d+)")[0].clone();
        let id = reader.parse().expect("an id is a number");
        kill(pid(id), SIGKILL).expect("it is there");
        let output = finish(demo);
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8(output.stderr).expect("it is UTF-8");
        let expected =
            format!("ipc-demo: the queue-reader ({reader}) failed: signal: 9 (SIGKILL)\n");
        assert_eq!(errors, expected);
        let rest = String::from_utf8(output.stdout).expect("it is UTF-8");
        // What was on its way to the dead one is lost: one item at most, or it had not begun.
        let got: u32 = capture(&rest, r"Reader [12] got (\d+) items\.")
            .parse()
            .expect("a number");
        assert!(got > 0, "{rest}");
    }

    #[test]
    fn ctrl_c_ends_the_parent_and_all_children_and_leaves_no_folder() {
        let directory = new_directory("interrupted");
        let program = demo!();
        // SIGQUIT would write a file with the memory of each process.
        let script = r#"ulimit -c 0; exec "$0" queue --items 4294967295 --writers 50"#;
        for ending in [SIGINT, SIGQUIT, SIGTERM, SIGHUP] {
            let mut command = command("sh", &["-c", script]);
            command.arg(program.get_program()).env("TMPDIR", &directory);
            adopt_orphans();
            let demo = command.spawn().expect("the demo can be started");
            // While a child is being started there is a folder, which a signal must not leave behind.
            let start = Instant::now();
            while entries(&directory).is_empty() && start.elapsed() < Duration::from_secs(10) {
                thread::yield_now();
            }
            // As a terminal does it: to the whole group.
            killpg(pid(demo.id()), ending).expect("it is there");
            let status = finish_with_orphans(demo).status;
            use std::os::unix::process::ExitStatusExt;
            assert_eq!(status.signal(), Some(ending as i32), "{status}");
            assert_eq!(entries(&directory), [""; 0]);
        }
        std::fs::remove_dir(&directory).expect("it is empty");
    }

    #[test]
    fn a_child_removes_the_socket_of_a_parent_that_was_killed() {
        let directory = new_directory("killed");
        // The library's folder, in that of the run.
        let folder = directory.join("ipc-demo-1/.tmpfolder");
        std::fs::create_dir_all(&folder).expect("it can be made");
        let socket = folder.join("socket");
        // The socket of a process that is gone: nobody listens there.
        drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket can be made"));
        let name = socket.to_str().expect("it is UTF-8");
        run(demo!("--child", "queue-writer", name))
            .code(1)
            .stderr(predicate::str::contains("cannot connect to the parent"));
        assert_eq!(entries(&directory), [""; 0]);
        std::fs::remove_dir(&directory).expect("it is empty");
    }

    /// What a parent has no time to remove when it is killed, and no child knows of.
    #[test]
    fn the_next_run_removes_the_folder_of_one_that_was_killed() {
        let directory = new_directory("next");
        let ended = command("true", &[]).spawn().expect("it can be started");
        let id = ended.id();
        finish(ended);
        let [dead, alive] = [id, std::process::id()].map(|id| format!("ipc-demo-{id}"));
        for folder in [&dead, &alive] {
            std::fs::create_dir_all(directory.join(folder).join(".tmpx")).expect("it can be made");
        }
        let mut command = demo!();
        command.env("TMPDIR", &directory);
        run(command).success();
        assert_eq!(entries(&directory), [alive]);
        std::fs::remove_dir_all(&directory).expect("it is ours");
    }

    /// The name alone does not tell: the user may have a folder of that name.
    #[test]
    fn a_folder_of_the_user_stays() {
        let directory = new_directory("user");
        // No process has such a high id, and the second one is the demo's own.
        let script = r#"
            for folder in ipc-demo-20251125 ipc-demo-$$
            do mkdir -p "$TMPDIR/$folder/.tmp/work" && echo x >"$TMPDIR/$folder/socket" || exit
            done
            mkdir "$TMPDIR/elsewhere" && ln -s elsewhere "$TMPDIR/ipc-demo-20251126" || exit
            ls -AR "$TMPDIR" >"$TMPDIR/before"
            exec "$0""#;
        let program = demo!();
        let mut command = command("sh", &["-c", script]);
        command.arg(program.get_program()).env("TMPDIR", &directory);
        // There is no place for a folder of the demo's own.
        run(command)
            .code(1)
            .stderr(predicate::str::contains("File exists"));
        let before = std::fs::read_to_string(directory.join("before")).expect("it is there");
        assert_eq!(all_in(&directory), before);
        std::fs::remove_dir_all(&directory).expect("it is ours");
    }

    fn all_in(directory: &std::path::Path) -> String {
        let directory = directory.to_str().expect("it is UTF-8");
        stdout(&run(command("ls", &["-AR", directory])).success())
    }

    #[test]
    fn a_path_that_is_too_long_for_a_socket_is_an_error() {
        let directory = new_directory("long");
        let mut long = directory.clone();
        while long.as_os_str().len() < 110 {
            long.push("long");
        }
        std::fs::create_dir_all(&long).expect("it can be made");
        let empty = all_in(&directory);
        for lesson in ["queue", "shared", "fds"] {
            let mut command = demo!(lesson);
            command.env("TMPDIR", &long);
            let error = format!("ipc-demo: cannot make a socket in {}", long.display());
            run(command).code(1).stderr(
                predicate::str::starts_with(error).and(predicate::str::contains('\n').count(1)),
            );
        }
        assert_eq!(all_in(&directory), empty);
        std::fs::remove_dir_all(&directory).expect("it is ours");
    }

    /// In a container, the ids of processes are small, and soon come again.
    #[test]
    fn a_run_removes_the_folder_of_an_earlier_process_of_its_own_id() {
        let directory = new_directory("own");
        let program = demo!();
        // The demo gets the shell's process id.
        let script = r#"mkdir "$TMPDIR/ipc-demo-$$" && exec "$0""#;
        let mut command = command("sh", &["-c", script]);
        command.arg(program.get_program()).env("TMPDIR", &directory);
        run(command).success().stderr("");
        assert_eq!(entries(&directory), [""; 0]);
        std::fs::remove_dir(&directory).expect("it is empty");
    }

    #[test]
    fn an_ignored_sigchld_is_not_inherited() {
        let program = assert_cmd::cargo::cargo_bin!(env!("CARGO_PKG_NAME"));
        let program = program.to_str().expect("its path is UTF-8");
        let ignoring = r#"trap '' CHLD; exec "$0" "$@""#;
        // bash: not every sh passes on that SIGCHLD is ignored.
        run(command("bash", &["-c", ignoring, program]))
            .success()
            .stderr("");
    }

    #[test]
    fn too_few_descriptors_are_an_error_and_no_panic() {
        let program = assert_cmd::cargo::cargo_bin!(env!("CARGO_PKG_NAME"));
        let program = program.to_str().expect("its path is UTF-8");
        let directory = new_directory("descriptors");
        for limit in 6..=16 {
            for lesson in ["queue", "shared", "lock"] {
                let limited = format!(r#"ulimit -n {limit}; exec "$0" "$@""#);
                let mut command = command("sh", &["-c", &limited, program, lesson]);
                command.env("TMPDIR", &directory);
                let assert = run(command);
                let output = assert.get_output();
                let code = output.status.code();
                assert!(matches!(code, Some(0 | 1)), "{limit}: {output:?}");
                let errors = String::from_utf8_lossy(&output.stderr);
                let wrong = ["panicked", "Bad file descriptor"];
                let right = wrong.iter().all(|word| !errors.contains(word));
                assert!(right, "{limit}: {errors}");
                assert_eq!(
                    code == Some(1),
                    errors.starts_with("ipc-demo: "),
                    "{errors}"
                );
                assert_eq!(entries(&directory), [""; 0], "{limit}");
            }
        }
        // One descriptor more, or less, and another one of the children cannot be started. The
        // others, which wait for the event, end without a word.
        for limit in 17..=22 {
            let limited = format!(r#"ulimit -n {limit}; exec "$0" lock"#);
            let assert = run(command("sh", &["-c", &limited, program]));
            let errors = String::from_utf8_lossy(&assert.get_output().stderr);
            assert!(errors.lines().count() <= 1, "{limit}: {errors}");
        }
        std::fs::remove_dir(&directory).expect("it is empty");
    }
}

/// Where the system gives less memory than a lesson wants, each process says so.
#[cfg(target_os = "linux")]
#[test]
fn too_little_memory_is_an_error_and_no_abort() {
    let program = assert_cmd::cargo::cargo_bin!(env!("CARGO_PKG_NAME"));
    let program = program.to_str().expect("its path is UTF-8");
    let large = ["pipe", "--items", "1", "--size", "1073741824"];
    for (lesson, error) in [
        (&large[..], "cannot get memory for a block"),
        (&["shared"], "cannot get 64 MiB of memory"),
    ] {
        // 60 MiB: less than a block, and enough to run.
        let limited = r#"ulimit -v 61440; exec "$0" "$@""#;
        let arguments = [&["-c", limited, program], lesson].concat();
        run(command("sh", &arguments))
            .code(1)
            .stdout("")
            .stderr(predicate::str::contains(error).and(predicate::str::contains("panic").not()));
    }
    // Enough for the block, but not for the shared memory, which is mapped more than once.
    for limit in [260_000, 280_000, 300_000, 320_000] {
        let limited = format!(r#"ulimit -v {limit}; exec "$0" shared"#);
        let refused = predicate::str::contains("the system refused something to ipc-channel");
        run(command("sh", &["-c", &limited, program])).stderr(refused.not());
    }
}

/// The child's arguments come through a socket in the folder for temporary files.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let directory = new_directory("none").join("missing");
    for lesson in ["queue", "shared", "lock", "fds", "hangup"] {
        let mut command = demo!(lesson);
        command.env("TMPDIR", &directory);
        let folder = format!("ipc-demo: cannot make {}/ipc-demo-", directory.display());
        run(command).code(1).stderr(
            predicate::str::starts_with(folder).and(predicate::str::contains('\n').count(1)),
        );
    }
    let directory = directory.parent().expect("it has one");
    std::fs::remove_dir(directory).expect("it is empty");
}

#[test]
fn a_dialogue_has_one_order_and_ends_by_the_end_of_file() {
    let out = stdout(&run(demo!("pipe")).success().stderr(""));
    let parent = capture(&out, r"Parent (\d+) writes: Hello\.");
    let child = capture(&out, r"Child (\d+) reads: Hello\.");
    assert_ne!(parent, child);
    let said = out.replace(&parent, "P").replace(&child, "C");
    let expected = "\
Parent P writes: Hello.
Child C reads: Hello.
Child C writes: HELLO. (line 1)
Parent P reads: HELLO. (line 1)
Parent P writes: Is anybody there?
Child C reads: Is anybody there?
Child C writes: IS ANYBODY THERE? (line 2)
Parent P reads: IS ANYBODY THERE? (line 2)
Parent P writes: That is all.
Child C reads: That is all.
Child C writes: THAT IS ALL. (line 3)
Parent P reads: THAT IS ALL. (line 3)
Parent P closes its writing end.
Child C reads the end of file, after 3 lines: the parent has closed its end.
Child C writes: Goodbye.
Parent P reads: Goodbye.
Parent P reads the end of file: the child has ended, which closed its writing end.
";
    assert_eq!(said, expected);
}

#[cfg(target_os = "linux")]
#[test]
fn a_partner_that_is_killed_is_said_to_be_so() {
    let mut lesson = Slow::start(demo!("pipe"));
    let parent = lesson.demo.id();
    lesson.read_until(&format!("Parent {parent} writes: Hello."));
    // The child prints two lines before it answers, and there is no room for the second one.
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let child = children.expect("Linux lists the children of a thread");
    let child = child.trim().parse().expect("it has one child");
    nix::sys::signal::kill(pid(child), nix::sys::signal::SIGKILL).expect("it is there");
    let output = finish(lesson.demo);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        errors,
        "ipc-demo: the child was killed: signal: 9 (SIGKILL)\n"
    );
}

const WAYS_OF_BLOCKS: &[&str] = if cfg!(target_os = "linux") {
    &[
        "a pipe of \\d+ bytes",
        "a pair of sockets",
        "a pipe of \\d+ bytes, lent to it",
    ]
} else if cfg!(unix) {
    &["a pipe of unknown size", "a pair of sockets"]
} else {
    &["a pipe of unknown size"]
};

#[test]
fn every_byte_of_every_block_comes_through_the_pipe() {
    for (items, size) in [
        ("1000", "65536"),
        ("3", "1"),
        ("0", "65536"),
        ("7", "1000000"),
    ] {
        let assert = run(demo!("pipe", "--items", items, "--size", size))
            .success()
            .stderr("");
        let out = stdout(&assert);
        assert_eq!(out.lines().count(), WAYS_OF_BLOCKS.len(), "{out}");
        for (line, way) in out.lines().zip(WAYS_OF_BLOCKS) {
            let got = format!("Got {items} blocks of {size} bytes in ");
            capture(
                line,
                &format!(r"({got}\d+\.\d\d s: \d+ MB/s, through {way}\.)"),
            );
        }
    }
}

#[test]
fn parent_and_child_find_the_same_bytes_and_share_only_the_shared_memory() {
    assert_the_same_bytes(demo!("shared"), 64);
    assert_the_same_bytes(demo!("shared", "--mib", "1"), 1);
}

#[track_caller]
fn assert_the_same_bytes(command: std::process::Command, mib: u64) {
    let out = stdout(&run(command).success().stderr(""));
    let title = format!(r"^{mib} MiB from parent (\d+) to child \d+, until it has read all of it:");
    capture(&out, &title);
    let ways = [
        ("pipe", "twice: .*"),
        ("ipc-channel", "three times: .*"),
        ("shared memory, new", "once: .*"),
        ("shared memory, again", "once: .*"),
        ("shared memory, as is", ".*"),
    ];
    let faults = ways.map(|(way, copied)| {
        let row = format!(r"  {way} +\d+\.\d\d ms +(\d+)×  (?:not )?copied[ :] ?{copied}");
        capture(&out, &row).parse::<u64>().expect("a number")
    });
    // New memory is touched for the first time, in pages of 2 MiB at most; then it is there.
    if cfg!(target_os = "linux") {
        assert!(faults[2] > 2 * faults[3], "{out}");
        assert!(faults[2] >= mib / 2, "{out}");
    }
    let sum = capture(&out, r"Both found the checksum ([0-9a-f]{16}), each time\.");
    assert_ne!(sum, "0".repeat(16));
    capture(
        &out,
        r"(Then the child changed its block's first byte: .* in the shared memory only\.)",
    );
    assert_eq!(out.lines().count(), 9, "{out}");
}

#[test]
fn a_lock_keeps_every_addition_and_outlives_an_owner_that_died() {
    let out = stdout(&run(demo!("lock")).success().stderr(""));
    capture(&out, r"(With a lock: 20000 of 20000 additions are there\.)");
    // How many are lost is up to the scheduler; but each process writes its own last number.
    let sum: u64 = capture(
        &out,
        r"Without a lock: (\d+) of 20000 additions are there\.",
    )
    .parse()
    .expect("a number");
    assert!((1..=20000).contains(&sum), "{out}");
    capture(&out, "(The next one had the lock: the number is 1, .*)");
    assert_eq!(out.lines().count(), LINES_OF_LOCK, "{out}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_robust_mutex_tells_the_next_owner_that_the_last_one_died() {
    let out = stdout(&run(demo!("lock")).success().stderr(""));
    // Each adds 1 to both numbers; the first one dies between the two.
    assert_order(
        &out,
        [
            "A process has the lock, and finds [0, 0].",
            "That process has changed one number and died (signal: 9 (SIGKILL)).",
            "A process has the lock, and finds [1, 0].",
            "It is told that the last owner died with the lock, and makes them equal.",
            "A process has the lock, and finds [2, 2].",
        ],
    );
}

#[cfg(target_os = "linux")]
#[test]
fn an_owner_that_cannot_print_unlocks_the_mutex() {
    let mut lesson = Slow::start(demo!("lock"));
    lesson.read_until("A process has the lock, and finds [0, 0].");
    // The next line is the parent's. The one after it has no room: the second owner waits for it,
    // and has the mutex.
    lesson.wait_for_a_line();
    drop(lesson.lines);
    let output = finish(lesson.demo);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// A lesson that runs, and whose stdout has room for one line. Until this line is read, each
/// process that prints another one waits.
#[cfg(target_os = "linux")]
struct Slow {
    demo: std::process::Child,
    lines: std::fs::File,
}

#[cfg(target_os = "linux")]
impl Slow {
    fn start(mut command: std::process::Command) -> Self {
        use nix::fcntl::{FcntlArg::F_SETPIPE_SZ, OFlag, fcntl};
        // O_DIRECT: each write gets a page of its own. This pipe has a single page.
        let pipe = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_DIRECT);
        let (reader, writer) = pipe.expect("a pipe can be made");
        fcntl(&writer, F_SETPIPE_SZ(1)).expect("a pipe can be made smaller");
        let demo = command.stdout(writer).spawn();
        Self {
            demo: demo.expect("the demo can be started"),
            lines: reader.into(),
        }
    }

    /// Waits until there is a line to read, or nobody is left who could print one.
    fn wait_for_a_line(&self) {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd;
        let _guard = Guard(self.demo.id());
        let mut lines = [PollFd::new(self.lines.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut lines, PollTimeout::from(60_000_u16));
        assert_eq!(ready, Ok(1), "no line comes");
    }

    /// Reads lines up to this one.
    fn read_until(&mut self, line: &str) {
        use std::io::Read;
        let _guard = Guard(self.demo.id());
        let (mut said, mut page) = (String::new(), [0; 4096]);
        while said.lines().last() != Some(line) {
            self.wait_for_a_line();
            let length = self.lines.read(&mut page).expect("it can be read");
            assert!(length > 0, "{line:?} is not in:\n{said}");
            said += std::str::from_utf8(&page[..length]).expect("it is UTF-8");
        }
    }
}

#[cfg(unix)]
#[test]
fn a_process_gets_descriptors_of_what_was_opened_after_its_start() {
    let out = stdout(&run(demo!("fds")).success().stderr(""));
    let child = capture(&out, r"Process (\d+) was given a name only, .*");
    capture(&out, &format!("(.* Through it came: written by {child})"));
    // 4 and 6: the child's reading moved the parent's place, so the open file is one.
    capture(&out, r"(.* the parent stands at byte 10\.)");
}

#[cfg(unix)]
#[test]
fn a_process_says_that_its_parent_has_closed_the_connection() {
    let directory = new_directory("closed");
    let name = directory.join("socket");
    let socket = std::os::unix::net::UnixListener::bind(&name).expect("a socket can be made");
    let name = name.to_str().expect("it is UTF-8");
    // In another thread: if the child never connects, this is a failure here, and no hang.
    std::thread::spawn(move || drop(socket.accept()));
    let child = demo!("--child", "fd-receiver", name).spawn();
    let output = finish(child.expect("the demo can be started"));
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors, "ipc-demo: the parent has closed the connection\n");
    std::fs::remove_dir_all(&directory).expect("it can be removed");
}

#[cfg(unix)]
#[test]
fn a_process_without_a_parent_to_connect_to_is_an_error() {
    let expected = predicate::str::contains("cannot connect to the parent");
    let name = std::env::temp_dir().join("ipc-demo-test-nobody");
    let name = name.to_str().expect("it is UTF-8");
    run(demo!("--child", "fd-receiver", name))
        .code(1)
        .stderr(expected);
}

#[cfg(not(unix))]
#[test]
fn descriptors_cannot_be_passed_here() {
    let expected = predicate::str::contains("only a Unix has");
    run(demo!("fds")).code(1).stderr(expected);
}

#[test]
fn each_end_sees_the_other_die_and_a_forgotten_writer_is_caught() {
    let out = stdout(&run(demo!("hangup")).success().stderr(""));
    let how = if cfg!(unix) {
        r"signal: \d+ \(SIGKILL\)"
    } else {
        r"exit code: .*"
    };
    let expected = [
        &format!(r"A pipe's writer has written three words and died \({how}\)\. The reader:"),
        "  reads one",
        "  reads two",
        "  reads three",
        "  reads the end of file: no error, as if the writer had finished",
        &format!(r"A pipe's reader has read one of three words and died \({how}\)\. The writer:"),
        r"  writes four: .*\(os error \d+\)",
        "  got no error when it wrote two and three: both are lost",
        &format!(r"A channel's sender has sent three words and died \({how}\)\. The receiver:"),
        "  receives one",
        "  receives two",
        "  receives three",
        "  receives the error Disconnected",
        &format!(
            r"A channel's receiver has received one of three words and died \({how}\)\. The sender:"
        ),
        r"  sends four: the error Io\(.*\)",
        "  got no error when it sent two and three: both are lost",
        "A pipe's writer has ended, but its reader still holds a writing end. The reader:",
        "  reads one line",
        r"  still waits for the end of file after 1s: it holds the last writing end itself \(process \d+\)",
        "  is killed by the watchdog, which is the parent",
        "The same, but the reader has closed that end. The reader:",
        "  reads one line",
        "  reads the end of file",
    ];
    let whole = regex::Regex::new(&format!(r"\A{}\n\z", expected.join(r"\n"))).expect("valid");
    assert!(whole.is_match(&out), "{out}");
}

/// Checks each lesson, all at once: one of them waits for a second, another computes.
fn with_each_lesson(check: impl Fn(&[&str], usize) + Sync) {
    std::thread::scope(|scope| {
        for &(lesson, lines) in LESSONS {
            let check = &check;
            scope.spawn(move || check(lesson, lines));
        }
    });
}

#[cfg(unix)]
#[test]
fn every_lesson_works_with_few_descriptors_and_with_closed_streams() {
    let program = assert_cmd::cargo::cargo_bin!(env!("CARGO_PKG_NAME"));
    let program = program.to_str().expect("its path is UTF-8");
    with_each_lesson(|lesson, lines| {
        let few = r#"ulimit -n 32; exec "$0" "$@" <&-"#;
        let assert = run(command("sh", &[&["-c", few, program], lesson].concat()));
        let out = stdout(&assert.success().stderr(""));
        assert_eq!(out.lines().count(), lines, "{out}");

        let closed = r#"exec "$0" "$@" >&- 2>&-"#;
        run(command("sh", &[&["-c", closed, program], lesson].concat())).success();
    });
}

#[test]
fn a_file_gets_the_same_lines_as_a_pipe_and_no_other_file_is_left_behind() {
    let [files, temporary] = ["file", "temporary"].map(new_directory);
    with_each_lesson(|arguments, lines| {
        let path = files.join(format!("{}.txt", arguments.join(" ")));
        let mut command = lesson(arguments);
        command.env("TMPDIR", &temporary);
        command.stdout(std::fs::File::create(&path).expect("it can be made"));
        run(command).success().stderr("");
        let out = std::fs::read_to_string(&path).expect("it is UTF-8");
        assert_eq!(out.lines().count(), lines, "{out}");
    });
    assert_eq!(entries(&temporary), [""; 0]);
    std::fs::remove_dir(&temporary).expect("it is empty");
    std::fs::remove_dir_all(&files).expect("it can be removed");
}

#[cfg(unix)]
#[test]
fn a_terminal_shows_the_same_lines_as_a_pipe() {
    assert_a_queue(&run_on_a_terminal(demo!()), &[""], "ABC");
    let seen = run_on_a_terminal(demo!("pipe"));
    assert_eq!(seen.lines().count(), 17, "{seen}");
}

#[test]
fn it_ends_quietly_when_nobody_reads() {
    with_each_lesson(|arguments, _| assert_quiet_without_reader(lesson(arguments)));
}

#[test]
fn a_full_disk_is_an_error() {
    // Each process reports it, and of nothing else: the queue itself is whole.
    if cfg!(target_os = "linux") {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let mut command = demo!("queue", "--writers", "3");
        command.stdout(full.expect("/dev/full can be opened"));
        run(command)
            .code(1)
            .stderr(predicate::str::contains("lost").not());
    }
    with_each_lesson(|arguments, _| assert_error_on_full_disk(lesson(arguments)));
}

/// The names of what is in a directory.
fn entries(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("it can be read");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("it is there").file_name();
    entries
        .map(|entry| name(entry).to_string_lossy().into_owned())
        .collect()
}

/// A new and empty directory.
fn new_directory(name: &str) -> std::path::PathBuf {
    let name = format!("ipc-demo-test-{name}-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
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
fn wrong_arguments_are_refused_with_what_is_allowed() {
    assert_usage_error(demo!("--nonsense"), "--nonsense");
    assert_usage_error(demo!("nonsense"), "nonsense");
    assert_usage_error(demo!("queue", "--writers", "0"), "1..=1000");
    assert_usage_error(demo!("queue", "--writers", "1001"), "1..=1000");
    assert_usage_error(demo!("queue", "--readers", "0"), "1..=1000");
    assert_usage_error(demo!("queue", "--items", "-1"), "0..=");
    assert_usage_error(demo!("pipe", "--items", "x"), "invalid digit");
    assert_usage_error(demo!("pipe", "--items", "1", "--size", "0"), "1..=");
    assert_usage_error(demo!("pipe", "--size", "1"), "--items");
    assert_usage_error(demo!("shared", "--mib", "0"), "1..=1024");
    assert_usage_error(demo!("shared", "--mib", "1025"), "1..=1024");
}

#[test]
fn help_names_every_lesson_and_option() {
    let help = stdout(&run(demo!("--help")).success());
    for lesson in ["queue", "pipe", "shared", "lock", "fds", "hangup"] {
        assert!(help.contains(lesson), "{lesson}");
    }
    let help = stdout(&run(demo!("queue", "--help")).success());
    for option in ["--items", "--writers", "--readers"] {
        assert!(help.contains(option), "{option}");
    }
    let help = stdout(&run(demo!("shared", "--help")).success());
    assert!(help.contains("--mib"), "{help}");
}
