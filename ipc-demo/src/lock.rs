//! Several processes add to one number in shared memory: without a lock, and with one.
//!
//! Mirrors Python's `Value('Q', lock=False)`, `Lock` and `Event`. Run it with
//! `cargo run -p ipc-demo -- lock`.
//!
//! The lock is a pipe that holds one byte, the token. To take the lock, a process reads the byte.
//! The read waits while another process has it. To release the lock, the process writes the byte
//! back.
//!
//! ```text
//! each child:  stdin  <---- reading end    [ token ]    writing end <---- stdout  :each child
//! ```
//!
//! What to notice: without the lock, additions are lost. Two processes may read the same number,
//! and then each writes that number plus one. With the lock no addition is lost, but each process
//! has to wait for the others.
//!
//! This lock does not know which process has it. If its owner dies, the token is lost, and the
//! other processes would wait for ever. Here the parent sees the death and puts the token back. But
//! it cannot know whether the owner had finished. So what the lock protects may be half changed. A
//! *robust* mutex tells the next owner of the death: robust.rs.

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
    child::{self, Child, have_descriptors},
    hangup::{check_death, die},
    output::say,
};

const CHILDREN: u64 = 4;
const ADDITIONS: u64 = 5_000;

/// How a child adds to the number.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Way {
    Unlocked,
    Locked,
    /// Takes the lock, and dies before it has added.
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
        let children = race.start(CHILDREN, ADDITIONS, way)?;
        race.join_all(children)?;
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
        check_death("adder", status)?;
        say!("A process has taken the lock and died ({status}): the token is lost.")?;
    }
    let next = race.start(1, 1, Way::Locked)?;
    say!("The next process waits until the parent, which saw the death, puts the token back.")?;
    race.release()?;
    race.join_all(next)?;
    let sum = race.number();
    say!(
        "The next one had the lock: the number is {sum}, so the addition of the dead one is missing."
    )?;
    #[cfg(target_os = "linux")]
    crate::robust::run()?;
    Ok(0)
}

/// What the children use: the number, and the lock.
struct Race {
    /// The number is in this.
    memory: IpcSharedMemory,
    /// The two ends of the lock's pipe.
    take: PipeReader,
    put: PipeWriter,
    /// Kept as long as the children run: see [`end_with`].
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
        // This puts the token into the pipe for the first time.
        race.release()?;
        Ok(race)
    }

    /// Starts `count` children. They begin to add when all have been started.
    fn start(&mut self, count: u64, additions: u64, way: Way) -> anyhow::Result<Vec<Child>> {
        let mut event = Event::default();
        let mut children = Vec::new();
        let before = self.number();
        for _ in 0..count {
            let take = self.take.try_clone().context("cannot copy the lock")?;
            let put = self.put.try_clone().context("cannot copy the lock")?;
            // `clone` copies a descriptor. If that fails, ipc-channel does not notice.
            have_descriptors().context("cannot copy the shared memory")?;
            let arguments: Arguments = (self.memory.clone(), additions, way, event.waiter()?);
            let child = Child::start_with_output("adder", take, Stdio::from(put), arguments)?;
            children.push(child);
        }
        let waited = self.number() == before;
        ensure!(waited, "a child did not wait for the event");
        event.set();
        self.events.push(event);
        Ok(children)
    }

    /// Waits for all children, in the order in which they end.
    ///
    /// A child that is killed while it has the lock keeps the others waiting for ever, so its end
    /// must be noticed before theirs. Then this drops the [`Event`]s. That disconnects the channels
    /// on which the others wait in [`end_with`], and so they end.
    fn join_all(&mut self, children: Vec<Child>) -> anyhow::Result<()> {
        let (ended, results) = mpsc::channel();
        // `scope` returns when all threads that were started in it have ended.
        thread::scope(|scope| {
            for child in children {
                let sender = ended.clone();
                let join = move || sender.send(child.join());
                if let Err(error) = thread::Builder::new().spawn_scoped(scope, join) {
                    // The child, which was in `join`, is dropped, and so it has ended.
                    let _ = ended.send(Err(error).context("cannot start a thread"));
                }
            }
            // Now only the threads hold a sender, so `results` ends with the last of them.
            drop(ended);
            // `collect` returns the first error as soon as it comes.
            let result = results.iter().collect();
            self.events.clear();
            result
        })
    }

    fn release(&mut self) -> anyhow::Result<()> {
        self.put.write_all(b"T").context("cannot release the lock")
    }

    fn number(&mut self) -> u64 {
        number(&mut self.memory).load(Relaxed)
    }
}

/// An event for which several processes wait until the parent sets it. Each process has a channel
/// of its own. The parent sets the event by a message into each channel. The message stays there
/// until the process receives it, so a process may begin to wait after the event was set.
#[derive(Default)]
struct Event(Vec<IpcSender<()>>);

impl Event {
    /// Makes the channel for one more process, and returns the receiver for it.
    fn waiter(&mut self) -> anyhow::Result<IpcReceiver<()>> {
        let (sender, waiter) = ipc::channel().context("cannot make a channel")?;
        self.0.push(sender);
        Ok(waiter)
    }

    /// Sends the message to each process. If that fails, the process has ended; or it gets an
    /// error, because its sender is dropped. [`Race::join_all`] reports either.
    fn set(&mut self) {
        self.0.retain(|process| process.send(()).is_ok());
    }
}

/// The number, how often and in which way to add to it, and the event that the child waits for.
type Arguments = (IpcSharedMemory, u64, Way, IpcReceiver<()>);

/// The child: adds to the number.
pub fn add(server: String) -> anyhow::Result<u8> {
    let (mut memory, additions, way, event) = child::arguments::<Arguments>(server)?;
    event.recv().context("cannot wait for the event")?;
    end_with(event)?;
    // The lock: its reading end is stdin, its writing end is stdout.
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
        // One addition is two steps: this load, and the store below. Each of them is atomic, but
        // not both together.
        let before = number.load(Relaxed);
        if way == Way::DieLocked {
            die();
        }
        // Between the two steps, another process may load the same number. Other processes are let
        // run here, so that this happens often.
        thread::yield_now();
        number.store(before + 1, Relaxed);
        if locked {
            put.write_all(&token).context("cannot release the lock")?;
        }
    }
    Ok(0)
}

/// In a child: starts a thread that ends the child when the parent has ended, or has given up. Then
/// the event's channel is disconnected, because its sender is dropped. (Stdin cannot be a lifeline
/// here: it is the lock.)
fn end_with(parent: IpcReceiver<()>) -> anyhow::Result<()> {
    thread::Builder::new()
        .spawn(move || {
            let _ = parent.recv();
            process::exit(1)
        })
        .context("cannot start a thread")?;
    Ok(())
}

/// The shared memory as an atomic number: several processes may load and store it at the same time.
///
/// (`Relaxed` promises nothing about the order of other data in memory. Here is no other data.
/// Under the lock, the system calls that take it and release it keep the additions in order.)
fn number(memory: &mut IpcSharedMemory) -> &AtomicU64 {
    // SAFETY: from here on, all processes use these eight bytes only as an atomic number. Shared
    // memory begins at a page, so the number is aligned. It lives as long as `memory` is borrowed.
    unsafe { AtomicU64::from_ptr(memory.deref_mut().as_mut_ptr().cast()) }
}
