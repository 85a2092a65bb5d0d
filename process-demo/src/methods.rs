//! The same function started by fork, by forkserver and by spawn: does it do the same, what does
//! each method cost here, and why is there a forkserver?
//!
//! Mirrors Python's `multiprocessing.get_context("fork")`, `("forkserver")` and `("spawn")`. Run it
//! with `cargo run -p process-demo --release -- methods`.
//!
//! What to notice: the function prints the same by each method. But fork copies the parent: the
//! more memory the parent has, the longer a fork takes. And a lock that another thread holds is
//! copied as locked, without the thread that would unlock it. The fork server is a small process
//! with one thread, so a fork of it is quick and safe. A program that is spawned gets none of its
//! parent's memory.

use std::{
    process::Stdio,
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use comfy_table::{Table, presets};

#[cfg(unix)]
use crate::{fork, forkserver::ForkServer, process::exit_code};
use crate::{output::say, process::Process, target};

#[derive(Args)]
pub struct Options {
    /// How many processes each method starts; the median counts.
    #[arg(long, default_value_t = 64, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    starts: u32,

    /// How much memory the parent has when each method starts that many again, in MiB.
    #[arg(long, default_value_t = 256, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536))]
    memory: u32,
}

/// How many children a method starts before the next method takes its turn.
const TURN: usize = 8;

pub fn run(options: &Options) -> anyhow::Result<u8> {
    compare_the_output()?;
    compare_the_parents(options)?;
    if cfg!(not(unix)) {
        say!("fork and forkserver are missing: this system has no fork.")?;
    }
    Ok(0)
}

/// A way to start a function in a process of its own, and to join it.
struct Method {
    name: &'static str,
    /// What the child is when it begins.
    child: &'static str,
    run: Box<RunChild>,
}

/// Gets the name of the child's function and its arguments. Returns the child's exit code.
type RunChild = dyn FnMut(&str, &[String]) -> anyhow::Result<i64>;

fn methods() -> anyhow::Result<Vec<Method>> {
    Ok(vec![
        #[cfg(unix)]
        Method {
            name: "fork",
            child: "a copy of its parent",
            run: Box::new(|target, args| {
                let target = target::find(target)?;
                // SAFETY: the child waits for no lock that another thread holds. The only other
                // thread holds only `LOCK` during a fork, and `try_lock` does not wait for it.
                let child = unsafe { fork::start(|| target(args)) }?;
                fork::wait(child).map(exit_code)
            }),
        },
        #[cfg(unix)]
        Method {
            name: "forkserver",
            child: "a copy of a small helper",
            run: {
                let mut server = ForkServer::start()?;
                Box::new(move |target, args| {
                    let child = server.fork(target, args)?;
                    server.wait(child)
                })
            },
        },
        Method {
            name: "spawn",
            child: "the program from its start",
            run: Box::new(|target, args| {
                let mut child = Process::new(target, args);
                child.start()?;
                child.join()?;
                child
                    .exit_code()?
                    .context("a child that was joined has ended")
            }),
        },
    ])
}

/// Starts `run_child` by each method, and compares what it prints.
fn compare_the_output() -> anyhow::Result<()> {
    say!("The same function, started in each way that this system has:")?;
    let mut outputs = Vec::new();
    for method in methods()? {
        let output = output_of(method.name)?;
        say!("{:<11} {}", format!("{}:", method.name), output.trim_end())?;
        // Without the digits: the process id is the only number in the line.
        outputs.push(output.replace(|c: char| c.is_ascii_digit(), ""));
    }
    let same = outputs.iter().all(|output| *output == outputs[0]);
    ensure!(
        same,
        "they should all print the same, but for the process id"
    );
    say!("All print the same, each with a process id of its own.\n")
}

/// What the function prints when it is started by a method. A child inherits the stdout of its
/// parent, and this process cannot read its own stdout. So one more process starts the child: the
/// stdout of that process is a pipe, which we read.
fn output_of(method: &str) -> anyhow::Result<String> {
    let output = target::command("start_by", &[method.to_owned()])?
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start a process for {method}"))?;
    ensure!(output.status.success(), "a start by {method} failed");
    Ok(String::from_utf8(output.stdout)?)
}

/// The process between us and the child: starts the function by the method named in its argument.
pub fn start_by(args: &[String]) -> anyhow::Result<u8> {
    let mut methods = methods()?;
    let method = methods.iter_mut().find(|method| args == [method.name]);
    let method = method.context("no such start method")?;
    let code = (method.run)("run_child", &["test".to_owned()])?;
    ensure!(code == 0, "the child failed: {code}");
    Ok(0)
}

/// Starts children by each method: from a small parent, from one with much memory, and from one in
/// which another thread holds a lock.
fn compare_the_parents(options: &Options) -> anyhow::Result<()> {
    let (starts, mib) = (options.starts, options.memory);
    // The fork server starts here. So it has neither the memory that this process gets below, nor a
    // copy of the locked lock.
    let mut methods = methods()?;
    let small = times(&mut methods, starts)?;
    let memory = use_memory(mib)?;
    let large = times(&mut methods, starts)?;
    drop(memory);
    let locked: Vec<_> = while_a_thread_holds_the_lock(|| {
        let mut found = |method: &mut Method| (method.run)("try_lock", &[]);
        methods.iter_mut().map(&mut found).collect()
    })?;

    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let large_parent = format!("parent of {mib} MiB");
    table.set_header([
        "method",
        "the child begins as",
        "small parent",
        &large_parent,
        "a lock is",
    ]);
    for (place, method) in methods.iter().enumerate() {
        let lock = match u8::try_from(locked[place]) {
            Ok(0) => "free",
            Ok(LOCKED) => "locked for ever",
            _ => bail!("the child that tries the lock failed: {}", locked[place]),
        };
        let row = [
            method.name.to_owned(),
            method.child.to_owned(),
            format!("{:.0} µs", small[place].as_secs_f64() * 1e6),
            format!("{:.0} µs", large[place].as_secs_f64() * 1e6),
            lock.to_owned(),
        ];
        table.add_row(row);
    }
    say!("{table}")?;
    say!(
        "Times are from start to joined: medians of {starts} starts each, taken in turns of {TURN}."
    )?;
    say!("Each process has a lock. A thread holds the parent's. The last column is the child's.")
}

/// For each method, the median of the times of its starts.
fn times(methods: &mut [Method], starts: u32) -> anyhow::Result<Vec<Duration>> {
    let mut times = vec![Vec::new(); methods.len()];
    // The methods take turns, so that a machine that becomes slower or faster affects all alike.
    // The first starts after forks of a large parent are slower: after a fork, the parent's next
    // write to each page is a page fault. So a turn has several starts. The slow first ones are
    // few in it, so they change the median little.
    for first in (0..starts).step_by(TURN) {
        for (method, times) in methods.iter_mut().zip(&mut times) {
            // The last turn may have fewer starts.
            for _ in (first..starts).take(TURN) {
                times.push(time(method)?);
            }
        }
    }
    Ok(times.into_iter().map(median).collect())
}

/// The time from the start to the join of a function that does nothing.
fn time(method: &mut Method) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let code = (method.run)("do_nothing", &[])?;
    let time = start.elapsed();
    let name = method.name;
    ensure!(code == 0, "a child started by {name} failed: {code}");
    Ok(time)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

pub fn do_nothing(_: &[String]) -> anyhow::Result<u8> {
    Ok(0)
}

/// Allocates memory and writes to all of it: the system provides a page only at the first write.
fn use_memory(mib: u32) -> anyhow::Result<Vec<u8>> {
    // 1 MiB is 2 to the power of 20 bytes.
    let bytes = (mib as usize) << 20;
    let mut memory = Vec::new();
    memory
        .try_reserve_exact(bytes)
        .with_context(|| format!("cannot get {mib} MiB of memory (--memory takes less)"))?;
    memory.resize(bytes, 1);
    Ok(memory)
}

/// Each process has a `LOCK` of its own, which is unlocked at the start of the program. A child by
/// fork gets a copy of its parent's, in the state at the time of the fork.
static LOCK: Mutex<()> = Mutex::new(());

/// Calls `run` while another thread of this process holds `LOCK`.
fn while_a_thread_holds_the_lock<T>(run: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    thread::scope(|scope| {
        let (locked, is_locked) = mpsc::channel();
        let (done, is_done) = mpsc::channel::<()>();
        thread::Builder::new()
            .spawn_scoped(scope, move || {
                // The lock is held as long as the variable `_guard` exists.
                let _guard = LOCK.lock();
                let _ = locked.send(());
                // This waits until the other thread drops `done`.
                let _ = is_done.recv();
            })
            .context("cannot start a thread")?;
        is_locked.recv()?;
        let result = run();
        drop(done);
        result
    })
}

/// The exit code of a child that finds the lock locked.
const LOCKED: u8 = 3;

/// In a child: its exit code says whether it could take the lock. It only tries, and does not wait.
/// In a forked child a wait would never end: the thread that would unlock the lock exists in the
/// parent only, and unlocks the parent's lock.
pub fn try_lock(_: &[String]) -> anyhow::Result<u8> {
    Ok(if LOCK.try_lock().is_ok() { 0 } else { LOCKED })
}
