//! How a library starts a program: without a fork, where it can.
//!
//! A fork copies the page tables of the whole parent, and the exec then discards the copy. The
//! larger the parent, the longer that takes. `posix_spawn` makes a process and puts a program into
//! it by one call, and copies none of the parent's memory. Rust's `Command` and Python's
//! `subprocess` use it where they can. They have to fork if code of the caller is to run between
//! the two steps (`pre_exec`, Python's `preexec_fn`).
//!
//! What to notice: the page faults of the parent show whether it has forked. A fork makes parent
//! and child share each page. The parent's next write to a page is then a page fault, even if the
//! child ended long before.

use std::{
    env,
    hint::black_box,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

use crate::{output::say, process_table};

pub fn run() -> anyhow::Result<()> {
    say!(
        "After Command has started a program, the parent writes to 1024 KiB of its memory again:"
    )?;
    let faults = faults_after(program()?).context("Command")?;
    say!("  Command: {faults}")?;

    let mut command = program()?;
    // SAFETY: the closure does nothing.
    unsafe { command.pre_exec(|| Ok(())) };
    let faults = faults_after(command).context("Command with pre_exec")?;
    say!("  Command with pre_exec: {faults}")
}

/// How many page faults the parent takes when it writes to its memory after it has started a
/// program.
fn faults_after(mut command: Command) -> anyhow::Result<String> {
    let mut block = black_box(vec![1_u8; 1 << 20]);
    let status = command.status();
    let program = command.get_program();
    let status = status.with_context(|| format!("cannot run {program:?}"))?;
    ensure!(status.success(), "{program:?} failed: {status}");
    let faults = process_table::page_faults_of(|| {
        block.fill(2);
        black_box(&block);
    })?;
    Ok(match faults {
        // A page has 64 KiB at most, so the block has 16 pages at least.
        0..16 => "hardly any page faults".to_owned(),
        many => format!("{many} page faults"),
    })
}

/// A command that runs this program, and only to print its version.
fn program() -> anyhow::Result<Command> {
    let this = env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(this);
    command.arg("--version").stdout(Stdio::null());
    Ok(command)
}
