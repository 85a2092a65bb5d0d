//! What the system tells about a process.

use anyhow::Context;
use nix::{
    libc::c_long,
    sys::resource::{UsageWho, getrusage},
    unistd::Pid,
};

/// The process's state as one letter: `R` it runs, `S` it sleeps, `Z` it is a zombie. `None` if
/// there is no such process.
pub fn state(process: Pid) -> anyhow::Result<Option<char>> {
    // The text is "Z (zombie)" on Linux, and "Z+" from `ps`.
    Ok(system::state(process)?.chars().next())
}

/// How many threads the process has.
pub fn threads(process: Pid) -> anyhow::Result<usize> {
    system::threads(process)
}

/// How much memory this process has written to and shares with no other process, in KiB.
pub fn own_memory() -> anyhow::Result<usize> {
    system::own_memory()
}

/// How many page faults an action takes. At each, the system gives this process a new page, or a
/// copy of a page, or the right to write to a page that no other process shares any more. (Faults
/// that read from a disk are not counted.)
pub fn page_faults_of<T>(action: impl FnOnce() -> T) -> anyhow::Result<c_long> {
    let before = page_faults()?;
    action();
    Ok(page_faults()? - before)
}

fn page_faults() -> anyhow::Result<c_long> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("cannot count page faults")?;
    Ok(usage.minor_page_faults())
}

/// Linux shows the process table as files, in `/proc`.
#[cfg(target_os = "linux")]
mod system {
    use std::{fs, io};

    use anyhow::ensure;
    use nix::unistd::getpid;

    use super::*;

    pub fn state(process: Pid) -> anyhow::Result<String> {
        field(process, "State:")
    }

    pub fn threads(process: Pid) -> anyhow::Result<usize> {
        let number = field(process, "Threads:")?;
        number
            .parse()
            .with_context(|| format!("cannot read the number of threads {number:?}"))
    }

    pub fn own_memory() -> anyhow::Result<usize> {
        let path = "/proc/self/smaps_rollup";
        let memory = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        let kib = memory
            .lines()
            .find_map(|line| line.strip_prefix("Private_Dirty:")?.strip_suffix("kB"));
        let kib = kib.and_then(|kib| kib.trim().parse().ok());
        kib.with_context(|| format!("{path} does not name the private memory"))
    }

    fn field(process: Pid, name: &str) -> anyhow::Result<String> {
        // In another namespace (such as a container's), the same id may be that of another process.
        let this = fs::read_link("/proc/self").context("cannot read /proc")?;
        let ours = this.as_os_str() == &*getpid().to_string();
        ensure!(ours, "/proc shows the processes of another namespace");

        let path = format!("/proc/{process}/status");
        let status = match fs::read_to_string(&path) {
            // No such process.
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            result => result.with_context(|| format!("cannot read {path}"))?,
        };
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        Ok(value.unwrap_or_default().trim().to_owned())
    }
}

/// On other systems the program `ps` prints it.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::process::Command;

    use super::*;

    pub fn state(process: Pid) -> anyhow::Result<String> {
        Ok(ps(&["-o", "state="], process)?.trim().to_owned())
    }

    pub fn threads(process: Pid) -> anyhow::Result<usize> {
        // `ps` prints a header, then a line for each thread.
        Ok(ps(&["-M"], process)?.lines().skip(1).count())
    }

    pub fn own_memory() -> anyhow::Result<usize> {
        anyhow::bail!("only Linux tells a process which pages it shares (/proc/self/smaps_rollup)")
    }

    fn ps(options: &[&str], process: Pid) -> anyhow::Result<String> {
        let output = Command::new("ps")
            .args(options)
            .args(["-p", &process.to_string()])
            .output()
            .context("cannot run ps")?;
        // Its exit code is not looked at: it is 1 if there is no such process, which is an answer
        // too.
        String::from_utf8(output.stdout).context("cannot read what ps says")
    }
}
