//! A connection between the master and one worker: two pipes, one for each direction.
//!
//! The tasks come on the worker's stdin. Its stdout and stderr stay the user's, so the outcomes
//! need a pipe of their own, which the worker inherits beside its three standard streams, and finds
//! by the number on its command line. (A single socket for both directions would be simpler, and
//! takes twice as long for a small message.)
//!
//! The two sides take turns: tasks, outcomes, tasks, outcomes. If both could send at once, and
//! both messages were longer than a pipe holds, each would wait for the other to read. So it is the
//! turns that make messages of any length safe.

use std::{
    env,
    io::{self, BufReader, PipeReader, PipeWriter, Read, Write},
    mem,
    process::{Child, Command},
    sync::Mutex,
};

use serde::{Serialize, de::DeserializeOwned};

/// How many bytes of each message say how long the rest is.
const LENGTH: usize = size_of::<u64>();

/// One end of a connection. A message is its length, and then its bytes.
pub struct Connection {
    reader: BufReader<PipeReader>,
    writer: PipeWriter,
    /// Room for a message, kept for the next one.
    buffer: Vec<u8>,
}

impl Connection {
    /// Starts a worker with a connection to it.
    pub fn open(mut command: Command) -> io::Result<(Child, Self)> {
        // One at a time: a worker that is started meanwhile would inherit the pipe too. It would
        // hold it open, and the end of the right worker would never be noticed.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME.lock();

        let (tasks, to_worker) = io::pipe()?;
        let (from_worker, outcomes) = io::pipe()?;
        let number = inherit::let_pass(&outcomes)?;
        let child = command.arg(number.to_string()).stdin(tasks).spawn()?;
        // Our copies of the worker's ends go with `command` and `outcomes`, at the end of this
        // function. If we kept them, we would never notice that the worker is gone.
        Ok((child, Self::new(from_worker, to_worker)))
    }

    /// In a worker: its connection to the master.
    pub fn to_master() -> io::Result<Self> {
        let number = env::args().next_back().and_then(|arg| arg.parse().ok());
        let number = number.ok_or_else(|| io::Error::other("no number of a pipe is given"))?;
        // SAFETY: the master gave us the pipe of this number, for nothing else; and this is called
        // once.
        let outcomes = unsafe { inherit::take(number) };
        Ok(Self::new(inherit::stdin()?, outcomes))
    }

    fn new(reader: PipeReader, writer: PipeWriter) -> Self {
        Self {
            reader: BufReader::new(reader),
            writer,
            buffer: Vec::new(),
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// `BrokenPipe` when the other side is gone.
    pub fn send<M: Serialize>(&mut self, message: &M) -> io::Result<()> {
        let mut bytes = mem::take(&mut self.buffer);
        // Room for the length, which is known only afterwards; so the message leaves in a single
        // write.
        bytes.clear();
        bytes.extend([0; LENGTH]);
        self.buffer = postcard::to_extend(message, bytes).map_err(io::Error::other)?;
        let length = (self.buffer.len() - LENGTH) as u64;
        self.buffer[..LENGTH].copy_from_slice(&length.to_le_bytes());
        self.writer.write_all(&self.buffer)
    }

    /// Waits for a message; `None` when the other side has closed the connection.
    ///
    /// # Errors
    /// `UnexpectedEof` when the other side went in the middle of a message.
    pub fn receive<M: DeserializeOwned>(&mut self) -> io::Result<Option<M>> {
        let mut length = [0; LENGTH];
        match self.reader.read(&mut length)? {
            0 => return Ok(None),
            n => self.reader.read_exact(&mut length[n..])?,
        }
        let length = usize::try_from(u64::from_le_bytes(length)).map_err(io::Error::other)?;
        self.buffer.resize(length, 0);
        self.reader.read_exact(&mut self.buffer)?;
        let message = postcard::from_bytes(&self.buffer);
        message.map(Some).map_err(io::Error::other)
    }
}

/// How a pipe gets into a child, by the number that the system knows it by.
#[cfg(unix)]
mod inherit {
    use std::{
        io::{self, PipeReader, PipeWriter},
        os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    };

    use nix::fcntl::{FcntlArg::F_SETFD, FdFlag, fcntl};

    pub fn let_pass(pipe: &PipeWriter) -> io::Result<RawFd> {
        // Rust opens every descriptor so that it is closed in a new program. Not this one.
        fcntl(pipe, F_SETFD(FdFlag::empty()))?;
        Ok(pipe.as_raw_fd())
    }

    /// # Safety
    /// The number must be that of an open pipe that belongs to nobody else.
    pub unsafe fn take(number: RawFd) -> PipeWriter {
        // SAFETY: as the caller promises.
        unsafe { OwnedFd::from_raw_fd(number) }.into()
    }

    pub fn stdin() -> io::Result<PipeReader> {
        Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
    }
}

#[cfg(windows)]
mod inherit {
    use std::{
        io::{self, PipeReader, PipeWriter},
        os::windows::io::{AsHandle, AsRawHandle, FromRawHandle, OwnedHandle, RawHandle},
    };

    const HANDLE_FLAG_INHERIT: u32 = 1;

    unsafe extern "system" {
        fn SetHandleInformation(object: RawHandle, mask: u32, flags: u32) -> i32;
    }

    pub fn let_pass(pipe: &PipeWriter) -> io::Result<usize> {
        let handle = pipe.as_raw_handle();
        // SAFETY: `pipe` keeps the handle open until after the call.
        if unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(handle as usize)
    }

    /// # Safety
    /// The number must be that of an open pipe that belongs to nobody else.
    pub unsafe fn take(number: usize) -> PipeWriter {
        // SAFETY: as the caller promises.
        unsafe { OwnedHandle::from_raw_handle(number as RawHandle) }.into()
    }

    pub fn stdin() -> io::Result<PipeReader> {
        Ok(io::stdin().as_handle().try_clone_to_owned()?.into())
    }
}
