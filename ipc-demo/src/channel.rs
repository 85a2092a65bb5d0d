//! Sending and receiving over ipc-channel while signals arrive.
//!
//! A process that waits in a system call can be woken by a signal, and the call then fails with
//! `Interrupted` though nothing is wrong. (It happens to a process that is stopped and continued
//! while it has a handler for some signal, or is looked at by a debugger.) Python has repeated such
//! calls since 3.5, Rust's `read_exact` and `write_all` do it too; ipc-channel leaves it to us.

use std::io;

use ipc_channel::{
    IpcError,
    ipc::{IpcReceiver, IpcSender},
};
use serde::{Serialize, de::DeserializeOwned};

/// Waits for a message.
///
/// # Errors
/// `Disconnected` when no message is left and no process holds a sender any more.
pub fn receive<T>(receiver: &IpcReceiver<T>) -> Result<T, IpcError>
where
    T: Serialize + DeserializeOwned,
{
    again(|| receiver.recv())
}

/// Sends a message; it waits while the channel is full.
///
/// # Errors
/// `Io` when the receiver is gone: a broken pipe.
pub fn send<T>(sender: &IpcSender<T>, message: T) -> Result<(), IpcError>
where
    T: Serialize + Clone,
{
    again(|| sender.send(message.clone()))
}

fn again<T>(mut call: impl FnMut() -> Result<T, IpcError>) -> Result<T, IpcError> {
    loop {
        match call() {
            Err(IpcError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => return result,
        }
    }
}
