//! How much a pipe holds.

use std::io;

use os_pipe::PipeWriter;

/// How many bytes fit into this pipe while no process reads.
///
/// Linux can be asked for each pipe: the capacity is usually 64 KiB, and less if a user has very
/// many pipes. See `F_GETPIPE_SZ` in fcntl(2).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn capacity(pipe: &PipeWriter) -> io::Result<usize> {
    use nix::fcntl::{FcntlArg, fcntl};
    let size = fcntl(pipe, FcntlArg::F_GETPIPE_SZ)?;
    usize::try_from(size).map_err(io::Error::other)
}

/// Other Unix systems cannot be asked. So we fill another pipe until it takes no more.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
pub fn capacity(_: &PipeWriter) -> io::Result<usize> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use std::io::Write;
    // The reading end stays open: without a reader, a write would fail before the pipe is full.
    let (_reader, mut writer) = os_pipe::pipe()?;
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut size = 0;
    loop {
        match writer.write(&[0; 512]) {
            Ok(written) => size += written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(size),
            Err(error) => return Err(error),
        }
    }
}

/// On Windows, the program that makes a pipe asks for its capacity. `os_pipe` asks for the default,
/// which is 4 KiB.
#[cfg(windows)]
pub fn capacity(_: &PipeWriter) -> io::Result<usize> {
    Ok(4096)
}
