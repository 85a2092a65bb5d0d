//! A child process of ours, and the first message from it.
//!
//! Two processes that share nothing need a name to find each other by. The parent opens a server
//! for one connection, gives its name to the child, and the child connects and sends the first
//! message, in which the ends of channels travel: from then on they talk over those.
//!
//! The child's stdin is its lifeline: the reading end of a pipe whose writing end only the parent
//! has. When the parent is gone, in whatever way, the end of file comes, and the child goes too.

use std::{
    env,
    ffi::OsStr,
    io,
    process::{self, Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, anyhow, ensure};
use ipc_channel::ipc::{IpcOneShotServer, IpcSender};
use os_pipe::PipeWriter;
use serde::{Serialize, de::DeserializeOwned};

use crate::interrupt;

/// What a child does. A [`Peer`] gets the name of the server at which its parent awaits the first
/// message.
pub type Role = fn(argument: String) -> anyhow::Result<u8>;

/// As the first argument, it tells this program that it is a child; the role and its argument
/// follow.
const CHILD: &str = "--child";

/// The command that starts this program once more, as a child in a role.
pub fn command(role: &str, argument: &str) -> anyhow::Result<Command> {
    let program = env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command.args([CHILD, role, argument]);
    Ok(command)
}

/// A child process that has introduced itself.
pub struct Peer {
    role: &'static str,
    id: u32,
    ended: JoinHandle<io::Result<ExitStatus>>,
}

impl Peer {
    /// Starts a child in a role, and waits for its first message.
    ///
    /// # Errors
    /// When it cannot be started, and when it ends without a first message.
    pub fn start<M>(role: &'static str, stdin: impl Into<Stdio>) -> anyhow::Result<(Self, M)>
    where
        M: Serialize + DeserializeOwned,
    {
        // The server has a socket in the temporary directory until the child is there. Ctrl-C in
        // between would leave it behind.
        let interruption = interrupt::defer();
        let (server, name) = IpcOneShotServer::<M>::new().context("cannot open a server")?;
        let mut command = command(role, &name)?;
        let spare = Spare::new()?;
        // The thread before the process: should it be refused, there is no child yet to call back.
        let (watch, watched) = mpsc::channel();
        let ended = thread::Builder::new()
            .spawn({
                let spare = spare.clone();
                move || wait_and_wake::<M>(&watched, &spare, name)
            })
            .context("cannot start a thread")?;
        let child = command
            .stdin(stdin)
            .spawn()
            .with_context(|| format!("cannot start the {role}"))?;
        let peer = Self {
            role,
            id: child.id(),
            ended,
        };
        let _ = watch.send(child);

        let accepted = server.accept();
        spare.give_back();
        drop(interruption);
        match accepted {
            // The channel of the first message is not needed again.
            Ok((_, message)) => Ok((peer, message)),
            Err(error) => {
                peer.join()?;
                Err(anyhow!(error).context(format!("the {role} ended before it said anything")))
            }
        }
    }

    /// The child's process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Waits until the child has ended, and returns how.
    pub fn wait(self) -> anyhow::Result<ExitStatus> {
        let Self { role, id, ended } = self;
        let status = ended.join().expect("waiting for a child does not panic");
        status.with_context(|| format!("cannot wait for the {role} ({id})"))
    }

    /// Waits until the child has ended.
    ///
    /// # Errors
    /// When it failed.
    pub fn join(self) -> anyhow::Result<()> {
        let Self { role, id, .. } = self;
        let status = self.wait()?;
        ensure!(status.success(), "the {role} ({id}) failed: {status}");
        Ok(())
    }
}

/// Waits for the child's end, and wakes `accept` if it still waits for the child then.
///
/// It would wait for ever for a child that died before its first message. So we connect in the
/// child's place, and leave at once.
fn wait_and_wake<M: Serialize>(
    child: &Receiver<Child>,
    spare: &Spare,
    server: String,
) -> io::Result<ExitStatus> {
    let mut child = child.recv().map_err(io::Error::other)?;
    let status = child.wait();
    if spare.give_back() {
        let _ = IpcSender::<M>::connect(server);
    }
    status
}

/// A descriptor that is kept until the first message is there, so that connecting in the child's
/// place cannot fail for want of one.
#[derive(Clone)]
struct Spare(Arc<Mutex<Option<PipeWriter>>>);

impl Spare {
    fn new() -> anyhow::Result<Self> {
        let copy = os_pipe::dup_stderr().context("cannot reserve a descriptor")?;
        Ok(Self(Arc::new(Mutex::new(Some(copy)))))
    }

    /// Whether it was still kept.
    fn give_back(&self) -> bool {
        let kept = self.0.lock().expect("nobody panics here").take();
        kept.is_some()
    }
}

/// In a child: sends the first message to the parent.
pub fn introduce<M: Serialize>(server: String, message: M) -> anyhow::Result<()> {
    let parent = IpcSender::connect(server).context("cannot connect to the parent")?;
    parent
        .send(message)
        .context("cannot send the first message")
}

/// In a child: has it end as soon as its parent is gone.
///
/// A thread is needed for that, since the rest of the child may be waiting for something else.
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
    interrupt::allow();
    let mut args = args.map(|arg| arg.to_string_lossy().into_owned());
    let (name, argument) = (
        args.next().unwrap_or_default(),
        args.next().unwrap_or_default(),
    );
    Some(match roles.iter().find(|(role, _)| *role == name) {
        Some((_, role)) => role(argument),
        None => Err(anyhow!("no child has the role {name:?}")),
    })
}
