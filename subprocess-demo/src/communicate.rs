//! Text into a child's stdin, its stdout and stderr back: more of each than a pipe holds.
//!
//! Mirrors Python's `p = Popen(..., stdin=PIPE, stdout=PIPE, stderr=PIPE)` with `out, err =
//! p.communicate(text)`. Run it with `cargo run -p subprocess-demo -- communicate`.
//!
//! What to notice: there are three pipes, and each may be full or empty at any time. If a parent
//! writes everything before it reads, both processes hang. First the child's answers fill their
//! pipe, and the child stops reading. Then stdin's pipe is full too, and the parent waits in its
//! write. So each pipe has a thread of its own here: we start two, and the calling thread is the
//! third. At the end, one thread does the same with `poll` (see [`crate::one_thread`]). Not every
//! child reads all of the text: the second child closes its stdin, and the third is killed. Then
//! our write fails, but we still get all that these children have written.

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
    /// The size of the text in MiB.
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=4096))]
    mib: u16,

    /// Send the text to this command instead, and say how long that takes.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// The children of this lesson.
pub const ROLES: [(&str, Role); 3] = [
    ("reads-all", reads_all),
    ("closes-stdin", closes_stdin),
    ("dies", dies),
];

/// The text: 16,384 lines of 64 bytes are 1 MiB. A pipe holds 64 KiB on Linux, and often less on
/// other systems.
const LINES_OF_A_MIB: usize = 16_384;
const LINE: usize = 64;

/// The second child and the third stop after this many lines, which are 64,000 bytes. They read in
/// blocks of up to 8 KiB, so by then they have taken some more out of the pipe: usually 65,536.
const ENOUGH: usize = 1_000;

/// What a parent has sent to a child and received from it, and how the child ended.
pub struct Exchange {
    /// How many bytes the pipe to the child's stdin took.
    pub sent: usize,
    /// Why the pipe took no more; `None` if it took the whole text.
    pub send_error: Option<io::Error>,
    /// What the child wrote to its stdout.
    pub stdout: Vec<u8>,
    /// What the child wrote to its stderr.
    pub stderr: Vec<u8>,
    /// How the child ended.
    pub status: ExitStatus,
}

/// A function that sends a text to a child, and collects what the child answers.
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

/// Makes the text. If memory is short, this returns an error. A `Vec` or a `String` that grows by
/// itself would abort the process.
fn text(lines: usize) -> Result<Vec<u8>, TryReserveError> {
    let mut text = Vec::new();
    text.try_reserve_exact(lines * LINE)?;
    for number in 0..lines {
        // Dots fill the line up to 63 bytes. The newline is the last of its 64.
        let line = format!("{:.<1$}\n", format!("line {number} "), LINE - 1);
        text.extend_from_slice(line.as_bytes());
    }
    Ok(text)
}

/// Starts a child in this role, sends it the text, and checks that it answers this many lines.
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

/// Sends `input` to the child and collects what the child answers, until the child has ended.
pub fn communicate(mut child: Child, input: &[u8]) -> anyhow::Result<Exchange> {
    let stdin = child.stdin.take().context("stdin is no pipe")?;
    let stdout = child.stdout.take().context("stdout is no pipe")?;
    let stderr = child.stderr.take().context("stderr is no pipe")?;

    let collected = thread::scope(|scope| {
        let new = thread::Builder::new;
        // Each thread owns one end of a pipe, and closes this end when it is done. If a thread
        // cannot be started, its end is closed at once. Then the child reads an end of file, or its
        // write fails, so the child ends. That ends the other threads too.
        let sent = new().spawn_scoped(scope, move || send(input, stdin));
        let stdout = new().spawn_scoped(scope, move || collect(stdout));
        let (sent, stdout) = (sent?, stdout?);
        // The calling thread has nothing else to do, so it is the third: it reads stderr.
        let stderr = collect(stderr);
        let sent = sent.join().expect("sending does not panic");
        let stdout = stdout.join().expect("collecting does not panic");
        io::Result::Ok((sent, stdout, stderr))
    });

    // We wait only after we have read: a child whose pipe is full does not end before we read. We
    // also wait if a thread could not be started, so that the child is reaped.
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

/// Writes `input` into a child's stdin. Returns how many bytes the pipe took, and the error that
/// came before the end of `input`, if any.
fn send(input: &[u8], mut stdin: ChildStdin) -> (usize, Option<io::Error>) {
    let mut sent = 0;
    // In small pieces: when `write_all` fails, it does not say how many bytes the pipe took.
    for piece in input.chunks(4096) {
        if let Err(error) = stdin.write_all(piece) {
            // BrokenPipe means that the child has closed its end. That need not be a fault, and the
            // child may still write.
            return (sent, Some(error));
        }
        sent += piece.len();
    }
    // Here `stdin` is dropped. It is the only writing end, so the child now reads its end of file.
    // If we kept `stdin` open, a child that reads to the end would wait for ever.
    (sent, None)
}

/// Reads a pipe to its end of file. That comes when the child has closed the pipe, and so has every
/// process that inherited the pipe from the child.
fn collect(mut pipe: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Prints how much of the text was sent.
pub fn report_sent(exchange: &Exchange, text: &[u8]) -> anyhow::Result<()> {
    let (sent, all) = (exchange.sent, text.len());
    match &exchange.send_error {
        None => say!("  stdin took all {all} bytes"),
        // The child need not have read all of these bytes. Those left in the pipe are lost.
        Some(error) => say!("  stdin took {sent} of {all} bytes, then: {error}"),
    }
}

/// Checks that the child's answers are the text, or the beginning of it, and prints their sizes.
fn report(exchange: &Exchange, text: &[u8]) -> anyhow::Result<()> {
    report_sent(exchange, text)?;
    let (stdout, stderr) = (&exchange.stdout, &exchange.stderr);
    ensure!(
        text.starts_with(stdout),
        "the child's stdout is not the text as sent"
    );
    say!("  stdout gave back {} bytes, as sent", stdout.len())?;
    // Byte by byte: a copy of the whole text in capitals would take as much memory again.
    let mut pairs = text.iter().zip(stderr);
    ensure!(
        stderr.len() <= text.len() && pairs.all(|(sent, got)| sent.to_ascii_uppercase() == *got),
        "the child's stderr is not the text in capitals"
    );
    say!("  stderr gave back {} bytes, in capitals", stderr.len())?;
    say!("  the child's end: {}", ending::words(exchange.status))
}

/// The first child: it reads all lines. It answers each on stdout, and in capitals on stderr.
fn reads_all() -> anyhow::Result<u8> {
    for line in io::stdin().lines() {
        answer(&line.context("cannot read stdin")?)?;
    }
    Ok(0)
}

/// The second child: it reads some lines, closes its stdin, and then answers these lines.
fn closes_stdin() -> anyhow::Result<u8> {
    let mut lines = Vec::new();
    for line in io::stdin().lines().take(ENOUGH) {
        lines.push(line.context("cannot read stdin")?);
    }
    close_stdin()?;
    for line in &lines {
        answer(line)?;
    }
    Ok(0)
}

/// The third child: it answers some lines, and then kills itself. (On Windows it aborts.)
fn dies() -> anyhow::Result<u8> {
    for line in io::stdin().lines().take(ENOUGH) {
        answer(&line.context("cannot read stdin")?)?;
    }
    #[cfg(unix)]
    nix::sys::signal::raise(nix::sys::signal::SIGKILL)?;
    std::process::abort()
}

/// Answers one line: on stdout as it is, and on stderr in capitals.
fn answer(line: &str) -> anyhow::Result<()> {
    say!("{line}")?;
    let capitals = format!("{}\n", line.to_uppercase());
    io::stderr()
        .write_all(capitals.as_bytes())
        .context("cannot write to stderr")
}

/// Closes our end of stdin's pipe: `/dev/null` takes its place.
#[cfg(unix)]
fn close_stdin() -> anyhow::Result<()> {
    let nothing = std::fs::File::open("/dev/null")?;
    nix::unistd::dup2_stdin(nothing)?;
    Ok(())
}

/// Rust's standard library cannot close stdin. So on Windows the pipe is closed when the child
/// ends.
#[cfg(not(unix))]
fn close_stdin() -> anyhow::Result<()> {
    Ok(())
}
