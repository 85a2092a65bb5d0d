//! Zombies and orphans: what becomes of a child that nobody waits for, and of a child whose parent
//! has ended.
//!
//! Mirrors Python's `os.fork()` without `os.wait()`. Run it with `cargo run -p fork-demo --
//! orphan`.
//!
//! What to notice: a child that has ended stays in the process table, as a zombie, until its parent
//! has waited for it. A child whose parent ends does not end too. It is then an orphan, and gets a
//! new parent. That is process 1, or a nearer ancestor that has asked for orphans (a "subreaper",
//! such as systemd's user manager).

use std::{
    io::{self, PipeReader, PipeWriter, Read, Write},
    mem,
};

use anyhow::{Context, ensure};
use nix::{
    errno::Errno,
    libc,
    unistd::{Pid, getpid, getppid},
};

use crate::{child, output::say, process_table};

mod daemon;

pub fn run() -> anyhow::Result<u8> {
    zombie()?;
    orphan()?;
    daemon::run()?;
    Ok(0)
}

/// A child that has ended, seen before and after its parent waits for it.
fn zombie() -> anyhow::Result<()> {
    let child = child::start(|| Ok(7)).context("cannot fork a child")?;
    wait_for_the_end(child)?;
    let seen = process_table::state(child).and_then(|state| {
        let zombie = state == Some('Z');
        ensure!(zombie, "child {child} should be a zombie: state {state:?}");
        say!("Child {child} has ended, but nobody has waited for it: state Z, a zombie.")
    });
    // Only this removes the child from the process table. So it is done even if the check above has
    // failed.
    let status = child::wait(child)?;
    seen?;
    ensure!(
        status.code() == Some(7),
        "child {child} should have had the exit code 7, but ended with {status}"
    );

    let left = process_table::state(child)?;
    ensure!(
        left.is_none(),
        "child {child} should be gone, but is in state {left:?}"
    );
    say!("Child {child} is waited for, exit code 7: it is gone from the process table.")
}

/// Waits until `child` has ended, but leaves it a zombie.
fn wait_for_the_end(child: Pid) -> anyhow::Result<()> {
    // (This is C's call: nix offers it on some systems only.)
    loop {
        // SAFETY: the call writes to `info`, which is ours. All zeros are a valid value of `info`.
        let result = unsafe {
            let mut info: libc::siginfo_t = mem::zeroed();
            let id = child.as_raw() as libc::id_t;
            Errno::result(libc::waitid(
                libc::P_PID,
                id,
                &mut info,
                libc::WEXITED | libc::WNOWAIT,
            ))
        };
        match result {
            Err(Errno::EINTR) => continue,
            result => {
                result
                    .map_err(io::Error::from)
                    .with_context(|| format!("cannot wait for the end of child {child}"))?;
                return Ok(());
            }
        }
    }
}

/// A parent that ends before its child.
fn orphan() -> anyhow::Result<()> {
    let (mut report, reporter) = io::pipe().context("cannot make a pipe")?;
    let (parent_is_gone, not_yet_gone) = io::pipe().context("cannot make a pipe")?;
    let mut not_yet_gone = Some(not_yet_gone);

    let parent = child::start(|| {
        // While any copy of this writing end is open, the child reads no end of file. If the parent
        // kept its copy here, the child would get one too, and would wait for itself.
        drop(not_yet_gone.take());
        child::start(|| go_on(parent_is_gone, reporter)).context("cannot fork its child")?;
        // The parent ends without waiting for its child.
        Ok(0)
    })
    .context("cannot fork a parent")?;
    // When this returns, the system has given the child its new parent.
    let status = child::wait(parent)?;
    // This was the last copy: the child goes on.
    drop(not_yet_gone);
    let mut ids = String::new();
    report
        .read_to_string(&mut ids)
        .context("cannot read the child's report")?;
    ensure!(status.success(), "parent {parent} failed: {status}");
    ensure!(
        !ids.is_empty(),
        "the child of parent {parent} ended without a report"
    );

    let (child, new_parent) =
        parse(&ids).with_context(|| format!("cannot understand the child's report {ids:?}"))?;
    if new_parent == getpid() {
        // This process is process 1 (of a container) or a subreaper. So it has to wait for the
        // orphan.
        child::wait(child)?;
    }
    ensure!(
        new_parent != parent,
        "child {child} should have a new parent, but still has {parent}"
    );
    say!("Child {child} has outlived its parent {parent}: its new parent is {new_parent}.")
}

/// What the child does: it waits until it is an orphan, and then reports its id and that of its new
/// parent.
fn go_on(mut parent_is_gone: PipeReader, mut reporter: PipeWriter) -> anyhow::Result<u8> {
    // Nothing is ever written to this pipe: the read waits for the end of file.
    parent_is_gone.read(&mut [0]).context("cannot wait")?;
    write!(reporter, "{} {}", getpid(), getppid()).context("cannot send the report")?;
    Ok(0)
}

fn parse(ids: &str) -> Option<(Pid, Pid)> {
    let (child, parent) = ids.split_once(' ')?;
    let pid = |id: &str| id.parse().ok().map(Pid::from_raw);
    Some((pid(child)?, pid(parent)?))
}
