//! Why a user's text must not become part of a shell's command.
//!
//! Mirrors Python's `subprocess.run(f"echo {text}", shell=True)` and `subprocess.run(["echo",
//! text])`. Run it with `cargo run -p subprocess-demo -- shell`.
//!
//! What to notice: a program gets its arguments as a list of strings, and the system gives no
//! character in them a meaning. A shell makes such lists from one string, its command. In this
//! string `;`, `$`, `*` and a space have a meaning. So if a user's text becomes a part of the
//! string, the user can write commands. Without a shell, the text needs no quotes.
//!
//! If a shell is needed, give it the text beside its command, as an argument. The shell puts the
//! text in the place of `"$1"` when it has already read the command, so a `;` in the text ends
//! nothing. (The quotes keep the text one argument. Without them the shell would split it at
//! spaces, and would replace `*` by file names.)

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::output::say;

/// What the user typed.
const TEXT: &str = "notes.txt; echo This command was typed by the user.";

pub fn run() -> anyhow::Result<u8> {
    say!("The user's text: {TEXT}")?;
    show(
        "The text in a shell's command, which is an injection:",
        &["sh", "-c", &format!("echo {TEXT}")],
    )?;
    show("No shell, the text is one argument:", &["echo", TEXT])?;
    show(
        "A shell that gets the text beside its command:",
        &["sh", "-c", r#"echo "$1""#, "sh", TEXT],
    )?;
    show(
        "The text quoted for the shell:",
        &["sh", "-c", &format!("echo {}", shell_words::quote(TEXT))],
    )?;
    Ok(0)
}

/// Prints a program with its arguments, runs it, and prints its output.
fn show(title: &str, words: &[&str]) -> anyhow::Result<()> {
    say!("{title}")?;
    say!("  {words:?}")?;
    let (program, arguments) = (words[0], &words[1..]);
    let output = Command::new(program)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {program:?}"))?;
    ensure!(output.status.success(), "{program:?}: {}", output.status);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        say!("    {line}")?;
    }
    Ok(())
}
