//! A connection between the master and one worker: messages in both directions.
//!
//! Stdout and stderr stay the user's, so only the worker's stdin is left for us. On Unix that is
//! enough: a socket carries bytes both ways, and any descriptor may be a stdin. (inetd has started
//! its servers like this since 1986.)

use std::{
    io::{self, BufReader, Read, Write},
    process::{Child, Command},
};

use serde::{Serialize, de::DeserializeOwned};

/// One end of a connection. A message is its length, in four bytes, and then its bytes.
pub struct Connection {
    reader: BufReader<Box<dyn Read + Send>>,
    writer: Box<dyn Write + Send>,
}

impl Connection {
    /// Sends a message.
    ///
    /// # Errors
    /// `BrokenPipe` when the other side is gone.
    pub fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        // Room for the length, which is known only afterwards; so the message leaves in a single
        // write.
        let mut bytes = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
        let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        self.writer.write_all(&bytes)
    }

    /// Waits for a message; `None` when the other side has closed the connection.
    ///
    /// # Errors
    /// `UnexpectedEof` when the other side went in the middle of a message.
    pub fn receive<M: DeserializeOwned>(&mut self) -> io::Result<Option<M>> {
        let mut length = [0; 4];
        match self.reader.read(&mut length)? {
            0 => return Ok(None),
            n => self.reader.read_exact(&mut length[n..])?,
        }
        let mut message = vec![0; u32::from_le_bytes(length) as usize];
        self.reader.read_exact(&mut message)?;
        postcard::from_bytes(&message)
            .map(Some)
            .map_err(io::Error::other)
    }

    fn new(reader: impl Read + Send + 'static, writer: impl Write + Send + 'static) -> Self {
        Self {
            reader: BufReader::new(Box::new(reader)),
            writer: Box::new(writer),
        }
    }
}

#[cfg(unix)]
impl Connection {
    /// Starts a worker, with the other end of the connection as its stdin.
    pub fn open(mut command: Command) -> io::Result<(Child, Self)> {
        use std::os::{fd::OwnedFd, unix::net::UnixStream};
        let (ours, workers) = UnixStream::pair()?;
        // `command` goes at the end of this function, and our copy of the worker's end with it. If
        // we kept it, we would never notice that the worker is gone.
        let child = command.stdin(OwnedFd::from(workers)).spawn()?;
        Ok((child, Self::new(ours.try_clone()?, ours)))
    }

    /// In a worker: its connection to the master.
    pub fn to_master() -> io::Result<Self> {
        use std::os::{fd::AsFd, unix::net::UnixStream};
        let stdin = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        stdin.peer_addr()?;
        Ok(Self::new(stdin.try_clone()?, stdin))
    }
}

/// Windows has no such socket. There the outcomes get a pipe of their own, which the worker
/// inherits beside its three standard streams, and finds by the number on its command line.
#[cfg(windows)]
impl Connection {
    pub fn open(mut command: Command) -> io::Result<(Child, Self)> {
        use std::{
            os::windows::io::{AsRawHandle, RawHandle},
            sync::Mutex,
        };
        const HANDLE_FLAG_INHERIT: u32 = 1;
        unsafe extern "system" {
            fn SetHandleInformation(object: RawHandle, mask: u32, flags: u32) -> i32;
        }
        // One at a time: a worker that is started meanwhile would inherit the handle too, and hold
        // it open.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _guard = ONE_AT_A_TIME.lock();

        let (tasks, to_worker) = io::pipe()?;
        let (from_worker, outcomes) = io::pipe()?;
        let handle = outcomes.as_raw_handle();
        // SAFETY: `outcomes` keeps the handle open until after the call.
        if unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) } == 0 {
            return Err(io::Error::last_os_error());
        }
        let child = command
            .arg((handle as usize).to_string())
            .stdin(tasks)
            .spawn()?;
        Ok((child, Self::new(from_worker, to_worker)))
    }

    pub fn to_master() -> io::Result<Self> {
        use std::{env, fs::File, os::windows::io::FromRawHandle};
        let handle: Option<usize> = env::args().nth(2).and_then(|number| number.parse().ok());
        let handle = handle.ok_or_else(|| io::Error::other("no handle given"))?;
        // SAFETY: the master made this number the handle of a pipe that is open in this process and
        // ours alone.
        let outcomes = unsafe { File::from_raw_handle(handle as _) };
        Ok(Self::new(io::stdin(), outcomes))
    }
}
