//! Children that exist on every machine: this program itself, started again with the name of a
//! function. Such a function is called a role.
//!
//! The roles of a lesson stand in the lesson's own file, beside what their parent does. `main.rs`
//! has the table of all roles. No child outlives its lesson. Each child has a pipe as stdin or as
//! stdout, and only the lesson or another of its children holds the other end. However the lesson
//! ends, this other end is closed. Then the child's stdin ends, or its write fails, and the child
//! ends. (If a child is killed, its own children may go on: `timeout` shows what to do about that.)

use std::{
    env,
    ffi::OsStr,
    io,
    process::{self, Command},
    thread,
};

use anyhow::{Context, anyhow};

/// A function that a child runs. What it returns becomes the child's exit code.
pub type Role = fn() -> anyhow::Result<u8>;

/// The first argument of a child of ours. The name of its role follows.
const ROLE: &str = "--role";

/// A command that starts a child, which then runs the role of this name.
pub fn command(name: &str) -> anyhow::Result<Command> {
    let program = env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    command.args([ROLE, name]);
    Ok(command)
}

/// In a child of ours: runs its role, and returns the result. In any other process: returns `None`.
pub fn play(roles: &[(&str, Role)]) -> Option<anyhow::Result<u8>> {
    let mut args = env::args_os().skip(1);
    if args.next().as_deref() != Some(OsStr::new(ROLE)) {
        return None;
    }
    let name = args.next().unwrap_or_default();
    Some(match roles.iter().find(|(role, _)| name == *role) {
        Some((_, role)) => role(),
        None => Err(anyhow!("no child has the role {name:?}")),
    })
}

/// Starts a thread that ends this process when stdin ends. This is for a child whose main thread
/// may be waiting for something else.
pub fn end_with_stdin() -> anyhow::Result<()> {
    let watch = || {
        let _ = wait_for_end_of_stdin();
        process::exit(1)
    };
    // `Builder` returns an error where `thread::spawn` would panic.
    let started = thread::Builder::new().spawn(watch);
    started.context("cannot start a thread")?;
    Ok(())
}

/// Waits until stdin ends.
pub fn wait_for_end_of_stdin() -> anyhow::Result<()> {
    // A sink discards what is written into it.
    io::copy(&mut io::stdin(), &mut io::sink()).context("cannot read stdin")?;
    Ok(())
}
