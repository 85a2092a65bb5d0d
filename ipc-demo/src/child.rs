//! A child process of ours, and how it gets its arguments.
//!
//! In Python's `Process(target=read, args=(q,))` a queue is an argument. Here an end of a channel can
//! be one, too. The parent starts this program once more, in a role, and the child asks for its
//! arguments:
//!
//! ```text
//! parent                                            child
//! opens a server, starts the child  ---- name ---->
//!                                   <-- an inbox --  connects to that name
//! sends the arguments               ------------->  receives them
//! ```
//!
//! The child's stdin is its *lifeline*: a pipe of which only the parent has the writing end. However
//! the parent ends, the child then reads the end of file there, and ends too.

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
use ipc_channel::ipc::{self, IpcOneShotServer, IpcSender};
use serde::{Serialize, de::DeserializeOwned};

use crate::folder::{self, Folder};

/// What a child does. The text is the name of the server from which [`arguments`] come, or, for a
/// child that was started by its [`command`] alone, whatever its parent wrote there.
pub type Role = fn(text: String) -> anyhow::Result<u8>;

/// As the first argument, it tells this program that it is a child; the role and its text follow.
const CHILD: &str = "--child";

/// How often the parent, while it waits for a child's message, looks whether the child has died.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The command that starts this program once more, as a child in a role.
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
    /// Starts a child in a role, with arguments in which the ends of channels may travel.
    ///
    /// # Errors
    /// When it cannot be started, and when it ends before it has its arguments.
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

    /// The same, but the child's stdout leads to somewhere else than ours.
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
        // On Linux the server is a socket. Its folder is removed when this function returns.
        let _folder = Folder::new()?;
        let (server, name) = IpcOneShotServer::<IpcSender<A>>::new()
            .with_context(|| format!("cannot open a server for the {role}"))?;
        let process = command(role, &name)?
            .stdin(stdin)
            .stdout(stdout)
            .spawn()
            .with_context(|| format!("cannot start the {role}"))?;
        let mut child = Self { role, process };
        let inbox = child.first_message(server).inspect_err(|_| {
            // The child may still be there. It gets no arguments, so it has nothing to do.
            let _ = child.process.kill();
            let _ = child.process.wait();
        })?;
        // If the child has died since then, that is found when we wait for it.
        let _ = inbox.send(arguments);
        Ok(child)
    }

    /// Waits for the child's message, or for its death.
    fn first_message<M>(&mut self, server: IpcOneShotServer<M>) -> anyhow::Result<M>
    where
        M: Serialize + DeserializeOwned + Send + 'static,
    {
        let role = self.role;
        // `accept` waits for ever if the child dies before it connects. So a thread waits there.
        let (accepted, result) = mpsc::channel();
        thread::Builder::new()
            .spawn(move || accepted.send(server.accept()))
            .context("cannot start a thread")?;
        loop {
            match result.recv_timeout(LOOK_AGAIN) {
                Ok(result) => {
                    let (_, message) =
                        result.with_context(|| format!("the {role} sent no first message"))?;
                    return Ok(message);
                }
                Err(RecvTimeoutError::Disconnected) => bail!("cannot accept the {role}"),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(status) = self.process.try_wait().context("cannot wait")? {
                // A child that is well does not end before it has its arguments.
                bail!("the {role} ended before it had its arguments: {status}");
            }
        }
    }

    /// The child's process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the child has ended, and returns how.
    pub fn wait(mut self) -> anyhow::Result<ExitStatus> {
        let status = self.process.wait();
        status.with_context(|| format!("cannot wait for the {} ({})", self.role, self.id()))
    }

    /// Waits until the child has ended.
    ///
    /// # Errors
    /// When it failed.
    pub fn join(self) -> anyhow::Result<()> {
        let (role, id) = (self.role, self.id());
        let status = self.wait()?;
        ensure!(status.success(), "the {role} ({id}) failed: {status}");
        Ok(())
    }
}

/// Makes sure that a few descriptors are free. If the library ran out of them half-way, it would
/// panic, and could not even remove the server's folder.
fn have_descriptors() -> io::Result<()> {
    for _ in [os_pipe::pipe()?, os_pipe::pipe()?, os_pipe::pipe()?] {}
    Ok(())
}

/// In a child: asks the parent for the arguments.
pub fn arguments<A>(server: String) -> anyhow::Result<A>
where
    A: Serialize + DeserializeOwned,
{
    let (inbox, arguments) = ipc::channel().context("cannot make a channel")?;
    let connected = IpcSender::connect(server.clone());
    folder::leave(&server);
    connected
        .context("cannot connect to the parent")?
        .send(inbox)
        .context("cannot ask for the arguments")?;
    arguments.recv().context("cannot receive the arguments")
}

/// In a child: starts a thread that ends the child as soon as its parent has ended. (The rest of the
/// child may be waiting for something else.)
///
/// A child calls this after it has its arguments. Before that it must not end so suddenly: it still
/// has to remove the socket's folder. And if the parent ends then, the child's `recv` fails.
pub fn end_with_parent() -> anyhow::Result<()> {
    let wait = || {
        // Nothing is ever written there, so this returns when the last writing end is closed.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(1)
    };
    thread::Builder::new()
        .spawn(wait)
        .context("cannot start a thread")?;
    Ok(())
}

/// In a child: plays its role, and returns what came of it. Anywhere else: `None`.
pub fn play_role(roles: &[(&str, Role)]) -> Option<anyhow::Result<u8>> {
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
