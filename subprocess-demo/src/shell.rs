//! Why a user's text must not become part of a shell's command.
//!
//! Mirrors Python's `subprocess.run(f"echo {text}", shell=True)` and `subprocess.run(["echo",
//! text])`. Run it with `cargo run -p subprocess-demo -- shell`.
//!
//! What to notice: a program gets its arguments as a vector of strings, and no character in them has
//! a meaning. A shell makes such vectors from one string: for a shell, `;`, `$`, `*` and a space
//! mean something, and whoever writes the text writes a command. Without a shell there is nothing
//! to quote. Where a shell is needed, the text goes beside its command, as an argument.

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

/// Runs a program with its arguments, and prints both and its output.
fn show(title: &str, vector: &[&str]) -> anyhow::Result<()> {
    say!("{title}")?;
    say!("  {vector:?}")?;
    let output = Command::new(vector[0])
        .args(&vector[1..])
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {:?}", vector[0]))?;
    ensure!(
        output.status.success(),
        "{:?}: {}",
        vector[0],
        output.status
    );
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        say!("    {line}")?;
    }
    Ok(())
}
