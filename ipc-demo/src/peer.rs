//! A child process of ours, and the first message from it.
//!
//! Two processes that share nothing need a name to find each other by. The parent opens a server
//! for one connection, gives its name to the child, and the child connects and sends the first
//! message, in which the ends of channels travel: from then on they talk over those.

use std::{
    env,
    ffi::OsStr,
    io,
    process::{Command, ExitStatus},
    thread::{self, JoinHandle},
};

use anyhow::{Context, anyhow, ensure};
use ipc_channel::ipc::{IpcOneShotServer, IpcSender};
use serde::{Serialize, de::DeserializeOwned};

/// What a child does: it gets the name of the server at which its parent awaits the first message.
pub type Role = fn(server: String) -> anyhow::Result<u8>;

/// As the first argument, it tells this program that it is a child; the role and the server's name
/// follow.
const CHILD: &str = "--child";

/// A child process that has introduced itself.
pub struct Peer {
    role: &'static str,
    ended: JoinHandle<io::Result<ExitStatus>>,
}

impl Peer {
    /// Starts a child in a role, and waits for its first message.
    ///
    /// # Errors
    /// When it cannot be started, and when it ends without a first message.
    pub fn start<M>(role: &'static str) -> anyhow::Result<(Self, M)>
    where
        M: Serialize + DeserializeOwned,
    {
        let (server, name) = IpcOneShotServer::<M>::new().context("cannot open a server")?;
        let mut child = Command::new(env::current_exe()?)
            .args([CHILD, role, &name])
            .spawn()
            .with_context(|| format!("cannot start the {role}"))?;

        // `accept` would wait for ever for a child that died first. So when the child has ended, we
        // connect in its place: that wakes `accept`, or fails because the child was here,
        // and either is fine.
        let ended = thread::spawn(move || {
            let status = child.wait();
            let _ = IpcSender::<M>::connect(name);
            status
        });
        let peer = Self { role, ended };
        match server.accept() {
            // The channel of the first message is not needed again.
            Ok((_, message)) => Ok((peer, message)),
            Err(error) => {
                peer.join()?;
                Err(anyhow!(error).context(format!("the {role} ended before it said anything")))
            }
        }
    }

    /// Waits until the child has ended.
    ///
    /// # Errors
    /// When it failed.
    pub fn join(self) -> anyhow::Result<()> {
        let status = self
            .ended
            .join()
            .expect("waiting for a child does not panic");
        let status = status.with_context(|| format!("cannot wait for the {}", self.role))?;
        ensure!(status.success(), "the {} failed: {status}", self.role);
        Ok(())
    }
}

/// In a child: sends the first message to the parent.
pub fn introduce<M: Serialize>(server: String, message: M) -> anyhow::Result<()> {
    let parent = IpcSender::connect(server).context("cannot connect to the parent")?;
    parent
        .send(message)
        .context("cannot send the first message")
}

/// In a child: plays its role, and returns what came of it. Anywhere else: `None`.
pub fn play_role(roles: &[(&str, Role)]) -> Option<anyhow::Result<u8>> {
    let mut args = env::args_os().skip(1);
    if args.next().as_deref() != Some(OsStr::new(CHILD)) {
        return None;
    }
    let mut args = args.map(|arg| arg.to_string_lossy().into_owned());
    let (name, server) = (
        args.next().unwrap_or_default(),
        args.next().unwrap_or_default(),
    );
    Some(match roles.iter().find(|(role, _)| *role == name) {
        Some((_, role)) => role(server),
        None => Err(anyhow!("no child has the role {name:?}")),
    })
}
