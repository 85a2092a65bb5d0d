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
//! What to notice: the order of the lines is always the same, although two processes print them.
//! Each process waits for the other's line. No message says that the dialogue is over: a reader
//! reads the end of file when the last writing end of its pipe is closed.
//!
//! A pipe carries bytes and not messages: one read may return half a line, or two lines. So the two
//! sides must agree where a message ends: here, at the end of a line. A channel (queue.rs) carries
//! messages: one `recv` returns what one `send` has sent. (Python's `send` writes the length of
//! each message before the message.)

use std::{
    io::{self, BufRead, BufReader, Write},
    process,
};

use anyhow::{Context, ensure};
use os_pipe::{PipeReader, PipeWriter};

use crate::{
    child::{check_not_killed, command},
    output::say,
};

pub fn run() -> anyhow::Result<u8> {
    let (stdin, questions) = os_pipe::pipe().context("cannot make a pipe")?;
    let (answers, stdout) = os_pipe::pipe().context("cannot make a pipe")?;
    let mut command = command("pipe-partner", "")?;
    command.stdin(stdin).stdout(stdout);
    // The child's stdout is the pipe to the parent. What the child prints for the user goes to its
    // stderr instead, which is a copy of the parent's stdout.
    command.stderr(os_pipe::dup_stdout().context("cannot copy stdout")?);
    let mut child = command.spawn().context("cannot start the child")?;
    // `command` keeps the two ends that it has given to the child. One of them is the writing end
    // of the answers. If it stayed open here, the parent would never read the end of file of the
    // answers, even after the child has ended: the parent would hold the last writing end itself.
    drop(command);

    // `talk` takes the parent's own two ends. They are closed when it returns, also after an error.
    // If `questions` stayed open here, the child would wait for the next question, and the parent
    // for the child.
    let talked = talk(questions, answers);
    let status = child.wait().context("cannot wait for the child")?;
    check_not_killed("child", status)?;
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
    // This closes the writing end, before the rest is read. If it stayed open, the child would wait
    // for the next question, and the parent for the child.
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
    // Prints a line on stderr. `drop` ignores an error: if nobody reads these lines, the dialogue
    // goes on.
    let remark = |line: &str| drop(writeln!(io::stderr(), "{child} {line}"));

    let mut lines = 0;
    for question in io::stdin().lines() {
        let question = question.context("cannot read from the parent")?;
        lines += 1;
        remark(&format!("reads: {question}"));
        let answer = format!("{} (line {lines})", question.to_uppercase());
        remark(&format!("writes: {answer}"));
        // `say!` prints on stdout, which is the pipe, and flushes the line. If the line stayed in a
        // buffer here, the parent would wait for it, and the child for the next question.
        say!("{answer}")?;
    }
    remark(&format!(
        "reads the end of file, after {lines} lines: the parent has closed its end."
    ));
    // Stdin has ended, but stdout is another pipe: the child can still write.
    remark("writes: Goodbye.");
    say!("Goodbye.")?;
    Ok(0)
}
