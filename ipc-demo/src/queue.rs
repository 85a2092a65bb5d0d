//! A queue between child processes: some write to it, others read from it until it ends.
//!
//! Mirrors Python's `q = Queue()`, with `Process(target=write, args=(q,))` and
//! `Process(target=read, args=(q,))`. Run it with `cargo run -p ipc-demo`. With
//! `cargo run -r -p ipc-demo -- queue --items 1000000 --writers 2` it shows how fast a queue is.
//! With `queue --readers 2 --items 6` it shows which reader receives which item.
//!
//! What to notice: each process prints its own lines in order, and "Put A" always comes before "Get
//! A". The scheduler decides the rest of the order. The reader ends by itself: when no process
//! holds a sender any more, and the last item has been received, `recv` returns the error
//! `Disconnected`. In the notes' program the reader does not learn of the end, and has to be
//! terminated.
//!
//! Try `kill -9` on one of two writers while a long queue runs. The system closes its sender. What
//! it has sent still arrives; the item that it was sending arrives whole or not at all (on Linux).
//! The other writer goes on. At the end of the queue the reader reports what is missing, because it
//! has counted the items. Then try it on the reader: each writer gets an error from its next
//! `send`, and reports what is lost.
//!
//! In reading order: this file is the parent, [`writer`] and [`reader`] are the children, and
//! [`deal`] is what the parent does when there are several readers.

use anyhow::Context;
use clap::Args;
use ipc_channel::ipc::{self, IpcReceiver, IpcSender};
use serde::{Deserialize, Serialize};

use crate::{child::Child, output::report_error};

mod deal;
mod reader;
mod tally;
mod writer;

pub use reader::read;
pub use writer::write;

/// The numbers of the notes' own program.
pub const NOTES: Options = Options {
    items: 3,
    writers: 1,
    readers: 1,
};

#[derive(Args)]
pub struct Options {
    /// How many items each writer puts; for more than 26, a summary replaces the lines of the
    /// items.
    #[arg(long, default_value_t = NOTES.items, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..))]
    items: u32,

    /// How many processes write.
    #[arg(long, default_value_t = NOTES.writers, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    writers: u32,

    /// How many processes read; if there are several, each item goes to one that is free.
    #[arg(long, default_value_t = NOTES.readers, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    readers: u32,
}

/// What passes through the queue: which item of which writer. Both are counted from 0.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Item {
    writer: u32,
    number: u32,
}

/// The user's options, as each child gets them.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Plan {
    items: u32,
    writers: u32,
    readers: u32,
}

impl Plan {
    /// Whether a line is printed for each item. In a long queue that would take most of the time.
    fn prints_items(self) -> bool {
        self.items <= 26
    }

    /// An item's name: A, B, C for one writer; A1, B1, C1, A2, B2, C2 for two.
    fn name(self, item: Item) -> String {
        let letter = char::from(b'A' + (item.number % 26) as u8);
        match self.writers {
            1 => letter.to_string(),
            _ => format!("{letter}{}", item.writer + 1),
        }
    }
}

pub fn run(options: &Options) -> anyhow::Result<u8> {
    let &Options {
        items,
        writers,
        readers,
    } = options;
    let plan = Plan {
        items,
        writers,
        readers,
    };
    // The parent alone holds the writing end, so it is closed when the parent ends. Each child gets
    // a copy of the reading end as its lifeline.
    let (lifeline, held) = os_pipe::pipe().context("cannot make a pipe")?;
    let lifeline = || lifeline.try_clone().context("cannot copy the lifeline");
    let (sender, receiver) = ipc::channel().context("cannot make the queue")?;

    let mut children = Vec::new();
    let started = start_all(plan, lifeline, &mut children, sender, receiver);
    let dealt = match started {
        Ok(Some(deal)) => deal.run(plan),
        Ok(None) => Ok(()),
        Err(error) => {
            // The children that have been started now read the end of file, and end.
            drop(held);
            children.into_iter().for_each(|child| drop(child.join()));
            return Err(error);
        }
    };
    let mut code = 0;
    // The results of all children, and then what the parent has done itself.
    for result in children.into_iter().map(Child::join).chain([dealt]) {
        if let Err(error) = result {
            // `{error:#}` is the error with its causes, in one line.
            report_error(format_args!("{error:#}"));
            code = 1;
        }
    }
    Ok(code)
}

/// Starts the readers, then the writers. If there are several readers, returns the [`deal::Deal`],
/// which the parent has to run.
fn start_all<L: Into<std::process::Stdio>>(
    plan: Plan,
    lifeline: impl Fn() -> anyhow::Result<L>,
    children: &mut Vec<Child>,
    sender: IpcSender<Item>,
    receiver: IpcReceiver<Item>,
) -> anyhow::Result<Option<deal::Deal>> {
    // No child inherits `sender`, because it is close-on-exec. A child gets ends of channels only
    // as arguments: a writer gets a sender of the queue, a reader does not.
    let deal = if plan.readers == 1 {
        let arguments = (plan, receiver, None);
        children.push(Child::start::<reader::Arguments>(
            "queue-reader",
            lifeline()?,
            arguments,
        )?);
        None
    } else {
        // A channel has only one receiver. The parent keeps it, and each reader gets a channel of
        // its own.
        let (free, requests) = ipc::channel().context("cannot make a channel")?;
        let mut readers = Vec::new();
        for number in 0..plan.readers {
            let (items, receiver) = ipc::channel().context("cannot make a channel")?;
            let arguments = (plan, receiver, Some((number, free.clone())));
            let child = Child::start::<reader::Arguments>("queue-reader", lifeline()?, arguments)
                .with_context(|| format!("reader {} of {}", number + 1, plan.readers))?;
            children.push(child);
            readers.push(items);
        }
        Some(deal::Deal::new(receiver, requests, readers))
    };
    for writer in 0..plan.writers {
        // Each writer gets a sender of its own, as each process in Python gets `q`.
        let arguments = (plan, writer, sender.clone());
        let child = Child::start::<writer::Arguments>("queue-writer", lifeline()?, arguments)
            .with_context(|| format!("writer {} of {}", writer + 1, plan.writers))?;
        children.push(child);
    }
    // `sender`, the parent's own, is a parameter of this function. So it is dropped here, where the
    // function returns. If the parent kept it, the queue would never end, and the reader would wait
    // for ever.
    Ok(deal)
}
