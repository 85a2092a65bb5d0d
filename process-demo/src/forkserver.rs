//! The start method "forkserver": a small helper process forks on request.
//!
//! A fork of a process with several threads is dangerous, and a fork of one with much memory is
//! slow. So the parent spawns a helper early. The helper has one thread and little memory, and this
//! does not change, since it only forks children and waits for them. Parent and helper send each
//! other messages over a socket, which is the helper's stdin. When the parent drops its
//! [`ForkServer`], or ends in any way, the helper finds the end of file there. (The parent's end of
//! the socket is close-on-exec, so no spawned child has a copy that would keep it open.) The helper
//! then waits for its children that still run, and ends. Their stdin is /dev/null, so they do not
//! notice that the parent has ended: they finish their work first.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    net::Shutdown,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::Child,
};

use anyhow::{Context, anyhow, bail};
use nix::unistd::{Pid, close, dup2_stdin};

use crate::{fork, process::exit_code, target};

/// The name of the function that the helper runs: [`serve`].
pub const TARGET: &str = "forkserver";

/// The helper, as its parent sees it. To drop it ends the helper, and waits for the helper's end.
pub struct ForkServer {
    helper: Child,
    socket: BufReader<UnixStream>,
}

impl ForkServer {
    /// Starts the helper.
    ///
    /// # Errors
    /// When the system refuses a new process or a socket.
    pub fn start() -> anyhow::Result<Self> {
        let (ours, helpers) = UnixStream::pair().context("cannot make a socket")?;
        let helper = target::command(TARGET, &[])?
            .stdin(OwnedFd::from(helpers))
            .spawn()
            .context("cannot start the fork server")?;
        let socket = BufReader::new(ours);
        Ok(Self { helper, socket })
    }

    /// Asks the helper to fork a child that runs a function. Returns the child's id.
    ///
    /// # Errors
    /// When there is no such function, when the helper cannot fork, and when it is gone.
    pub fn fork(&mut self, target: &str, args: &[String]) -> anyhow::Result<i64> {
        let mut request = vec!["fork", target];
        request.extend(args.iter().map(String::as_str));
        self.ask(&request)
    }

    /// Waits until a child has ended, and returns its exit code N, or -N when signal N ended it. It
    /// is the helper that waits, because it is the parent of the child. Meanwhile it answers no
    /// other request. If its own parent ends meanwhile, it notices this only after the child's end.
    ///
    /// # Errors
    /// When the helper has no such child, and when it is gone.
    pub fn wait(&mut self, child: i64) -> anyhow::Result<i64> {
        self.ask(&["wait", &child.to_string()])
    }

    fn ask(&mut self, request: &[&str]) -> anyhow::Result<i64> {
        send(self.socket.get_ref(), request).context("cannot reach the fork server")?;
        let answer = receive(&mut self.socket).context("cannot read the fork server's answer")?;
        let answer = answer.context("the fork server is gone")?;
        // The answer is a number, or else the text of an error.
        let answer = answer.join(" ");
        answer.parse().map_err(|_| anyhow!(answer))
    }
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        // First the socket, then the wait: the helper does not end before it finds the end of file.
        let _ = self.socket.get_ref().shutdown(Shutdown::Both);
        let _ = self.helper.wait();
    }
}

/// The helper: answers its parent's requests until it finds the end of file.
pub fn serve(_: &[String]) -> anyhow::Result<u8> {
    // A second descriptor for our stdin, as by `os.dup(0)` in Python.
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket
        .peer_addr()
        .context("a fork server's stdin must be a socket from its parent")?;
    // Now stdin itself becomes /dev/null, which the children inherit. Otherwise a child that reads
    // its stdin would take requests from the socket.
    dup2_stdin(File::open("/dev/null")?)?;
    let mut socket = BufReader::new(socket);
    while let Some(request) = receive(&mut socket)? {
        let answer = match answer(&request, socket.get_ref()) {
            Ok(number) => number.to_string(),
            // `:#` prints the error with its causes, in one line.
            Err(error) => format!("{error:#}"),
        };
        if send(socket.get_ref(), &[&answer]).is_err() {
            break;
        }
    }
    // No more requests can come. Children may still run, and only their parent can reap them.
    fork::wait_for_all();
    Ok(0)
}

/// Does what a request asks for. The answer is a process id or an exit code.
fn answer(request: &[String], socket: &UnixStream) -> anyhow::Result<i64> {
    let (verb, args) = request.split_first().context("an empty request")?;
    match (verb.as_str(), args) {
        // In Python, this pattern would be `[target, *args]`.
        ("fork", [target, args @ ..]) => {
            let target = target::find(target)?;
            let body = || {
                // The child closes its copy of the helper's end of the socket. Otherwise, if the
                // helper died, the helper's parent would wait for an answer until the child ends:
                // the end of file comes only when no process has that end open.
                let _ = close(socket.as_raw_fd());
                target(args)
            };
            // SAFETY: the helper has no other thread, because nothing that runs in it starts one.
            let child = unsafe { fork::start(body) }?;
            Ok(child.as_raw().into())
        }
        ("wait", [child]) => fork::wait(Pid::from_raw(child.parse()?)).map(exit_code),
        _ => bail!("a fork server does not know what to do with {request:?}"),
    }
}

/// Sends a message: the number of its words, then the words, each with a zero byte after it.
/// Example: `3\0fork\0run_child\0test\0`. (No word on a command line can contain a zero byte.)
fn send(mut socket: &UnixStream, words: &[&str]) -> io::Result<()> {
    let mut message = format!("{}\0", words.len());
    for word in words {
        message.push_str(word);
        message.push('\0');
    }
    socket.write_all(message.as_bytes())
}

/// Waits for a message. `None` is the end of file: the other side has closed the socket, or has
/// ended.
fn receive(socket: &mut impl BufRead) -> anyhow::Result<Option<Vec<String>>> {
    let count: usize = match next_word(socket)? {
        None => return Ok(None),
        Some(count) => count.parse()?,
    };
    let mut words = Vec::new();
    for _ in 0..count {
        words.push(next_word(socket)?.context("a message was cut off")?);
    }
    Ok(Some(words))
}

fn next_word(socket: &mut impl BufRead) -> anyhow::Result<Option<String>> {
    match socket.split(b'\0').next() {
        None => Ok(None),
        Some(word) => Ok(Some(String::from_utf8(word?)?)),
    }
}
