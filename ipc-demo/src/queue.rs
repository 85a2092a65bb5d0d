//! A queue between child processes: some write, others read until the queue ends.
//!
//! Mirrors Python's `q = Queue()`, with `Process(target=write, args=(q,))` and
//! `Process(target=read, args=(q,))`. Run it with `cargo run -p ipc-demo`; with `cargo run -r -p
//! ipc-demo -- queue --items 1000000 --writers 2` it shows how fast a queue is, and with `queue
//! --readers 2 --items 6` who receives what when there are several readers.
//!
//! What to notice: "Put A" always comes before "Get A", and A before B before C. Everything else is
//! left to the scheduler. And the reader ends by itself: when no process holds a sender any more,
//! and the last item has been received, `recv` returns the error `Disconnected`. In the notes'
//! program the reader cannot know that, and has to be terminated.
//!
//! Try `kill -9` on a writer or on the reader: whatever is lost is reported.
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

/// What the notes' own program has.
pub const NOTES: Options = Options {
    items: 3,
    writers: 1,
    readers: 1,
};

#[derive(Args)]
pub struct Options {
    /// How many items each writer puts; above 26, a summary stands for the lines of each.
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

/// What passes through the queue.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Item {
    writer: u32,
    number: u32,
}

/// What will be put into the queue.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Plan {
    items: u32,
    writers: u32,
    readers: u32,
}

impl Plan {
    /// Whether each item is printed, by its name. In a long queue, printing would take most of the
    /// time.
    fn prints_items(self) -> bool {
        self.items <= 26
    }

    /// What an item is called: A, B, C; with several writers A1, B1, C1, A2, B2, C2.
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
    // The children live as long as this pipe's writing end, which only we have.
    let (lifeline, held) = os_pipe::pipe().context("cannot make a pipe")?;
    let lifeline = || lifeline.try_clone().context("cannot copy the lifeline");
    let (sender, receiver) = ipc::channel().context("cannot make the queue")?;

    let mut children = Vec::new();
    let started = start_all(plan, lifeline, &mut children, sender, receiver);
    let dealt = match started {
        Ok(Some(deal)) => deal.run(plan),
        Ok(None) => Ok(()),
        Err(error) => {
            // Those that were started read the end of file, and end too.
            drop(held);
            children.into_iter().for_each(|child| drop(child.join()));
            return Err(error);
        }
    };
    let mut code = 0;
    for result in children.into_iter().map(Child::join).chain([dealt]) {
        if let Err(error) = result {
            report_error(format_args!("{error:#}"));
            code = 1;
        }
    }
    Ok(code)
}

/// Starts the readers, then the writers. Returns what the parent has to do itself, if anything.
fn start_all<L: Into<std::process::Stdio>>(
    plan: Plan,
    lifeline: impl Fn() -> anyhow::Result<L>,
    children: &mut Vec<Child>,
    sender: IpcSender<Item>,
    receiver: IpcReceiver<Item>,
) -> anyhow::Result<Option<deal::Deal>> {
    let deal = if plan.readers == 1 {
        let arguments = (plan, receiver, None);
        children.push(Child::start::<reader::Arguments>(
            "queue-reader",
            lifeline()?,
            arguments,
        )?);
        None
    } else {
        // A channel has one receiving end. It stays here, and each reader gets a channel of its own.
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
    // `sender`, the parent's own, is dropped here. If the parent kept it, the queue would never end,
    // and the reader would wait for ever.
    Ok(deal)
}
