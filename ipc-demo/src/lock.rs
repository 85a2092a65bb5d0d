//! One counter in shared memory, several processes that add to it: without a lock, and with one.
//!
//! Mirrors Python's `Value('Q', lock=False)`, `Lock` and `Event`. Run it with `cargo run -p ipc-demo
//! -- lock`.
//!
//! The lock is the oldest one that there is between processes: a pipe that holds one byte, the
//! token. A process that wants the lock reads the byte; the read waits while another process has
//! it. A process that is done writes the byte back.
//!
//! ```text
//! each child:  stdin  <---- reading end    [ token ]    writing end <---- stdout  :each child
//! ```
//!
//! What to notice: without the lock, additions are lost, since two processes may read the same
//! number, and each writes that number plus one. With the lock none is lost, but each has to wait.
//! This lock does not know which process has it: if that one dies, the token is lost, and the others
//! would wait for ever. Here the parent sees the death and puts the token back. But it cannot know
//! whether the owner had finished, so what the lock protected may be half done. A *robust* mutex
//! tells the next owner just that: robust.rs.

use std::{
    io::{Read, Write},
    process::{self, Stdio},
    sync::{
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use anyhow::{Context, ensure};
use ipc_channel::ipc::{self, IpcReceiver, IpcSender, IpcSharedMemory};
use os_pipe::{PipeReader, PipeWriter};
use serde::{Deserialize, Serialize};

use crate::{
    child::{self, Child},
    hangup::die,
    output::say,
};

const CHILDREN: u64 = 4;
const ADDITIONS: u64 = 5_000;

/// What a child does with the counter.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Way {
    Unlocked,
    Locked,
    /// Takes the lock, and dies with it.
    DieLocked,
}

pub fn run() -> anyhow::Result<u8> {
    let due = CHILDREN * ADDITIONS;
    say!("{CHILDREN} processes add 1 to the same number, each {ADDITIONS} times.")?;
    for (way, name) in [
        (Way::Unlocked, "Without a lock"),
        (Way::Locked, "With a lock"),
    ] {
        let mut race = Race::new()?;
        join_all(race.start(CHILDREN, ADDITIONS, way)?)?;
        let sum = race.number();
        say!("{name}: {sum} of {due} additions are there.")?;
        ensure!(
            way == Way::Unlocked || sum == due,
            "additions were lost in spite of the lock"
        );
    }

    let mut race = Race::new()?;
    for child in race.start(1, 1, Way::DieLocked)? {
        let status = child.wait()?;
        say!("A process has taken the lock and died ({status}). The next one waits.")?;
    }
    let next = race.start(1, 1, Way::Locked)?;
    say!("The parent, which saw the death, puts the token back.")?;
    race.release()?;
    join_all(next)?;
    let sum = race.number();
    say!(
        "The next one had the lock: the number is {sum}, so the addition of the dead one is missing."
    )?;
    #[cfg(target_os = "linux")]
    crate::robust::run()?;
    Ok(0)
}

/// Waits for the children in the order in which they end: one that was killed while it had the lock
/// keeps the others waiting, so it must be seen first.
fn join_all(children: Vec<Child>) -> anyhow::Result<()> {
    let (ended, results) = mpsc::channel();
    for child in children {
        let ended = ended.clone();
        thread::Builder::new()
            .spawn(move || ended.send(child.join()))
            .context("cannot start a thread")?;
    }
    drop(ended);
    results.iter().collect()
}

/// What the children race for: the number, and the lock.
struct Race {
    memory: IpcSharedMemory,
    take: PipeReader,
    put: PipeWriter,
    events: Vec<Event>,
}

impl Race {
    fn new() -> anyhow::Result<Self> {
        let (take, put) = os_pipe::pipe().context("cannot make a pipe")?;
        let mut race = Self {
            memory: IpcSharedMemory::from_bytes(&0_u64.to_ne_bytes()),
            take,
            put,
            events: Vec::new(),
        };
        race.release()?;
        Ok(race)
    }

    /// Starts so many children. They begin together, when all are there.
    fn start(&mut self, count: u64, additions: u64, way: Way) -> anyhow::Result<Vec<Child>> {
        let mut event = Event::default();
        let mut children = Vec::new();
        let before = self.number();
        for _ in 0..count {
            let take = self.take.try_clone().context("cannot copy the lock")?;
            let put = self.put.try_clone().context("cannot copy the lock")?;
            let arguments: Arguments = (self.memory.clone(), additions, way, event.waiter()?);
            let child = Child::start_with_output("adder", take, Stdio::from(put), arguments)?;
            children.push(child);
        }
        let waited = self.number() == before;
        ensure!(waited, "a child did not wait for the event");
        event.set()?;
        self.events.push(event);
        Ok(children)
    }

    fn release(&mut self) -> anyhow::Result<()> {
        self.put.write_all(b"T").context("cannot release the lock")
    }

    fn number(&mut self) -> u64 {
        number(&mut self.memory).load(Relaxed)
    }
}

/// Several processes wait until it is set. Each has a channel of its own to wait at, in which the
/// message also waits for one that comes late.
#[derive(Default)]
struct Event(Vec<IpcSender<()>>);

impl Event {
    fn waiter(&mut self) -> anyhow::Result<IpcReceiver<()>> {
        let (sender, waiter) = ipc::channel().context("cannot make a channel")?;
        self.0.push(sender);
        Ok(waiter)
    }

    fn set(&self) -> anyhow::Result<()> {
        self.0
            .iter()
            .try_for_each(|waiter| waiter.send(()).context("cannot set the event"))
    }
}

/// The counter, how often and how to add to it, and the event for which to wait before.
type Arguments = (IpcSharedMemory, u64, Way, IpcReceiver<()>);

/// A child.
pub fn add(server: String) -> anyhow::Result<u8> {
    let (mut memory, additions, way, event) = child::arguments::<Arguments>(server)?;
    event.recv().context("cannot wait for the event")?;
    end_with(event)?;
    let mut take = os_pipe::dup_stdin().context("cannot copy stdin")?;
    let mut put = os_pipe::dup_stdout().context("cannot copy stdout")?;
    let mut token = [0];
    let number = number(&mut memory);

    let locked = way != Way::Unlocked;
    for _ in 0..additions {
        if locked {
            take.read_exact(&mut token)
                .context("cannot take the lock")?;
        }
        let before = number.load(Relaxed);
        if way == Way::DieLocked {
            die();
        }
        // Between the load and the store, another process may load the same number. Here we let it
        // run, so that this happens often.
        thread::yield_now();
        number.store(before + 1, Relaxed);
        if locked {
            put.write_all(&token).context("cannot release the lock")?;
        }
    }
    Ok(0)
}

/// In a child: ends it when the parent has ended, and so the event's channel is disconnected. (Stdin,
/// which is the lifeline elsewhere, is the lock here.)
fn end_with(parent: IpcReceiver<()>) -> anyhow::Result<()> {
    thread::Builder::new()
        .spawn(move || {
            let _ = parent.recv();
            process::exit(1)
        })
        .context("cannot start a thread")?;
    Ok(())
}

/// The shared memory as a number that several processes may use at once. (`Relaxed` suffices for
/// one number; a lock made of system calls orders the rest.)
fn number(memory: &mut IpcSharedMemory) -> &AtomicU64 {
    // SAFETY: all processes touch these eight bytes as an atomic number only, from here on. Shared
    // memory begins with a page, so the number is aligned, and it lives as long as the borrow.
    unsafe { AtomicU64::from_ptr(memory.deref_mut().as_mut_ptr().cast()) }
}
