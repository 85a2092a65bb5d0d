//! A slow link for `pool-demo remote`: runs a command, and delays what goes in and what comes out.
//!
//! ```text
//! pool-demo remote --via "slow-link 20"
//! ```
//!
//! Each way takes 20 ms, so there and back takes 40 ms. The link is long, not narrow: any amount can
//! be under way. Real latency needs two machines, or a kernel that has `tc qdisc add … netem`.

use std::{
    env,
    io::{self, Read, Write},
    process::{Command, ExitCode, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let delay = arguments.next().and_then(|n| n.to_str()?.parse().ok());
    let (Some(delay), Some(program)) = (delay, arguments.next()) else {
        eprintln!("usage: slow-link MILLISECONDS COMMAND [ARGUMENT]...");
        return ExitCode::from(2);
    };
    let delay = Duration::from_millis(delay);
    let started = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            eprintln!("slow-link: cannot start {}: {error}", program.display());
            return ExitCode::FAILURE;
        }
    };
    let stdin = child.stdin.take().expect("it is a pipe");
    let stdout = child.stdout.take().expect("it is a pipe");
    carry(io::stdin(), stdin, delay);
    // When the command has closed its stdout, all of it is carried out before the end.
    let _ = carry(stdout, io::stdout(), delay).join();
    match child.wait() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Carries everything from one stream to another, each block a while after it came. The end of the
/// stream is carried as late as the rest.
fn carry(
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    delay: Duration,
) -> JoinHandle<io::Result<()>> {
    let (sender, blocks) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut block = [0; 64 * 1024];
        loop {
            // When this thread ends, it drops the sender, but the end must be late too: so the end
            // is an empty block.
            let size = from.read(&mut block).unwrap_or(0);
            let sent = sender.send((Instant::now() + delay, block[..size].to_vec()));
            if size == 0 || sent.is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, block) in blocks {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            to.write_all(&block)?;
            to.flush()?;
        }
        Ok(())
    })
}
