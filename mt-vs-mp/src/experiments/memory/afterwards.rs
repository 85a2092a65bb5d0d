//! What a fork costs afterwards: parent and child share each page until one of them writes to it.
//!
//! The first write stops at a page fault, in which the system copies the page. So workers that are
//! forked when the data has been loaded share it, as long as they only read. (What counts references,
//! as Python does, writes to what it reads.)

use std::{
    hint::black_box,
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::sys::resource::{UsageWho, getrusage};

use super::{Data, FirstWrite, MIB, PAGE, Pages, Parent, write};
use crate::{
    finding::{
        figure::{Unit, amount},
        table::Table,
    },
    lab::{Lab, fork, memory, role::Role, trial},
};

/// Forks a child that writes to the first pages of its parent's data, twice.
pub fn first_write(data: &mut Data) -> anyhow::Result<Option<FirstWrite>> {
    /// Enough for a figure.
    const ENOUGH: usize = 16 << 20;
    let size = data.bytes().len().min(ENOUGH);
    if size == 0 {
        return Ok(None);
    }
    let faults = || anyhow::Ok(getrusage(UsageWho::RUSAGE_SELF)?.minor_page_faults());
    let (mut figures, mut to) = io::pipe().context("cannot make a pipe")?;
    let measure = || {
        let bytes = &mut data.bytes()[..size];
        let before = faults()?;
        let start = Instant::now();
        write(bytes);
        let first = start.elapsed().as_secs_f64();
        let faults = (faults()? - before) as f64;
        let start = Instant::now();
        write(bytes);
        let second = start.elapsed().as_secs_f64();
        let figures = [first, second, faults].map(f64::to_ne_bytes);
        Ok(to.write_all(figures.as_flattened())?)
    };
    // SAFETY: every thread that this trial has started has been joined.
    let child = unsafe { fork::child(measure) }?;
    // With this one open, a child that dies would be waited for.
    drop(to);
    let mut bytes = [[0; 8]; 3];
    figures
        .read_exact(bytes.as_flattened_mut())
        .context("the child died")?;
    child.join()?;
    let pages = (size / PAGE) as f64;
    let [first, second, faults] = bytes.map(|bytes| f64::from_ne_bytes(bytes) / pages);
    Ok(Some(FirstWrite {
        first,
        second,
        faults,
    }))
}

/// How many workers use one data set.
const WORKERS: usize = 8;

/// Who loads the data set, and what each of the forked workers does with it.
struct Using {
    name: &'static str,
    by_master: bool,
    by_worker: fn(&mut Data, Parent) -> anyhow::Result<()>,
}

const USES: &[Using] = &[
    Using {
        name: "each loads its own",
        by_master: false,
        by_worker: |data, parent| {
            *data = Data::load(parent)?;
            Ok(())
        },
    },
    Using {
        name: "the master loads it before it forks, all read it",
        by_master: true,
        by_worker: |data, _| {
            read(data.bytes());
            Ok(())
        },
    },
    Using {
        name: "the master loads it before it forks, all write to it",
        by_master: true,
        by_worker: |data, _| {
            write(data.bytes());
            Ok(())
        },
    },
];
/// What the master and its workers take of memory, all together, in bytes: what several share is
/// counted once. `None` where the system does not tell.
pub static TOGETHER: Role<(usize, u64), Option<f64>> = Role {
    name: "memory-together",
    play: |(using, memory)| together(&USES[using], memory),
};

fn together(using: &Using, memory: u64) -> anyhow::Result<Option<f64>> {
    let of_size = |memory| Parent {
        memory,
        pages: Pages::Small,
    };
    let mut data = Data::load(of_size(if using.by_master { memory } else { 0 }))?;
    // Nobody writes to these pipes: a pipe ends when all who hold its other end have closed it.
    let (leave, give_leave) = io::pipe().context("cannot make a pipe")?;
    let (mut all_there, is_there) = io::pipe().context("cannot make a pipe")?;
    let (mut give_leave, mut is_there) = (Some(give_leave), Some(is_there));
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        let work = || {
            // This child's copy. Kept, it would hold everybody's sign back.
            give_leave = None;
            (using.by_worker)(&mut data, of_size(memory))?;
            is_there = None;
            (&leave).read_to_end(&mut Vec::new())?;
            Ok(())
        };
        // SAFETY: this trial has started no thread.
        workers.push(unsafe { fork::child(work) }?);
    }
    drop(is_there);
    all_there.read_to_end(&mut Vec::new())?;
    let all = workers
        .iter()
        .map(fork::Child::id)
        .chain([std::process::id()]);
    let all: Option<f64> = all
        .map(|id| Some(memory::of(id)?.proportional as f64))
        .sum();
    drop(give_leave);
    workers.into_iter().try_for_each(fork::Child::join)?;
    Ok(all)
}

/// A byte of each page.
fn read(bytes: &[u8]) {
    let sum: u64 = bytes
        .iter()
        .step_by(PAGE)
        .map(|&byte| u64::from(byte))
        .sum();
    black_box(sum);
}

/// How much memory they take together, in each of the uses.
pub fn table(lab: &Lab, budget: Duration) -> anyhow::Result<Option<Table>> {
    let data = lab.mode.pick(4, 16, 64) * MIB;
    let all = lab.alternate(budget, 0..USES.len(), |&using| {
        trial::run(&TOGETHER, &(using, data))
    })?;
    let title = format!(
        "{WORKERS} forked workers and their master, with one data set of {}:",
        amount(data as f64, Unit::Bytes)
    );
    Ok(Some(Table::of(
        &title,
        &all,
        &[
            ("how they use it", &|it| USES[it.variant].name.into()),
            ("memory of all", &|it| {
                it.figure_if_any(Unit::Bytes, |&all| all).into()
            }),
        ],
    )))
}
