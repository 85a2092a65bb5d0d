//! What the tests of all demos share: running a demo so that nothing of it can outlive the test,
//! and checking that one line came before another.
#![allow(dead_code, reason = "each test file takes what it needs")]

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use assert_cmd::assert::Assert;
use predicates::prelude::*;

mod stuck;

/// Long enough for a slow and busy machine: reached only by a demo that hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// Builds a demo's command line: `demo!("--workers", "3")`. The demo is the one whose manifest
/// names this test.
#[macro_export]
macro_rules! demo {
    ($($argument:expr),* $(,)?) => {{
        let arguments: &[&str] = &[$($argument),*];
        $crate::common::command(::assert_cmd::cargo::cargo_bin!(env!("CARGO_PKG_NAME")), arguments)
    }};
}

pub fn command(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    #[cfg(unix)]
    {
        // A group of its own, so that the demo can be ended together with all its children.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        // Whoever runs the tests may ignore these (`nohup`, or a script's `&`), and the demo would
        // inherit that.
        use nix::sys::signal::{SigHandler, Signal, signal};
        for ending in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
            // SAFETY: the default action runs no code of ours.
            unsafe { signal(ending, SigHandler::SigDfl) }.expect("it is a signal");
        }
    }
    command
}

/// Runs a demo to its end, checks that it left no process behind, and hands over what it printed.
pub fn run(mut command: Command) -> Assert {
    let child = command.spawn().expect("the demo can be started");
    Assert::new(finish(child)).append_context("command", format!("{command:?}"))
}

/// Waits for a running demo, as [`run`] does for a new one.
///
/// Its output ends only when the last process that holds it has ended. So a child that is left
/// behind holds us up, until the limit ends the whole group.
pub fn finish(child: Child) -> Output {
    let demo = child.id();
    let output = output_of(child);
    if !group_is_gone(demo) {
        kill_group(demo);
        panic!("the demo left a process behind; its output: {output:#?}");
    }
    output
}

/// Waits for the end of a running demo alone, as [`Child::wait`] does, but not for ever.
pub fn wait(demo: &mut Child) -> ExitStatus {
    let (status, hung) = watch(demo.id(), || demo.wait());
    let status = status.expect("the demo can be waited for");
    assert!(!hung, "the demo hung");
    status
}

/// Waits until a running demo has printed `text`, and returns all that it printed so far. The rest
/// stays where it is.
pub fn read_until(demo: &mut Child, text: &str) -> String {
    let id = demo.id();
    let mut seen = Vec::new();
    let output = demo.stdout.as_mut().expect("the demo's stdout is a pipe");
    let (result, hung) = watch(id, || -> io::Result<()> {
        let mut byte = [0];
        while !seen.ends_with(text.as_bytes()) {
            output.read_exact(&mut byte)?;
            seen.push(byte[0]);
        }
        Ok(())
    });
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(!hung, "no {text:?} after {LIMIT:?}; so far:\n{seen}");
    assert!(result.is_ok(), "no {text:?} in:\n{seen}");
    seen
}

/// A copy of a demo where any user may run it: its own folder may be closed to others.
#[cfg(unix)]
pub struct ExecutableForAll(pub std::path::PathBuf);

#[cfg(unix)]
impl ExecutableForAll {
    #[track_caller]
    pub fn copy_of(command: &Command) -> Self {
        use std::sync::atomic::{AtomicUsize, Ordering};

        static COPIES: AtomicUsize = AtomicUsize::new(0);
        let copy = COPIES.fetch_add(1, Ordering::Relaxed);
        let name = format!("demo-test-{}-{copy}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Not by this process: a child that another test forks at this moment would hold the copy
        // open for writing, and such a program may not be run.
        let mut cp = Command::new("cp");
        let copied = cp.arg(command.get_program()).arg(&path).status();
        assert!(copied.is_ok_and(|status| status.success()), "no copy");
        Self(path)
    }
}

#[cfg(unix)]
impl Drop for ExecutableForAll {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Kills a running demo, but none of its children, and waits until all of them have noticed, and
/// have ended too. Returns what was printed since the last reading.
#[cfg(unix)]
pub fn kill_only_the_parent(mut demo: Child) -> Output {
    adopt_orphans();
    demo.kill().expect("a running demo can be killed");
    finish_with_orphans(demo)
}

/// Waits for a running demo as [`finish`] does, when it or a child of it may be killed, so that
/// nobody is left to wait for some of the others. Call [`adopt_orphans`] before the killing.
#[cfg(unix)]
pub fn finish_with_orphans(demo: Child) -> Output {
    let id = demo.id();
    let output = output_of(demo);
    // They have let go of the output, so what is left of them is about to die.
    let start = Instant::now();
    while !group_is_gone(id) {
        if start.elapsed() > LIMIT {
            kill_group(id);
            panic!("somebody was still there after {LIMIT:?}; output: {output:#?}");
        }
        thread::yield_now();
    }
    output
}

/// Makes this process the parent of the orphans that demos leave, so that no zombie has to wait
/// until the system's first process finds the time for it. (Linux only; elsewhere it has to.)
#[cfg(unix)]
pub fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true).expect("any process can adopt its descendants");
}

/// Waits until a running demo has ended, and every process that holds its output. It may leave
/// others behind, or zombies.
fn output_of(child: Child) -> Output {
    let (output, hung) = watch(child.id(), || child.wait_with_output());
    let output = output.expect("the demo can be waited for");
    assert!(
        !hung,
        "the demo, or a child of it, was still there after {LIMIT:?}, or all of them waited for one \
         another; so far: {output:#?}"
    );
    output
}

/// Does something that waits for a demo; if that takes too long, kills the whole group, so that it
/// ends. Returns whether this was needed.
fn watch<T>(demo: u32, wait: impl FnOnce() -> T) -> (T, bool) {
    let (ended, end) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let start = Instant::now();
        let mut watch = stuck::Watch::new(demo);
        while end.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout) {
            if watch.is_stuck() || start.elapsed() > LIMIT {
                kill_group(demo);
                return true;
            }
        }
        false
    });
    let result = wait();
    drop(ended);
    (
        result,
        watchdog.join().expect("the watchdog does not panic"),
    )
}

/// Whether no process is left of a demo's group. A zombie counts as one: nobody waited for it. (But
/// those that were left to us, we wait for.)
#[cfg(unix)]
pub fn group_is_gone(demo: u32) -> bool {
    use nix::{
        errno::Errno,
        sys::{
            signal::killpg,
            wait::{WaitPidFlag, WaitStatus, waitpid},
        },
    };
    let group = nix::unistd::Pid::from_raw(-pid(demo).as_raw());
    while let Ok(status) = waitpid(group, Some(WaitPidFlag::WNOHANG))
        && status != WaitStatus::StillAlive
    {}
    killpg(pid(demo), None) == Err(Errno::ESRCH)
}

/// Ends a running demo and its children when an assertion fails: `let _guard = Guard(demo.id());`.
pub struct Guard(pub u32);

impl Drop for Guard {
    fn drop(&mut self) {
        // A test that passes has waited for the demo, whose id may be another's by now.
        if thread::panicking() {
            kill_group(self.0);
        }
    }
}

#[cfg(unix)]
fn kill_group(demo: u32) {
    // It fails only if nobody is left, which is what we want.
    let _ = nix::sys::signal::killpg(pid(demo), nix::sys::signal::SIGKILL);
}

#[cfg(unix)]
pub fn pid(id: u32) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(id.try_into().expect("a process id fits into pid_t"))
}

/// Windows knows no process groups of this kind: there, a child left behind is noticed by the
/// output it holds open.
#[cfg(not(unix))]
pub fn group_is_gone(_: u32) -> bool {
    true
}

#[cfg(not(unix))]
fn kill_group(demo: u32) {
    let _ = Command::new("taskkill")
        .args(["/F", "/T", "/PID", &demo.to_string()])
        .output();
}

/// What the demo printed on stdout.
pub fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).expect("stdout is UTF-8")
}

/// Asserts that each of these lines stands in the text exactly once, and after the one named before
/// it.
///
/// Other lines may stand between them: happens-before, and no more.
#[track_caller]
pub fn assert_order<L: AsRef<str>>(text: &str, lines: impl IntoIterator<Item = L>) {
    let mut previous: Option<(usize, String)> = None;
    for line in lines {
        let line = line.as_ref();
        let places: Vec<usize> = text
            .lines()
            .enumerate()
            .filter(|(_, l)| *l == line)
            .map(|(place, _)| place)
            .collect();
        let &[place] = places.as_slice() else {
            panic!(
                "{line:?} stands {} times, not once, in:\n{text}",
                places.len()
            );
        };
        if let Some((before, earlier)) = previous {
            assert!(
                before < place,
                "{line:?} is out of place: it stands before {earlier:?} in:\n{text}"
            );
        }
        previous = Some((place, line.to_owned()));
    }
}

/// Asserts that a pattern with one group matches exactly one line, and returns what the group
/// matched.
#[track_caller]
pub fn capture(text: &str, pattern: &str) -> String {
    match captures(text, pattern).as_slice() {
        [one] => one.clone(),
        found => panic!(
            "{pattern:?} matches {} lines, not one, in:\n{text}",
            found.len()
        ),
    }
}

/// What the pattern's first group matched, for each line that the pattern matches as a whole.
pub fn captures(text: &str, pattern: &str) -> Vec<String> {
    let pattern = regex::Regex::new(&format!("^{pattern}$")).expect("the pattern is valid");
    text.lines()
        .filter_map(|line| Some(pattern.captures(line)?[1].to_owned()))
        .collect()
}

/// Asserts that the demo refuses its arguments: exit code 2, nothing on stdout, a message that
/// contains `allowed`.
#[track_caller]
pub fn assert_usage_error(command: Command, allowed: &str) {
    run(command)
        .code(2)
        .stdout("")
        .stderr(predicate::str::contains(allowed));
}

/// Asserts that the demo ends quietly, by exit code 0, when its output's reader leaves before the
/// first line.
#[track_caller]
pub fn assert_quiet_without_reader(mut command: Command) {
    let (reader, writer) = io::pipe().expect("a pipe can be made");
    drop(reader);
    command.stdout(writer);
    run(command).code(0).stderr("");
}

/// Asserts that a full disk under stdout is an error and not a panic. (`/dev/full` exists on Linux
/// only.)
#[track_caller]
pub fn assert_error_on_full_disk(mut command: Command) {
    if cfg!(target_os = "linux") {
        command.stdout(
            File::options()
                .write(true)
                .open("/dev/full")
                .expect("/dev/full can be opened"),
        );
        run(command).code(1).stderr(predicate::str::contains(
            "cannot write to stdout: No space left on device",
        ));
    }
}

/// The width of the terminal of [`run_on_a_terminal`]: not the usual one.
pub const TERMINAL_COLUMNS: u16 = 60;

/// Runs a demo with a terminal as its stdout, and returns what appeared there.
#[cfg(unix)]
pub fn run_on_a_terminal(mut command: Command) -> String {
    let size = nix::pty::Winsize {
        ws_row: 24,
        ws_col: TERMINAL_COLUMNS,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = nix::pty::openpty(&size, None).expect("a terminal can be made");
    command.stdout(terminal.slave);
    let child = command.spawn().expect("the demo can be started");
    // `command` holds our copy of the terminal's end: while it is open, the reading below would
    // never end.
    drop(command);
    let mut seen = Vec::new();
    // Linux ends the reading of a terminal whose other end is closed with an error, other systems
    // with an end of file.
    let mut terminal = File::from(terminal.master);
    let _ = watch(child.id(), || terminal.read_to_end(&mut seen));
    assert!(finish(child).status.success());
    String::from_utf8(seen)
        .expect("the output is UTF-8")
        .replace("\r\n", "\n")
}
