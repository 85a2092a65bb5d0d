//! The same function started by fork, by forkserver and by spawn: does it do the same, and what
//! does each cost here?
//!
//! Mirrors Python's `multiprocessing.get_context("fork")`, `("forkserver")` and `("spawn")`. Run it
//! with `cargo run -p process-demo --release -- methods`.
//!
//! What to notice: the function cannot tell how it was started. The price can: fork copies what is
//! there, forkserver copies something smaller but has to ask for it, spawn begins a program anew.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
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
}

/// How many starts a method makes before it is the next one's turn.
const TURN: u32 = 8;

pub fn run(options: &Options) -> anyhow::Result<u8> {
    compare_the_output()?;
    compare_the_time(options.starts)?;
    if cfg!(not(unix)) {
        say!("fork and forkserver are missing: they need fork, which this system has not.")?;
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
                // SAFETY: this lesson starts no thread, and no other ran before it.
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

/// Starts a function that does nothing by each method, many times.
fn compare_the_time(starts: u32) -> anyhow::Result<()> {
    let mut methods = methods()?;
    let mut times = vec![Vec::new(); methods.len()];
    // In turns, so that a machine that grows slower or faster meanwhile treats all alike. But not
    // one by one: memory that a fork has shared with its child is copied when the parent next writes
    // to it, and the start after a fork would pay for that.
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

    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["method", "the child begins as", "start to joined"]);
    for (method, times) in methods.iter().zip(times) {
        table.add_row([
            method.name.to_owned(),
            method.child.to_owned(),
            format!("{:.0} µs", median(times).as_secs_f64() * 1e6),
        ]);
    }
    say!("{table}")?;
    say!("Times are medians of {starts} starts each, taken in turns of {TURN}.")
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
