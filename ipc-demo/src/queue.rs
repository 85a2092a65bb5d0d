//! A queue between two child processes: one writes, the other reads until the queue ends.
//!
//! Mirrors Python's `q = Queue()`, with `Process(target=write, args=(q,))` and
//! `Process(target=read, args=(q,))`. Run it with `cargo run -p ipc-demo`.
//!
//! What to notice: "Put A" always comes before "Get A", and A before B before C; otherwise the two
//! processes take turns as they like. And the reader ends by itself. In the notes' program it
//! cannot know when to, and is killed.

use std::process;

use anyhow::{Context, bail};
use ipc_channel::{
    IpcError,
    ipc::{self, IpcSender},
};

use crate::{
    output::say,
    peer::{self, Peer},
};

/// An item, or `None` for the queue's end, as in Python's idiom `q.put(None)`.
type Message = Option<String>;

pub fn run() -> anyhow::Result<u8> {
    let (reader, queue) = Peer::start::<IpcSender<Message>>("queue-reader")?;
    let (writer, inbox) = Peer::start::<IpcSender<IpcSender<Message>>>("queue-writer")?;
    // The end of a channel can be sent through a channel. It moves: the writer has the only one
    // now, and if the writer dies, the reader learns of it. A copy kept here would have it wait
    // for ever.
    inbox
        .send(queue)
        .context("cannot hand the queue to the writer")?;
    drop(inbox);

    let (wrote, read) = (writer.join(), reader.join());
    wrote.and(read)?;
    Ok(0)
}

/// The child that writes.
pub fn write(server: String) -> anyhow::Result<u8> {
    let (inbox, mail) = ipc::channel().context("cannot make an inbox")?;
    peer::introduce::<IpcSender<IpcSender<Message>>>(server, inbox)?;
    let queue = mail.recv().context("cannot receive the queue")?;

    let written = put_items(&queue);
    // Whatever stopped us: the reader is owed an end.
    let ended = queue.send(None).context("cannot end the queue");
    written.and(ended)?;
    Ok(0)
}

fn put_items(queue: &IpcSender<Message>) -> anyhow::Result<()> {
    say!("Process to write: {}", process::id())?;
    for item in ["A", "B", "C"] {
        // Before the item is in the queue: after it, the reader's line could come first.
        say!("Put {item} to queue...")?;
        queue
            .send(Some(item.to_owned()))
            .with_context(|| format!("cannot put {item}"))?;
    }
    Ok(())
}

/// The child that reads.
pub fn read(server: String) -> anyhow::Result<u8> {
    let (queue, items) = ipc::channel().context("cannot make a queue")?;
    peer::introduce::<IpcSender<Message>>(server, queue)?;

    let mut said = say!("Process to read: {}", process::id());
    loop {
        match items.recv() {
            Ok(Some(item)) if said.is_ok() => said = say!("Get {item} from queue."),
            // Nobody reads what we say. The queue is read to its end all the same: its writer did
            // nothing wrong.
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(IpcError::Disconnected) => bail!("the queue broke off: its writer died"),
            Err(error) => return Err(error).context("cannot read the queue"),
        }
    }
    said?;
    Ok(0)
}
