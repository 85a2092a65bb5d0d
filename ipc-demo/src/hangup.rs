//! The other side dies: what the reader and the writer see, of a pipe and of a channel.
//!
//! Mirrors Python's `EOFError` and `BrokenPipeError`. Run it with `cargo run -p ipc-demo --
//! hangup`.
//!
//! What to notice: what was sent before the writer died still arrives. Then a pipe is at the end of
//! file, and a channel is disconnected. Both are the same after a writer that has finished: the
//! reader cannot tell a writer's death from its normal end. A writer learns that its reader has
//! died only at its next write. Its earlier writes had no error, but what the reader had not read
//! is lost. Programs that must know more send messages about it: the writer's last message says
//! "this is the end", and the reader sends an answer.
//!
//! A write to a pipe without a reader does two things: the system sends SIGPIPE to the writer, and
//! the write returns the error "Broken pipe". By default SIGPIPE ends the process. A Rust program
//! ignores SIGPIPE from its start, as Python does, so it sees the error.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{self, ExitStatus, Stdio},
};

use anyhow::{Context, bail, ensure};
use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
#[cfg(unix)]
use nix::sys::signal::SIGKILL;

use crate::{
    child::{self, Child},
    forgotten,
    output::say,
};

const WORDS: [&str; 3] = ["one", "two", "three"];

pub fn run() -> anyhow::Result<u8> {
    pipe_loses_its_writer()?;
    pipe_loses_its_reader()?;
    channel_loses_its_sender()?;
    channel_loses_its_receiver()?;
    forgotten::run()
}

fn pipe_loses_its_writer() -> anyhow::Result<()> {
    let (reader, writer) = os_pipe::pipe().context("cannot make a pipe")?;
    let mut command = child::command("dying-pipe-writer", "")?;
    let status = command.stdout(writer).status();
    let status = status.context("cannot run the writer")?;
    // `command` keeps the writing end that it was given. It is the last one now: while it is open,
    // the end of file does not come.
    drop(command);

    say!("A pipe's writer has written three words and died ({status}). The reader:")?;
    for word in BufReader::new(reader).lines() {
        say!("  reads {}", word.context("cannot read the pipe")?)?;
    }
    say!("  reads the end of file: no error, as if the writer had finished")?;
    // The reader cannot tell. But the writer was a child, so its parent can.
    check_death("writer", status)
}

/// The child of [`pipe_loses_its_writer`].
pub fn write_to_pipe(_: String) -> anyhow::Result<u8> {
    for word in WORDS {
        say!("{word}")?;
    }
    die()
}

fn pipe_loses_its_reader() -> anyhow::Result<()> {
    let (reader, mut writer) = os_pipe::pipe().context("cannot make a pipe")?;
    for word in WORDS {
        writeln!(writer, "{word}").context("cannot write to the pipe")?;
    }
    let mut command = child::command("dying-pipe-reader", "")?;
    let status = command.stdin(reader).status();
    let status = status.context("cannot run the reader")?;
    check_death("reader", status)?;
    // `command` keeps the reading end that it was given. It is the last one now: while it is open,
    // a write returns no error, and a write to a full pipe waits for ever.
    drop(command);

    say!("A pipe's reader has read one of three words and died ({status}). The writer:")?;
    match writeln!(writer, "four") {
        Ok(()) => bail!("a pipe without a reader took a word"),
        Err(error) => say!("  writes four: {error}")?,
    }
    say!("  got no error when it wrote two and three: both are lost")
}

/// The child of [`pipe_loses_its_reader`].
pub fn read_from_pipe(_: String) -> anyhow::Result<u8> {
    // Reads exactly "one\n". Rust's own stdin would read as much as it can, into a buffer.
    let mut word = [0; 4];
    let mut stdin = os_pipe::dup_stdin().context("cannot copy stdin")?;
    stdin
        .read_exact(&mut word)
        .context("cannot read the pipe")?;
    die()
}

fn channel_loses_its_sender() -> anyhow::Result<()> {
    let (sender, receiver) = ipc::channel::<String>().context("cannot make a channel")?;
    let child = Child::start("dying-sender", Stdio::null(), sender)?;
    let status = child.wait()?;
    check_death("dying-sender", status)?;

    say!("A channel's sender has sent three words and died ({status}). The receiver:")?;
    let error = loop {
        match receiver.recv() {
            Ok(word) => say!("  receives {word}")?,
            Err(error) => break error,
        }
    };
    say!("  receives the error {error:?}")
}

/// The child of [`channel_loses_its_sender`].
pub fn send(server: String) -> anyhow::Result<u8> {
    let sender: IpcSender<String> = child::arguments(server)?;
    for word in WORDS {
        sender.send(word.to_owned()).context("cannot send")?;
    }
    die()
}

fn channel_loses_its_receiver() -> anyhow::Result<()> {
    let (lifeline, held) = os_pipe::pipe().context("cannot make a pipe")?;
    let (sender, receiver) = ipc::channel::<String>().context("cannot make a channel")?;
    let child = Child::start("dying-receiver", lifeline, receiver)?;
    let sent = WORDS
        .iter()
        .try_for_each(|word| sender.send(word.to_string()));
    // The child waits for the end of file on its stdin, and then dies.
    drop(held);
    let status = child.wait()?;
    check_death("dying-receiver", status)?;
    sent.context("cannot send to the dying-receiver")?;

    say!("A channel's receiver has received one of three words and died ({status}). The sender:")?;
    match sender.send("four".to_owned()) {
        Ok(()) => bail!("a channel without a receiver took a word"),
        // Linux returns "Connection reset" if the receiver had not read everything when it died,
        // and else "Broken pipe".
        Err(error) => say!("  sends four: the error {error:?}")?,
    }
    say!("  got no error when it sent two and three: both are lost")
}

/// The child of [`channel_loses_its_receiver`].
pub fn receive(server: String) -> anyhow::Result<u8> {
    let receiver: IpcReceiver<String> = child::arguments(server)?;
    let word = receiver.recv().context("cannot receive")?;
    ensure!(word == WORDS[0], "{word} came first");
    io::copy(&mut io::stdin(), &mut io::sink()).context("cannot wait for the parent")?;
    die()
}

/// Ends this process as `kill -9` does: no code of this program runs any more in it, and it sends
/// no last message. (`-> !`: this function never returns.)
pub fn die() -> ! {
    #[cfg(unix)]
    let _ = nix::sys::signal::raise(SIGKILL);
    process::abort()
}

/// Checks that a process has ended by [`die`].
///
/// # Errors
/// It has ended in another way: it failed before, or another signal has killed it.
pub fn check_death(who: &str, status: ExitStatus) -> anyhow::Result<()> {
    #[cfg(unix)]
    let died = std::os::unix::process::ExitStatusExt::signal(&status) == Some(SIGKILL as i32);
    // There, `die` aborts.
    #[cfg(not(unix))]
    let died = !status.success();
    ensure!(died, "the {who} did not die as planned: {status}");
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

    use super::check_death;

    #[test]
    fn only_sigkill_is_the_planned_death() {
        // What `wait` returns: the signal's number, or the exit code times 256.
        for (status, planned) in [
            (9, true),
            (15, false),
            (0, false),
            (256, false),
            (9 << 8, false),
        ] {
            let death = check_death("child", ExitStatus::from_raw(status));
            assert_eq!(death.is_ok(), planned, "{status}");
        }
    }
}
