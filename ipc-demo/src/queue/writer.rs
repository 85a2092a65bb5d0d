//! A child that writes to the queue.

use std::process;

use anyhow::Context;
use ipc_channel::ipc::IpcSender;

use super::{Item, Plan};
use crate::{child, output::say};

/// The plan, this writer's number, and its sender.
pub type Arguments = (Plan, u32, IpcSender<Item>);

pub fn write(server: String) -> anyhow::Result<u8> {
    let (plan, writer, queue) = child::arguments::<Arguments>(server)?;
    child::end_with_parent()?;

    let mut said = say!("Process to write: {}", process::id());
    for number in 0..plan.items {
        let item = Item { writer, number };
        // The line is printed before the item is sent. In the other order, the reader's line could
        // come first. (After an error of stdout no more lines are printed, but all items are sent.)
        if plan.prints_items() && said.is_ok() {
            said = say!("Put {} to queue...", plan.name(item));
        }
        queue.send(item).with_context(|| {
            format!(
                "writer {} ({}) could put {number} of {} items, and those not yet received are lost",
                writer + 1,
                process::id(),
                plan.items,
            )
        })?;
    }
    // When this process ends, its sender is closed. Nothing else tells the reader that no more
    // comes.
    said?;
    Ok(0)
}
