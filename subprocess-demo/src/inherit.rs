//! Which descriptors a child gets, and what happens if one of them is the writing end of a pipe.
//!
//! Mirrors Python's `os.set_inheritable(fd, True)` with `Popen(..., close_fds=False)`. With
//! `close_fds=True`, Python's default, the child also closes the descriptors that are not marked
//! (all but 0, 1, 2 and those in `pass_fds`). Run it with `cargo run -p subprocess-demo --
//! inherit`.
//!
//! What to notice: a new child has copies of all descriptors of its parent (fork). When the child
//! becomes another program (exec), the system closes those that are marked close-on-exec. Rust
//! marks every descriptor that it opens, and so does Python since 3.4; C marks none by itself.
//! (Before the exec, the child copies the pipes for its stdin, stdout and stderr to the numbers 0,
//! 1 and 2. These copies are not marked.) An unmarked writing end stays open in a child that never
//! uses it: the reader sees no end of file until that child has ended.

use std::{
    env,
    io::{BufRead, BufReader},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, ensure};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::{
    ending,
    output::say,
    role::{self, Role},
};

/// The child of this lesson.
pub const ROLES: [(&str, Role); 1] = [("look-for-descriptor", look_for_descriptor)];

/// The environment variable that tells the child which descriptor to look for.
const DESCRIPTOR: &str = "DESCRIPTOR";

/// How long we wait for an end of file that does not come, in milliseconds.
const PATIENCE: u16 = 300;

pub fn run() -> anyhow::Result<u8> {
    for close_on_exec in [true, false] {
        let (reader, writer) = os_pipe::pipe().context("cannot make a pipe")?;
        if close_on_exec {
            say!("A pipe's writing end, close-on-exec (as Rust opens it):")?;
        } else {
            say!("The same, not close-on-exec:")?;
            // An empty set of flags: this takes the mark close-on-exec away.
            let flags = FcntlArg::F_SETFD(FdFlag::empty());
            fcntl(&writer, flags).context("cannot change the writing end")?;
        }
        let mut command = role::command("look-for-descriptor")?;
        command.env(DESCRIPTOR, writer.as_raw_fd().to_string());
        let (mut child, answer) = start(command)?;
        say!("  the child: {answer}")?;
        // This closes our writing end. If the child has a copy of it, the pipe stays open.
        drop(writer);
        let ended = ends_within(reader.as_fd(), PATIENCE).context("cannot wait for the pipe")?;
        say!("  end of file while the child lives: {}", yes_no(ended))?;
        // The child ends when its stdin ends.
        drop(child.stdin.take());
        let status = child.wait().context("cannot wait for the child")?;
        ensure!(status.success(), "the child: {}", ending::words(status));
        let ended_then = ends_within(reader.as_fd(), 10_000).context("cannot wait for the pipe")?;
        say!(
            "  end of file after the child's end: {}",
            yes_no(ended_then)
        )?;
        ensure!(ended == close_on_exec, "the flag had no effect");
    }
    Ok(0)
}

/// Starts the child, and returns its first line.
fn start(mut command: Command) -> anyhow::Result<(Child, String)> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start the child")?;
    let stdout = child.stdout.take().context("stdout is no pipe")?;
    let answer = BufReader::new(stdout).lines().next();
    let answer = answer.context("the child did not answer")?;
    Ok((child, answer.context("cannot read the answer")?))
}

/// Whether the end of file comes within this time. No process writes into the pipe, so the end of
/// file is all that `poll` can report.
fn ends_within(pipe: BorrowedFd, milliseconds: u16) -> nix::Result<bool> {
    let mut asked = [PollFd::new(pipe, PollFlags::POLLIN)];
    loop {
        match poll(&mut asked, PollTimeout::from(milliseconds)) {
            Err(Errno::EINTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}

fn yes_no(answer: bool) -> &'static str {
    if answer { "yes" } else { "no" }
}

/// The child: it says whether it has the descriptor, and then waits for the end of its stdin.
fn look_for_descriptor() -> anyhow::Result<u8> {
    let number = env::var(DESCRIPTOR).context("cannot read the descriptor's number")?;
    let number = number.parse().context("the descriptor is no number")?;
    // SAFETY: F_GETFD changes nothing. If the number is no open descriptor, `fcntl` returns -1.
    let is_open = unsafe { nix::libc::fcntl(number, nix::libc::F_GETFD) } != -1;
    let has = if is_open { "have" } else { "don't have" };
    say!("I {has} the writing end.")?;
    role::wait_for_end_of_stdin()?;
    Ok(0)
}
