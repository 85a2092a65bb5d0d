//! What a fork costs afterwards: parent and child share each page until one of them writes to it.
//!
//! The first write to a page is a page fault: the system copies the page before the write goes on.
//! So workers that are forked after the data was loaded share it, as long as they only read it.
//! (Python counts references, so it also writes to objects that it reads.)

use std::{
    hint::black_box,
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use super::{Data, FirstWrite, MIB, PAGE, Pages, Parent, write_to_each_page};
use crate::{
    finding::{
        figure::{Unit, amount},
        table::Table,
    },
    lab::{Lab, fork, memory_use, role::Role, trial},
};

/// Forks a child that writes to the first pages of its parent's data, twice.
pub fn first_write(data: &mut Data) -> anyhow::Result<Option<FirstWrite>> {
    const MOST: usize = 8 << 20;
    let size = data.bytes().len().min(MOST);
    if size == 0 {
        return Ok(None);
    }
    let faults = || anyhow::Ok(getrusage(UsageWho::RUSAGE_SELF)?.minor_page_faults());
    let (mut from_child, mut to_parent) = io::pipe().context("cannot make a pipe")?;
    let measure = || {
        let bytes = &mut data.bytes()[..size];
        let faults_before = faults()?;
        let start = Instant::now();
        write_to_each_page(bytes);
        let first = start.elapsed().as_secs_f64();
        let faults = (faults()? - faults_before) as f64;
        let start = Instant::now();
        write_to_each_page(bytes);
        let second = start.elapsed().as_secs_f64();
        let numbers = [first, second, faults].map(f64::to_ne_bytes);
        Ok(to_parent.write_all(numbers.as_flattened())?)
    };
    // SAFETY: every thread that this trial has started has been joined.
    let child = unsafe { fork::child(measure) }?;
    // Otherwise this process would wait for ever for a child that died.
    drop(to_parent);
    let mut numbers = [[0; 8]; 3];
    from_child
        .read_exact(numbers.as_flattened_mut())
        .context("the child died")?;
    child.join()?;
    let pages = (size / PAGE) as f64;
    let [first, second, faults] = numbers.map(|bytes| f64::from_ne_bytes(bytes) / pages);
    Ok(Some(FirstWrite {
        first,
        second,
        faults,
    }))
}

const WORKERS: usize = 8;

/// How the master and its forked workers use one data set.
struct Use {
    name: &'static str,
    /// Whether the master loads the data before it forks.
    master_loads: bool,
    work: fn(&mut Data, Parent) -> anyhow::Result<()>,
}

const USES: &[Use] = &[
    Use {
        name: "each loads its own",
        master_loads: false,
        work: |data, parent| {
            *data = Data::load(parent)?;
            Ok(())
        },
    },
    Use {
        name: "the master loads it before it forks, all read it",
        master_loads: true,
        work: |data, _| {
            read_each_page(data.bytes());
            Ok(())
        },
    },
    Use {
        name: "the master loads it before it forks, all write to it",
        master_loads: true,
        work: |data, _| {
            write_to_each_page(data.bytes());
            Ok(())
        },
    },
];

/// What one trial measures.
#[derive(Serialize, Deserialize)]
pub struct Variant {
    /// The row of [`USES`].
    usage: usize,
    /// The size of the data set, in bytes.
    size: u64,
}

/// How much memory the master and its workers take together, in bytes: a page that several of them
/// share counts once. `None` where the system does not tell.
pub static TOGETHER: Role<Variant, Option<f64>> = Role {
    name: "memory-together",
    play: |Variant { usage, size }| memory_of_all(&USES[usage], size),
};

fn memory_of_all(usage: &Use, size: u64) -> anyhow::Result<Option<f64>> {
    let parent_with = |memory| Parent {
        memory,
        pages: Pages::Small,
    };
    let mut data = Data::load(parent_with(if usage.master_loads { size } else { 0 }))?;
    // Nobody writes to these pipes. A pipe's reader sees the end of file when the last process that
    // has its writing end has closed it.
    let (all_ready, ready) = io::pipe().context("cannot make a pipe")?;
    let (may_end, hold) = io::pipe().context("cannot make a pipe")?;
    let (mut ready, mut hold) = (Some(ready), Some(hold));
    let await_end = |mut pipe: &io::PipeReader| pipe.read_to_end(&mut Vec::new());
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        let work = || {
            // Closes this child's copy. If it stayed open, no worker would see the end of file.
            hold = None;
            (usage.work)(&mut data, parent_with(size))?;
            ready = None;
            await_end(&may_end)?;
            Ok(())
        };
        // SAFETY: this trial has started no thread.
        workers.push(unsafe { fork::child(work) }?);
    }
    drop(ready);
    await_end(&all_ready)?;
    let mut ids: Vec<u32> = workers.iter().map(fork::Child::id).collect();
    ids.push(std::process::id());
    let sizes = ids
        .into_iter()
        .map(|id| Some(memory_use::of(id)?.proportional as f64));
    let sum = sizes.sum();
    drop(hold);
    workers.into_iter().try_for_each(fork::Child::join)?;
    Ok(sum)
}

fn read_each_page(bytes: &[u8]) {
    let sum: u64 = bytes
        .iter()
        .step_by(PAGE)
        .map(|&byte| u64::from(byte))
        .sum();
    black_box(sum);
}

/// The memory of all, for each of the [`USES`].
pub fn table(lab: &Lab, budget: Duration) -> anyhow::Result<Option<Table>> {
    let size = lab.mode.pick(2, 16, 64) * MIB;
    let variants = (0..USES.len()).map(|usage| Variant { usage, size });
    let measured = lab.alternate(budget, variants, |variant| trial::run(&TOGETHER, variant))?;
    let title = format!(
        "{WORKERS} forked workers and their master, with one data set of {}:",
        amount(size as f64, Unit::Bytes)
    );
    Ok(Some(Table::of(
        &title,
        &measured,
        &[
            ("how they use it", &|it| USES[it.variant.usage].name.into()),
            ("memory of all", &|it| {
                it.figure_if_any(Unit::Bytes, |&sum| sum).into()
            }),
        ],
    )))
}
