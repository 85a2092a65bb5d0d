//! The child that reads the queue.

use std::{mem, process, time::Instant};

use anyhow::{Context, ensure};
use ipc_channel::{
    IpcError,
    ipc::{self, IpcSender},
};

use super::{Plan, Queue};
use crate::{channel, output::say, peer};

pub fn read(server: String) -> anyhow::Result<u8> {
    peer::end_with_parent()?;
    let (queue, items) = ipc::channel().context("cannot make a queue")?;
    let (inbox, mail) = ipc::channel().context("cannot make an inbox")?;
    peer::introduce::<(Queue, IpcSender<Plan>)>(server, (queue, inbox))?;
    let plan = channel::receive(&mail).context("cannot receive the plan")?;

    let mut said = say!("Process to read: {}", process::id());
    // How many items of each writer came; which is also the number of the one that is due.
    let mut got = vec![0_u32; plan.writers as usize];
    // More than one end may come from a writer: its own, and the parent's in its place.
    let mut ended = vec![false; plan.writers as usize];
    let mut ends = 0;
    let mut first = None;
    while ends < plan.writers {
        let message = match channel::receive(&items) {
            Ok(message) => message,
            // No process is left that could put anything.
            Err(IpcError::Disconnected) => break,
            Err(error) => return Err(error).context("cannot read the queue"),
        };
        let Some(item) = message.item else {
            let before = mem::replace(&mut ended[message.writer as usize], true);
            ends += u32::from(!before);
            continue;
        };
        first.get_or_insert_with(Instant::now);
        let (writer, due) = (message.writer + 1, &mut got[message.writer as usize]);
        ensure!(
            item == *due,
            "writer {writer}'s item {item} came when {due} was due"
        );
        *due += 1;
        // When nobody reads what we say, the queue is read to its end all the same: its writers did
        // nothing wrong.
        if plan.is_told() && said.is_ok() {
            said = say!("Get {} from queue.", plan.name(message.writer, item));
        }
    }
    let seconds = first.map_or(0.0, |first| first.elapsed().as_secs_f64());

    let short = (1..).zip(&got).filter(|(_, got)| **got < plan.items);
    let lost: Vec<_> = short
        .map(|(writer, got)| format!("writer {writer} put {got} of {} items", plan.items))
        .collect();
    ensure!(
        lost.is_empty(),
        "the queue ended early, the rest is lost: {}",
        lost.join(", ")
    );
    said?;
    if !plan.is_told() {
        let all: u64 = got.iter().copied().map(u64::from).sum();
        say!(
            "Got {all} items from {} in {seconds:.2} s: {:.0} per second, each once and in order.",
            match plan.writers {
                1 => "1 writer".to_owned(),
                writers => format!("{writers} writers"),
            },
            all as f64 / seconds,
        )?;
    }
    Ok(0)
}
