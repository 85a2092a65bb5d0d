//! What subprocess-demo promises.

mod common;
mod readme;

#[cfg(unix)]
use std::{
    io::{BufRead, BufReader, Read, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use common::*;
use predicates::prelude::*;

/// All lessons but `call`.
#[cfg(unix)]
const LESSONS: [&str; 7] = [
    "communicate",
    "pipeline",
    "merge",
    "timeout",
    "deadlock",
    "inherit",
    "shell",
];
#[cfg(not(unix))]
const LESSONS: [&str; 5] = ["communicate", "pipeline", "merge", "timeout", "deadlock"];

/// A demo run whose PATH leads nowhere, so that no program is found, whatever is installed.
fn without_path(mut command: std::process::Command) -> std::process::Command {
    // Not an empty one: that is the current folder.
    command.env("PATH", "/nowhere");
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

#[test]
fn every_exit_code_has_its_line() {
    let (shell, option) = if cfg!(windows) {
        ("cmd", "/C")
    } else {
        ("sh", "-c")
    };
    for code in [0, 3, 255] {
        let assert = run(demo!("call", shell, option, &format!("exit {code}"))).code(code);
        let expected = format!("$ {shell} {option} 'exit {code}'\nExit code: {code}\n");
        assert_eq!(stdout(&assert), expected);
    }
}

#[cfg(unix)]
#[test]
fn a_child_killed_by_a_signal_is_named_with_it() {
    for (name, number) in [("KILL", 9), ("TERM", 15)] {
        let assert = run(demo!("call", "sh", "-c", &format!("kill -{name} $$"))).code(128 + number);
        assert_order(
            &stdout(&assert),
            [
                format!("$ sh -c 'kill -{name} $$'"),
                format!("Killed by signal: {number} (SIG{name})"),
            ],
        );
    }
}

/// Files that no shell can run either.
#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_run_is_exit_code_126_with_the_reason() {
    let directory = format!(
        "{}/cannot-be-run-{}",
        env!("CARGO_TARGET_TMPDIR"),
        std::process::id()
    );
    // By a shell: a file that this process wrote could still be open in a child that another test
    // is just starting, and then "Text file busy" is why it cannot be run.
    let make = r#"mkdir -p "$0" && cd "$0" && echo 'exit 0' >text && echo '#!/nowhere' >lost &&
        echo 'exit 0' >data && chmod +x text lost"#;
    run(command("sh", &["-c", make, &directory])).success();
    let reasons = [
        ("text", "as in #!/bin/sh"),
        ("lost", "see the #! in its first line"),
        ("data", "is it executable"),
        ("", "it is a directory"),
        ("data/x", "Not a directory"),
    ];
    // macOS runs a file without #! by a shell, and says of a path through a file that it is not
    // there.
    let elsewhere = |name| cfg!(not(target_os = "linux")) && ["text", "data/x"].contains(&name);
    for (name, reason) in reasons {
        if elsewhere(name) {
            continue;
        }
        run(demo!("call", &format!("{directory}/{name}")))
            .code(126)
            .stderr(predicate::str::contains(reason).and(predicate::str::contains(name)));
    }
    std::fs::remove_dir_all(directory).expect("it can be removed");
}

#[cfg(unix)]
#[test]
fn a_folder_is_no_program_however_its_path_is_written() {
    for folder in ["/", "src/", "./src"] {
        run(demo!("call", folder))
            .code(126)
            .stderr(predicate::str::contains("it is a directory"));
    }
}

/// What is printed after the `$` does the same when a shell gets it.
#[cfg(unix)]
#[test]
fn the_command_line_can_be_pasted_into_a_shell() {
    let arguments = ["%s|", "two words", "$HOME", "it's", "", "*", "plain"];
    let mut demo = demo!("call", "printf");
    demo.args(arguments);
    let said = stdout(&run(demo).success());
    let pasted = said
        .lines()
        .next()
        .expect("a line")
        .trim_start_matches("$ ");
    run(command("sh", &["-c", pasted]))
        .success()
        .stdout("two words|$HOME|it's||*|plain|");
}

/// A signal without a name, which not every way of waiting can report.
#[cfg(target_os = "linux")]
#[test]
fn a_real_time_signal_is_an_end_like_another() {
    let said = stdout(&run(demo!("call", "sh", "-c", "kill -40 $$")).code(168));
    assert!(said.ends_with("Killed by signal: 40\n"), "{said}");
}

/// Runs a demo in a session of its own at a terminal, types `key` when `moment` is there to be
/// read, and returns the exit code and all that appeared.
#[cfg(unix)]
fn type_at_a_terminal(
    demo: &std::process::Command,
    moment: &str,
    key: u8,
) -> (Option<i32>, String) {
    use nix::{
        libc,
        sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr},
        unistd::setsid,
    };
    use std::{fs::File, os::unix::process::CommandExt};

    let terminal = new_terminal(None);
    // The key that sends a signal would also throw away what was written before we read it.
    let mut settings = tcgetattr(&terminal.slave).expect("it has settings");
    settings.local_flags |= LocalFlags::NOFLSH;
    tcsetattr(&terminal.slave, SetArg::TCSANOW, &settings).expect("they can be changed");
    let mut command = std::process::Command::new(demo.get_program());
    let end = || terminal.slave.try_clone().expect("it can be cloned");
    command.args(demo.get_args());
    command.stdin(end()).stdout(end()).stderr(end());
    let control = || {
        setsid()?;
        // SAFETY: it takes no pointer. It makes stdin's terminal that of our new session.
        nix::errno::Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY as _, 0) })?;
        Ok(())
    };
    // SAFETY: both are system calls and no more, which is what a forked child may do.
    unsafe { command.pre_exec(control) };
    let child = command.spawn().expect("the demo can be started");
    drop((command, terminal.slave));

    let mut terminal = File::from(terminal.master);
    let (mut seen, mut typed, mut bytes) = (String::new(), false, [0; 1000]);
    // At the end, Linux gives an error and not an end of file.
    while let Ok(count @ 1..) = terminal.read(&mut bytes) {
        seen += &String::from_utf8_lossy(&bytes[..count]);
        if seen.contains(moment) && !typed {
            terminal.write_all(&[key]).expect("the terminal takes it");
            typed = true;
        }
    }
    (finish(child).status.code(), seen)
}

/// The keys, as a terminal gets them.
#[cfg(unix)]
const CTRL_C: u8 = 3;
#[cfg(unix)]
const CTRL_BACKSLASH: u8 = 28;

#[cfg(unix)]
#[test]
fn ctrl_c_is_for_the_child_to_decide() {
    // It waits without a program of its own, such as sleep: the signal would end that one too. And
    // not for ever, should no signal come.
    let handles = "trap 'echo caught; exit 7' INT QUIT; echo ready
        i=0; while [ $i -lt 5000000 ]; do i=$((i + 1)); done";
    // Without a core file.
    let dies = "ulimit -c 0; echo ready; exec sleep 30";
    for (child, key, code, end) in [
        (handles, CTRL_C, 7, "Exit code: 7"),
        (handles, CTRL_BACKSLASH, 7, "Exit code: 7"),
        (dies, CTRL_C, 130, "Killed by signal: 2 (SIGINT)"),
        (dies, CTRL_BACKSLASH, 131, "Killed by signal: 3 (SIGQUIT)"),
    ] {
        let (ended, seen) = type_at_a_terminal(&demo!("call", "sh", "-c", child), "\nready", key);
        assert_eq!(ended, Some(code), "{seen}");
        assert!(seen.trim_end().ends_with(end), "{seen}");
    }
}

#[cfg(unix)]
#[test]
fn a_child_ignores_ctrl_c_if_its_grandparent_wanted_that() {
    let ignored = r#"trap '' INT; exec "$0" call sh -c 'kill -INT $$; exit 5'"#;
    run(from_shell(ignored, &[])).code(5);
}

#[test]
fn an_empty_name_is_no_program() {
    run(demo!("call", ""))
        .code(127)
        .stderr(predicate::str::contains(r#"program "" not found"#));
}

#[cfg(unix)]
#[test]
fn an_argument_need_not_be_text() {
    let mut command = demo!("call", "printf", "%s");
    command.arg(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff\n"));
    let assert = run(command).success();
    let got = &assert.get_output().stdout;
    assert!(got.windows(2).any(|bytes| bytes == b"\xff\n"), "{got:?}");
}

/// 1 MiB each way, sixteen times what a pipe holds: whoever does not read all the time hangs.
#[test]
fn a_child_gets_and_gives_more_than_its_pipes_hold() {
    let assert = run(demo!("communicate")).success().stderr("");
    let all: String = stdout(&assert)
        .lines()
        .skip(1)
        .take(4)
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(
        all,
        "  stdin took all 1048576 bytes\n  \
         stdout gave back 1048576 bytes, as sent\n  \
         stderr gave back 1048576 bytes, in capitals\n  \
         the child's end: exit code 0"
    );
}

#[test]
fn what_a_child_said_before_it_left_is_not_lost() {
    let out = stdout(&run(demo!("communicate")).success());
    let lines: Vec<&str> = out.lines().collect();
    let ends = if cfg!(unix) {
        ["exit code 0", "killed by signal: 9 (SIGKILL)"]
    } else {
        [""; 2]
    };
    for (child, end) in lines.chunks(5).skip(1).take(2).zip(ends) {
        let sent = capture(child[1], r"  stdin took (\d+) of 1048576 bytes, then: .+");
        let sent: usize = sent.parse().expect("a number");
        assert!((64_000..1_048_576).contains(&sent), "{sent}");
        assert_eq!(child[2], "  stdout gave back 64000 bytes, as sent");
        assert_eq!(child[3], "  stderr gave back 64000 bytes, in capitals");
        let said = capture(child[4], "  the child's end: (.+)");
        assert!(said.starts_with(end), "{said}");
    }
    assert_eq!(lines.len(), if cfg!(unix) { 21 } else { 15 }, "{out}");
}

/// The second child itself: while it answers, its stdin is closed already.
#[cfg(target_os = "linux")]
#[test]
fn a_child_can_close_its_stdin_and_go_on() {
    // One pipe for both answers. It holds less than they need, so the child waits until we read.
    let (mut answers, writer) = std::io::pipe().expect("a pipe can be made");
    let mut command = demo!("--role", "closes-stdin");
    command.stdin(std::process::Stdio::piped());
    command.stdout(writer.try_clone().expect("it can be cloned"));
    let mut child = command.stderr(writer).spawn().expect("it can be started");
    drop(command);
    let mut stdin = child.stdin.take().expect("a pipe");
    let lines = format!("{:63}\n", "line").repeat(1000);
    stdin.write_all(lines.as_bytes()).expect("the child reads");
    answers.read_exact(&mut [0]).expect("the child answers");
    // A write of ours need not fail yet: a child that another test is just starting may hold the
    // reading end too, for a moment.
    let its_stdin = std::fs::read_link(format!("/proc/{}/fd/0", child.id()));
    let its_stdin = its_stdin.expect("the child has not ended");
    let its_stdin = its_stdin.display().to_string();
    assert!(!its_stdin.starts_with("pipe:"), "{its_stdin}");
    let left = answers.read_to_end(&mut Vec::new());
    assert_eq!(left.expect("the child answers"), 2 * 64_000 - 1);
    assert!(finish(child).status.success());
}

#[cfg(unix)]
#[test]
fn one_thread_can_serve_three_pipes() {
    let out = stdout(&run(demo!("communicate")).success().stderr(""));
    let (threads, poll) = out
        .split_once("The same by one thread, with poll:\n")
        .expect("two ways");
    let threads = threads.lines().take(5).collect::<Vec<_>>().join("\n") + "\n";
    assert_eq!(without_numbers(poll), without_numbers(&threads));
    assert!(poll.contains("took all 1048576 bytes"), "{poll}");
}

#[cfg(unix)]
#[test]
fn communicate_takes_a_command_of_the_user_and_its_exit_code() {
    // More than a pipe holds, and `cat` needs its end of file.
    let out = stdout(
        &run(demo!("communicate", "--mib", "2", "cat"))
            .success()
            .stderr(""),
    );
    let ways = captures(&out, "By (.*), in .* ms:");
    assert_eq!(ways, ["three threads", "one thread, with poll"]);
    let sent = captures(&out, r"  stdin took all (\d+) bytes");
    assert_eq!(sent, ["2097152"; 2], "{out}");
    let answered = captures(&out, r"  stdout gave back (\d+) bytes, stderr 0: \d+ MB/s");
    assert_eq!(answered, ["2097152"; 2], "{out}");
    // The rate is that of the bytes and of the time, both of which are printed rounded.
    let number = |text: &String| text.parse::<f64>().expect("a number");
    let times = captures(&out, "By .*, in (.*) ms:");
    let rates = captures(&out, r".*: (\d+) MB/s");
    for (time, rate) in times.iter().map(number).zip(rates.iter().map(number)) {
        let expected = 2.097_152 / (time / 1e3);
        assert!((rate - expected).abs() < 1.0 + expected / 10.0, "{out}");
    }

    let out = stdout(
        &run(demo!("communicate", "sh", "-c", "cat >&2; exit 3"))
            .code(3)
            .stderr(""),
    );
    let answered = captures(&out, r"  stdout gave back 0 bytes, stderr (\d+): .*");
    assert_eq!(answered, ["1048576"; 2], "{out}");
    run(demo!("communicate", "/nowhere/cat")).code(127);
    assert_usage_error(demo!("communicate", "--mib", "0"), "1..=4096");
    // The program is not the reason: three pipes need six descriptors.
    // (And whoever runs the tests may have left the descriptors 3 and 4 open.)
    let few_descriptors = r#"exec 3>&- 4>&-; ulimit -n 5; exec "$0" "$@""#;
    run(from_shell(few_descriptors, &["communicate", "cat"]))
        .code(1)
        .stderr(predicate::str::contains(
            r#"cannot start "cat": Too many open files"#,
        ));
}

#[cfg(unix)]
#[test]
fn a_command_of_the_user_may_close_its_pipes_early() {
    // It closes stderr first, then reads all, and only then answers.
    let script = "exec 2>&-; cat >/dev/null; echo done";
    let out = stdout(&run(demo!("communicate", "sh", "-c", script)).success());
    let answered = captures(&out, "  stdout gave back (.*) bytes, stderr 0: .*");
    assert_eq!(answered, ["5"; 2], "{out}");

    // It reads nothing.
    let out = stdout(&run(demo!("communicate", "true")).success());
    let sent = captures(
        &out,
        r"  stdin took (\d+) of 1048576 bytes, then: Broken pipe .*",
    );
    assert_eq!(sent.len(), 2, "{out}");
    for sent in sent {
        assert!(sent.parse::<u32>().expect("a number") < 1_048_576, "{out}");
    }
}

/// Whatever does not fit: a message and exit code 1, and no panic (101). Only where not even a
/// kilobyte is left, Rust aborts, in its own start or later.
#[cfg(target_os = "linux")]
#[test]
fn short_memory_is_an_error_of_communicate() {
    use std::os::unix::process::ExitStatusExt;
    let large = predicate::str::is_match(r"memory allocation of \d{4,}").expect("it is valid");
    // A process that aborts leaves its child to us.
    adopt_orphans();
    for kilobytes in (4_000..16_000).step_by(1_000) {
        let script = format!(r#"ulimit -c 0; ulimit -v {kilobytes}; exec "$0" "$@""#);
        let child = from_shell(&script, &["communicate"]).spawn();
        let output = finish_with_orphans(child.expect("there is a shell"));
        let ended_well = match output.status.code() {
            // 127: not even the program's libraries fit.
            Some(code) => [0, 1, 127].contains(&code),
            None => {
                output.status.signal() == Some(nix::libc::SIGABRT)
                    && !large.eval(&String::from_utf8_lossy(&output.stderr))
            }
        };
        assert!(ended_well, "{kilobytes}: {output:#?}");
    }
}

#[test]
fn a_pipeline_ends_when_its_last_program_has_had_enough() {
    let out = stdout(&run(demo!("pipeline")).success().stderr(""));
    let (out, _) = out.split_at(out.rfind("count |").expect("a second pipeline"));
    let (count, code) = match cfg!(unix) {
        true => ("killed by signal: 13 (SIGPIPE)", 141),
        false => ("exit code 0", 0),
    };
    assert_eq!(
        out,
        format!(
            "count | square | take:\n1\n4\n9\n\
             count: {count}\nsquare: exit code 0\ntake: exit code 0\n\
             Exit code in a shell: 0; with pipefail: {code}\n"
        )
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipeline_ends_by_sigpipe_though_it_was_inherited_as_blocked() {
    let program = demo!();
    let mut blocked = command("env", &["--block-signal=PIPE"]);
    blocked.arg(program.get_program()).arg("pipeline");
    let out = stdout(&run(blocked).success());
    assert!(out.contains("count: killed by signal: 13"), "{out}");
}

#[test]
fn a_shell_does_not_tell_that_a_program_in_the_middle_failed() {
    let out = stdout(&run(demo!("pipeline")).success());
    let (_, out) = out.split_at(out.rfind("count |").expect("a second pipeline"));
    let expected = "count | fail | take:\n1\n2\n";
    assert!(out.starts_with(expected), "{out}");
    let expected = "fail: exit code 3\ntake: exit code 0\n\
                    Exit code in a shell: 0; with pipefail: 3\n";
    assert!(out.ends_with(expected), "{out}");
}

#[test]
fn merged_lines_are_in_the_order_written() {
    let out = stdout(&run(demo!("merge")).success().stderr(""));
    let expected = "1 to stdout\n2 to stderr\n3 to stdout\n4 to stderr\n5 to stdout\n6 to stderr\n\
         ... 10000 lines in all, in the order written\n";
    assert!(out.starts_with(expected), "{out}");
}

#[cfg(unix)]
#[test]
fn several_writers_on_a_pipe_are_whole_up_to_pipe_buf() {
    let out = stdout(&run(demo!("merge")).success().stderr(""));
    let size = nix::libc::PIPE_BUF;
    let small = format!("  {size} bytes a write: all 400 are whole");
    assert_order(&out, ["4 writers on one pipe:", &small]);
    // That some are torn is allowed, and what happens; that none is would be no fault.
    let large = format!(
        r"  {} bytes a write: (\d+ of 400 are torn|all 400 are whole)",
        32 * size
    );
    capture(&out, &large);
}

#[cfg(unix)]
#[test]
fn a_program_in_c_keeps_its_output_back_when_it_goes_to_a_pipe() {
    let out = stdout(&run(demo!("merge")).success().stderr(""));
    assert_order(
        &out,
        [
            "C's puts to stdout, and then a write to stderr:",
            "  called second: a write to stderr",
            "  called first: puts to stdout",
        ],
    );
}

#[cfg(unix)]
#[test]
fn a_forgotten_descriptor_keeps_a_pipe_open() {
    let out = stdout(&run(demo!("inherit")).success().stderr(""));
    assert_eq!(
        out,
        "A pipe's writing end, close-on-exec (as Rust opens it):\n  \
         the child: I don't have the writing end.\n  \
         end of file while the child lives: yes\n  \
         end of file after the child's end: yes\n\
         The same, not close-on-exec:\n  \
         the child: I have the writing end.\n  \
         end of file while the child lives: no\n  \
         end of file after the child's end: yes\n"
    );
}

#[cfg(unix)]
#[test]
fn a_users_text_is_a_command_only_inside_of_a_shells_command() {
    let out = stdout(&run(demo!("shell")).success().stderr(""));
    let text = "notes.txt; echo This command was typed by the user.";
    let printed = |title: &str| {
        let (_, rest) = out.split_once(title).expect("its title");
        let lines = rest
            .lines()
            .skip(2)
            .map_while(|line| line.strip_prefix("    "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let injected = ["notes.txt", "This command was typed by the user."];
    assert_eq!(printed("which is an injection:"), injected);
    for title in [
        "is one argument:",
        "beside its command:",
        "quoted for the shell:",
    ] {
        assert_eq!(printed(title), [text], "{title}");
    }
}

/// What `timeout` prints for its first child, and for its second.
fn both_children(out: &str) -> (&str, &str) {
    let second = out.rfind(" has ").expect("a child");
    out.split_at(out[..second].rfind("Child").expect("its name"))
}

#[cfg(unix)]
#[test]
fn a_child_that_is_asked_to_end_can_finish_its_work_first() {
    // The child has half a second to end. A busy machine may not let it run for that long.
    let mut runs = (0..5).map(|_| stdout(&run(demo!("timeout")).success().stderr("")));
    let ended_in_time = |out: &String| !both_children(out).0.contains("Still there");
    let out = runs.find(ended_in_time).expect("it ends when it is asked");
    let (polite, _) = both_children(&out);
    let child = capture(polite, r"Child (\d+) has 1 s\.");
    let expected = [
        &format!("Child {child} has 1 s."),
        "  I end when I am asked.",
        "Time is up: asked to end.",
        "  I was asked: my work is saved, and I end.",
        "All ended when asked.",
        &format!("Child {child}: exit code 0"),
    ];
    assert_eq!(polite.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_child_that_hangs_is_gone_with_its_children() {
    // They are in a group of their own, and when they are killed, they come to us as orphans.
    #[cfg(unix)]
    adopt_orphans();
    let out = stdout(&run(demo!("timeout")).success().stderr(""));
    let (_, out) = both_children(&out);
    let child = capture(out, r"Child (\d+) has 1 s\.");
    let ids = capture(
        out,
        r"  I don't end when asked, nor do my children \[(\d+, \d+)\]\.",
    );
    let after = capture(out, r"All gone, (\d+\.\d\d) s after the limit\.");
    if cfg!(unix) {
        let after: f64 = after.parse().expect("a number");
        assert!(after >= 0.5, "it was not given the time to end: {out}");
    }
    let mut lines = vec![
        format!("Child {child} has 1 s."),
        format!("  I don't end when asked, nor do my children [{ids}]."),
        "Time is up: asked to end.".to_owned(),
        "Still there: killed.".to_owned(),
        format!("All gone, {after} s after the limit."),
        format!("Child {child}: killed by signal: 9 (SIGKILL)"),
    ];
    if cfg!(not(unix)) {
        lines.remove(2);
        lines.pop();
    }
    assert_order(out, lines);
    #[cfg(unix)]
    {
        wait_until("the end of the child's group", || {
            group_is_gone(child.parse().expect("an id"))
        });
        for id in ids.split(", ").map(|id| id.parse().expect("an id")) {
            assert!(nix::sys::signal::kill(pid(id), None).is_err(), "{id} lives");
        }
    }
}

/// Starts `timeout` with a limit that is never reached, and lets its first child end. Returns what
/// the second child prints, and its id.
#[cfg(unix)]
fn start_with_a_long_limit() -> (std::process::Child, u32) {
    use nix::sys::signal::{Signal, kill};
    let start = demo!("timeout", "--limit", "3600").spawn();
    let mut demo = start.expect("the demo can be started");
    let _guard = Guard(demo.id());
    let out = read_until(&mut demo, "\n") + &read_until(&mut demo, "\n");
    assert!(out.ends_with("  I end when I am asked.\n"), "{out}");
    let polite = capture(&out, r"Child (\d+) has 3600 s\.");
    kill(pid(polite.parse().expect("an id")), Signal::SIGTERM).expect("it is there");
    let out = read_until(&mut demo, "].\n");
    assert!(out.contains("\nAll ended in time.\n"), "{out}");
    let stubborn = capture(&out, r"Child (\d+) has 3600 s\.");
    (demo, stubborn.parse().expect("an id"))
}

#[cfg(unix)]
#[test]
fn children_that_end_in_time_are_not_killed() {
    use nix::sys::signal::{Signal, killpg};
    adopt_orphans();
    let (demo, stubborn) = start_with_a_long_limit();
    killpg(pid(stubborn), Signal::SIGHUP).expect("it is there");
    let output = finish(demo);
    let out = String::from_utf8(output.stdout).expect("text");
    let end = format!("Child {stubborn}: killed by signal: 1 (SIGHUP)");
    assert_order(&out, ["All ended in time.", &end]);
    assert_eq!(output.status.code(), Some(128 + 1), "{out}");
    wait_until("the end of the child's group", || group_is_gone(stubborn));
}

/// The child's own children hold the pipe, and are in its group still.
#[cfg(unix)]
#[test]
fn the_end_of_the_child_alone_is_not_the_end() {
    use nix::sys::signal::{Signal, kill};
    use std::sync::mpsc::RecvTimeoutError;
    let (mut demo, stubborn) = start_with_a_long_limit();
    kill(pid(stubborn), Signal::SIGKILL).expect("it is there");
    let lines = BufReader::new(demo.stdout.take().expect("a pipe")).lines();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
    let news = receiver.recv_timeout(Duration::from_millis(300));
    assert_eq!(news.map_err(|_| ()).err(), Some(()), "nothing was printed");
    kill(pid(demo.id()), Signal::SIGKILL).expect("it is there");
    let end = receiver.recv_timeout(Duration::from_secs(30));
    assert_eq!(end.err(), Some(RecvTimeoutError::Disconnected));
    finish(demo);
}

#[test]
fn a_child_without_any_time_is_gone_too() {
    run(demo!("timeout", "--limit", "0"))
        .success()
        .stderr("")
        .stdout(predicate::str::contains("has 0 s."));
}

#[test]
fn one_byte_more_than_a_pipe_holds_is_a_deadlock_for_who_does_not_read() {
    let out = stdout(&run(demo!("deadlock")).success().stderr(""));
    let (stuck, done) = out
        .split_once("First read, then wait:\n")
        .expect("two versions");
    let holds = |text| capture(text, r"  child \d+: (\d+) bytes written, one to go");
    let child = |text| capture(text, r"  child (\d+): \d+ bytes written, one to go");
    assert_order(
        stuck,
        [
            &format!(
                "  child {}: {} bytes written, one to go",
                child(stuck),
                holds(stuck)
            ),
            "Watchdog: still not done after 1s:",
            "  the child waits until its parent reads;",
            "  the parent does not read until its child has ended.",
        ],
    );
    assert!(!stuck.contains("the last byte is in the pipe"), "{out}");
    assert!(!done.contains("Watchdog"), "{out}");
    assert_eq!(holds(stuck), holds(done));
    let all: usize = 1 + holds(done).parse::<usize>().expect("a number");
    assert_order(
        done,
        [
            &format!("  child {}: the last byte is in the pipe", child(done)),
            &format!("  parent: {all} bytes read; exit code 0"),
        ],
    );
    if cfg!(unix) {
        capture(stuck, r"Parent (\d+): killed by signal: 9 \(SIGKILL\)");
    }
    #[cfg(target_os = "linux")]
    {
        use nix::fcntl::{FcntlArg, fcntl};
        let parent = capture(stuck, r"Parent (\d+): .*");
        assert_order(
            stuck,
            [format!(
                "  child {} sleeps in the system call write, parent {parent} in wait4;",
                child(stuck)
            )],
        );
        let (reader, _writer) = std::io::pipe().expect("a pipe can be made");
        let size = fcntl(&reader, FcntlArg::F_GETPIPE_SZ).expect("its size can be asked");
        assert_eq!(holds(done), size.to_string());
    }
}

/// Of a program that a user may run but not read, Linux does not tell this user in which system call
/// it sleeps.
#[cfg(target_os = "linux")]
#[test]
fn the_watchdog_sees_a_deadlock_though_the_system_does_not_say_who_sleeps() {
    use std::os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    };
    let copy = ExecutableForAll::copy_of(&demo!());
    let file = std::fs::metadata(&copy.0).expect("it is there");
    let mut permissions = file.permissions();
    permissions.set_mode(0o111);
    std::fs::set_permissions(&copy.0, permissions).expect("it is ours");
    let mut demo = command(&copy.0, &["deadlock"]);
    if file.uid() == 0 {
        // Root may read every file, so root becomes another user.
        demo.uid(60_000).gid(60_000);
    }
    let out = stdout(&run(demo).success().stderr(""));
    let expected = "Watchdog: still not done after 1s:\n  the child waits until its parent reads;";
    assert!(out.contains(expected), "{out}");
}

/// A parent that is slow, or does not get the processor, is not one that waits for ever.
#[cfg(unix)]
#[test]
fn the_watchdogs_patience_begins_when_the_pipe_is_full() {
    use nix::sys::signal::{Signal, killpg};
    let mut demo = demo!("deadlock").spawn().expect("the demo can be started");
    let out = read_until(&mut demo, "then read\n");
    let parent = capture(&out, r"  parent (\d+): .*").parse().expect("an id");
    killpg(pid(parent), Signal::SIGSTOP).expect("it is there");
    // Longer than the watchdog's patience. If the pipe was full before the parent was stopped, this
    // shows nothing, but is no fault: the watchdog has killed the parent meanwhile.
    thread::sleep(Duration::from_millis(1500));
    let _ = killpg(pid(parent), Signal::SIGCONT);
    let out = String::from_utf8(finish(demo).stdout).expect("text");
    let (_, diagnosis) = out.split_once("one to go\n").expect("the pipe was full");
    assert!(diagnosis.starts_with("Watchdog"), "{out}");
}

/// Then the system would reap the children itself, and tell nobody how they ended.
#[cfg(target_os = "linux")]
#[test]
fn every_lesson_works_where_its_starter_ignores_sigchld() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    use std::os::unix::process::CommandExt;
    for mut demo in [
        demo!("pipeline"),
        demo!("merge"),
        demo!("call", &itself(), "--version"),
    ] {
        // SAFETY: one system call, which installs no code of ours.
        let ignore = || unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) };
        // SAFETY: `ignore` is a system call and no more, which is what a forked child may do.
        unsafe { demo.pre_exec(move || Ok(ignore().map(drop)?)) };
        run(demo).success().stderr("");
    }
}

/// A demo whose standard streams and limits are set by a shell: `exec "$0" "$@" <&-`.
#[cfg(unix)]
fn from_shell(script: &str, arguments: &[&str]) -> std::process::Command {
    let itself = itself();
    let head = ["-c", script, &itself];
    command("sh", &[&head, arguments].concat())
}

/// What the lessons say, without the numbers that differ from run to run.
fn without_numbers(out: &str) -> String {
    let number = regex::Regex::new(r"\d+").expect("the pattern is valid");
    number.replace_all(out, "N").into_owned()
}

#[cfg(unix)]
#[test]
fn every_lesson_says_the_same_without_stdin_into_a_file_and_with_few_descriptors() {
    let settings = [
        r#"exec "$0" "$@""#,
        // As many as 32 with a stdin.
        r#"ulimit -n 31; exec "$0" "$@" <&-"#,
        r#"file=$(mktemp); "$0" "$@" >"$file"; code=$?; cat "$file"; rm "$file"; exit $code"#,
    ];
    let said = |lesson: &str, script| {
        let assert = run(from_shell(script, &[lesson])).success().stderr("");
        without_numbers(&stdout(&assert))
    };
    // All at once: some of them wait for a second, and do nothing meanwhile.
    thread::scope(|scope| {
        let started = LESSONS.map(|lesson| {
            settings.map(|script| (script, scope.spawn(move || said(lesson, script))))
        });
        for settings in started {
            let said = settings.map(|(script, run)| (script, run.join().expect("it ended well")));
            for (script, text) in &said {
                assert_eq!(*text, said[0].1, "{script}");
            }
        }
    });
}

#[cfg(unix)]
#[test]
fn every_lesson_ends_well_with_stdout_closed() {
    thread::scope(|scope| {
        for lesson in LESSONS {
            let closed = from_shell(r#"exec "$0" "$@" >&-"#, &[lesson]);
            scope.spawn(|| run(closed).success().stdout("").stderr(""));
        }
    });
}

/// They can learn of its death only by the pipes that they share with it.
#[cfg(unix)]
#[test]
fn no_child_outlives_a_lesson_that_is_killed() {
    use nix::sys::signal::{Signal, killpg};
    let lessons = [
        (
            vec!["timeout", "--limit", "3600"],
            r"Child (\d+) .*",
            "I end when I am asked",
        ),
        (vec!["deadlock"], r"  parent (\d+): .*", "one to go"),
    ];
    for (lesson, group, moment) in lessons {
        for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL] {
            // Every process that comes of the demo has our pipe as its descriptor 3, although the
            // demo gives its children another stdout. So the pipe ends when nobody is left.
            let with_pipe = from_shell(r#"ulimit -c 0; exec "$0" "$@" 3>&1"#, &lesson).spawn();
            let mut demo = with_pipe.expect("sh can be started");
            let _guard = Guard(demo.id());
            let mut lines = BufReader::new(demo.stdout.take().expect("a pipe")).lines();
            let mut so_far = String::new();
            while !so_far.contains(moment) {
                // It is in the third line at the latest.
                assert!(so_far.lines().count() < 3, "{so_far}");
                let line = lines.next().expect("the moment comes").expect("text");
                so_far = so_far + &line + "\n";
            }
            // The demo alone: its children are in a group of their own.
            killpg(pid(demo.id()), signal).expect("the demo is there");
            let (sender, receiver) = mpsc::channel();
            thread::spawn(move || sender.send(lines.count()));
            let ended = receiver.recv_timeout(Duration::from_secs(30));
            if ended.is_err() {
                let children: u32 = capture(&so_far, group).parse().expect("an id");
                let _ = killpg(pid(children), Signal::SIGKILL);
                panic!("{lesson:?}: children outlived {signal}");
            }
            finish(demo);
        }
    }
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
fn wrong_arguments_are_refused() {
    assert_usage_error(demo!("--nonsense"), "--nonsense");
    assert_usage_error(demo!("nonsense"), "nonsense");
    assert_usage_error(demo!("timeout", "--limit", "-1"), "from 0 to 3600");
    assert_usage_error(demo!("timeout", "--limit", "NaN"), "from 0 to 3600");
}

#[test]
fn a_role_that_no_child_has_is_an_error() {
    run(demo!("--role", "nonsense"))
        .code(1)
        .stderr(predicate::str::contains(
            r#"no child has the role "nonsense""#,
        ));
}

#[test]
fn help_names_every_lesson() {
    let assert = run(demo!("--help")).success();
    for lesson in LESSONS.iter().chain(&["call"]) {
        assert!(stdout(&assert).contains(lesson), "{lesson}");
    }
}
