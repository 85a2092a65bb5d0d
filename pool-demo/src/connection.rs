//! Messages between the master and one worker, over the worker's stdin and stdout.
//!
//! The master writes tasks to the worker's stdin, and reads replies from its stdout. A command that
//! starts a program on another machine (`ssh`, `srun`, `docker exec -i`) connects these two streams
//! too. So a worker can run on any machine: see `remote.rs`.
//!
//! A message has three parts: the length of its content, in eight bytes with the lowest first; its
//! content; and a line end. Slurm's `srun` needs the line end: it passes on whole lines only, and
//! would keep a message back until a line end comes.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    mem,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, ensure};
use serde::{Serialize, de::DeserializeOwned};

/// How many bytes the length takes at the start of a message.
const LENGTH: usize = size_of::<u64>();

/// The last byte of each message.
const LINE_END: u8 = b'\n';

/// The longest content that a message may have. A larger number comes from a program that sends
/// something other than our messages.
const MAX_LENGTH: u64 = 1 << 30;

/// The longest greeting that a worker may send, in bytes. A greeting is one line of text.
const MAX_LINE: u64 = 1000;

/// One end of a connection.
pub struct Connection<R, W> {
    reader: BufReader<R>,
    writer: W,
    /// The memory for a message. It is kept, so that the next message needs no new memory.
    buffer: Vec<u8>,
}

/// The master's end.
pub type ToWorker = Connection<ChildStdout, ChildStdin>;

/// Starts a program, with a pipe to its stdin and a pipe from its stdout.
///
/// Our ends of these pipes are close-on-exec: no other worker inherits them. So the worker reads
/// the end of file from its stdin when we close our end, or die. We read the end of file from its
/// stdout when the worker dies.
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

    /// Splits the connection into one that only receives and one that only sends, so that two
    /// threads can use them.
    pub fn split(self) -> (Connection<R, io::Sink>, Connection<io::Empty, W>) {
        let reader = Connection {
            reader: self.reader,
            writer: io::sink(),
            buffer: Vec::new(),
        };
        (reader, Connection::new(io::empty(), self.writer))
    }

    /// Sends a worker's first message. It is a line of text, so the master begins by reading one
    /// line. If something else comes first (a login banner, an error message), the master can print
    /// that line.
    pub fn send_greeting(&mut self, tasks: &str, host: &str, id: u32) -> io::Result<()> {
        let line = format!("{}{host} {id}\n", greeting(tasks));
        self.writer.write_all(line.as_bytes())
    }

    /// Waits for a worker's greeting, and returns its host and process id.
    ///
    /// # Errors
    /// When the first line is something else, or when nothing comes before the end.
    pub fn receive_greeting(&mut self, tasks: &str) -> anyhow::Result<(String, u32)> {
        let mut line = Vec::new();
        let mut start = (&mut self.reader).take(MAX_LINE);
        start.read_until(b'\n', &mut line)?;
        ensure!(!line.is_empty(), "it ended before it was ready");
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
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
    /// `BrokenPipe` when the other side has closed its end, or has died. `InvalidData` when the
    /// message cannot be encoded or is too long; then nothing was sent.
    pub fn send<M: Serialize>(&mut self, message: &M) -> io::Result<()> {
        let mut bytes = mem::take(&mut self.buffer);
        // The length is known only after the encoding. So its bytes are zeros first, and are filled
        // in below. The whole message is then written by one call.
        bytes.clear();
        bytes.extend([0; LENGTH]);
        self.buffer = postcard::to_extend(message, bytes).map_err(invalid)?;
        let length = (self.buffer.len() - LENGTH) as u64;
        allowed(length).ok_or_else(|| invalid("a message longer than 1 GiB"))?;
        self.buffer[..LENGTH].copy_from_slice(&length.to_le_bytes());
        self.buffer.push(LINE_END);
        self.writer.write_all(&self.buffer)
    }

    /// Waits for a message. Returns `None` when the other side has closed the connection.
    ///
    /// # Errors
    /// `UnexpectedEof` when the connection ends in the middle of a message. `InvalidData` when what
    /// arrives is no message.
    pub fn receive<M: DeserializeOwned>(&mut self) -> io::Result<Option<M>> {
        // Not `read_exact`: before the first byte, the end of the connection is no error. (A signal
        // with a handler can interrupt a read. `read_to_end` and `read_exact` then read again.)
        self.buffer.clear();
        let mut start = (&mut self.reader).take(LENGTH as u64);
        start.read_to_end(&mut self.buffer)?;
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let length = <[u8; LENGTH]>::try_from(&self.buffer[..]);
        let length = length.map_err(|_| ErrorKind::UnexpectedEof)?;
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

/// The beginning of a worker's greeting: the program, its version, the order of a length's bytes,
/// and the type of task. It must be the same in master and worker.
fn greeting(tasks: &str) -> String {
    format!(
        "pool-demo {} worker little-endian {tasks} ",
        env!("CARGO_PKG_VERSION")
    )
}

/// The length of a message's content, or `None` if it is longer than [`MAX_LENGTH`].
fn allowed(length: u64) -> Option<usize> {
    usize::try_from(length)
        .ok()
        .filter(|_| length <= MAX_LENGTH)
}

/// An error for what is no message, or cannot become one.
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
        for (line, shown) in [
            (&b"Welcome!\n"[..], r#"but with "Welcome!""#),
            (b"\n", r#"but with """#),
            (b"", "it ended before it was ready"),
        ] {
            let error = greeted(line).expect_err("it is none").to_string();
            assert!(error.contains(shown), "{error}");
        }
    }
}
