//! A worker is killed in the middle of a task, and nothing is lost.
//!
//! Python's `Pool` starts another worker but forgets the task: a caller that waits for its result
//! waits for ever. Here the pool notices the death, and runs the task once more. Run it with
//! `cargo run -p pool-demo -- crash`, and with `--poison`. (Or run the default lesson, and
//! `kill -9` a worker yourself.)
//!
//! What to notice: the other workers go on. The task whose worker died starts again from its
//! beginning, in another worker. What it did before the death, it does twice. Here, each task first
//! sends a payment to a bank, as a message with the task's number. A bank that counts the messages
//! counts one payment twice. A bank that keeps a set of the numbers does not: to add a number again
//! changes nothing (it is *idempotent*).
//!
//! A *poison task* kills every worker that runs it. The pool gives it up when two workers have died
//! while they ran it alone; otherwise it would be run again for ever. So with `--poison` it runs
//! twice. With `--poison --chunk 4` it runs three times: once in its chunk, and then twice alone.

use std::{
    collections::HashSet,
    fmt, io,
    net::{SocketAddr, UdpSocket},
    process, thread,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{
    apply_async::{LongTimeTask, get_all, seconds},
    output::say,
    pool::Pool,
    process_pool::ProcessPool,
    task::{Attempt, Task},
    timeline::{self, Bar},
};

#[derive(Args)]
pub struct Options {
    /// How many workers the pool has.
    #[arg(long, default_value_t = 4, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    workers: u16,

    /// How many tasks the pool gets.
    #[arg(long, default_value_t = 8, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    tasks: u32,

    /// The longest time that a task may take, in seconds.
    #[arg(long, default_value = "1", allow_negative_numbers = true, value_parser = seconds)]
    max_seconds: Duration,

    /// Runs with the same seed have tasks of the same length, and the same task kills its worker.
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<u64>,

    /// Gives the tasks to the workers in chunks of this size, as `map` does.
    #[arg(long, allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    chunk: Option<u32>,

    /// The task kills its worker every time that it runs, and not only once.
    #[arg(long)]
    poison: bool,
}

pub fn run(options: &Options) -> anyhow::Result<u8> {
    let bank = UdpSocket::bind("127.0.0.1:0").context("cannot open a socket for payments")?;
    let address = bank.local_addr()?;
    let payments = thread::Builder::new().spawn(move || receive_payments(&bank));
    let payments = payments.context("cannot start a thread for payments")?;
    let code = crash(options, address)?;
    pay(address, NO_MORE)?;
    let (received, noted) = payments.join().expect("it does not panic")?;
    say!("{received} payments received, {noted} different ones.")?;
    Ok(code)
}

/// The number that tells the bank that no payment will follow.
const NO_MORE: u32 = u32::MAX;

/// How long `pay` waits for the bank's reply.
const REPLY_LIMIT: Duration = Duration::from_secs(30);

/// Sends a number to the bank, and waits until the bank has received it.
fn pay(bank: SocketAddr, number: u32) -> anyhow::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").context("cannot open a socket to pay")?;
    socket.set_read_timeout(Some(REPLY_LIMIT))?;
    // If the bank has ended, a connected socket learns that: then `recv` fails at once.
    socket.connect(bank)?;
    socket.send(&number.to_le_bytes())?;
    loop {
        match socket.recv(&mut [0; 4]) {
            // On Linux, a process that is stopped and continued finds this error.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            reply => return reply.map(drop).context("the bank does not reply"),
        }
    }
}

/// The bank. Returns how many payments it received, and how many different numbers they had.
fn receive_payments(bank: &UdpSocket) -> io::Result<(u32, usize)> {
    let (mut received, mut noted) = (0, HashSet::new());
    let mut number = [0; 4];
    loop {
        let (_, payer) = bank.recv_from(&mut number)?;
        bank.send_to(&number, payer)?;
        if u32::from_le_bytes(number) == NO_MORE {
            return Ok((received, noted.len()));
        }
        received += 1;
        noted.insert(number);
    }
}

fn crash(options: &Options, bank: SocketAddr) -> anyhow::Result<u8> {
    let seed = options.seed;
    let mut random = seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
    let chosen = random.u32(0..options.tasks);
    let times = if options.poison { "every time" } else { "once" };
    say!("Parent process {}.", process::id())?;
    say!("Task {chosen} will be killed with its worker, {times}.")?;

    let mut pool = ProcessPool::new(options.workers.into())?;
    let mut tasks = Vec::new();
    for number in 0..options.tasks {
        let duration = options.max_seconds.mul_f64(random.f64());
        tasks.push(RiskyTask {
            task: LongTimeTask { number, duration },
            bank,
            fatal_attempts: match (number == chosen, options.poison) {
                (false, _) => 0,
                (true, false) => 1,
                (true, true) => u8::MAX,
            },
        });
    }
    if let Some(chunk) = options.chunk {
        // When a worker dies, the pool does not know which tasks of its chunk were done. So it runs
        // all of them again, each alone.
        let bars = pool.map(tasks, Some(chunk as usize));
        pool.close();
        // If the pool has ended early, `join` returns the reason, and `map` only that it has ended.
        pool.join()?;
        return draw(&bars?, options, 0);
    }
    let results: Result<Vec<_>, _> = tasks.into_iter().map(|t| pool.apply_async(t)).collect();
    pool.close();
    pool.join()?;
    say!("All subprocesses done.")?;

    let (bars, failed) = get_all(results?);
    draw(&bars, options, failed)
}

/// Prints how many tasks are done, and when each of them ran. Returns the exit code.
fn draw(bars: &[Bar], options: &Options, failed: usize) -> anyhow::Result<u8> {
    say!("{} of {} tasks are done.", bars.len(), options.tasks)?;
    timeline::draw(bars)?;
    Ok(if failed == 0 { 0 } else { 1 })
}

/// A task that may kill its worker.
#[derive(Serialize, Deserialize)]
pub struct RiskyTask {
    task: LongTimeTask,
    /// The bank's address.
    bank: SocketAddr,
    /// Attempts up to this number kill the worker. With 1, only the first does; with 0, none.
    fatal_attempts: u8,
}

impl fmt::Display for RiskyTask {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.task.fmt(f)
    }
}

impl Task for RiskyTask {
    const NAME: &'static str = "risky_task";
    type Output = Bar;

    fn run(&self, attempt: Attempt) -> anyhow::Result<Bar> {
        pay(self.bank, self.task.number)?;
        if attempt.number > self.fatal_attempts {
            return self.task.run(attempt);
        }
        let (number, worker) = (self.task.number, attempt.worker);
        (attempt.print)(&format!("Run task {number} ({worker})..."))?;
        thread::sleep(self.task.duration / 2);
        die()
    }
}

/// Ends this process as `kill -9` does: no more code of it runs, and it sends no message to the
/// master. (`-> !` says that the function never returns.)
fn die() -> ! {
    #[cfg(unix)]
    let _ = nix::sys::signal::raise(nix::sys::signal::SIGKILL);
    // Windows has no signals. `abort` is the nearest that it has.
    process::abort()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_payment_to_a_bank_that_has_ended_fails_at_once() {
        let bank = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let address = bank.local_addr().expect("it is bound");
        drop(bank);
        // In another thread: if `pay` does not return, this is a failure here, and no hang.
        let (sender, paid) = mpsc::channel();
        thread::spawn(move || sender.send(pay(address, 7)));
        let paid = paid.recv_timeout(REPLY_LIMIT / 2);
        assert!(paid.expect("it does not wait for a reply").is_err());
    }

    #[test]
    fn the_bank_counts_every_payment_and_notes_each_number_once() {
        let bank = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        // A payment that never comes is an error here, and no hang.
        bank.set_read_timeout(Some(REPLY_LIMIT))
            .expect("it is not zero");
        let address = bank.local_addr().expect("it is bound");
        let payments = thread::spawn(move || receive_payments(&bank));
        for number in [7, 8, 7, NO_MORE] {
            pay(address, number).expect("the bank replies");
        }
        let payments = payments.join().expect("it does not panic");
        assert_eq!(payments.expect("all came"), (3, 2));
    }
}
