//! What a fork really costs while the parent's memory grows: at once, and afterwards.
//!
//! At once: a fork copies no memory, but it copies the tables that say where the memory is: with the
//! usual pages, an entry of 8 bytes for each 4 KiB. Threads share the tables, and a spawned program
//! starts with new ones. "Cheap" is what costs no more than a spawn. (See "A fork() in the road",
//! HotOS 2019.)
//!
//! Afterwards the child pays for what it writes to, and shares what it only reads: see [`afterwards`].

use std::{
    fmt,
    hint::black_box,
    num::NonZeroUsize,
    ptr::NonNull,
    time::{Duration, Instant},
};

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::{
    finding::{
        Finding,
        figure::{Figure, Unit, amount},
        interval::{Interval, median},
        plot::{Axis, Line, Plot},
        table::Table,
        verdict::{self, Verdict},
    },
    lab::{
        Lab, Measured, Mode,
        creation::{FORK, SPAWN_SELF, SPAWN_TRUE, THREAD, Way},
        machine,
        mapping::Mapping,
        memory,
        role::{NoRoom, Role},
        trial,
    },
};

#[cfg(unix)]
mod afterwards;
/// Where there is no fork, there is nothing to pay afterwards.
#[cfg(not(unix))]
mod afterwards {
    use std::time::Duration;

    use super::{Data, FirstWrite, Lab, Table};

    pub fn first_write(_: &mut Data) -> anyhow::Result<Option<FirstWrite>> {
        Ok(None)
    }

    pub fn table(_: &Lab, _: Duration) -> anyhow::Result<Option<Table>> {
        Ok(None)
    }
}

pub const EXPERIMENT: Experiment = Experiment {
    name: "memory",
    claim: "With fork a process is cheap to create, however much memory its parent has.",
    share: 10,
    run,
    roles: &[
        &COSTS,
        #[cfg(unix)]
        &afterwards::TOGETHER,
    ],
    published: &[
        (
            "fork 22 µs with nothing touched, 67 µs with 8 MB: 22 ns a page; thread 5.5 µs with any",
            "Eli Bendersky, 2018: C, Linux on a desktop",
        ),
        (
            "10,000 forks and execs: 5 s with 1 GiB, 25 s with 5 GiB; without fork less than 1 s",
            "Jakub Beránek (Kobzol), 2024: Rust, on a cluster with glibc 2.17",
        ),
        (
            "fork 223 µs with 1.7 MB, 1269 µs with 11.7 MB",
            "Kerrisk, \"The Linux Programming Interface\", table 28-3: Linux 2.6.27, x86-32",
        ),
    ],
};

const MIB: u64 = 1 << 20;

/// "Cheap": at most so many times as much as a spawn by the same parent.
const CHEAP: f64 = 1.0;

/// One parent for whom a fork is dear refutes "however much". But only if even one of this size
/// finds it cheap has it been tried.
const MUCH: u64 = 256 * MIB;

/// How the system is asked to cut the memory up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Pages {
    /// Of the usual size: 4 KiB, on most machines.
    Small,
    /// Of 2 MiB, on most machines.
    Huge,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Parent {
    /// In bytes.
    memory: u64,
    pages: Pages,
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match (self.memory, self.pages) {
            (0, _) => write!(f, "no memory"),
            (bytes, Pages::Small) => write!(f, "{}", amount(bytes as f64, Unit::Bytes)),
            (bytes, Pages::Huge) => {
                write!(f, "{} in huge pages", amount(bytes as f64, Unit::Bytes))
            }
        }
    }
}

/// What one parent measured. `None` is what this system does not have or tell.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Costs {
    /// From the start of one to its joined end, in seconds.
    thread: f64,
    spawn: f64,
    fork: Option<f64>,
    /// The size of its page tables, in bytes.
    page_tables: Option<f64>,
    /// How many bytes of its memory lie in huge pages.
    huge: f64,
    first_write: Option<FirstWrite>,
}

/// What a forked child pays for each 4 KiB of memory that its parent left it.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct FirstWrite {
    /// For the first write, and for the one after it, in seconds.
    first: f64,
    second: f64,
    /// How many page faults there were at the first write.
    faults: f64,
}

static COSTS: Role<Parent, Costs> = Role {
    name: "memory",
    play: |parent| {
        let mut data = Data::load(parent)?;
        let now = memory::own();
        let spawn = match (SPAWN_TRUE.missing)() {
            None => SPAWN_TRUE,
            Some(_) => SPAWN_SELF,
        };
        Ok(Costs {
            thread: several(&THREAD)?,
            spawn: several(&spawn)?,
            // These come last, for they leave their mark on the parent: the pages are shared until
            // somebody writes to them.
            fork: cfg!(unix).then(|| several(&FORK)).transpose()?,
            page_tables: now.map(|memory| memory.page_tables as f64),
            huge: now.map_or(0.0, |memory| memory.huge as f64),
            first_write: afterwards::first_write(&mut data)?,
        })
    },
};

/// The median of as many as fit into some milliseconds.
fn several(way: &Way) -> anyhow::Result<f64> {
    const FEWEST: usize = 3;
    const MOST: usize = 30;
    const ENOUGH: Duration = Duration::from_millis(6);
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.len() < FEWEST || times.len() < MOST && begin.elapsed() < ENOUGH {
        times.push((way.time)()?.as_secs_f64());
    }
    Ok(median(times))
}

/// Memory that is really there: a byte is written to each page, for until then the system has only
/// promised it.
struct Data(Option<Mapping>);

/// The smallest page there is: where pages are larger, some get more than one byte.
const PAGE: usize = 4096;

impl Data {
    fn load(parent: Parent) -> anyhow::Result<Self> {
        let size = NonZeroUsize::new(parent.memory as usize);
        let memory = size.map(Mapping::private).transpose()?;
        #[cfg(target_os = "linux")]
        if let Some(memory) = &memory {
            use nix::sys::mman::{MmapAdvise, madvise};
            let advice = match parent.pages {
                Pages::Small => MmapAdvise::MADV_NOHUGEPAGE,
                Pages::Huge => MmapAdvise::MADV_HUGEPAGE,
            };
            // A kernel without huge pages refuses both. What came of it is seen in `Costs::huge`.
            // SAFETY: these advices change no byte of the memory.
            let _ = unsafe { madvise(memory.start(), memory.size.get(), advice) };
        }
        let mut data = Self(memory);
        write(data.bytes());
        Ok(data)
    }

    fn bytes(&mut self) -> &mut [u8] {
        let Some(memory) = &self.0 else {
            return &mut [];
        };
        // SAFETY: the memory is so long, zeroed in the beginning, and this one's alone; it cannot be
        // dropped while its bytes are borrowed.
        unsafe { NonNull::slice_from_raw_parts(memory.start(), memory.size.get()).as_mut() }
    }
}

/// A byte to each page.
fn write(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().step_by(PAGE) {
        // What nobody ever reads, the compiler would not write.
        *byte = black_box(1);
    }
    black_box(bytes);
}

/// A parent and what it measured in each round.
type Case = Measured<Parent, Costs>;

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let begin = Instant::now();
    let mut left_out = Vec::new();
    let parents = lab.those_that_fit(parents(lab.mode, &mut left_out), &mut left_out, try_out)?;
    let afterwards_budget = lab.budget / 4;
    let budget = lab
        .budget
        .saturating_sub(afterwards_budget + begin.elapsed());
    let cases = lab.alternate(budget, parents, |parent| trial::run(&COSTS, parent))?;
    let finding = judge(&cases);
    let mut tables = tables(&cases);
    tables.extend(afterwards::table(lab, afterwards_budget)?);
    Ok(Finding {
        tables,
        plots: vec![plot(&cases)],
        left_out,
        ..finding
    })
}

/// From one that has nothing to large ones, each with small pages and with huge ones.
fn parents(mode: Mode, left_out: &mut Vec<String>) -> Vec<Parent> {
    let (sizes, others): (&[u64], _) = mode.pick(
        (
            &[0, 32],
            Some("64 MiB and 256 MiB: --quick has no time for them"),
        ),
        (&[0, 64, 256], Some("1 GiB and 4 GiB: only with --full")),
        (&[0, 64, 256, 1024, 4096], None),
    );
    left_out.extend(others.map(str::to_owned));
    let mut kinds = vec![Pages::Small];
    if cfg!(not(unix)) {
        left_out.push("fork, and what it costs afterwards: it exists on Unix only".to_owned());
    }
    if cfg!(target_os = "linux") {
        kinds.push(Pages::Huge);
    } else {
        left_out.push("huge pages, and what memory processes share: only Linux tells".to_owned());
    }
    let of_size = |size| {
        kinds.iter().map(move |&pages| Parent {
            memory: size * MIB,
            pages,
        })
    };
    let mut parents: Vec<Parent> = sizes.iter().copied().flat_map(of_size).collect();
    // Without memory, all pages are alike.
    parents.retain(|parent| parent.memory > 0 || parent.pages == Pages::Small);
    parents
}

/// # Errors
/// The cause why this parent is left out.
fn try_out(&parent: &Parent) -> anyhow::Result<()> {
    fits(parent.memory, machine::available_memory())?;
    let huge = trial::run(&COSTS, &parent)?.huge;
    let mostly = huge > parent.memory as f64 / 2.0;
    ensure!(
        mostly == (parent.pages == Pages::Huge),
        NoRoom(format!(
            "the system has put {} of it in huge pages",
            amount(huge, Unit::Bytes)
        ))
    );
    Ok(())
}

/// Half of what is free is for others, who may want it while we measure.
fn fits(memory: u64, available: u64) -> Result<(), NoRoom> {
    if memory <= available / 2 {
        return Ok(());
    }
    let available = amount(available as f64, Unit::Bytes);
    Err(NoRoom(format!(
        "only {available} is available, and no more than half of it is for us"
    )))
}

/// What it costs at once, and afterwards.
///
/// The page tables of huge pages come out as large as the others: Linux keeps those of small pages
/// in reserve for each huge one, in case it has to be cut up, and counts them. But it leaves them
/// empty, and a fork has nothing to copy from them.
fn tables(cases: &[Case]) -> Vec<Table> {
    let after = |it: &Case, unit, of: fn(&FirstWrite) -> f64| {
        it.figure_if_any(unit, |costs| costs.first_write.as_ref().map(of))
            .into()
    };
    let seconds = Unit::Seconds;
    let costs = Table::of(
        "From its start to its joined end, when the parent has so much memory:",
        cases,
        &[
            ("the parent has", &|it| it.variant.to_string().into()),
            ("page tables", &|it| {
                it.figure_if_any(Unit::Bytes, |costs| costs.page_tables)
                    .into()
            }),
            ("thread", &|it| {
                it.figure(seconds, |costs| costs.thread).into()
            }),
            ("spawn", &|it| {
                it.figure(seconds, |costs| costs.spawn).into()
            }),
            ("fork", &|it| {
                it.figure_if_any(seconds, |costs| costs.fork).into()
            }),
        ],
    );
    let with_memory = |it: &&Case| it.samples.iter().all(|costs| costs.first_write.is_some());
    let with_memory: Vec<&Case> = cases.iter().filter(with_memory).collect();
    let afterwards = Table::of(
        "What the child then pays, for each 4 KiB of its parent's memory that it writes to:",
        &with_memory,
        &[
            ("the parent has", &|it| it.variant.to_string().into()),
            ("page faults", &|it| {
                after(it, Unit::Count, |after| after.faults)
            }),
            ("the first write", &|it| {
                after(it, seconds, |after| after.first)
            }),
            ("the second", &|it| after(it, seconds, |after| after.second)),
        ],
    );
    let tables = [costs, afterwards].into_iter();
    tables.filter(|table| !table.rows.is_empty()).collect()
}

fn plot(cases: &[Case]) -> Plot {
    let line = |name, pages, cost: fn(&Costs) -> Option<f64>| {
        // Without memory, all pages are alike.
        let alike = |case: &&Case| case.variant.pages == pages || case.variant.memory == 0;
        let point = |case: &Case| {
            let figure = case.figure_if_any(Unit::Seconds, cost)?;
            Some((case.variant.memory as f64, figure.interval))
        };
        Line::new(name, cases.iter().filter(alike).filter_map(point))
    };
    let lines = [
        line("thread", Pages::Small, |costs| Some(costs.thread)),
        line("fork", Pages::Small, |costs| costs.fork),
        line("fork, huge pages", Pages::Huge, |costs| costs.fork),
        line("spawn", Pages::Small, |costs| Some(costs.spawn)),
    ];
    Plot::new(
        "What it costs as the parent's memory grows",
        Axis::linear("memory of the parent", Unit::Bytes),
        Axis::logarithmic("from its start to its joined end", Unit::Seconds),
        // One point is no line.
        lines.into_iter().filter(|line| line.points.len() > 1),
    )
}

/// Every parent must find a fork cheap. The reason names the one with the dearest.
fn judge(cases: &[Case]) -> Finding {
    let times = |case: &Case| {
        let forks: Option<Vec<f64>> = case.samples.iter().map(|costs| costs.fork).collect();
        let spawns = case.numbers(|costs| costs.spawn);
        Some((case.variant, Figure::ratio(&forks?, &spawns)))
    };
    let compared: Vec<(Parent, Figure)> = cases.iter().filter_map(times).collect();
    let median = |(_, figure): &&(Parent, Figure)| figure.interval.median;
    let dearest = compared
        .iter()
        .max_by(|one, other| median(one).total_cmp(&median(other)));
    let Some((parent, dearest)) = dearest else {
        let reason = "there is no fork here to compare";
        return Finding::new(Verdict::NotMeasured, reason, "no fork here");
    };
    let is_cheap = |interval: Interval| verdict::at_most(interval, CHEAP);
    let verdict = verdict::every(compared.iter().map(|(_, times)| is_cheap(times.interval)));
    let largest = compared.iter().map(|(parent, _)| parent.memory).max();
    let (verdict, why) = match verdict {
        Verdict::Fails => (
            verdict,
            "one parent for whom that is dearer refutes \"however much\"",
        ),
        Verdict::Holds if largest < Some(MUCH) => (
            Verdict::Unclear,
            "but parents with much memory were not tried",
        ),
        _ => (verdict, "and that is the dearest of all that were tried"),
    };
    Finding::new(
        verdict,
        format!(
            "a fork by a parent with {parent} costs, compared with a spawn by the same parent, \
             {dearest}: {why}"
        ),
        format!("fork / spawn: {dearest} with {parent}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each parent its memory in MiB, and what a fork costs there; a spawn costs 9.
    fn judged(parents: &[(u64, Pages, Option<f64>)]) -> Finding {
        let case = |&(mib, pages, fork): &(u64, Pages, _)| Measured {
            variant: Parent {
                memory: mib * MIB,
                pages,
            },
            samples: vec![
                Costs {
                    spawn: 9.0,
                    fork,
                    ..Costs::default()
                };
                8
            ],
        };
        judge(&parents.iter().map(case).collect::<Vec<_>>())
    }

    #[test]
    fn one_parent_for_whom_a_fork_is_dear_refutes_it() {
        let verdict = |middle, small, huge| {
            let parents = [
                (0, Pages::Small, Some(1.0)),
                (64, Pages::Small, Some(middle)),
                (256, Pages::Small, Some(small)),
                (256, Pages::Huge, Some(huge)),
            ];
            judged(&parents).verdict
        };
        assert_eq!(verdict(4.0, 8.0, 2.0), Verdict::Holds);
        assert_eq!(verdict(4.0, 90.0, 2.0), Verdict::Fails);
        assert_eq!(verdict(90.0, 8.0, 2.0), Verdict::Fails);
        assert_eq!(verdict(4.0, 8.0, 40.0), Verdict::Fails);
    }

    #[test]
    fn the_dearest_is_named() {
        let parents = [
            (64, Pages::Small, Some(18.0)),
            (256, Pages::Small, Some(36.0)),
        ];
        let finding = judged(&parents);
        assert!(
            finding.headline.starts_with("fork / spawn: 4.00 ×"),
            "{}",
            finding.headline
        );
        assert!(
            finding.headline.ends_with("with 256 MiB"),
            "{}",
            finding.headline
        );
    }

    #[test]
    fn small_parents_alone_prove_nothing_but_can_refute() {
        assert_eq!(
            judged(&[(32, Pages::Small, Some(1.0))]).verdict,
            Verdict::Unclear
        );
        assert_eq!(
            judged(&[(32, Pages::Small, Some(99.0))]).verdict,
            Verdict::Fails
        );
    }

    #[test]
    fn without_fork_there_is_no_verdict() {
        assert_eq!(
            judged(&[(64, Pages::Small, None)]).verdict,
            Verdict::NotMeasured
        );
        assert_eq!(judged(&[]).verdict, Verdict::NotMeasured);
    }

    #[test]
    fn half_of_the_available_memory_is_left_alone() {
        assert!(fits(256 << 20, 512 << 20).is_ok());
        let error = fits(257 << 20, 512 << 20).expect_err("it is too much");
        assert!(error.to_string().starts_with("only 512 MiB is available"));
    }
}
