//! The start method "forkserver": a small helper process forks on request.
//!
//! To fork a process with threads is dangerous, and to fork one with much memory is slow. So a
//! helper is started early, by spawn. It has one thread and little memory, and it stays like that:
//! all it does is to fork children and to wait for them. Parent and helper talk over a socket, which
//! is the helper's stdin. When the parent drops the helper, or dies, the helper finds the end of
//! file there, and ends too.

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

/// The target that is the helper.
pub const TARGET: &str = "forkserver";

/// The parent's side of the helper. Dropping it ends the helper, and waits for that.
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

    /// Has the helper fork a child that runs a target, and returns the child's id.
    ///
    /// # Errors
    /// When there is no such target, when the helper cannot fork, and when it is gone.
    pub fn fork(&mut self, target: &str, args: &[String]) -> anyhow::Result<i64> {
        let mut request = vec!["fork", target];
        request.extend(args.iter().map(String::as_str));
        self.ask(&request)
    }

    /// Waits until a child has ended, and returns its exit code N, or -N when signal N ended it.
    /// (The child is the helper's: only the helper can wait for it.)
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
        // A number, or what went wrong.
        let answer = answer.join(" ");
        answer.parse().map_err(|_| anyhow!(answer))
    }
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        // In this order: the helper ends when its socket does, and not before.
        let _ = self.socket.get_ref().shutdown(Shutdown::Both);
        let _ = self.helper.wait();
    }
}

/// In the helper: answers its parent's requests, until no more can come.
pub fn serve(_: &[String]) -> anyhow::Result<u8> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket
        .peer_addr()
        .context("a fork server is started by a parent only")?;
    // Otherwise a child that reads its stdin would read the requests that are for us.
    dup2_stdin(File::open("/dev/null")?)?;
    let mut socket = BufReader::new(socket);
    while let Some(request) = receive(&mut socket)? {
        let answer = match answer(&request, socket.get_ref()) {
            Ok(number) => number.to_string(),
            Err(error) => format!("{error:#}"),
        };
        if send(socket.get_ref(), &[&answer]).is_err() {
            break;
        }
    }
    // No more requests can come. But children may still run, and only we can reap them.
    fork::wait_for_all();
    Ok(0)
}

fn answer(request: &[String], socket: &UnixStream) -> anyhow::Result<i64> {
    let (verb, args) = request.split_first().context("an empty request")?;
    match (verb.as_str(), args) {
        ("fork", [target, args @ ..]) => {
            let target = target::find(target)?;
            let body = || {
                // While a child has the socket open, our parent would not notice that we died.
                let _ = close(socket.as_raw_fd());
                target(args)
            };
            // SAFETY: nothing that runs in the helper starts a thread.
            let child = unsafe { fork::start(body) }?;
            Ok(child.as_raw().into())
        }
        ("wait", [child]) => fork::wait(Pid::from_raw(child.parse()?)).map(exit_code),
        _ => bail!("a fork server does not know what to do with {request:?}"),
    }
}

/// Sends a message: the number of its words, and the words, each ended by a zero byte. (No word on
/// a command line can contain one.)
fn send(mut socket: &UnixStream, words: &[&str]) -> io::Result<()> {
    let mut message = format!("{}\0", words.len());
    for word in words {
        message.push_str(word);
        message.push('\0');
    }
    socket.write_all(message.as_bytes())
}

/// Waits for a message; `None` when the other side has closed the socket, or is dead.
fn receive(socket: &mut impl BufRead) -> anyhow::Result<Option<Vec<String>>> {
    let mut words = socket.split(b'\0');
    let mut word = || {
        words
            .next()
            .map(|word| anyhow::Ok(String::from_utf8(word?)?))
    };
    match word().transpose()? {
        None => Ok(None),
        Some(count) => (0..count.parse::<usize>()?)
            .map(|_| word().context("a message was cut off")?)
            .collect::<anyhow::Result<_>>()
            .map(Some),
    }
}
