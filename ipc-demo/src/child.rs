//! How a child of this program is started, and how it gets its arguments.
//!
//! In Python's `Process(target=read, args=(q,))` a queue is an argument. Here an end of a channel
//! can be one, too. The parent starts this program once more, in a role. A command line is only
//! text, so it cannot pass an end of a channel. It passes the name of a server of the parent. From
//! its server the parent can only receive. So the child makes a channel, and sends its sender to
//! the parent, which sends the arguments into it:
//!
//! ```text
//! parent                                             child
//! opens a server, starts the child  --- its name -->  makes a channel, connects to the server
//! accepts the child                 <--- sender ----  sends the channel's sender to the parent
//! sends the arguments into it       -- arguments -->  receives them from the channel
//! ```
//!
//! (How the end of a channel is sent: fds.rs.)
//!
//! A child inherits stdin, stdout and stderr. The rest is close-on-exec, as in Python, except two
//! descriptors that ipc-channel makes: a server's end of a connection, which is closed before the
//! next child is started, and a clone of shared memory, which the child gets as an argument too.
//!
//! In several lessons the child's stdin is a *lifeline*: a pipe of which only the parent has the
//! writing end. The parent writes nothing there. In whatever way the parent ends, its writing end
//! is closed, so the child reads the end of file and ends too: see [`end_with_parent`].

use std::{
    env,
    ffi::OsStr,
    io,
    process::{self, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow, bail, ensure};
use ipc_channel::{
    IpcError,
    ipc::{self, IpcOneShotServer, IpcSender},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::folder::{self, Folder};

/// What a child runs: a function that returns the exit code.
///
/// Its `text` comes from the command line. If [`Child::start`] has started the child, the text is
/// the name of the parent's server: the function gives it to [`arguments`]. If a lesson has started
/// the child by [`command`], the text is what that lesson has given to [`command`].
pub type Role = fn(text: String) -> anyhow::Result<u8>;

/// The first argument of a child. The second is its role, the third is the text for the role.
const CHILD: &str = "--child";

/// The parent waits so long for a child's message before it checks whether the child has ended.
/// Then it waits again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The command that starts this program once more, as a child in the role of that name.
pub fn command(role: &str, text: &str) -> anyhow::Result<Command> {
    let program = env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command.args([CHILD, role, text]);
    Ok(command)
}

/// A child process that has its arguments.
pub struct Child {
    role: &'static str,
    process: process::Child,
}

impl Child {
    /// Starts a child in a role, with `lifeline` as its stdin, and sends it its arguments. Ends of
    /// channels may be among them. (`A` is the type of the arguments: any type that can be turned
    /// into bytes and back.)
    ///
    /// # Errors
    /// The child cannot be started, or it ends before it has its arguments.
    pub fn start<A>(
        role: &'static str,
        lifeline: impl Into<Stdio>,
        arguments: A,
    ) -> anyhow::Result<Self>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
    {
        Self::start_with_output(role, lifeline, Stdio::inherit(), arguments)
    }

    /// As [`Self::start`], but the child does not inherit the parent's stdout: it gets `stdout`.
    pub fn start_with_output<A>(
        role: &'static str,
        stdin: impl Into<Stdio>,
        stdout: Stdio,
        arguments: A,
    ) -> anyhow::Result<Self>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
    {
        have_descriptors().with_context(|| format!("cannot start the {role}"))?;
        // On Linux the server is a socket in this folder. When this function returns, `_folder` is
        // dropped, which removes the folder.
        let _folder = Folder::new()?;
        let (server, name) = IpcOneShotServer::<IpcSender<A>>::new()
            .with_context(|| format!("cannot open a server for the {role}"))?;
        let process = command(role, &name)?
            .stdin(stdin)
            .stdout(stdout)
            .spawn()
            .with_context(|| format!("cannot start the {role}"))?;
        let mut child = Self { role, process };
        let sender = child.first_message(server)?;
        // An error here means that the child has ended since. A later `wait` or `join` reports
        // that.
        let _ = sender.send(arguments);
        Ok(child)
    }

    /// Waits for the child's first message.
    ///
    /// # Errors
    /// The child ends before it has sent the message.
    fn first_message<M>(&mut self, server: IpcOneShotServer<M>) -> anyhow::Result<M>
    where
        M: Serialize + DeserializeOwned + Send + 'static,
    {
        let role = self.role;
        // If the child ends before it connects, `accept` waits for ever. So a thread calls
        // `accept`, while this one checks from time to time whether the child has ended.
        let (accepted, result) = mpsc::channel();
        thread::Builder::new()
            .spawn(move || accepted.send(server.accept()))
            .context("cannot start a thread")?;
        loop {
            let ended = match result.recv_timeout(LOOK_AGAIN) {
                // `_` is the server's end of the connection. It is dropped at once, because
                // ipc-channel has not made it close-on-exec: the next child would inherit it.
                Ok(Ok((_, message))) => return Ok(message),
                // The child has connected, and then ended without a message.
                Ok(Err(IpcError::Disconnected)) => self.process.wait().map(Some),
                Ok(Err(error)) => bail!("the {role} sent no first message: {error}"),
                // The thread has ended without a result: the library has panicked.
                Err(RecvTimeoutError::Disconnected) => bail!("cannot accept the {role}"),
                Err(RecvTimeoutError::Timeout) => self.process.try_wait(),
            };
            let ended = ended.with_context(|| format!("cannot wait for the {role}"))?;
            if let Some(status) = ended {
                // A child that has had no error waits for its arguments, and does not end.
                bail!("the {role} ended before it had its arguments: {status}");
            }
        }
    }

    /// The child's process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the child has ended, and returns how it ended.
    pub fn wait(mut self) -> anyhow::Result<ExitStatus> {
        let status = self.process.wait();
        status.with_context(|| format!("cannot wait for the {} ({})", self.role, self.id()))
    }

    /// Waits until the child has ended.
    ///
    /// # Errors
    /// The child failed: its exit code is not 0, or a signal has killed it.
    pub fn join(self) -> anyhow::Result<()> {
        let (role, id) = (self.role, self.id());
        let status = self.wait()?;
        ensure!(status.success(), "the {role} ({id}) failed: {status}");
        Ok(())
    }
}

impl Drop for Child {
    /// If nobody has waited for the child, there has been an error. Then the child is not left
    /// behind. (For a child that has been waited for, this does nothing.)
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns an error if a child was killed. A lesson reports this, and not its own error, which
/// follows from it. (A child that fails reports its error itself.)
pub fn check_not_killed(who: &str, status: ExitStatus) -> anyhow::Result<()> {
    // A process that a signal has killed has no exit code.
    ensure!(status.code().is_some(), "the {who} was killed: {status}");
    Ok(())
}

/// Makes sure that six descriptors are free. If there were none left in the middle of its work, the
/// library would panic. And the server's folder would stay, since removing it takes a descriptor
/// too.
pub fn have_descriptors() -> io::Result<()> {
    let pipes = [os_pipe::pipe()?, os_pipe::pipe()?, os_pipe::pipe()?];
    drop(pipes);
    Ok(())
}

/// In a child: asks the parent for the arguments, and waits for them. `server` is the name of the
/// parent's server.
pub fn arguments<A>(server: String) -> anyhow::Result<A>
where
    A: Serialize + DeserializeOwned,
{
    let (sender, arguments) = ipc::channel().context("cannot make a channel")?;
    let connected = IpcSender::connect(server.clone());
    // The child has connected or has failed to. It needs the folder no more.
    folder::leave(&server);
    connected
        .context("cannot connect to the parent")?
        .send(sender)
        .context("cannot ask for the arguments")?;
    arguments.recv().context("cannot receive the arguments")
}

/// In a child with a lifeline: starts a thread that ends the child as soon as the parent has ended.
/// (The child's first thread may be waiting for something else at that moment.)
///
/// A child that needs [`arguments`] calls this only afterwards. Before, the thread could end the
/// child while the socket's folder is still there. And until then the child needs no such thread:
/// if the parent ends before it has sent the arguments, [`arguments`] returns an error.
pub fn end_with_parent() -> anyhow::Result<()> {
    let wait = || {
        // The parent writes nothing to the lifeline. So this waits for the end of file, and returns
        // when the last writing end is closed.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(1)
    };
    thread::Builder::new()
        .spawn(wait)
        .context("cannot start a thread")?;
    Ok(())
}

/// In a child: runs the function of its role, and returns its result. In a parent: returns `None`.
pub fn play_role(roles: &[(&str, Role)]) -> Option<anyhow::Result<u8>> {
    // The first word of a command line is the program: it is skipped.
    let mut args = env::args_os().skip(1);
    if args.next().as_deref() != Some(OsStr::new(CHILD)) {
        return None;
    }
    let mut args = args.map(|arg| arg.to_string_lossy().into_owned());
    let (name, text) = (
        args.next().unwrap_or_default(),
        args.next().unwrap_or_default(),
    );
    Some(match roles.iter().find(|(role, _)| *role == name) {
        Some((_, role)) => role(text),
        None => Err(anyhow!("no child has the role {name:?}")),
    })
}
