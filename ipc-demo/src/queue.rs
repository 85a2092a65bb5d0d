//! A queue between child processes: some write, one reads until the queue ends.
//!
//! Mirrors Python's `q = Queue()`, with `Process(target=write, args=(q,))` and
//! `Process(target=read, args=(q,))`. Run it with `cargo run -p ipc-demo`; with `cargo run -r -p
//! ipc-demo -- queue --items 1000000 --writers 2` it shows how fast a queue is.
//!
//! What to notice: "Put A" always comes before "Get A", and A before B before C; otherwise the
//! processes take turns as they like. And the reader ends by itself. In the notes' program it
//! cannot know when to, and is killed.
//!
//! Here the end is a message, one from each writer, after its last item. A writer that dies cannot
//! send it, so the parent does, in its place: a queue keeps the order, and so this end too comes
//! after the last item. Try `kill -9` on a writer or on the reader.

use anyhow::Context;
use clap::Args;
use ipc_channel::ipc::IpcSender;
use os_pipe::PipeReader;
use serde::{Deserialize, Serialize};

use crate::{channel, output::complain, peer::Peer};

mod reader;
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

    /// How many processes read: a channel has only one receiving end.
    #[arg(long, default_value_t = NOTES.readers, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1))]
    readers: u32,
}

/// An item, or `None` for the end of this writer's part, as in Python's idiom `q.put(None)`.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Message {
    writer: u32,
    item: Option<u32>,
}

type Queue = IpcSender<Message>;

/// What will be put into the queue: all that the reader is told at first.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Plan {
    items: u32,
    writers: u32,
}

impl Plan {
    /// Whether each item is printed, by its name. The time that this takes would be all that one
    /// measures of a long queue.
    fn is_told(self) -> bool {
        self.items <= 26
    }

    /// What an item is called: A, B, C; with several writers A1, B1, C1, A2, B2, C2.
    fn name(self, writer: u32, item: u32) -> String {
        let letter = char::from(b'A' + (item % 26) as u8);
        match self.writers {
            1 => letter.to_string(),
            _ => format!("{letter}{}", writer + 1),
        }
    }
}

/// What a writer is told at first.
#[derive(Clone, Serialize, Deserialize)]
struct Work {
    plan: Plan,
    writer: u32,
    queue: Queue,
}

pub fn run(options: &Options) -> anyhow::Result<u8> {
    let &Options {
        items,
        writers,
        readers: _,
    } = options;
    let plan = Plan { items, writers };
    // The children live as long as this pipe's writing end, which nobody but us has.
    let (lifeline, held) = os_pipe::pipe().context("cannot make a pipe")?;
    let (reader, (queue, inbox)): (_, (Queue, IpcSender<Plan>)) =
        Peer::start("queue-reader", lifeline.try_clone()?)?;
    // A reader that is gone already is named when it is waited for.
    let _ = channel::send(&inbox, plan);

    let mut peers = Vec::new();
    for writer in 0..writers {
        match start_writer(writer, &queue, plan, &lifeline) {
            Ok(peer) => peers.push(peer),
            Err(error) => {
                // Those who are there need not begin: their lifeline ends, and so do they.
                drop(held);
                peers.push(reader);
                peers.into_iter().for_each(|peer| drop(peer.join()));
                return Err(error);
            }
        }
    }

    let mut code = 0;
    for (writer, peer) in (0..).zip(peers) {
        if let Err(error) = peer.join() {
            complain(format_args!("{error:#}"));
            code = 1;
            // The reader is owed an end. (If it is gone itself, it is owed nothing.)
            let _ = channel::send(&queue, Message { writer, item: None });
        }
    }
    // The last entrance of the queue: were the ends above to fail, this would be the reader's sign.
    drop(queue);
    reader.join()?;
    Ok(code)
}

fn start_writer(
    writer: u32,
    queue: &Queue,
    plan: Plan,
    lifeline: &PipeReader,
) -> anyhow::Result<Peer> {
    let context = || format!("cannot start writer {} of {}", writer + 1, plan.writers);
    let lifeline = lifeline.try_clone().with_context(context)?;
    let (peer, inbox): (_, IpcSender<Work>) =
        Peer::start("queue-writer", lifeline).with_context(context)?;
    // The end of a channel can be sent through a channel: here a copy of the queue's entrance. A
    // writer that is gone already is named when it is waited for.
    let queue = queue.clone();
    let _ = channel::send(
        &inbox,
        Work {
            plan,
            writer,
            queue,
        },
    );
    Ok(peer)
}
