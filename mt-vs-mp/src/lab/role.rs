//! This same program, started again in another role.
//!
//! The role's name and its parameter, as JSON, stand on the command line; what the two processes
//! tell each other are lines of JSON on the child's stdin and stdout. All of it could be typed by
//! hand.

use std::{
    env,
    ffi::OsStr,
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
};

use anyhow::{Context, anyhow};
use serde::{Serialize, de::DeserializeOwned};

/// As the first argument, it tells this program that it has a role to play.
const ROLE: &str = "--role";

/// What a process of this program can be started as.
pub trait Role: Sync {
    /// No two roles have the same name.
    fn name(&self) -> &'static str;

    /// In the process that was started for it: plays the role to its end, and returns the exit
    /// code.
    fn play(&self, parameter: &str) -> anyhow::Result<u8>;
}

/// The simplest role: it talks to its parent with [`tell_parent`] and [`hear_parent`], as it likes.
pub struct Peer<P> {
    pub name: &'static str,
    pub play: fn(P) -> anyhow::Result<()>,
}

impl<P: DeserializeOwned> Role for Peer<P> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn play(&self, parameter: &str) -> anyhow::Result<u8> {
        (self.play)(parse(parameter)?)?;
        Ok(0)
    }
}

/// In a process that was started in a role: plays it. Anywhere else: `None`.
pub fn play_role(roles: impl IntoIterator<Item = &'static dyn Role>) -> Option<anyhow::Result<u8>> {
    let mut args = env::args_os().skip(1);
    if args.next().as_deref() != Some(OsStr::new(ROLE)) {
        return None;
    }
    let mut args = args.map(|arg| arg.to_string_lossy().into_owned());
    let name = args.next().unwrap_or_default();
    let parameter = args.next().unwrap_or_default();
    Some(match roles.into_iter().find(|role| role.name() == name) {
        Some(role) => role.play(&parameter),
        None => Err(anyhow!("there is no role {name:?}")),
    })
}

/// The command that starts this program in a role.
pub fn command(role: &dyn Role, parameter: &impl Serialize) -> anyhow::Result<Command> {
    let mut command = Command::new(env::current_exe().context("cannot find this program")?);
    command.args([ROLE, role.name(), &serde_json::to_string(parameter)?]);
    Ok(command)
}

/// A child in a role, and the lines to and from it. Dropping it ends its input, and waits for its
/// end.
pub struct Process {
    child: Child,
    /// `None` when nothing more is to be sent.
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Process {
    pub fn start(role: &dyn Role, parameter: &impl Serialize) -> anyhow::Result<Self> {
        let mut child = command(role, parameter)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start a process for {}", role.name()))?;
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        Ok(Self { child, to, from })
    }

    /// # Errors
    /// When it is gone.
    pub fn tell(&mut self, message: &impl Serialize) -> anyhow::Result<()> {
        let to = self.to.as_mut().context("its input has been ended")?;
        write_message(to, message).with_context(|| self.gone())
    }

    /// Waits for its next message; `None` when it sends no more, because it has ended.
    pub fn hear<M: DeserializeOwned>(&mut self) -> anyhow::Result<Option<M>> {
        read_message(&mut self.from)
    }

    /// Waits for its next message.
    ///
    /// # Errors
    /// When it ends without.
    pub fn expect<M: DeserializeOwned>(&mut self) -> anyhow::Result<M> {
        self.hear()?.with_context(|| self.gone())
    }

    /// Ends its input, which tells it to end, and waits for that.
    pub fn end(&mut self) -> io::Result<ExitStatus> {
        // In this order: it ends when its input does, and not before.
        self.to = None;
        self.child.wait()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn gone(&self) -> String {
        format!("process {} ended in the middle of its work", self.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// In a role: sends a message to the parent.
pub fn tell_parent(message: &impl Serialize) -> anyhow::Result<()> {
    write_message(&mut io::stdout(), message).context("cannot reach the parent")
}

/// In a role: waits for the parent's next message; `None` when the parent has ended our input, or
/// is gone.
pub fn hear_parent<M: DeserializeOwned>() -> anyhow::Result<Option<M>> {
    read_message(&mut io::stdin().lock())
}

fn write_message(to: &mut impl Write, message: &impl Serialize) -> anyhow::Result<()> {
    // A single write: several processes may share this pipe.
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)?;
    Ok(to.flush()?)
}

fn read_message<M: DeserializeOwned>(from: &mut impl BufRead) -> anyhow::Result<Option<M>> {
    let mut line = String::new();
    match from.read_line(&mut line)? {
        0 => Ok(None),
        // A sender that dies in the middle of a line has sent nothing.
        _ if !line.ends_with('\n') => Ok(None),
        _ => parse(&line).map(Some),
    }
}

fn parse<M: DeserializeOwned>(text: &str) -> anyhow::Result<M> {
    serde_json::from_str(text).with_context(|| format!("{text:?} is no message"))
}
