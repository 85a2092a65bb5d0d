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
//! What to notice: the order of the lines is always the same, although two processes print them:
//! each waits for the other's line. And nobody sends an end: a reader reads the end of file when the
//! last writing end of its pipe is closed.

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
    // The child's stdout is the pipe to us. What it prints for the user goes to its stderr instead,
    // so we make its stderr a copy of our stdout.
    command.stderr(os_pipe::dup_stdout().context("cannot copy stdout")?);
    let mut child = command.spawn().context("cannot start the child")?;
    // `command` still holds copies of the child's ends. If our copy of its stdout stayed open, we
    // would never read the end of file of the answers.
    drop(command);

    // `talk` takes our own two ends, and they are closed when it returns. If the questions stayed
    // open here, the child would wait for the next one, and we would wait for the child.
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
    // Close it before we read the rest. If it stayed open, the child would wait for the next
    // question, and we would wait for the child.
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
    // If nobody reads these lines, the dialogue still goes on.
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
    // Our stdin has ended, but our stdout is another pipe: we can still write.
    remark("writes: Goodbye.");
    say!("Goodbye.")?;
    Ok(0)
}
