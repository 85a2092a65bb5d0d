//! Whatever ends a demo, or one of its children, at whatever moment: nothing is left of it.
//!
//! Every demo has this test. Again and again it starts one of the demo's lessons, waits for a random
//! part of the time that the lesson takes, and sends SIGINT, SIGTERM or SIGKILL to the demo or to
//! one of its descendants. Then all of them must end, by themselves and soon: the demo with an exit
//! code that its README names, or by the signal that it was sent; and no file may be left. (What a
//! demo had no time to remove before it was killed, its next run removes.)
//!
//! `cargo test -p <demo> --test random_end -- --ignored --nocapture` runs it. A failure names its
//! seed: `RANDOM_END_SEED=<seed> RANDOM_END_TIMES=1` repeats this choice of lesson, moment, process
//! and signal.
#![cfg(target_os = "linux")]

mod common;

use std::{
    env,
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    thread,
    time::{Duration, Instant, SystemTime},
};

use common::demo;
use nix::{
    libc,
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::Pid,
};

/// The lessons that take long enough to be ended, or start children.
fn lessons() -> &'static [&'static str] {
    match env!("CARGO_PKG_NAME") {
        "fork-demo" => &[
            "",
            "many",
            "many --children 50",
            "copy",
            "order",
            "exec",
            "locked",
            "orphan",
            "serve --port 0",
        ],
        "process-demo" => &[
            "",
            "join",
            "status",
            "signals",
            "daemon",
            "methods --starts 100 --memory 16",
        ],
        "pool-demo" => &[
            "--max-seconds 0.2",
            "--max-seconds 0.2 --backend thread",
            "errors",
            "map --tasks 2000",
            "imap-unordered",
            "crash",
            "remote --workers 2 --tasks 300",
        ],
        "subprocess-demo" => &[
            "call sleep 0.1",
            "communicate",
            "pipeline",
            "merge",
            "timeout",
            "inherit",
            "shell",
            "deadlock",
        ],
        "ipc-demo" => &[
            "",
            "queue --writers 3 --readers 2 --items 1000",
            "pipe",
            "shared",
            "lock",
            "fds",
            "hangup",
        ],
        "mt-vs-mp" => &[
            "run crash --quick",
            "run master --quick",
            "run sharing --quick",
            "serve --model prefork --port 0 --processes 4",
            "serve --model hybrid --port 0 --processes 2",
        ],
        demo => panic!("{demo} has no list of lessons"),
    }
}

/// 0: done. 1: failed, perhaps because a child was ended. 130: ended by Ctrl-C. (subprocess-demo
/// passes on how its child ended.)
const CODES: [i32; 3] = [0, 1, 130];

/// How often a demo is ended.
const TIMES: u64 = 34;

/// Longer than any task of a lesson, on a slow and busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// A lesson is ended within this time, even if it takes longer.
const LONGEST: Duration = Duration::from_millis(1000);

#[ignore = "it takes about a quarter of a minute"]
#[test]
fn nothing_is_left_whoever_is_ended_by_whatever_signal_at_whatever_moment() {
    // So that all who are left without a parent become children of this process.
    prctl::set_child_subreaper(true).expect("any process can adopt its descendants");
    let seed = number("RANDOM_END_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.expect("it is after 1970").as_micros() as u64
    });
    let times = number("RANDOM_END_TIMES").unwrap_or(TIMES);
    let durations: Vec<Duration> = lessons().iter().map(|lesson| duration(lesson)).collect();
    let mut failures = Vec::new();
    for seed in seed..seed + times {
        let mut random = Random(seed);
        let place = random.below(lessons().len() as u64) as usize;
        if let Err(failure) = end(lessons()[place], durations[place], &mut random) {
            let failure = format!("RANDOM_END_SEED={seed} RANDOM_END_TIMES=1: {failure}");
            println!("{failure}");
            failures.push(failure);
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(value.parse().expect("a number in this variable"))
}

/// How long a lesson takes that nobody disturbs.
fn duration(lesson: &str) -> Duration {
    let start = Instant::now();
    let mut run = Run::start(lesson);
    while start.elapsed() < LONGEST && run.status.is_none() {
        run.reap();
        thread::sleep(Duration::from_millis(1));
    }
    let duration = start.elapsed();
    if run.status.is_none() {
        let _ = kill(run.demo, Signal::SIGTERM);
    }
    run.wait_for_all();
    duration
}

fn end(lesson: &str, duration: Duration, random: &mut Random) -> Result<(), String> {
    let mut run = Run::start(lesson);
    // A sleep stands for the random moment here.
    let moment = Duration::from_micros(random.below(duration.as_micros() as u64 + 1));
    thread::sleep(moment);
    let processes = run.processes();
    let victim = processes[random.below(processes.len() as u64) as usize];
    let signal = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL][random.below(3) as usize];
    // It may have ended already.
    let _ = kill(victim, signal);
    if victim != run.demo && lesson.starts_with("serve") {
        // A server goes on without one of its children, until it is told to end.
        let _ = kill(run.demo, Signal::SIGTERM);
    }
    let gone = run.wait_for_all();

    let who = if victim == run.demo {
        "the demo"
    } else {
        "a child"
    };
    let at = format!("{lesson:?}, {signal} to {who} after {moment:?}");
    if let Some(left) = gone {
        return Err(format!(
            "{at}: after {LIMIT:?} there was still {left}; {}",
            run.said()
        ));
    }
    let status = run.status.expect("it has ended");
    let by_the_signal = victim == run.demo && status.signal() == Some(signal as i32);
    if !by_the_signal && !status.code().is_some_and(|code| allowed(code, signal)) {
        return Err(format!("{at}: {status}; {}", run.said()));
    }
    if victim == run.demo && signal == Signal::SIGKILL && !run.files().is_empty() {
        // It could remove nothing any more: the next run does that.
        run.next();
    }
    match run.files() {
        files if files.is_empty() => Ok(()),
        files => Err(format!("{at}: {status}; left over: {files:?}")),
    }
}

/// Whether a README names this exit code. subprocess-demo's `call` also passes on a signal's number.
fn allowed(code: i32, signal: Signal) -> bool {
    let passed_on = env!("CARGO_PKG_NAME") == "subprocess-demo" && code == 128 + signal as i32;
    CODES.contains(&code) || passed_on
}

/// One run of a lesson, with a folder of its own for temporary files.
struct Run {
    demo: Pid,
    status: Option<ExitStatus>,
    folder: PathBuf,
    shared_memory: Vec<PathBuf>,
}

impl Run {
    fn start(lesson: &str) -> Self {
        let name = format!(
            "random-end-{}-{}",
            env!("CARGO_PKG_NAME"),
            std::process::id()
        );
        let folder = env::temp_dir().join(name);
        fs::create_dir_all(folder.join("tmp")).expect("a folder can be made");
        let output = File::create(folder.join("output")).expect("a file can be made");
        let arguments: Vec<_> = lesson.split_whitespace().collect();
        let mut command = demo!();
        command
            .args(arguments)
            .env("TMPDIR", folder.join("tmp"))
            .stdout(output.try_clone().expect("a file can be opened twice"))
            .stderr(output);
        let shared_memory = entries(Path::new("/dev/shm"));
        #[expect(
            clippy::zombie_processes,
            reason = "`reap` waits for it, and for its orphans"
        )]
        let demo = command.spawn().expect("the demo can be started");
        Self {
            demo: common::pid(demo.id()),
            status: None,
            folder,
            shared_memory,
        }
    }

    /// Runs the demo's default lesson, with the same folder for temporary files.
    fn next(&self) {
        let mut command = demo!();
        command.env("TMPDIR", self.folder.join("tmp"));
        common::run(command);
    }

    /// The demo and its descendants.
    fn processes(&self) -> Vec<Pid> {
        let mut processes = vec![self.demo];
        let mut next = 0;
        while next < processes.len() {
            processes.extend(children(processes[next]));
            next += 1;
        }
        processes
    }

    /// Reaps the demo, and every orphan that it has left, if they have ended. Returns whether a
    /// process is left.
    fn reap(&mut self) -> bool {
        loop {
            let mut status = 0;
            // (nix's own call loses a child that a real-time signal killed.)
            // SAFETY: `status` is ours, and valid for as long as the call takes.
            match unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) } {
                0 => return true,
                id if id == self.demo.as_raw() => self.status = Some(ExitStatus::from_raw(status)),
                id if id < 0 => return false,
                _ => {}
            }
        }
    }

    /// Waits until the demo and all its descendants have ended. If they do not, kills them, and
    /// returns what they were.
    fn wait_for_all(&mut self) -> Option<String> {
        let start = Instant::now();
        while self.reap() {
            if start.elapsed() > LIMIT {
                let left = self.kill_all();
                while self.reap() {
                    self.kill_all();
                    thread::yield_now();
                }
                return Some(left.join(", "));
            }
            thread::sleep(Duration::from_millis(1));
        }
        None
    }

    fn kill_all(&self) -> Vec<String> {
        let this = Pid::this();
        let mut left = children(this);
        let mut next = 0;
        while next < left.len() {
            left.extend(children(left[next]));
            next += 1;
        }
        let names = left.iter().map(|id| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let state = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let state = state.rsplit(") ").next().unwrap_or("?").chars().next();
            format!("{id} {state:?} {line:?}")
        });
        let names = names.collect();
        for id in left {
            let _ = kill(id, Signal::SIGKILL);
        }
        names
    }

    fn said(&self) -> String {
        let output = fs::read(self.folder.join("output")).unwrap_or_default();
        let output = String::from_utf8_lossy(&output);
        let last: Vec<_> = output.lines().rev().take(5).collect();
        format!("its last lines, backwards: {last:#?}")
    }

    /// The files that are left.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = entries(&self.folder.join("tmp"));
        let shared = entries(Path::new("/dev/shm")).into_iter();
        files.extend(shared.filter(|path| !self.shared_memory.contains(path)));
        files
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The children of all threads of a process.
fn children(id: Pid) -> Vec<Pid> {
    let threads = entries(Path::new(&format!("/proc/{id}/task")));
    let lists = threads
        .iter()
        .filter_map(|thread| fs::read_to_string(thread.join("children")).ok());
    let ids: Vec<String> = lists.flat_map(|list| words(&list)).collect();
    ids.iter()
        .filter_map(|id| id.parse().ok().map(Pid::from_raw))
        .collect()
}

fn words(list: &str) -> Vec<String> {
    list.split_whitespace().map(str::to_owned).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect()
}

/// Numbers that depend on the seed alone (SplitMix64, <https://prng.di.unimi.it/splitmix64.c>).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}
