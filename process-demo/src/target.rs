//! What can run in a child, and how it gets there.
//!
//! A new process shares no memory with us, so a function cannot be handed to it. But its name can:
//! the child is this same program, started again with the name of a function and its
//! arguments on its command line.

use std::{env, ffi::OsStr, io, process::Command};

use anyhow::Context;

use crate::TARGETS;

/// What a child process runs: it gets the arguments, and what it returns becomes the exit code.
pub type Target = fn(&[String]) -> anyhow::Result<u8>;

/// As the first argument, it tells this program that it is a child.
const CHILD: &str = "--child";

/// The command line that runs a target in a child.
///
/// # Errors
/// When there is no such target.
pub fn command(target: &str, args: &[String]) -> anyhow::Result<Command> {
    find(target)?;
    let program = env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    command.args([CHILD, target]).args(args);
    // A child that panics writes its message only. std holds a lock while it prints a backtrace, and
    // if memory runs out meanwhile, its report of that waits for the same lock (Rust 1.95): for ever.
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

/// In a child: runs its target, and returns the target's result. Anywhere else: `None`.
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
    find(name)?(args)
}

/// In a child: waits until the parent has dropped its [`Process`](crate::process::Process), or has
/// ended. Both close the writing end of the pipe that is this child's stdin.
pub fn wait_for_the_parent_to_go() -> anyhow::Result<()> {
    io::copy(&mut io::stdin(), &mut io::sink()).context("cannot read stdin")?;
    Ok(())
}
