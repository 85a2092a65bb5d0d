//! A dialogue between parent and child over two pipes, and how it ends.
//!
//! Mirrors Python's `parent, child = Pipe()`, with `send` and `recv` on both ends and `EOFError` at
//! the end. Run it with `cargo run -p ipc-demo -- pipe`.
//!
//! A pipe goes one way, so a dialogue needs two:
//!
//! ```text
//! parent: questions (writes) ----> stdin  :child
//! parent: answers   (reads)  <---- stdout :child
//! ```
//!
//! What to notice: the order of the lines is always the same, although two processes print them,
//! for each waits until the other has spoken. And nobody sends an end: it comes, to each reader, at
//! the moment when the last writing end of its pipe is closed.

use std::{
    io::{self, BufRead, BufReader, Write},
    process,
};

use anyhow::{Context, ensure};
use os_pipe::{PipeReader, PipeWriter};

use crate::{child::command, output::say};

pub fn run() -> anyhow::Result<u8> {
    let (stdin, questions) = os_pipe::pipe().context("cannot make a pipe")?;
    let (answers, stdout) = os_pipe::pipe().context("cannot make a pipe")?;
    let mut command = command("pipe-partner", "")?;
    command.stdin(stdin).stdout(stdout);
    // The child's stdout leads to us, so what it has to say to the user takes its stderr, which is
    // for this a copy of our stdout.
    command.stderr(os_pipe::dup_stdout().context("cannot copy stdout")?);
    let mut child = command.spawn().context("cannot start the child")?;
    // `command` still holds copies of the child's ends. While our copy of its stdout were open, the
    // answers would have no end: we would wait for ourselves to close it.
    drop(command);

    // `talk` takes our own two ends along and closes them in any case. If the questions stayed open
    // here, the child would wait for the next, and we for the child.
    let talked = talk(questions, answers);
    let status = child.wait().context("cannot wait for the child")?;
    talked?;
    ensure!(status.success(), "the child failed: {status}");
    Ok(0)
}

fn talk(mut questions: PipeWriter, answers: PipeReader) -> anyhow::Result<()> {
    let parent = format!("Parent {}", process::id());
    let mut answers = BufReader::new(answers).lines();
    for question in ["Hello.", "Is anybody there?", "That is all."] {
        say!("{parent} writes: {question}")?;
        writeln!(questions, "{question}").context("cannot write to the child")?;
        let answer = answers
            .next()
            .context("the child ended before it answered")?;
        say!(
            "{parent} reads: {}",
            answer.context("cannot read from the child")?
        )?;
    }

    say!("{parent} closes its writing end.")?;
    // Before the reading below, or neither side would ever read an end.
    drop(questions);
    for answer in answers {
        say!(
            "{parent} reads: {}",
            answer.context("cannot read from the child")?
        )?;
    }
    say!("{parent} reads the end of file: the child has ended, which closed its writing end.")
}

/// The child.
pub fn answer(_: String) -> anyhow::Result<u8> {
    let child = format!("Child {}", process::id());
    // Nobody may be listening to these. The dialogue goes on.
    let remark = |line: &str| drop(writeln!(io::stderr(), "{child} {line}"));

    let mut lines = 0;
    for question in io::stdin().lines() {
        let question = question.context("cannot read from the parent")?;
        lines += 1;
        remark(&format!("reads: {question}"));
        let answer = format!("{} (line {lines})", question.to_uppercase());
        remark(&format!("writes: {answer}"));
        // To stdout, which is the pipe. The line is flushed: a line that stayed in a buffer here
        // would leave each side waiting for the other.
        say!("{answer}")?;
    }
    remark(&format!(
        "reads the end of file, after {lines} lines: the parent has closed its end."
    ));
    // That our stdin has ended does not end our stdout: we still have the word.
    remark("writes: Goodbye.");
    say!("Goodbye.")?;
    Ok(0)
}
