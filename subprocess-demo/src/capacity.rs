//! How much a pipe holds.

use std::io;

use os_pipe::PipeWriter;

/// How many bytes fit into this pipe while nobody reads.
///
/// Linux says it of each pipe: 64 KiB usually, less for a user who has very many pipes. See
/// `F_GETPIPE_SZ` in fcntl(2).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn capacity(pipe: &PipeWriter) -> io::Result<usize> {
    use nix::fcntl::{FcntlArg, fcntl};
    let size = fcntl(pipe, FcntlArg::F_GETPIPE_SZ)?;
    usize::try_from(size).map_err(io::Error::other)
}

/// Other Unix systems cannot be asked. So another pipe is filled until it refuses to take more.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
pub fn capacity(_: &PipeWriter) -> io::Result<usize> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use std::io::Write;
    // Without a reader it would not be full but broken.
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

/// Windows makes a pipe as large as was asked for, and os_pipe asks for the default: 4 KiB.
#[cfg(windows)]
pub fn capacity(_: &PipeWriter) -> io::Result<usize> {
    Ok(4096)
}
