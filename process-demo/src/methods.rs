//! The same function started by fork, by forkserver and by spawn: does it do the same, what does each
//! cost here, and why is there a forkserver?
//!
//! Mirrors Python's `multiprocessing.get_context("fork")`, `("forkserver")` and `("spawn")`. Run it
//! with `cargo run -p process-demo --release -- methods`.
//!
//! What to notice: the function cannot tell how it was started. But fork copies the parent: the more
//! memory the parent has, the longer it takes. And a lock that another thread holds is copied as
//! locked, without the thread that would unlock it. The fork server is a small process with one
//! thread: to fork that is quick and safe. A spawned program has nothing of its parent's memory.

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

/// How many starts a method makes before the next one takes its turn.
const TURN: u32 = 8;

pub fn run(options: &Options) -> anyhow::Result<u8> {
    compare_the_output()?;
    compare_the_parents(options)?;
    if cfg!(not(unix)) {
        say!("fork and forkserver are missing: this system has no fork.")?;
    }
    Ok(0)
}

/// A way to run a function in a process of its own, from the start to the join.
struct Method {
    name: &'static str,
    /// What a new child is.
    child: &'static str,
    run: Box<RunChild>,
}

/// Gets the target and its arguments, and returns the child's exit code.
type RunChild = dyn FnMut(&str, &[String]) -> anyhow::Result<i64>;

fn methods() -> anyhow::Result<Vec<Method>> {
    Ok(vec![
        #[cfg(unix)]
        Method {
            name: "fork",
            child: "a copy of its parent",
            run: Box::new(|target, args| {
                let target = target::find(target)?;
                // SAFETY: this lesson starts one thread only, which holds nothing but `LOCK`. (That a
                // child must not wait for it is what it shows.)
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
                child.exit_code()?.context("it has ended")
            }),
        },
    ])
}

/// Starts the notes' function by each method, and looks at what it prints.
fn compare_the_output() -> anyhow::Result<()> {
    say!("The same function, started in each way that this system has:")?;
    let mut outputs = Vec::new();
    for method in methods()? {
        let output = output_of(method.name)?;
        say!("{:<11} {}", format!("{}:", method.name), output.trim_end())?;
        // The process id is the only number in it.
        outputs.push(output.replace(|c: char| c.is_ascii_digit(), ""));
    }
    let same = outputs.iter().all(|output| *output == outputs[0]);
    ensure!(
        same,
        "they should all print the same, but for the process id"
    );
    say!("All print the same, each with a process id of its own.\n")
}

/// What the function prints when it is started by a method. Its parent must have a pipe for a
/// stdout; ours is the user's, so a process between us and it does the start.
fn output_of(method: &str) -> anyhow::Result<String> {
    let output = target::command("start_by", &[method.to_owned()])?
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start a process for {method}"))?;
    ensure!(output.status.success(), "a start by {method} failed");
    Ok(String::from_utf8(output.stdout)?)
}

/// The process between: starts the function by the method named in its argument.
pub fn start_by(args: &[String]) -> anyhow::Result<u8> {
    let mut methods = methods()?;
    let method = methods.iter_mut().find(|method| args == [method.name]);
    let method = method.context("no such start method")?;
    let code = (method.run)("run_child", &["test".to_owned()])?;
    ensure!(code == 0, "the child failed: {code}");
    Ok(0)
}

/// Starts children by each method from a parent that is small, has much memory, or has threads.
fn compare_the_parents(options: &Options) -> anyhow::Result<()> {
    let (starts, mib) = (options.starts, options.memory);
    // The fork server starts here, and so has none of what its parent gets later.
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
        let lock = match locked[place] {
            0 => "free",
            code if code == LOCKED.into() => "locked for ever",
            code => bail!("the child that tries the lock failed: {code}"),
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
    say!("A thread of the parent holds a lock: the last column says how a child finds it.")
}

/// The median time of each method to run a function that does nothing.
fn times(methods: &mut [Method], starts: u32) -> anyhow::Result<Vec<Duration>> {
    let mut times = vec![Vec::new(); methods.len()];
    // In turns, so that a machine that becomes slower or faster affects all alike. But not one by
    // one: memory that a fork shares with its child is copied when the parent next writes to it, and
    // the start after a fork would pay for that.
    let mut left = starts;
    while left > 0 {
        let turn = left.min(TURN);
        for (method, times) in methods.iter_mut().zip(&mut times) {
            for _ in 0..turn {
                times.push(time(method)?);
            }
        }
        left -= turn;
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

/// Memory that is really there: the system provides a page only when it is written to.
fn use_memory(mib: u32) -> anyhow::Result<Vec<u8>> {
    let bytes = (mib as usize) << 20;
    let mut memory = Vec::new();
    memory
        .try_reserve_exact(bytes)
        .with_context(|| format!("cannot get {mib} MiB of memory (--memory takes less)"))?;
    memory.resize(bytes, 1);
    Ok(memory)
}

static LOCK: Mutex<()> = Mutex::new(());

fn while_a_thread_holds_the_lock<T>(run: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    thread::scope(|scope| {
        let (locked, is_locked) = mpsc::channel();
        let (done, is_done) = mpsc::channel::<()>();
        thread::Builder::new()
            .spawn_scoped(scope, move || {
                let _guard = LOCK.lock();
                let _ = locked.send(());
                // Until `done` is dropped.
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

/// Whether a child could take the lock. (To wait for it would be to wait for ever: nobody in this
/// process has locked it, so nobody unlocks it.)
pub fn try_lock(_: &[String]) -> anyhow::Result<u8> {
    Ok(if LOCK.try_lock().is_ok() { 0 } else { LOCKED })
}
