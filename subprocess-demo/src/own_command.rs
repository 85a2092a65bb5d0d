//! `communicate` with a command of your own: how many bytes go in and come back, and in what time.
//!
//! Run it with `cargo run -p subprocess-demo --release -- communicate --mib 64 cat`.
//!
//! What to notice: both ways, by three threads and by one thread with `poll`, move the same bytes.
//! `cat` writes to stdout alone. If the command does not read (`true`), we can write at most as
//! much as the pipe holds. Then a write fails, since the command has ended.

use std::{
    ffi::OsString,
    process::{Command, Stdio},
    time::Instant,
};

use crate::{
    call,
    communicate::{self, Communicate},
    ending,
    output::say,
};

const WAYS: &[(&str, Communicate)] = &[
    ("three threads", communicate::communicate),
    #[cfg(unix)]
    ("one thread, with poll", crate::one_thread::communicate),
];

/// Runs the command once for each way, and sends it the text. Returns the exit code of the last
/// run.
pub fn run(command: &[OsString], text: &[u8]) -> anyhow::Result<u8> {
    let mut code = 0;
    for (how, communicate) in WAYS {
        let start = Instant::now();
        let child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) => return call::why_not(&command[0], error),
        };
        let exchange = communicate(child, text)?;
        let seconds = start.elapsed().as_secs_f64();
        say!("By {how}, in {:.1} ms:", seconds * 1e3)?;
        communicate::report_sent(&exchange, text)?;
        let rate = exchange.sent as f64 / 1e6 / seconds;
        let (stdout, stderr) = (exchange.stdout.len(), exchange.stderr.len());
        say!("  stdout gave back {stdout} bytes, stderr {stderr}: {rate:.0} MB/s")?;
        say!("  the child's end: {}", ending::words(exchange.status))?;
        code = ending::shell_code(exchange.status);
    }
    Ok(code)
}
