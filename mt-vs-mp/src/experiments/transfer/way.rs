//! The five ways from one to the other of two.

use serde::{Deserialize, Serialize};

#[cfg(unix)]
use super::shared;
use super::{message::Batch, processes, threads};
use crate::lab::trial::Trial;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    Moved,
    Copied,
    SharedMemory,
    Pipe,
    IpcChannel,
}

impl Way {
    pub const ALL: [Self; 5] = [
        Self::Moved,
        Self::Copied,
        Self::SharedMemory,
        Self::Pipe,
        Self::IpcChannel,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Moved => "threads: channel, moved",
            Self::Copied => "threads: channel, copied",
            Self::SharedMemory => "processes: shared memory",
            Self::Pipe => "processes: pipe",
            Self::IpcChannel => "processes: ipc-channel",
        }
    }

    pub fn is_of_processes(self) -> bool {
        !matches!(self, Self::Moved | Self::Copied)
    }
}

/// The time per message, in seconds, for each batch.
pub static TRANSFER: Trial<(Way, Vec<Batch>), Vec<f64>> = Trial {
    name: "transfer",
    body: |(way, batches)| match way {
        Way::Moved => threads::transfer(threads::Cargo::Moved, &batches),
        Way::Copied => threads::transfer(threads::Cargo::Copied, &batches),
        #[cfg(unix)]
        Way::SharedMemory => shared::transfer(&batches),
        #[cfg(not(unix))]
        Way::SharedMemory => anyhow::bail!("this needs fork, which exists on Unix only"),
        Way::Pipe => processes::by_pipe(&batches),
        Way::IpcChannel => processes::by_ipc_channel(&batches),
    },
};
