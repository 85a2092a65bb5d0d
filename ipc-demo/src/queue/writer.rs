//! A child that writes to the queue.

use std::process;

use anyhow::Context;
use ipc_channel::ipc::{self, IpcSender};

use super::{Message, Work};
use crate::{channel, output::say, peer};

pub fn write(server: String) -> anyhow::Result<u8> {
    peer::end_with_parent()?;
    let (inbox, mail) = ipc::channel().context("cannot make an inbox")?;
    peer::introduce::<IpcSender<Work>>(server, inbox)?;
    let work = channel::receive(&mail).context("cannot receive any work")?;
    let Work {
        plan,
        writer,
        queue,
    } = work;

    let mut said = say!("Process to write: {}", process::id());
    for item in 0..plan.items {
        // Before the item is in the queue: after it, the reader's line could come first.
        if plan.is_told() && said.is_ok() {
            said = say!("Put {} to queue...", plan.name(writer, item));
        }
        let message = Message {
            writer,
            item: Some(item),
        };
        channel::send(&queue, message).with_context(|| {
            format!(
                "writer {} ({}) could put {item} of {} items, and those not yet got are lost",
                writer + 1,
                process::id(),
                plan.items,
            )
        })?;
    }
    // Whether or not anybody reads what we say: the reader was owed every item, and is owed an end.
    let end = Message { writer, item: None };
    channel::send(&queue, end).context("cannot end the queue")?;
    said?;
    Ok(0)
}
