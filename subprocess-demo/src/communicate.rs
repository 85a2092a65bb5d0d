//! Text into a child's stdin, its stdout and stderr back: more of each than a pipe holds.
//!
//! Mirrors Python's `p = Popen(..., stdin=PIPE, stdout=PIPE, stderr=PIPE)` with `out, err =
//! p.communicate(text)`. Run it with `cargo run -p subprocess-demo -- communicate`.
//!
//! What to notice: there are three pipes, and each may be full or empty at any time. A parent that
//! writes everything before it reads hangs: the child's answers fill their pipe, and then the child
//! stops reading. So each pipe has a thread of its own here; at the end, one thread does the same
//! with `poll` (see [`crate::one_thread`]). Not every child reads all: the second one closes its
//! stdin, the third one is killed. What they had written by then is not lost.

use std::{
    collections::TryReserveError,
    ffi::OsString,
    io::{self, Read, Write},
    process::{Child, ChildStdin, ExitStatus, Stdio},
    thread,
};

use anyhow::{Context, ensure};
use clap::Args;

use crate::{
    ending,
    output::say,
    own_command,
    role::{self, Role},
};

#[derive(Args)]
pub struct Options {
    /// How many MiB the text has.
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=4096))]
    mib: u16,

    /// Send it to this command instead, and say how long that takes.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// The children of this lesson.
pub const ROLES: [(&str, Role); 3] = [
    ("reads-all", reads_all),
    ("closes-stdin", closes_stdin),
    ("dies", dies),
];

/// The text: 16,384 lines of 64 bytes are 1 MiB. A pipe holds 64 KiB on Linux, and less elsewhere.
const LINES_OF_A_MIB: usize = 16_384;
const LINE: usize = 64;

/// After so many lines, the second child and the third stop reading.
const ENOUGH: usize = 1_000;

/// What a child took and gave until it ended.
pub struct Exchange {
    /// How many bytes the pipe to its stdin took.
    pub sent: usize,
    /// Why it took no more.
    pub send_error: Option<io::Error>,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it wrote.
    pub stderr: Vec<u8>,
    /// How it ended.
    pub status: ExitStatus,
}

/// How a parent talks with its child.
pub type Communicate = fn(Child, &[u8]) -> anyhow::Result<Exchange>;

pub fn run(options: &Options) -> anyhow::Result<u8> {
    let all = LINES_OF_A_MIB * usize::from(options.mib);
    let text = text(all).context("cannot hold the text")?;
    if !options.command.is_empty() {
        return own_command::run(&options.command, &text);
    }
    for (name, lines) in [
        ("reads-all", all),
        ("closes-stdin", ENOUGH),
        ("dies", ENOUGH),
    ] {
        run_child(name, lines, &text, communicate)?;
    }
    #[cfg(unix)]
    {
        say!("The same by one thread, with poll:")?;
        run_child("reads-all", all, &text, crate::one_thread::communicate)?;
    }
    Ok(0)
}

/// The text. Where memory is short, that is an error: an ordinary `String` would abort.
fn text(lines: usize) -> Result<Vec<u8>, TryReserveError> {
    let mut text = Vec::new();
    text.try_reserve_exact(lines * LINE)?;
    for number in 0..lines {
        let line = format!("{:.<1$}\n", format!("line {number} "), LINE - 1);
        text.extend_from_slice(line.as_bytes());
    }
    Ok(text)
}

/// Starts a child in this role, sends it the text, and checks that it answers so many lines.
fn run_child(
    name: &str,
    lines: usize,
    text: &[u8],
    communicate: Communicate,
) -> anyhow::Result<()> {
    let child = role::command(name)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start the child that {name}"))?;
    let id = child.id();
    let exchange = communicate(child, text)?;
    say!("Child {id} {}:", name.replace('-', " "))?;
    report(&exchange, text)?;
    let answered = exchange.stdout.len().min(exchange.stderr.len()) / LINE;
    ensure!(
        answered == lines,
        "the child answered {answered} lines, not {lines}"
    );
    Ok(())
}

/// Sends `input` to the child and collects what it answers, until it has ended.
pub fn communicate(mut child: Child, input: &[u8]) -> anyhow::Result<Exchange> {
    let stdin = child.stdin.take().context("stdin is no pipe")?;
    let stdout = child.stdout.take().context("stdout is no pipe")?;
    let stderr = child.stderr.take().context("stderr is no pipe")?;

    let collected = thread::scope(|scope| {
        let new = thread::Builder::new;
        // Each thread owns its end of a pipe, and closes it when it is done. If a thread cannot be
        // started, its end closes at once; the child notices, and ends; and so do the others.
        let sent = new().spawn_scoped(scope, move || send(input, stdin));
        let stdout = new().spawn_scoped(scope, move || collect(stdout));
        let (sent, stdout) = (sent?, stdout?);
        // This thread has nothing else to do: it reads the third pipe itself.
        let stderr = collect(stderr);
        let sent = sent.join().expect("sending does not panic");
        let stdout = stdout.join().expect("collecting does not panic");
        io::Result::Ok((sent, stdout, stderr))
    });

    // We wait after the reading: a child whose pipe is full does not end before somebody reads. And
    // we wait even if the reading failed, so that no child is left behind.
    let status = child.wait().context("cannot wait for the child")?;
    let ((sent, send_error), stdout, stderr) = collected.context("cannot start a thread")?;
    Ok(Exchange {
        sent,
        send_error,
        stdout: stdout.context("cannot read the child's stdout")?,
        stderr: stderr.context("cannot read the child's stderr")?,
        status,
    })
}

/// Writes `input` into a child's stdin. Returns how many bytes the pipe took, and what stopped it.
fn send(input: &[u8], mut stdin: ChildStdin) -> (usize, Option<io::Error>) {
    let mut sent = 0;
    // In small pieces: a write that fails does not say how much of it was taken.
    for piece in input.chunks(4096) {
        if let Err(error) = stdin.write_all(piece) {
            // BrokenPipe: the child has closed its end. That need not be a fault, and the child
            // may still write.
            return (sent, Some(error));
        }
        sent += piece.len();
    }
    // Here `stdin` is dropped, and with it the only writing end: that is the end of file for the
    // child. While we held it, a child that reads to the end would wait for ever.
    (sent, None)
}

/// Reads a pipe to its end, which comes when the child, and every process that inherited the pipe
/// from it, has closed it.
fn collect(mut pipe: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub fn report_sent(exchange: &Exchange, text: &[u8]) -> anyhow::Result<()> {
    let (sent, all) = (exchange.sent, text.len());
    match &exchange.send_error {
        None => say!("  stdin took all {all} bytes"),
        // The child has not read all of these: some were still in the pipe, and are lost.
        Some(error) => say!("  stdin took {sent} of {all} bytes, then: {error}"),
    }
}

fn report(exchange: &Exchange, text: &[u8]) -> anyhow::Result<()> {
    report_sent(exchange, text)?;
    let as_sent = |sent: &u8, answered: &u8| answered == sent;
    let in_capitals = |sent: &u8, answered: &u8| *answered == sent.to_ascii_uppercase();
    type Equal<'a> = &'a dyn Fn(&u8, &u8) -> bool;
    for (name, answer, how, equal) in [
        ("stdout", &exchange.stdout, "as sent", &as_sent as Equal),
        ("stderr", &exchange.stderr, "in capitals", &in_capitals),
    ] {
        let as_expected =
            answer.len() <= text.len() && text.iter().zip(answer).all(|(a, b)| equal(a, b));
        ensure!(as_expected, "the child's {name} is not the text {how}");
        say!("  {name} gave back {} bytes, {how}", answer.len())?;
    }
    say!("  the child's end: {}", ending::words(exchange.status))
}

/// The first child: it answers each line on stdout, and in capitals on stderr.
fn reads_all() -> anyhow::Result<u8> {
    for line in io::stdin().lines() {
        answer(&line.context("cannot read stdin")?)?;
    }
    Ok(0)
}

/// The second: it closes its stdin, and then answers what it has read.
fn closes_stdin() -> anyhow::Result<u8> {
    let lines: Vec<String> = io::stdin().lines().take(ENOUGH).collect::<Result<_, _>>()?;
    close_stdin()?;
    lines.iter().try_for_each(|line| answer(line))?;
    Ok(0)
}

/// The third: it is killed in the middle of its work.
fn dies() -> anyhow::Result<u8> {
    for line in io::stdin().lines().take(ENOUGH) {
        answer(&line.context("cannot read stdin")?)?;
    }
    #[cfg(unix)]
    nix::sys::signal::raise(nix::sys::signal::SIGKILL)?;
    std::process::abort()
}

fn answer(line: &str) -> anyhow::Result<()> {
    say!("{line}")?;
    writeln!(io::stderr(), "{}", line.to_uppercase()).context("cannot write to stderr")
}

/// Closes our end of stdin's pipe: another file takes its place.
#[cfg(unix)]
fn close_stdin() -> anyhow::Result<()> {
    Ok(nix::unistd::dup2_stdin(std::fs::File::open("/dev/null")?)?)
}

/// Rust has no such call on Windows. There the pipe is closed when the child ends.
#[cfg(not(unix))]
fn close_stdin() -> anyhow::Result<()> {
    Ok(())
}
