//! A slow link for `pool-demo remote`: runs a command, and delays its stdin and its stdout.
//!
//! ```text
//! pool-demo remote --via "slow-link 20"
//! ```
//!
//! Here each direction takes 20 ms, so there and back takes 40 ms. Only the time is simulated: any
//! number of bytes can be under way at once. On two machines, the latency is real. Linux can also
//! delay a real connection: `tc qdisc add … netem delay 20ms`.

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
    // `None` if there is no such argument, if it is no text, or if it is no number.
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
    // This waits until all that the command wrote has been passed on, also the last, delayed
    // blocks.
    let _ = carry(stdout, io::stdout(), delay).join();
    match child.wait() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Passes on everything from one stream to another, each block `delay` after it was read. The end
/// of the stream is delayed as well.
fn carry(
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
    delay: Duration,
) -> JoinHandle<io::Result<()>> {
    let (sender, blocks) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut block = [0; 64 * 1024];
        loop {
            // An empty block stands for the end of the stream, so that the end is delayed too. (The
            // channel alone would end at once, when this thread drops its sender.)
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
