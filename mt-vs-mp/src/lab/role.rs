//! This same program, started again in another role.
//!
//! The role's name and its parameter, as JSON, stand on the command line. What the two processes
//! send each other are lines of JSON on the child's stdin and stdout; the last line is the role's
//! answer. All of it could be typed by hand.

use std::{
    env,
    error::Error,
    fmt,
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, anyhow, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What a process of this program can be started as: a function from a parameter to an answer.
///
/// A `static`, so that both sides, who starts it and the process that is started, find the same one;
/// the compiler checks that they agree on the types.
pub struct Role<P, A = ()> {
    /// No two roles have the same name.
    pub name: &'static str,
    /// Runs in the process that was started for it, in which there is no other thread yet. It may
    /// send messages before its answer, by [`tell_parent`] and [`receive_from_parent`].
    pub play: fn(P) -> anyhow::Result<A>,
}

/// A role of any parameter and answer, to be found by its name.
pub trait AnyRole: Sync {
    fn name(&self) -> &'static str;

    /// In the process that was started for it: plays the role, and sends the answer.
    fn play(&self, parameter: &str) -> anyhow::Result<()>;
}

impl<P: DeserializeOwned, A: Serialize> AnyRole for Role<P, A> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn play(&self, parameter: &str) -> anyhow::Result<()> {
        let answer: Answer<A> = (self.play)(parse(parameter)?).map_err(Failure::from);
        tell_parent(&answer)
    }
}

impl<P: Serialize, A: DeserializeOwned> Role<P, A> {
    /// The command that starts this program in this role.
    pub fn command(&self, parameter: &P) -> anyhow::Result<Command> {
        let mut command = Command::new(env::current_exe().context("cannot find this program")?);
        command.args([ROLE, self.name, &serde_json::to_string(parameter)?]);
        Ok(command)
    }

    /// Starts a process that shares its messages with this one.
    pub fn start(&self, parameter: &P) -> anyhow::Result<Partner> {
        Partner::start(self.command(parameter)?)
            .with_context(|| format!("cannot start a process for {}", self.name))
    }
}

/// What a role's process ends with.
pub type Answer<A> = Result<A, Failure>;

/// An error on its way from process to process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    message: String,
    /// Whether the system refused something for want of room.
    no_room: bool,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let no_room = error.is::<NoRoom>() || error.chain().any(is_refusal);
        let message = format!("{error:#}");
        Self { message, no_room }
    }
}

impl From<Failure> for anyhow::Error {
    fn from(failure: Failure) -> Self {
        match failure.no_room {
            true => NoRoom(failure.message).into(),
            false => anyhow!(failure.message),
        }
    }
}

/// The machine has no room for this: a limit, or the lack of memory, forbids it. What has no room is
/// left out, with this cause; any other error is one.
#[derive(Debug)]
pub struct NoRoom(pub String);

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Error for NoRoom {}

/// Whether the system says that there is no room for more.
fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    #[cfg(unix)]
    {
        use nix::errno::Errno::{self, *};
        let by_io = error.downcast_ref().and_then(io::Error::raw_os_error);
        let errno = by_io.map(Errno::from_raw).or(error.downcast_ref().copied());
        errno.is_some_and(|errno| [EAGAIN, ENOMEM, EMFILE, ENFILE, ENOSPC].contains(&errno))
    }
    #[cfg(not(unix))]
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::OutOfMemory)
}

/// As the first argument, it tells this program that it has a role to play.
const ROLE: &str = "--role";

/// In a process that was started in a role: plays it. Anywhere else: `None`.
pub fn play_role(
    roles: impl IntoIterator<Item = &'static dyn AnyRole>,
) -> Option<anyhow::Result<u8>> {
    let mut args = env::args_os().skip(1);
    if args.next()? != ROLE {
        return None;
    }
    let mut args = args.map(|arg| arg.to_string_lossy().into_owned());
    let name = args.next().unwrap_or_default();
    let parameter = args.next().unwrap_or_default();
    let played = match roles.into_iter().find(|role| role.name() == name) {
        Some(role) => role.play(&parameter),
        None => Err(anyhow!("there is no role {name:?}")),
    };
    Some(played.map(|()| 0))
}

/// A child in a role, and the messages to and from it. Dropping it ends its input, and waits for its
/// end.
pub struct Partner {
    child: Child,
    /// `None` when nothing more is to be sent.
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Partner {
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
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
    pub fn receive<M: DeserializeOwned>(&mut self) -> anyhow::Result<Option<M>> {
        read_message(&mut self.from)
    }

    /// Waits for its next message.
    ///
    /// # Errors
    /// When it ends without.
    pub fn expect<M: DeserializeOwned>(&mut self) -> anyhow::Result<M> {
        self.receive()?.with_context(|| self.gone())
    }

    /// Ends its input, which tells it to end, waits for its answer and for its end.
    pub fn finish<A: DeserializeOwned>(&mut self) -> anyhow::Result<A> {
        self.to = None;
        let answer: Answer<A> = self.expect()?;
        let status = self.wait()?;
        ensure!(status.success(), "process {} failed: {status}", self.id());
        Ok(answer?)
    }

    /// Ends its input, which tells it to end, and waits for that.
    pub fn wait(&mut self) -> io::Result<std::process::ExitStatus> {
        // In this order: it ends when its input does, and not before.
        self.to = None;
        self.child.wait()
    }

    /// The raw ends of the pipes to and from it, for what is no message.
    pub fn pipes(&mut self) -> anyhow::Result<(&mut ChildStdin, &mut ChildStdout)> {
        let to = self.to.as_mut().context("its input has been ended")?;
        Ok((to, self.from.get_mut()))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn gone(&self) -> String {
        format!("process {} ended in the middle of its work", self.id())
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        let _ = self.wait();
    }
}

/// In a role: sends a message to the parent.
pub fn tell_parent(message: &impl Serialize) -> anyhow::Result<()> {
    write_message(&mut io::stdout(), message).context("cannot reach the parent")
}

/// In a role: waits for the parent's next message; `None` when the parent has ended our input, or is
/// gone.
pub fn receive_from_parent<M: DeserializeOwned>() -> anyhow::Result<Option<M>> {
    read_message(&mut io::stdin().lock())
}

fn write_message(to: &mut impl Write, message: &impl Serialize) -> anyhow::Result<()> {
    // A single write: several processes may share this pipe.
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)?;
    Ok(to.flush()?)
}

pub fn read_message<M: DeserializeOwned>(from: &mut impl BufRead) -> anyhow::Result<Option<M>> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    // A sender that dies in the middle of a line has sent nothing.
    line.ends_with('\n').then(|| parse(&line)).transpose()
}

fn parse<M: DeserializeOwned>(text: &str) -> anyhow::Result<M> {
    serde_json::from_str(text).with_context(|| format!("{text:?} is no message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(error: anyhow::Error) -> anyhow::Error {
        let text = serde_json::to_string(&Failure::from(error)).expect("it can be JSON");
        let failure: Failure = serde_json::from_str(&text).expect("it can be read");
        failure.into()
    }

    #[test]
    fn what_has_no_room_is_told_from_an_error_on_the_other_side_too() {
        let refused = io::Error::from_raw_os_error(11);
        let refused = failure(anyhow::Error::from(refused).context("cannot fork child 3"));
        assert_eq!(refused.is::<NoRoom>(), cfg!(unix));
        assert!(refused.to_string().starts_with("cannot fork child 3: "));
        let limited = failure(NoRoom("RLIMIT_AS leaves room for 3 only".into()).into());
        assert!(limited.is::<NoRoom>());
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert!(!failure(missing.into()).is::<NoRoom>());
    }

    #[test]
    fn half_a_line_is_no_message() {
        let read = |mut text: &[u8]| read_message::<u32>(&mut text);
        assert_eq!(read(b"12\n").expect("it is a message"), Some(12));
        assert_eq!(read(b"12").expect("the sender died"), None);
        assert_eq!(read(b"").expect("the sender is done"), None);
        assert!(read(b"banana\n").is_err());
    }
}
