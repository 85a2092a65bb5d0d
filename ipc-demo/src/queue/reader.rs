//! A child that reads the queue.

use std::{process, time::Instant};

use anyhow::Context;
use ipc_channel::{
    IpcError,
    ipc::{IpcReceiver, IpcSender},
};

use super::{Item, Plan, tally::Tally};
use crate::{child, output::say};

/// The plan, and where this reader receives items: from the queue itself, or from its own channel
/// if there are several readers. In the second case also its number, and where it sends this number
/// when it is free.
pub type Arguments = (Plan, IpcReceiver<Item>, Option<(u32, IpcSender<u32>)>);

pub fn read(server: String) -> anyhow::Result<u8> {
    let (plan, queue, several) = child::arguments::<Arguments>(server)?;
    child::end_with_parent()?;

    let mut said = say!("Process to read: {}", process::id());
    let mut tally = Tally::new(plan);
    let mut received: u64 = 0;
    let mut first = None;
    loop {
        if let Some((number, free)) = &several
            && free.send(*number).is_err()
        {
            // The parent deals no more items, or at least none to this reader.
            break;
        }
        let item = match queue.recv() {
            Ok(item) => item,
            // The queue is empty, and no process holds a sender any more.
            Err(IpcError::Disconnected) => break,
            Err(error) => return Err(error).context("cannot read the queue"),
        };
        // When the first item came. For the later ones, this changes nothing.
        first.get_or_insert_with(Instant::now);
        received += 1;
        if several.is_none() {
            tally.count(item)?;
        }
        // `said` is an error if a line could not be printed (`| head -1`). Then this process prints
        // no more lines, but it reads the queue to its end: otherwise the writers would fail, too.
        if plan.prints_items() && said.is_ok() {
            said = match &several {
                None => say!("Get {} from queue.", plan.name(item)),
                Some((number, _)) => {
                    say!("Reader {} gets {} from queue.", number + 1, plan.name(item))
                }
            };
        }
    }
    let seconds = first.map_or(0.0, |first| first.elapsed().as_secs_f64());

    if several.is_none() {
        tally.check_complete()?;
    }
    said?;
    match several {
        // Each item has been printed already.
        _ if plan.prints_items() => {}
        None => say!(
            "Got {} items from {} in {seconds:.2} s: {:.0} per second, each once and in order.",
            tally.total(),
            match plan.writers {
                1 => "1 writer".to_owned(),
                writers => format!("{writers} writers"),
            },
            rate(tally.total(), seconds),
        )?,
        Some((number, _)) => say!("Reader {} got {received} items.", number + 1)?,
    }
    Ok(0)
}

/// Items per second. (0 if there were none: then the time may be 0, too.)
fn rate(items: u64, seconds: f64) -> f64 {
    if items == 0 {
        0.0
    } else {
        items as f64 / seconds
    }
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn a_rate_is_items_per_second() {
        assert_eq!([rate(30, 2.0), rate(0, 0.0)], [15.0, 0.0]);
    }
}
