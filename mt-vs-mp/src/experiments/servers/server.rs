//! A server that is measured: this same program, started as `serve`.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::lab::memory_use;

pub struct Server {
    child: Child,
    /// Kept open: the server writes its log to this pipe.
    _stdout: BufReader<ChildStdout>,
    pub port: u16,
}

impl Server {
    /// Returns when it listens.
    pub fn start(options: &[&str], stderr: Stdio) -> anyhow::Result<Self> {
        let mut command = Command::new(env::current_exe().context("cannot find this program")?);
        command
            .args(["serve", "--port", "0"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr);
        // SAFETY: what runs between fork and exec is one system call, and allocates nothing.
        #[cfg(target_os = "linux")]
        unsafe {
            use std::os::unix::process::CommandExt;
            command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        let mut child = command.spawn().context("cannot start a server")?;
        let stdout = child.stdout.take().context("its output is a pipe")?;
        let mut server = Self {
            child,
            _stdout: BufReader::new(stdout),
            port: 0,
        };
        // The first line ends with the address.
        let mut line = String::new();
        server._stdout.read_line(&mut line)?;
        let port = line.trim_end().trim_end_matches('/').rsplit(':').next();
        let port = port.and_then(|port| port.parse().ok());
        server.port =
            port.with_context(|| format!("a server did not start, its first line is {line:?}"))?;
        Ok(server)
    }

    /// The memory of all its processes together, in bytes.
    pub fn memory(&self) -> Option<f64> {
        Some(memory_use::of_family(self.child.id())? as f64)
    }

    /// Tells it to end, and waits for its end.
    pub fn end(mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM)
            .context("cannot end a server")?;
        let status = self.child.wait().context("cannot wait for a server")?;
        ensure!(status.success(), "a server failed: {status}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
