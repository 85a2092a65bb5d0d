//! From process to process, over a pipe or over ipc-channel: the message is copied into the system
//! and out of it.

use std::{
    io::{Read, Write},
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, ensure};
use ipc_channel::ipc::{IpcBytesSender, IpcOneShotServer, IpcSender, bytes_channel};
use serde::{Deserialize, Serialize};

use super::message::{Batch, Sender, check, largest, mark, receive_all, send_all};
use crate::lab::role::{self, Peer};

/// Where the receiver gets its messages from.
#[derive(Serialize, Deserialize)]
pub enum Source {
    Stdin,
    /// A channel of its own making, the other end of which it sends to this server.
    IpcChannel(String),
}

/// The other process. By a byte on its stdout it says that all are here.
pub static RECEIVER: Peer<(Source, Vec<Batch>)> = Peer {
    name: "transfer-receiver",
    play: |(source, batches)| {
        // Without the buffers of `io::stdin` and `io::stdout`.
        let mut answers = os_pipe::dup_stdout().context("cannot use stdout")?;
        let mut say_so = move || answers.write_all(b".").context("the sender is gone");
        match source {
            Source::Stdin => {
                let mut pipe = os_pipe::dup_stdin().context("cannot use stdin")?;
                let mut buffer = vec![0; largest(&batches)];
                let receive = |number, size| {
                    pipe.read_exact(&mut buffer[..size])
                        .context("the sender is gone")?;
                    check(&buffer[..size], number, size)
                };
                receive_all(&batches, receive, say_so)
            }
            Source::IpcChannel(server) => {
                let (sender, receiver) = bytes_channel().context("cannot make a channel")?;
                IpcSender::connect(server)
                    .context("cannot connect to the sender")?
                    .send(sender)
                    .context("cannot send the channel's other end")?;
                say_so()?;
                // Each message comes in memory of its own: so this library has it.
                let receive = |number, size| check(&receiver.recv()?, number, size);
                receive_all(&batches, receive, say_so)
            }
        }
    },
};

pub fn by_pipe(batches: &[Batch]) -> anyhow::Result<Vec<f64>> {
    let command = role::command(&RECEIVER, &(Source::Stdin, batches))?;
    with_receiver(command, |to, from| {
        send_copies(batches, |message| Ok(to.write_all(message)?), from)
    })
}

pub fn by_ipc_channel(batches: &[Batch]) -> anyhow::Result<Vec<f64>> {
    let (server, name) =
        IpcOneShotServer::<IpcBytesSender>::new().context("cannot open a server")?;
    let command = role::command(&RECEIVER, &(Source::IpcChannel(name), batches))?;
    with_receiver(command, |_, from| {
        // `accept` would wait for ever for a receiver that died first. It says that it is there.
        from.read_exact(&mut [0]).context("the receiver is gone")?;
        let (_, channel) = server.accept().context("cannot receive the channel")?;
        send_copies(batches, |message| Ok(channel.send(message)?), from)
    })
}

fn send_copies(
    batches: &[Batch],
    send: impl FnMut(&[u8]) -> anyhow::Result<()>,
    from: &mut impl Read,
) -> anyhow::Result<Vec<f64>> {
    let own = vec![0; largest(batches)];
    send_all(batches, &mut Copies { own, send, from })
}

struct Copies<'a, S, R> {
    own: Vec<u8>,
    send: S,
    from: &'a mut R,
}

impl<S: FnMut(&[u8]) -> anyhow::Result<()>, R: Read> Sender for Copies<'_, S, R> {
    fn send(&mut self, number: usize, size: usize) -> anyhow::Result<()> {
        let message = &mut self.own[..size];
        mark(message, number);
        (self.send)(message).context("the receiver is gone")
    }

    fn all_received(&mut self) -> anyhow::Result<()> {
        let answer = self.from.read_exact(&mut [0]);
        answer.context("the receiver is gone")
    }
}

/// Starts the receiver, and does something with its stdin and its stdout.
fn with_receiver<T>(
    mut command: Command,
    body: impl FnOnce(&mut ChildStdin, &mut ChildStdout) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut receiver = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the receiver")?;
    let mut to = receiver.stdin.take().context("its input is a pipe")?;
    let mut from = receiver.stdout.take().context("its output is a pipe")?;
    let result = body(&mut to, &mut from);
    // If the sender failed, the receiver must not wait for more, nor for somebody to hear it.
    drop((to, from));
    if result.is_err() {
        let _ = receiver.kill();
    }
    let status = receiver.wait().context("cannot wait for the receiver")?;
    let result = result?;
    ensure!(status.success(), "the receiver failed: {status}");
    Ok(result)
}
