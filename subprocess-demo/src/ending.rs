//! How a child ended: in words, and as an exit code.

use std::process::ExitStatus;

/// "exit code 3", or "killed by signal: 9 (SIGKILL)".
pub fn words(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => format!("killed by {status}"),
    }
}

/// The exit code that a shell gives to this: the child's own, or 128 + N for signal N.
pub fn shell_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + signal(status)?));
    // Windows has codes above 255. Ours says at least that it was not 0.
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_: ExitStatus) -> Option<i32> {
    None
}
