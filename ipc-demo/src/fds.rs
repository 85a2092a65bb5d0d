//! Descriptors that are passed to a process which already runs.
//!
//! Mirrors Python's `socket.send_fds` and `socket.recv_fds`. Run it with `cargo run -p ipc-demo --
//! fds`.
//!
//! A child can only inherit descriptors that its parent had when it started the child, and of these
//! only those that are not close-on-exec. A Unix socket can pass on any descriptor at any time, to
//! any process at its other end. That process need not be a child:
//!
//! ```text
//! sender   -- sendmsg: one byte of data, and SCM_RIGHTS: [descriptor] -->   receiver, by recvmsg
//! ```
//!
//! This is what ipc-channel does on Linux when the end of a channel, or shared memory, is sent.
//!
//! What to notice: no bytes of the pipe or of the file are sent. The sender gives its descriptor's
//! number to `sendmsg`. The system makes a new descriptor in the receiver, often with another
//! number, for the same open file, as `dup` does within one process.

use std::{
    env,
    fs::File,
    io::{IoSlice, IoSliceMut, Read, Seek, Write},
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    process::{self, Child},
};

use anyhow::{Context, bail, ensure};
use nix::{
    cmsg_space,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
};

use crate::{
    child::{check_not_killed, command},
    folder::{self, Folder},
    output::say,
};

pub fn run() -> anyhow::Result<u8> {
    let (socket, mut child) = start()?;
    let passed = pass(&socket, child.id());
    // After an error, the child may still be waiting for a descriptor. Without this socket it gets
    // an error, and ends.
    drop(socket);
    let status = child.wait().context("cannot wait for the child")?;
    check_not_killed("child", status)?;
    let lines = passed?;
    ensure!(status.success(), "the child failed: {status}");
    lines.iter().try_for_each(|line| say!("{line}"))?;
    Ok(0)
}

/// Starts a child that gets only the name of a socket. Returns the connection, when the child has
/// connected to that name.
fn start() -> anyhow::Result<(UnixStream, Child)> {
    let folder = Folder::new()?;
    let path = folder.path().join("socket");
    let path = path
        .to_str()
        .context("the path for temporary files is no text")?;
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot make the socket {path}"))?;
    // This pipe tells the parent when the child has ended. Only the child holds the writing end, and
    // it writes nothing: the pipe ends when the child ends. (The writing end is the child's stdin,
    // because a child inherits its stdin.)
    let (ended, held_by_child) = os_pipe::pipe().context("cannot make a pipe")?;
    let mut command = command("fd-receiver", path)?;
    let mut child = command
        .stdin(held_by_child)
        .spawn()
        .context("cannot start the child")?;
    // This closes the parent's copy of the writing end.
    drop(command);

    // Waits until the child has connected, or has ended. If the child ended before it connected,
    // `accept` alone would wait for ever.
    let mut either = [listener.as_fd(), ended.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    let polled = poll(&mut either, PollTimeout::NONE);
    // `Some(true)` for the listener, the first of the two: there is a connection to accept.
    if polled.is_err() || either[0].any() != Some(true) {
        let _ = child.kill();
        let status = child.wait().context("cannot wait for the child")?;
        bail!("the child has not connected: {status}");
    }
    match listener.accept() {
        Ok((socket, _)) => Ok((socket, child)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error).context("cannot accept the child")
        }
    }
}

fn pass(socket: &UnixStream, id: u32) -> anyhow::Result<Vec<String>> {
    let mut lines = vec![format!(
        "Process {id} was given a name only, the socket's, and has connected to it."
    )];

    let (mut reader, writer) = os_pipe::pipe().context("cannot make a pipe")?;
    send(socket, &writer)?;
    // This does not end the pipe. A writing end is still open: in the child or, until the child
    // receives the message, in the message. (A message keeps its descriptor open.)
    drop(writer);
    let mut text = String::new();
    reader
        .read_to_string(&mut text)
        .context("cannot read the pipe")?;
    ensure!(!text.is_empty(), "the child wrote nothing into the pipe");
    lines.push(format!(
        "A pipe was made later, its writing end sent. Through it came: {text}"
    ));

    let program = env::current_exe().context("cannot find this program")?;
    let mut file = File::open(&program).context("cannot open this program's file")?;
    file.read_exact(&mut [0; 4])
        .context("cannot read this program's file")?;
    send(socket, &file)?;
    // Waits until the child has read the file. Then the child ends, which closes its socket.
    let mut socket = socket;
    socket
        .read_to_end(&mut Vec::new())
        .context("cannot wait for the child")?;
    let place = file
        .stream_position()
        .context("cannot ask for the place in the file")?;
    lines.push(format!(
        "A file was read up to byte 4, then sent. The child read 6 more: the parent stands at byte {place}."
    ));
    Ok(lines)
}

/// Sends a descriptor through the socket.
fn send(socket: &UnixStream, descriptor: &impl AsFd) -> anyhow::Result<()> {
    // The number here. The system replaces it by the receiver's number.
    let rights = [descriptor.as_fd().as_raw_fd()];
    // At least one byte of data: a message without data carries no descriptor.
    let data = [IoSlice::new(b"d")];
    let control = [ControlMessage::ScmRights(&rights)];
    let socket = socket.as_raw_fd();
    let sent = sendmsg::<()>(socket, &data, &control, MsgFlags::empty(), None);
    // `map(drop)`: how many bytes were sent is not needed.
    sent.context("cannot send a descriptor").map(drop)
}

/// Receives a descriptor from the socket.
fn receive(socket: &UnixStream) -> anyhow::Result<OwnedFd> {
    let (mut byte, mut space) = ([0], cmsg_space!([i32; 1]));
    let mut data = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut data,
        Some(&mut space),
        MsgFlags::empty(),
    )
    .context("cannot receive a descriptor")?;
    // Even a message without a descriptor has its byte of data. 0 bytes are the end of file.
    ensure!(message.bytes > 0, "the parent has closed the connection");
    match message
        .cmsgs()
        .context("cannot receive a descriptor")?
        .next()
    {
        Some(ControlMessageOwned::ScmRights(rights)) => {
            // SAFETY: the system has just made this descriptor for this process, and nothing else
            // in it uses the descriptor.
            Ok(unsafe { OwnedFd::from_raw_fd(rights[0]) })
        }
        _ => bail!("a message came without a descriptor"),
    }
}

/// The child. It has inherited neither the socket nor the pipe nor the file.
pub fn receive_all(name: String) -> anyhow::Result<u8> {
    let socket = UnixStream::connect(&name);
    folder::leave(&name);
    let socket = socket.context("cannot connect to the parent")?;

    let mut pipe = File::from(receive(&socket)?);
    write!(pipe, "written by {}", process::id()).context("cannot write to the pipe")?;
    // This closes the last writing end: now the parent reads the end of file.
    drop(pipe);
    let mut file = File::from(receive(&socket)?);
    file.read_exact(&mut [0; 6])
        .context("cannot read the file")?;
    Ok(0)
}
