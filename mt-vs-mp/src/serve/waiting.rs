//! How a worker waits for a client, but not longer than the server runs.
//!
//! A worker waits for two things at once: for the client, and for the end of file on a pipe. Only
//! the master has the pipe's writing end, so all workers that wait are woken when the master closes
//! it, or dies. Where the workers are threads, the first thread of their process has the writing
//! end.

pub use system::*;

/// What has ended a wait. If it is neither, the deadline has.
pub struct Wake {
    /// The client has sent something, or has room for more, or is gone.
    pub client: bool,
    /// The server is to end.
    pub end: bool,
}

#[cfg(unix)]
mod system {
    use std::{
        io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write},
        net::{TcpListener, TcpStream},
        os::fd::{AsFd, BorrowedFd},
        time::{Duration, Instant},
    };

    use nix::{
        errno::Errno,
        poll::{PollFd, PollFlags, PollTimeout, poll},
        sys::socket::{self, Backlog, setsockopt, sockopt},
    };

    use super::Wake;

    /// How many new connections the system keeps waiting while all workers are busy.
    const BACKLOG: i32 = 511;
    /// How long a worker waits before it tries again to accept a connection, after an error.
    const PAUSE: Duration = Duration::from_millis(100);

    /// The writing end of the pipe. The workers are to end when all copies of it are closed.
    pub type Ender = PipeWriter;

    /// The reading end of the pipe.
    pub struct End(PipeReader);

    pub fn end() -> io::Result<(Ender, End)> {
        let (end, ender) = io::pipe()?;
        Ok((ender, End(end)))
    }

    impl End {
        /// Waits until all copies of the [`Ender`] are closed.
        pub fn wait(&self) -> anyhow::Result<()> {
            (&self.0).read_to_end(&mut Vec::new())?;
            Ok(())
        }
    }

    /// Makes the listener ready for many workers. It must not block: when several workers see the
    /// same connection, one of them gets it, and the others must not wait for the next one.
    pub fn prepare(listener: TcpListener) -> io::Result<TcpListener> {
        socket::listen(&listener, Backlog::new(BACKLOG)?)?;
        // The connections inherit this option. Without it, the system may keep an answer back until
        // the client has acknowledged the one before.
        setsockopt(&listener, sockopt::TcpNoDelay, &true)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// From now on, the system refuses connections, in all processes that share the listener.
    pub fn close(listener: &TcpListener) {
        let _ = socket::shutdown(
            std::os::fd::AsRawFd::as_raw_fd(listener),
            socket::Shutdown::Both,
        );
    }

    /// Waits for connections, for one worker.
    pub struct Acceptor<'a> {
        listener: &'a TcpListener,
        end: &'a End,
        queue: Queue,
    }

    impl<'a> Acceptor<'a> {
        pub fn new(listener: &'a TcpListener, end: &'a End) -> io::Result<Self> {
            let queue = Queue::new(listener.as_fd(), end.0.as_fd())?;
            Ok(Self {
                listener,
                end,
                queue,
            })
        }

        /// The next connection, or `None` when the server ends.
        pub fn accept(&self) -> Option<TcpStream> {
            loop {
                if self.queue.wait().is_ok_and(|end| end) {
                    return None;
                }
                match self.listener.accept() {
                    Ok((connection, _)) if connection.set_nonblocking(true).is_ok() => {
                        return Some(connection);
                    }
                    Ok(_) => {}
                    Err(error) => match error.kind() {
                        // Another worker has got the connection, or the client has left.
                        ErrorKind::WouldBlock | ErrorKind::ConnectionAborted => {}
                        // This process may have no descriptor left, or the listener was closed and
                        // the server is about to end. A pause saves many attempts in vain.
                        _ => {
                            let end = PollFd::new(self.end.0.as_fd(), PollFlags::POLLIN);
                            let _ = poll_until(&mut [end], Instant::now() + PAUSE);
                        }
                    },
                }
            }
        }
    }

    /// Waits until there is something to read.
    pub fn readable(
        connection: &TcpStream,
        end: Option<&End>,
        deadline: Instant,
    ) -> io::Result<Wake> {
        let end = match end {
            Some(end) => PollFd::new(end.0.as_fd(), PollFlags::POLLIN),
            // `poll` needs a descriptor here too. Nothing is awaited from it.
            None => PollFd::new(connection.as_fd(), PollFlags::empty()),
        };
        let mut fds = [PollFd::new(connection.as_fd(), PollFlags::POLLIN), end];
        poll_until(&mut fds, deadline)?;
        let [client, end] = fds.map(|fd| fd.any().unwrap_or(true));
        Ok(Wake { client, end })
    }

    /// Writes all bytes before the deadline.
    pub fn write(
        mut connection: &TcpStream,
        mut bytes: &[u8],
        deadline: Instant,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            match connection.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(connection.as_fd(), PollFlags::POLLOUT)];
                    if !poll_until(&mut fds, deadline)? {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns false if the deadline came first.
    fn poll_until(fds: &mut [PollFd], deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up: in the last millisecond, a timeout of 0 would make this a busy loop.
            let left = PollTimeout::try_from(left + Duration::from_millis(1));
            match poll(fds, left.unwrap_or(PollTimeout::MAX)) {
                Err(Errno::EINTR) => {}
                result => return Ok(result? > 0),
            }
        }
    }

    /// Linux wakes only one of the workers that wait for the same listener, because they ask for
    /// that (EPOLLEXCLUSIVE).
    #[cfg(target_os = "linux")]
    use epoll::Queue;
    #[cfg(target_os = "linux")]
    mod epoll {
        use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

        use super::*;

        pub struct Queue(Epoll);

        impl Queue {
            pub fn new(listener: BorrowedFd, end: BorrowedFd) -> io::Result<Self> {
                let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
                let exclusive = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
                epoll.add(listener, EpollEvent::new(exclusive, 0))?;
                epoll.add(end, EpollEvent::new(EpollFlags::EPOLLIN, 1))?;
                Ok(Self(epoll))
            }

            /// Returns whether the server ends.
            pub fn wait(&self) -> io::Result<bool> {
                let mut events = [EpollEvent::empty(); 2];
                let count = self.0.wait(&mut events, EpollTimeout::NONE)?;
                // The number is the one that was added with the descriptor.
                Ok(events[..count].iter().any(|event| event.data() == 1))
            }
        }
    }

    /// Other systems wake all of them, and all but one find no connection.
    #[cfg(not(target_os = "linux"))]
    struct Queue([std::os::fd::OwnedFd; 2]);
    #[cfg(not(target_os = "linux"))]
    impl Queue {
        fn new(listener: BorrowedFd, end: BorrowedFd) -> io::Result<Self> {
            Ok(Self([
                listener.try_clone_to_owned()?,
                end.try_clone_to_owned()?,
            ]))
        }

        fn wait(&self) -> io::Result<bool> {
            let mut fds = self
                .0
                .each_ref()
                .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
            poll(&mut fds, PollTimeout::NONE)?;
            Ok(fds[1].any().unwrap_or(true))
        }
    }
}

/// Without `poll`, a worker waits for the client alone. To wake the workers that wait for a
/// connection, the server connects to itself. A worker that waits for a request sees the end at its
/// deadline.
#[cfg(not(unix))]
mod system {
    use std::{
        io::{self, ErrorKind, Write},
        net::{TcpListener, TcpStream},
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering::SeqCst},
        },
        thread,
        time::{Duration, Instant},
    };

    use super::Wake;

    /// The workers are to end when this is dropped.
    pub struct Ender(Arc<AtomicBool>);

    pub struct End(Arc<AtomicBool>);

    pub fn end() -> io::Result<(Ender, End)> {
        let flag = Arc::new(AtomicBool::new(false));
        Ok((Ender(Arc::clone(&flag)), End(flag)))
    }

    impl Drop for Ender {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }

    pub fn prepare(listener: TcpListener) -> io::Result<TcpListener> {
        Ok(listener)
    }

    /// Wakes the workers that wait for a connection.
    pub fn close(listener: &TcpListener) {
        let Ok(address) = listener.local_addr() else {
            return;
        };
        thread::spawn(move || {
            while TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_ok() {}
        });
    }

    pub struct Acceptor<'a> {
        listener: &'a TcpListener,
        end: &'a End,
    }

    impl<'a> Acceptor<'a> {
        pub fn new(listener: &'a TcpListener, end: &'a End) -> io::Result<Self> {
            Ok(Self { listener, end })
        }

        pub fn accept(&self) -> Option<TcpStream> {
            loop {
                let connection = self.listener.accept();
                if self.end.0.load(SeqCst) {
                    return None;
                }
                match connection {
                    Ok((connection, _)) => {
                        let _ = connection.set_nodelay(true);
                        return Some(connection);
                    }
                    Err(_) => thread::sleep(Duration::from_millis(100)),
                }
            }
        }
    }

    pub fn readable(
        connection: &TcpStream,
        end: Option<&End>,
        deadline: Instant,
    ) -> io::Result<Wake> {
        let left = deadline.saturating_duration_since(Instant::now());
        connection.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let client = match connection.peek(&mut [0]) {
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                false
            }
            result => result.map(|_| true)?,
        };
        let end = end.is_some_and(|end| end.0.load(SeqCst));
        Ok(Wake { client, end })
    }

    pub fn write(mut connection: &TcpStream, bytes: &[u8], deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        connection.set_write_timeout(Some(left.max(Duration::from_millis(1))))?;
        connection.write_all(bytes)
    }
}
