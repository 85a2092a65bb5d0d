//! The other side dies: what the reader and the writer of a pipe see, and those of a channel.
//!
//! Mirrors Python's `EOFError` and `BrokenPipeError`. Run it with `cargo run -p ipc-demo --
//! hangup`.
//!
//! What to notice: what was sent before the writer died still arrives. Then a pipe ends as if all
//! were well, while a channel says that it is disconnected. A writer learns that its reader
//! has died only at its next write. Its earlier writes had no error, but what the reader had not
//! read is lost. So a program that must know sends a message for the end, and waits for an answer.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{self, Stdio},
};

use anyhow::{Context, bail, ensure};
use ipc_channel::ipc::{self, IpcReceiver, IpcSender};

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
    // `command` holds the last writing end now. While that is open, no end of file comes.
    drop(command);

    say!("A pipe's writer has written three words and died ({status}). The reader:")?;
    for word in BufReader::new(reader).lines() {
        say!("  reads {}", word.context("cannot read the pipe")?)?;
    }
    say!("  reads the end of file: no error, as if the writer had finished")
}

/// A child of [`pipe_loses_its_writer`].
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
    // `command` holds the last reading end now. While that is open, a write has no error; when the
    // pipe is full, it waits for ever.
    drop(command);

    say!("A pipe's reader has read one of three words and died ({status}). The writer:")?;
    match writeln!(writer, "four") {
        Ok(()) => bail!("a pipe without a reader took a word"),
        Err(error) => say!("  writes four: {error}")?,
    }
    say!("  had no error for two and three, which are lost")
}

/// A child of [`pipe_loses_its_reader`].
pub fn read_from_pipe(_: String) -> anyhow::Result<u8> {
    // Exactly "one\n". Rust's own stdin would read ahead.
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

    say!("A channel's sender has sent three words and died ({status}). The receiver:")?;
    let error = loop {
        match receiver.recv() {
            Ok(word) => say!("  receives {word}")?,
            Err(error) => break error,
        }
    };
    say!("  receives the error {error:?}")
}

/// A child of [`channel_loses_its_sender`].
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
    for word in WORDS {
        sender.send(word.to_owned()).context("cannot send")?;
    }
    // This is what the child waits for.
    drop(held);
    let status = child.wait()?;

    say!("A channel's receiver has received one of three words and died ({status}). The sender:")?;
    match sender.send("four".to_owned()) {
        Ok(()) => bail!("a channel without a receiver took a word"),
        // Linux tells "connection reset" from "broken pipe": the first if anything was unread.
        Err(error) => say!("  sends four: the error {error:?}")?,
    }
    say!("  had no error for two and three, which are lost")
}

/// A child of [`channel_loses_its_receiver`].
pub fn receive(server: String) -> anyhow::Result<u8> {
    let receiver: IpcReceiver<String> = child::arguments(server)?;
    let word = receiver.recv().context("cannot receive")?;
    ensure!(word == WORDS[0], "{word} came first");
    io::copy(&mut io::stdin(), &mut io::sink()).context("cannot wait for the parent")?;
    die()
}

/// Ends this process as `kill -9` does: nothing of ours runs any more, and nobody is told.
pub fn die() -> ! {
    #[cfg(unix)]
    let _ = nix::sys::signal::raise(nix::sys::signal::SIGKILL);
    process::abort()
}
