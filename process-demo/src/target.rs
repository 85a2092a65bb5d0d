//! How a child learns which function it has to run.
//!
//! A new process shares no memory with its parent, so the parent cannot pass it a function. It can
//! pass a name: the child is this same program, started again with the name of a function and the
//! function's arguments on its command line.

use std::{env, ffi::OsStr, io, process::Command};

use anyhow::Context;

use crate::TARGETS;

/// A function that a child runs. It gets the arguments; what it returns becomes the exit code.
pub type Target = fn(&[String]) -> anyhow::Result<u8>;

/// The first argument of every child. The name of its function follows.
const CHILD: &str = "--child";

/// The command that starts a child, which then runs the function named `target`.
///
/// # Errors
/// When there is no such function.
pub fn command(target: &str, args: &[String]) -> anyhow::Result<Command> {
    find(target)?;
    let program = env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    command.args([CHILD, target]).args(args);
    // A child that panics writes its message, but no backtrace. The standard library holds a lock
    // while it prints a backtrace. If memory runs out meanwhile, the library reports that too, and
    // the report waits for the same lock: the child never ends (seen with Rust 1.95).
    command.env("RUST_BACKTRACE", "0");
    Ok(command)
}

/// The function of that name.
///
/// # Errors
/// When there is none among the [`TARGETS`].
pub fn find(target: &str) -> anyhow::Result<Target> {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    found
        .map(|(_, target)| *target)
        .with_context(|| format!("no function named {target:?} can run in a child"))
}

/// In a child: runs its function, and returns the function's result. In any other process: returns
/// `None`.
pub fn run_target() -> Option<anyhow::Result<u8>> {
    let mut args = env::args_os().skip(1);
    if args.next().as_deref() != Some(OsStr::new(CHILD)) {
        return None;
    }
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    Some(run(&args))
}

fn run(args: &[String]) -> anyhow::Result<u8> {
    let (name, args) = args
        .split_first()
        .with_context(|| format!("{CHILD} needs the name of a function"))?;
    let target = find(name)?;
    target(args)
}

/// In a child: waits until its stdin ends. That is when the parent drops the child's
/// [`Process`](crate::process::Process), and when the parent ends: both close the writing end of
/// the pipe that is the child's stdin.
pub fn wait_for_end_of_stdin() -> anyhow::Result<()> {
    // A sink discards what is written into it.
    io::copy(&mut io::stdin(), &mut io::sink()).context("cannot read stdin")?;
    Ok(())
}
