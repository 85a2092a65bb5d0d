//! This same program, started again in another role.
//!
//! The command line holds the role's name and its parameter, as JSON. The two processes send each
//! other lines of JSON, by the child's stdin and stdout. The last line on its stdout is the role's
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

/// A function from a parameter `P` to an answer `A`, which runs in a process of its own.
///
/// Each role is a `static`, a global constant. The parent starts a process by [`Role::start`] or as
/// a trial; the new process finds the same `static` by its name. So the compiler checks that both
/// processes agree on the types `P` and `A`.
pub struct Role<P, A = ()> {
    /// No two roles have the same name.
    pub name: &'static str,
    /// Runs in the new process, which has one thread when this begins. A process that was started
    /// by [`Role::start`] may exchange messages with its parent before it answers, by
    /// [`tell_parent`] and [`receive_from_parent`]. A trial only answers.
    pub play: fn(P) -> anyhow::Result<A>,
}

/// A role of any `P` and `A`: so roles of different types fit into one list.
pub trait AnyRole: Sync {
    fn name(&self) -> &'static str;

    /// In the new process: plays the role, and sends the answer.
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

    /// Starts a process in this role, which can exchange messages with this one.
    pub fn start(&self, parameter: &P) -> anyhow::Result<Partner> {
        Partner::start(self.command(parameter)?)
            .with_context(|| format!("cannot start a process for {}", self.name))
    }
}

/// The last message of a process in a role: its answer or its error.
pub type Answer<A> = Result<A, Failure>;

/// An error as a message.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    message: String,
    /// Whether it is a [`NoRoom`], or the system's refusal of more memory, processes or files.
    no_room: bool,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self {
            message: format!("{error:#}"),
            no_room: error.is::<NoRoom>() || error.chain().any(is_refusal),
        }
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

/// The machine has no room for this: a limit or the lack of memory forbids it.
/// [`Lab::those_that_fit`](super::Lab::those_that_fit) leaves out what fails with this error.
/// Otherwise, it makes an experiment fail as any error does.
#[derive(Debug)]
pub struct NoRoom(pub String);

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Error for NoRoom {}

/// Whether it is an error by which the system refuses more memory, processes or files.
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

/// As the first argument, it tells this program to play a role.
const ROLE: &str = "--role";

/// Plays the role that the command line names; `None` if it names none.
pub fn play_role(
    roles: impl IntoIterator<Item = &'static dyn AnyRole>,
) -> Option<anyhow::Result<u8>> {
    let mut args = env::args_os().skip(1);
    if args.next()? != ROLE {
        return None;
    }
    if let Err(error) = end_with_the_parent() {
        return Some(Err(error));
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

/// In a role, or in what it forks: makes the system kill this process when its parent ends, even if
/// the parent is killed; and end it after half a minute, in case it hangs. (A trial takes a few
/// seconds at most.)
pub fn end_with_the_parent() -> anyhow::Result<()> {
    #[cfg(unix)]
    nix::unistd::alarm::set(30);
    // On other systems, and if the parent has already ended, this process ends by itself after its
    // work, when it cannot send its answer.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .context("cannot tie this process to its parent")?;
    Ok(())
}

/// A child process in a role, as its parent sees it: the child, and the pipes to and from it. When
/// this is dropped, it closes the child's stdin and waits for the child's end.
pub struct Partner {
    child: Child,
    /// `None` when it has been closed.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Partner {
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        Ok(Self {
            child,
            stdin,
            stdout,
        })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the child has ended.
    pub fn tell(&mut self, message: &impl Serialize) -> anyhow::Result<()> {
        let stdin = self.stdin.as_mut().context("its input has been closed")?;
        write_message(stdin, message).with_context(|| self.gone())
    }

    /// Waits for the child's next message; `None` when the child has ended instead.
    pub fn receive<M: DeserializeOwned>(&mut self) -> anyhow::Result<Option<M>> {
        read_message(&mut self.stdout)
    }

    /// Waits for the child's next message.
    ///
    /// # Errors
    /// When the child has ended instead.
    pub fn expect<M: DeserializeOwned>(&mut self) -> anyhow::Result<M> {
        self.receive()?.with_context(|| self.gone())
    }

    /// Closes the child's stdin, which tells it to end; waits for its answer and for its end.
    pub fn finish<A: DeserializeOwned>(&mut self) -> anyhow::Result<A> {
        self.stdin = None;
        let answer: Answer<A> = self.expect()?;
        let status = self.wait()?;
        ensure!(status.success(), "process {} failed: {status}", self.id());
        Ok(answer?)
    }

    /// Closes the child's stdin, which tells it to end, and waits for its end.
    pub fn wait(&mut self) -> io::Result<std::process::ExitStatus> {
        // In this order: the child does not end before its stdin does.
        self.stdin = None;
        self.child.wait()
    }

    /// The pipes to and from the child, for data that are no messages.
    pub fn pipes(&mut self) -> anyhow::Result<(&mut ChildStdin, &mut ChildStdout)> {
        let stdin = self.stdin.as_mut().context("its input has been closed")?;
        Ok((stdin, self.stdout.get_mut()))
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

/// In a role: waits for the parent's next message; `None` when the parent has closed our stdin, or
/// has ended.
pub fn receive_from_parent<M: DeserializeOwned>() -> anyhow::Result<Option<M>> {
    read_message(&mut io::stdin().lock())
}

fn write_message(to: &mut impl Write, message: &impl Serialize) -> anyhow::Result<()> {
    // In a single write: several processes may share this pipe.
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)?;
    Ok(to.flush()?)
}

pub fn read_message<M: DeserializeOwned>(from: &mut impl BufRead) -> anyhow::Result<Option<M>> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    // If the sender dies in the middle of a line, there is no message.
    match line.ends_with('\n') {
        true => Ok(Some(parse(&line)?)),
        false => Ok(None),
    }
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

    /// A child that is a shell, and no role.
    #[cfg(unix)]
    fn shell(script: &str) -> Partner {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Partner::start(command).expect("there is a shell")
    }

    #[cfg(unix)]
    #[test]
    fn a_message_reaches_the_child_and_its_answer_comes_back() {
        // This child answers even if the message never comes.
        let mut partner = shell("read number; cat > /dev/null; echo '{\"Ok\":'${number}0}");
        partner.tell(&12).expect("it is there");
        assert_eq!(partner.finish::<u32>().expect("it ends well"), 120);

        let mut partner = shell("read number; echo ${number}0; cat > /dev/null; echo '{\"Ok\":7}'");
        partner.tell(&12).expect("it is there");
        assert_eq!(partner.expect::<u32>().expect("it answers"), 120);
        assert_eq!(partner.finish::<u32>().expect("it ends well"), 7);
        assert!(partner.tell(&1).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_child_that_ends_in_the_middle_of_its_work_is_named() {
        let mut partner = shell("echo $$");
        let id: u32 = partner.expect().expect("it tells its own id");
        assert_eq!(partner.id(), id);
        assert_eq!(partner.receive::<u32>().expect("it has ended"), None);
        let error = partner.expect::<u32>().expect_err("it has ended");
        assert!(error.to_string().contains(&format!("process {id} ended")));
        let error = partner.finish::<u32>().expect_err("it has ended");
        assert!(error.to_string().contains(&format!("process {id} ended")));
    }

    #[cfg(unix)]
    #[test]
    fn an_answer_does_not_hide_that_the_child_failed_afterwards() {
        let mut partner = shell("echo '{\"Ok\":7}'; exit 3");
        let error = partner.finish::<u32>().expect_err("its exit code is 3");
        assert!(error.to_string().contains("exit status: 3"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_partner_that_is_dropped_leaves_no_child() {
        let mut partner = shell("echo $$; cat");
        let id: u32 = partner.expect().expect("it tells its own id");
        let folder = std::path::PathBuf::from(format!("/proc/{id}"));
        assert!(folder.exists());
        drop(partner);
        assert!(!folder.exists());
    }
}
