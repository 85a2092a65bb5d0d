//! Messages between the master and one worker, over the worker's stdin and stdout.
//!
//! Tasks go to the worker's stdin, replies come from its stdout. Everything that can start a
//! program elsewhere (ssh, `srun`, `docker exec -i`) connects these two streams, so a worker can run
//! on any machine: see `remote.rs`.
//!
//! A message is its length, in eight bytes with the lowest first, then its bytes, and a line end at
//! last: Slurm's `srun` passes on whole lines only, and would keep back what has none.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    mem,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, ensure};
use serde::{Serialize, de::DeserializeOwned};

/// How many bytes of each message say how long the rest is.
const LENGTH: usize = size_of::<u64>();

/// What ends each message.
const LINE_END: u8 = b'\n';

/// No message is longer. A greater length comes from something that is not our protocol.
const MAX_LENGTH: u64 = 1 << 30;

/// A worker's greeting is one line of text, and not longer than this many bytes.
const MAX_LINE: u64 = 1000;

/// One end of a connection.
pub struct Connection<R, W> {
    reader: BufReader<R>,
    writer: W,
    /// Room for a message, kept for the next one.
    buffer: Vec<u8>,
}

/// The master's end.
pub type ToWorker = Connection<ChildStdout, ChildStdin>;

/// Starts a program and connects its stdin and stdout to us.
///
/// # Errors
/// When the system cannot start it.
pub fn start(command: &mut Command) -> io::Result<(Child, ToWorker)> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdin = child.stdin.take().expect("it is a pipe");
    let stdout = child.stdout.take().expect("it is a pipe");
    Ok((child, Connection::new(stdout, stdin)))
}

impl<R: Read, W: Write> Connection<R, W> {
    pub fn new(reader: R, writer: W) -> Self {
        Self {
            reader: BufReader::new(reader),
            writer,
            buffer: Vec::new(),
        }
    }

    /// The two directions apart, for a thread each.
    pub fn split(self) -> (Connection<R, io::Sink>, Connection<io::Empty, W>) {
        let reader = Connection {
            reader: self.reader,
            writer: io::sink(),
            buffer: Vec::new(),
        };
        (reader, Connection::new(io::empty(), self.writer))
    }

    /// A worker's first message. It is a line of text, so that a master that reads something else
    /// (a login banner, an error message) can show it.
    pub fn send_greeting(&mut self, tasks: &str, host: &str, id: u32) -> io::Result<()> {
        let line = format!("{}{host} {id}\n", greeting(tasks));
        self.writer.write_all(line.as_bytes())
    }

    /// Waits for a worker's greeting, and returns its host and process id.
    ///
    /// # Errors
    /// When something else comes, or nothing.
    pub fn receive_greeting(&mut self, tasks: &str) -> anyhow::Result<(String, u32)> {
        let mut line = Vec::new();
        let mut start = (&mut self.reader).take(MAX_LINE);
        start.read_until(b'\n', &mut line)?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        ensure!(!line.is_empty(), "it ended before it was ready");
        let unexpected = || {
            format!(
                "it did not begin with {:?} but with {line:?} \
                 (is the same pool-demo there, and does nothing else write to stdout?)",
                greeting(tasks)
            )
        };
        let rest = line.strip_prefix(&greeting(tasks));
        let (host, id) = rest
            .and_then(|rest| rest.split_once(' '))
            .with_context(unexpected)?;
        Ok((host.to_owned(), id.parse().with_context(unexpected)?))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// `BrokenPipe` when the other side is gone; `InvalidData` when the message cannot be encoded,
    /// and then nothing was sent.
    pub fn send<M: Serialize>(&mut self, message: &M) -> io::Result<()> {
        let mut bytes = mem::take(&mut self.buffer);
        // Room for the length, which is known only afterwards; so the message leaves in a single
        // write.
        bytes.clear();
        bytes.extend([0; LENGTH]);
        self.buffer = postcard::to_extend(message, bytes).map_err(invalid)?;
        let length = (self.buffer.len() - LENGTH) as u64;
        allowed(length).ok_or_else(|| invalid("a message longer than 1 GiB"))?;
        self.buffer[..LENGTH].copy_from_slice(&length.to_le_bytes());
        self.buffer.push(LINE_END);
        self.writer.write_all(&self.buffer)
    }

    /// Waits for a message; `None` when the other side has closed the connection.
    ///
    /// # Errors
    /// `UnexpectedEof` when the other side ended in the middle of a message; `InvalidData` when
    /// what arrives is no message.
    pub fn receive<M: DeserializeOwned>(&mut self) -> io::Result<Option<M>> {
        let ended = loop {
            match self.reader.fill_buf() {
                // A signal that is handled interrupts a read. That is not the end.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result?.is_empty(),
            }
        };
        if ended {
            return Ok(None);
        }
        let mut length = [0; LENGTH];
        self.reader.read_exact(&mut length)?;
        let length = allowed(u64::from_le_bytes(length))
            .ok_or_else(|| invalid("what arrived is no message"))?;
        self.buffer.clear();
        self.buffer.try_reserve(length + 1)?;
        self.buffer.resize(length + 1, 0);
        self.reader.read_exact(&mut self.buffer)?;
        if self.buffer.pop() != Some(LINE_END) {
            return Err(invalid("what arrived is no message"));
        }
        postcard::from_bytes(&self.buffer)
            .map(Some)
            .map_err(invalid)
    }
}

/// What a worker's greeting begins with: the program, its version, how lengths are written, and the
/// tasks that it can run. Master and worker must agree on all of it.
fn greeting(tasks: &str) -> String {
    format!(
        "pool-demo {} worker little-endian {tasks} ",
        env!("CARGO_PKG_VERSION")
    )
}

/// A message's length, unless it is longer than any message.
fn allowed(length: u64) -> Option<usize> {
    usize::try_from(length)
        .ok()
        .filter(|_| length <= MAX_LENGTH)
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(bytes: &[u8]) -> io::Result<Option<String>> {
        Connection::new(bytes, io::sink()).receive()
    }

    #[test]
    fn what_was_sent_is_received_and_then_comes_the_end() {
        let mut sent = Vec::new();
        let mut sender = Connection::new(io::empty(), &mut sent);
        sender.send(&"a message").expect("a Vec takes everything");
        let mut receiver = Connection::new(&sent[..], io::sink());
        let message: Option<String> = receiver.receive().expect("it is whole");
        assert_eq!(message.as_deref(), Some("a message"));
        assert!(receiver.receive::<String>().expect("it is over").is_none());
    }

    #[test]
    fn what_is_no_message_is_refused_and_not_allocated() {
        for (bytes, kind) in [
            (&b"Last login: Monday"[..], ErrorKind::InvalidData),
            (&[1, 0, 0][..], ErrorKind::UnexpectedEof),
            (&[9, 0, 0, 0, 0, 0, 0, 0, 7][..], ErrorKind::UnexpectedEof),
            (&[0, 0, 0, 0, 0, 0, 0, 0][..], ErrorKind::UnexpectedEof),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 0, 7], ErrorKind::InvalidData),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 7, b'\n'], ErrorKind::InvalidData),
        ] {
            let error = received(bytes).expect_err("it is no message");
            assert_eq!(error.kind(), kind, "{bytes:?}");
        }
    }

    #[test]
    fn no_message_is_longer_than_allowed() {
        assert_eq!(allowed(MAX_LENGTH), Some(1 << 30));
        assert_eq!(allowed(MAX_LENGTH + 1), None);
        assert_eq!(allowed(u64::MAX), None);
    }

    #[test]
    fn a_read_that_a_signal_interrupts_is_not_the_end() {
        struct Interrupted(bool);
        impl Read for Interrupted {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if !mem::replace(&mut self.0, true) {
                    return Err(ErrorKind::Interrupted.into());
                }
                (&[1u8, 0, 0, 0, 0, 0, 0, 0, 0, b'\n'][..]).read(buffer)
            }
        }
        let mut connection = Connection::new(Interrupted(false), io::sink());
        let message: Option<String> = connection.receive().expect("it goes on");
        assert_eq!(message.as_deref(), Some(""));
    }

    #[test]
    fn a_greeting_names_host_and_id_and_anything_else_is_shown() {
        let mut sent = Vec::new();
        let mut worker = Connection::new(io::empty(), &mut sent);
        worker.send_greeting("echo", "node1", 7).expect("a Vec");
        let greeted = |bytes| Connection::new(bytes, io::sink()).receive_greeting("echo");
        let (host, id) = greeted(&sent[..]).expect("it is a greeting");
        assert_eq!((host.as_str(), id), ("node1", 7));
        let error = greeted(b"Welcome!\n").expect_err("it is none").to_string();
        assert!(error.contains(r#"but with "Welcome!""#), "{error}");
    }
}
