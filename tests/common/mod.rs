//! What the tests of all demos share: running a demo so that none of its processes outlives the
//! test, and checking what it printed.
#![allow(dead_code, reason = "each test file takes what it needs")]

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use assert_cmd::assert::Assert;
use predicates::prelude::*;
use regex::Regex;

mod stuck;
pub mod watchdog;

/// How long a demo may run. Even on a slow and busy machine, only a demo that hangs takes longer.
const LIMIT: Duration = Duration::from_secs(120);

/// How long each process of a demo may compute, in seconds, however busy the machine is. None needs
/// a fifth of it.
#[cfg(unix)]
const CPU_SECONDS: u64 = 4;

/// Whether a demo hung. Then the tests that have not begun fail at once: each of them might wait as
/// long, and learn no more.
static HUNG: AtomicBool = AtomicBool::new(false);

/// Makes the command that runs a demo: `demo!("--workers", "3")`. The demo is the one whose
/// manifest names this test.
macro_rules! demo {
    ($($argument:expr),* $(,)?) => {{
        let arguments: &[&str] = &[$($argument),*];
        $crate::common::command(::assert_cmd::cargo::cargo_bin!(env!("CARGO_PKG_NAME")), arguments)
    }};
}
pub(crate) use demo;

/// A command with an empty stdin, pipes as stdout and stderr, and a process group of its own.
pub fn command(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    assert!(!HUNG.load(Relaxed), "not run, since a demo hung before");
    watchdog::watch();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Or else what a demo prints when it panics, and how long it takes for that, depends on who
        // runs the tests.
        .env("RUST_BACKTRACE", "0");
    #[cfg(unix)]
    {
        use nix::sys::{
            resource::{Resource::RLIMIT_CPU, getrlimit, setrlimit},
            signal::{SigHandler, Signal, signal},
        };
        use std::os::unix::process::CommandExt;

        // A process group of its own, so that one signal can kill the demo and all its children.
        command.process_group(0);
        // The program that runs the tests may ignore these signals: `nohup` does, and a script
        // does for a command with `&`. The demo would inherit that.
        for ending in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
            // SAFETY: the default action runs no code of ours.
            unsafe { signal(ending, SigHandler::SigDfl) }.expect("it is a signal");
        }
        // The system ends a process of the demo that computes for ever, if the watchdog does not.
        let (_, most) = getrlimit(RLIMIT_CPU).expect("it has a limit");
        let limit = move || Ok(setrlimit(RLIMIT_CPU, (2 * CPU_SECONDS).min(most), most)?);
        // SAFETY: this is one system call, which any process may make between fork and exec.
        unsafe { command.pre_exec(limit) };
    }
    command
}

/// Runs a demo to its end, checks that it left no process behind, and returns its output and its
/// exit code, for assertions.
pub fn run(mut command: Command) -> Assert {
    let child = command.spawn().expect("the demo can be started");
    Assert::new(finish(child)).append_context("command", format!("{command:?}"))
}

/// Waits for the end of a running demo, checks that it left no process behind, and returns its
/// output.
///
/// The output is a pipe. Its end of file comes only when each process that holds its writing end
/// has ended. So if the demo leaves a child behind, we wait for this child too. At the limit, the
/// whole group is killed and the test fails.
pub fn finish(child: Child) -> Output {
    let demo = child.id();
    let output = output_of(child);
    if !group_is_gone(demo) {
        kill_group(demo);
        panic!("the demo left a process behind; its output: {output:#?}");
    }
    output
}

/// Waits for the end of a running demo, but not for the end of its output. At the limit, the demo
/// is killed and the test fails.
pub fn wait(demo: &mut Child) -> ExitStatus {
    let (status, hung) = watch(demo.id(), || demo.wait());
    let status = status.expect("the demo can be waited for");
    assert!(!hung, "the demo hung");
    status
}

/// Reads a running demo's stdout up to the end of `text`, and returns all that was read. What comes
/// after it stays in the pipe.
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

/// A copy of a demo in a folder where every user may run it. Other users may have no access to the
/// folder in which the demo was built.
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
        // By another program: if we wrote the copy ourselves, a child that another test forks
        // at this moment would inherit the descriptor. While a file is open for writing, the
        // system refuses to run it.
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

/// Kills a running demo, but none of its children, and waits until all of them have ended too.
/// Returns the output that was not read before.
#[cfg(unix)]
pub fn kill_only_the_parent(mut demo: Child) -> Output {
    adopt_orphans();
    demo.kill().expect("a running demo can be killed");
    finish_with_orphans(demo)
}

/// Waits for a running demo as [`finish`] does, if the demo or one of its children may be killed.
/// Then some processes have no parent that would reap them. Call [`adopt_orphans`] before the kill,
/// so that we can reap them.
#[cfg(unix)]
pub fn finish_with_orphans(demo: Child) -> Output {
    let id = demo.id();
    let output = output_of(demo);
    // No process holds the output any more. So each process that is left is about to end, or is a
    // zombie.
    let _guard = Guard(id);
    wait_until(
        &format!("the end of all processes; output: {output:#?}"),
        || group_is_gone(id),
    );
    output
}

/// Makes this process the new parent of orphans that demos leave, so that we can reap them at once.
/// (Linux only. On other systems, process 1 reaps them, perhaps later.)
#[cfg(unix)]
pub fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true).expect("any process can adopt its descendants");
}

/// Waits until a running demo has ended, and each other process that holds its output. Processes
/// that do not hold the output may be left, and zombies too.
fn output_of(child: Child) -> Output {
    let (output, hung) = watch(child.id(), || child.wait_with_output());
    let output = output.expect("the demo can be waited for");
    assert!(
        !hung,
        "the demo, or a child of it, was still there after {LIMIT:?}, or each of them waited for \
         another; so far: {output:#?}"
    );
    output
}

/// Calls `wait`, which waits for a demo. If that takes too long, kills the demo's whole group, so
/// that the wait ends. Returns what `wait` returned, and whether the group was killed.
fn watch<T>(demo: u32, wait: impl FnOnce() -> T) -> (T, bool) {
    let (ended, end) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let start = Instant::now();
        let mut watch = stuck::Watch::new(demo);
        while end.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout) {
            if watch.is_stuck() || start.elapsed() > LIMIT {
                HUNG.store(true, Relaxed);
                kill_group(demo);
                return true;
            }
        }
        false
    });
    let result = wait();
    drop(ended);
    let killed = watchdog.join().expect("the watchdog does not panic");
    // If `watchdog` has killed the demo, the wait has ended too.
    (result, killed || watchdog::HAS_KILLED.load(Relaxed))
}

/// Waits until `look` finds something, and returns that. If it takes longer than only a fault can
/// explain, the test fails, and says `what` never came.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        if start.elapsed() > LIMIT / 4 {
            hang(what);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Fails the test because it has waited in vain for `what`.
#[track_caller]
pub fn hang(what: &str) -> ! {
    HUNG.store(true, Relaxed);
    panic!("never came: {what}");
}

/// Waits until something is so, as [`wait_for`] does.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(what, || is_so().then_some(()));
}

/// Whether no process of a demo's group is left. A zombie that its parent has not reaped counts as
/// left. (First, we reap the zombies whose parent we are.)
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

/// Kills a running demo and its children when an assertion fails: `let _guard = Guard(demo.id());`.
pub struct Guard(pub u32);

impl Drop for Guard {
    fn drop(&mut self) {
        // A test that passes has waited for the demo. Another process may have its id by now.
        if thread::panicking() {
            kill_group(self.0);
        }
    }
}

#[cfg(unix)]
fn kill_group(demo: u32) {
    // This fails only if no process is left to kill.
    let _ = nix::sys::signal::killpg(pid(demo), nix::sys::signal::SIGKILL);
}

#[cfg(unix)]
pub fn pid(id: u32) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(id.try_into().expect("a process id fits into pid_t"))
}

/// Windows has no process groups of this kind. There, only a child that holds the demo's output
/// open is noticed.
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

/// Asserts that each of these lines is in the text exactly once, and that they are in this order.
/// Other lines may be between them.
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

/// Asserts that a pattern with one group matches exactly one whole line, and returns what the group
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

/// For each line that the pattern matches as a whole, returns what the pattern's first group
/// matched.
pub fn captures(text: &str, pattern: &str) -> Vec<String> {
    // To make a pattern takes longer than to use it: some are used a thousand times.
    static MADE: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);
    let make = || Regex::new(&format!("^{pattern}$")).expect("the pattern is valid");
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let pattern = made.entry(pattern.to_owned()).or_insert_with(make);
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

/// Asserts that the demo ends with exit code 0 and no message if nobody reads its output: the
/// reading end of its stdout is closed before it starts.
#[track_caller]
pub fn assert_quiet_without_reader(mut command: Command) {
    let (reader, writer) = io::pipe().expect("a pipe can be made");
    drop(reader);
    command.stdout(writer);
    run(command).code(0).stderr("");
}

/// Asserts that a demo reports an error, and does not panic, if stdout is a file on a full disk.
/// (Linux only: a write to `/dev/full` fails as on a full disk.)
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

/// Both ends of a new terminal. No program inherits them that another test starts meanwhile.
#[cfg(unix)]
pub fn new_terminal(size: Option<&nix::pty::Winsize>) -> nix::pty::OpenptyResult {
    use nix::fcntl::{FcntlArg::F_SETFD, FdFlag, fcntl};

    let terminal = nix::pty::openpty(size, None).expect("a terminal can be made");
    for end in [&terminal.master, &terminal.slave] {
        fcntl(end, F_SETFD(FdFlag::FD_CLOEXEC)).expect("it is open");
    }
    terminal
}

/// The width of the terminal of [`run_on_a_terminal`]. It differs from the usual 80 columns.
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
    let terminal = new_terminal(Some(&size));
    command.stdout(terminal.slave);
    let child = command.spawn().expect("the demo can be started");
    // `command` holds a copy of the demo's end of the terminal. If that stayed open, the read below
    // would never end.
    drop(command);
    let mut seen = Vec::new();
    // When the other end of the terminal is closed, a read fails on Linux. On other systems, it
    // returns the end of file. So the result is ignored.
    let mut terminal = File::from(terminal.master);
    let _ = watch(child.id(), || terminal.read_to_end(&mut seen));
    assert!(finish(child).status.success());
    String::from_utf8(seen)
        .expect("the output is UTF-8")
        .replace("\r\n", "\n")
}
