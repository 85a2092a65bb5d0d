//! Children that exist on every machine: this program itself, started again with the name of the
//! role that it plays.
//!
//! What a child does stands beside what its parent does, in the lesson's own file. `main.rs` has
//! the table of all roles. No child outlives its lesson: each child ends when its input ends or its
//! output fails. The other end of that pipe is held by the lesson, or by another of its children, so
//! it is closed however the lesson ends. (If a child is killed, its own children may go on:
//! `timeout` shows what to do about that.)

use std::{
    env,
    ffi::OsStr,
    io,
    process::{self, Command},
    thread,
};

use anyhow::{Context, anyhow};

/// What a child does; what it returns becomes its exit code.
pub type Role = fn() -> anyhow::Result<u8>;

/// The first argument of a child of ours. The name of its role follows.
const ROLE: &str = "--role";

/// A command that starts a child in the role of this name.
pub fn command(name: &str) -> anyhow::Result<Command> {
    let program = env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    command.args([ROLE, name]);
    Ok(command)
}

/// In a child: plays its role, and returns the result. In any other process: `None`.
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

/// In a child that may be stuck elsewhere: ends it when its stdin ends.
pub fn end_with_stdin() -> anyhow::Result<()> {
    let watch = || {
        let _ = wait_for_end_of_stdin();
        process::exit(1)
    };
    let started = thread::Builder::new().spawn(watch);
    started.context("cannot start a thread").map(drop)
}

/// Waits until stdin ends.
pub fn wait_for_end_of_stdin() -> anyhow::Result<()> {
    let waited = io::copy(&mut io::stdin(), &mut io::sink());
    waited.context("cannot read stdin").map(drop)
}
