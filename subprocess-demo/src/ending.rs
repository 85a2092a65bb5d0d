//! How a child ended: in words, and as an exit code.

use std::process::ExitStatus;

/// "exit code 3", or "killed by signal: 9 (SIGKILL)".
pub fn words(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => format!("killed by {status}"),
    }
}

/// The exit code that a shell reports for a child: the child's own, or 128 + N if signal N killed
/// it.
pub fn shell_code(status: ExitStatus) -> u8 {
    let code = match (status.code(), signal(status)) {
        (Some(code), _) => code,
        (None, Some(number)) => 128 + number,
        (None, None) => 1,
    };
    // Our own exit code is at most 255. Windows has others. For those we return 1, which still says
    // that the code was not 0.
    u8::try_from(code).unwrap_or(1)
}

/// The number of the signal that killed the child.
#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_: ExitStatus) -> Option<i32> {
    None
}
