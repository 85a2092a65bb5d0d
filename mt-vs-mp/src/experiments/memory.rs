//! What a fork costs while the parent's memory grows: at once, and afterwards.
//!
//! At once: a fork copies no memory, but it copies the page tables, which say where the memory is.
//! They have an entry of 8 bytes for each page, which is 4 KiB on most machines. Threads share the
//! page tables of their process, and a spawned program starts with new ones. (See "A fork() in the
//! road", HotOS 2019.)
//!
//! Afterwards: the child pays for each page that it writes to, and shares with its parent the pages
//! that it only reads. See [`afterwards`].

use std::{fmt, hint::black_box, num::NonZeroUsize, ptr::NonNull, time::Instant};

use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::{
    finding::{
        Finding,
        figure::{Figure, Unit, amount},
        interval::median,
        plot::{Axis, Line, Plot},
        table::Table,
        verdict::{self, Verdict},
    },
    lab::{
        Lab, Measured, Mode,
        creation::{FORK, SPAWN_SELF, SPAWN_TRUE, THREAD, Way},
        machine,
        mapping::Mapping,
        memory_use,
        role::{NoRoom, Role},
        trial,
    },
};

#[cfg(unix)]
mod afterwards;
/// Without fork, nothing is paid afterwards.
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

/// "Cheap": a fork costs at most this many times as much as a spawn by the same parent.
const CHEAP: f64 = 1.0;

/// "However much memory": one expensive fork refutes that, whatever the parent's size. But it holds
/// only if a parent with this much memory, in bytes, was tried.
const MUCH: u64 = 256 * MIB;

/// The size of the pages that the system is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Pages {
    /// 4 KiB, on most machines.
    Small,
    /// 2 MiB, on most machines.
    Huge,
}

/// The process that creates the others.
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

/// What one parent measured. `None` stands for what this system does not have or does not tell.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Costs {
    /// From start to join, in seconds; for a spawn and a fork too.
    thread: f64,
    spawn: f64,
    fork: Option<f64>,
    /// In bytes.
    page_tables: Option<f64>,
    /// How many bytes of the memory lie in huge pages.
    huge: f64,
    first_write: Option<FirstWrite>,
}

/// What a forked child pays for each 4 KiB of its parent's memory: the times of two writes, in
/// seconds, and the page faults at the first.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct FirstWrite {
    first: f64,
    second: f64,
    faults: f64,
}

static COSTS: Role<Parent, Costs> = Role {
    name: "memory",
    play: |parent| {
        let mut data = Data::load(parent)?;
        let memory = memory_use::own();
        let spawn = match (SPAWN_TRUE.missing)() {
            None => SPAWN_TRUE,
            Some(_) => SPAWN_SELF,
        };
        Ok(Costs {
            thread: median_time(&THREAD)?,
            spawn: median_time(&spawn)?,
            // The forks come last, because a fork changes the parent: all pages are copy-on-write
            // after it.
            fork: if cfg!(unix) {
                Some(median_time(&FORK)?)
            } else {
                None
            },
            page_tables: memory.map(|memory| memory.page_tables as f64),
            huge: memory.map_or(0.0, |memory| memory.huge as f64),
            first_write: afterwards::first_write(&mut data)?,
        })
    },
};

/// Creates and joins a few, one after the other: the first can be slow.
fn median_time(way: &Way) -> anyhow::Result<f64> {
    let mut times = [0.0; 5];
    for time in &mut times {
        *time = (way.time)()?.as_secs_f64();
    }
    Ok(median(times))
}

/// Memory with a byte written to each page. The system provides a page only when it is first
/// written to.
struct Data(Option<Mapping>);

/// The smallest size of a page. A larger page gets more than one byte.
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
            // A kernel without huge pages refuses both. `Costs::huge` tells what the system did.
            // SAFETY: neither changes a byte of the memory.
            let _ = unsafe { madvise(memory.start(), memory.size.get(), advice) };
        }
        let mut data = Self(memory);
        write_to_each_page(data.bytes());
        Ok(data)
    }

    fn bytes(&mut self) -> &mut [u8] {
        let Some(memory) = &self.0 else {
            return &mut [];
        };
        // SAFETY: the memory has this size, was zeroed in the beginning, and belongs to this `Data`
        // alone, which cannot be dropped while its bytes are borrowed.
        unsafe { NonNull::slice_from_raw_parts(memory.start(), memory.size.get()).as_mut() }
    }
}

fn write_to_each_page(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().step_by(PAGE) {
        *byte = black_box(1);
    }
    // Without this, the compiler could leave the writes out: nothing reads what they wrote.
    black_box(bytes);
}

/// A parent, and what it measured in each round.
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
    let mut finding = judge(&cases);
    finding.tables = tables(&cases);
    finding
        .tables
        .extend(afterwards::table(lab, afterwards_budget)?);
    finding.plots.push(plot(&cases));
    finding.left_out = left_out;
    Ok(finding)
}

/// Parents without memory and with more and more, in small pages and in huge ones.
fn parents(mode: Mode, left_out: &mut Vec<String>) -> Vec<Parent> {
    let (sizes, not_tried): (&[u64], _) = mode.pick(
        (
            &[0, 32],
            Some("64 MiB and 256 MiB: --quick has no time for them"),
        ),
        (&[0, 64, 256], Some("1 GiB and 4 GiB: only with --full")),
        (&[0, 64, 256, 1024, 4096], None),
    );
    left_out.extend(not_tried.map(str::to_owned));
    if cfg!(not(unix)) {
        left_out.push("fork, and what it costs afterwards: it exists on Unix only".to_owned());
    }
    if cfg!(not(target_os = "linux")) {
        left_out.push("huge pages, and what memory processes share: only Linux tells".to_owned());
    }
    let mut parents = Vec::new();
    for size in sizes {
        let memory = size * MIB;
        let pages = Pages::Small;
        parents.push(Parent { memory, pages });
        // Without memory there are no pages.
        if cfg!(target_os = "linux") && memory > 0 {
            let pages = Pages::Huge;
            parents.push(Parent { memory, pages });
        }
    }
    parents
}

/// # Errors
/// [`NoRoom`] with the cause, if this parent has to be left out.
fn try_out(&parent: &Parent) -> anyhow::Result<()> {
    fits(parent.memory, machine::available_memory())?;
    Ok(as_asked(parent, trial::run(&COSTS, &parent)?.huge)?)
}

/// The system need not do as it is asked: so many bytes of the parent's memory lie in huge pages.
fn as_asked(parent: Parent, huge: f64) -> Result<(), NoRoom> {
    let mostly = huge > parent.memory as f64 / 2.0;
    if mostly == (parent.pages == Pages::Huge) {
        return Ok(());
    }
    let huge = amount(huge, Unit::Bytes);
    Err(NoRoom(format!(
        "the system has put {huge} of it in huge pages"
    )))
}

/// At most half of the available memory is used: other programs may need the rest meanwhile.
fn fits(memory: u64, available: u64) -> Result<(), NoRoom> {
    if memory <= available / 2 {
        return Ok(());
    }
    let available = amount(available as f64, Unit::Bytes);
    Err(NoRoom(format!(
        "only {available} is available, and no more than half of it is for us"
    )))
}

/// The costs at once, and afterwards.
///
/// With huge pages, the page tables are reported as large as with small ones: Linux keeps an empty
/// table in reserve for each huge page, in case it has to split the page, and counts that table
/// too. A fork copies nothing from it.
fn tables(cases: &[Case]) -> Vec<Table> {
    let seconds = Unit::Seconds;
    let at_once = Table::of(
        "From start to join, as the parent's memory grows:",
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
    let has_written = |it: &&Case| it.samples.iter().all(|costs| costs.first_write.is_some());
    let have_written: Vec<&Case> = cases.iter().filter(has_written).collect();
    let figure = |it: &Case, unit, of: fn(FirstWrite) -> f64| {
        it.figure_if_any(unit, |costs| costs.first_write.map(of))
            .into()
    };
    let afterwards = Table::of(
        "What the child then pays, for each 4 KiB of its parent's memory that it writes to:",
        &have_written,
        &[
            ("the parent has", &|it| it.variant.to_string().into()),
            ("page faults", &|it| {
                figure(it, Unit::Count, |write| write.faults)
            }),
            ("the first write", &|it| {
                figure(it, seconds, |write| write.first)
            }),
            ("the second", &|it| {
                figure(it, seconds, |write| write.second)
            }),
        ],
    );
    let tables = [at_once, afterwards].into_iter();
    tables.filter(|table| !table.rows.is_empty()).collect()
}

fn plot(cases: &[Case]) -> Plot {
    let line = |name, pages, cost: fn(&Costs) -> Option<f64>| {
        // The parent without memory is a point of all lines.
        let is_of_line = |case: &&Case| case.variant.pages == pages || case.variant.memory == 0;
        let point = |case: &Case| {
            let figure = case.figure_if_any(Unit::Seconds, cost)?;
            Some((case.variant.memory as f64, figure.interval))
        };
        Line::new(name, cases.iter().filter(is_of_line).filter_map(point))
    };
    let lines = [
        line("thread", Pages::Small, |costs| Some(costs.thread)),
        line("fork", Pages::Small, |costs| costs.fork),
        line("fork, huge pages", Pages::Huge, |costs| costs.fork),
        line("spawn", Pages::Small, |costs| Some(costs.spawn)),
    ];
    Plot::new(
        "What threads and processes cost as the parent's memory grows",
        Axis::linear("memory of the parent", Unit::Bytes),
        Axis::logarithmic("from start to join", Unit::Seconds),
        // A single point is not drawn.
        lines.into_iter().filter(|line| line.points.len() > 1),
    )
}

/// A fork must be cheap for every parent. The reason names the parent with the most expensive fork.
fn judge(cases: &[Case]) -> Finding {
    let mut verdicts = Vec::new();
    let mut most_expensive: Option<(Parent, Figure)> = None;
    let mut largest = 0;
    for case in cases {
        let ratio = case.figure_if_any(Unit::Ratio, |costs| Some(costs.fork? / costs.spawn));
        let Some(ratio) = ratio else { continue };
        verdicts.push(verdict::at_most(ratio.interval, CHEAP));
        let median = |figure: Figure| figure.interval.median;
        if most_expensive.is_none_or(|(_, most)| median(most) < median(ratio)) {
            most_expensive = Some((case.variant, ratio));
        }
        largest = largest.max(case.variant.memory);
    }
    let Some((parent, ratio)) = most_expensive else {
        let reason = "no fork could be measured here";
        return Finding::new(Verdict::NotMeasured, reason, "no fork");
    };
    let (verdict, why) = match verdict::every(verdicts) {
        Verdict::Fails => (
            Verdict::Fails,
            "one parent with an expensive fork refutes \"however much\"",
        ),
        Verdict::Holds if largest < MUCH => (
            Verdict::Unclear,
            "but parents with much memory were not tried",
        ),
        verdict => (verdict, "and no other parent's fork costs more"),
    };
    Finding::new(
        verdict,
        format!(
            "a fork by a parent with {parent} costs, compared with a spawn by the same parent, \
             {ratio}: {why}"
        ),
        format!("fork / spawn: {ratio} with {parent}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parent has this memory in MiB, and a fork takes this time. A thread takes 1, and a spawn 9.
    fn case((mib, pages, fork): (u64, Pages, Option<f64>)) -> Case {
        let variant = Parent {
            memory: mib * MIB,
            pages,
        };
        let costs = Costs {
            thread: 1.0,
            spawn: 9.0,
            fork,
            ..Costs::default()
        };
        Case {
            variant,
            samples: vec![costs; 8],
        }
    }

    fn judged(parents: &[(u64, Pages, Option<f64>)]) -> Finding {
        judge(&parents.iter().copied().map(case).collect::<Vec<_>>())
    }

    #[test]
    fn one_parent_with_an_expensive_fork_refutes_it() {
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
    fn the_parent_with_the_most_expensive_fork_is_named() {
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
        let why = "refutes \"however much\"";
        assert!(finding.reason.ends_with(why), "{}", finding.reason);
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

    #[test]
    fn a_parent_whose_memory_lies_in_other_pages_than_it_asked_for_is_left_out() {
        let left_out = |pages| {
            let memory = 32 * MIB;
            // This many MiB lie in huge pages.
            [0, 15, 17, 32].map(|huge| {
                let huge = (huge * MIB) as f64;
                as_asked(Parent { memory, pages }, huge).is_err()
            })
        };
        assert_eq!(left_out(Pages::Small), [false, false, true, true]);
        assert_eq!(left_out(Pages::Huge), [true, true, false, false]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn all_parents_but_the_one_without_memory_are_tried_with_both_sizes_of_pages() {
        let mut left_out = Vec::new();
        let parents = parents(Mode::Default, &mut left_out);
        let names: Vec<String> = parents.iter().map(Parent::to_string).collect();
        assert_eq!(
            names,
            [
                "no memory",
                "64.0 MiB",
                "64.0 MiB in huge pages",
                "256 MiB",
                "256 MiB in huge pages"
            ]
        );
        assert_eq!(left_out, ["1 GiB and 4 GiB: only with --full"]);
    }

    #[test]
    fn each_line_of_the_plot_has_its_own_parents_and_a_single_point_is_not_drawn() {
        let lines = |parents: &[_]| -> Vec<String> {
            let cases: Vec<Case> = parents.iter().copied().map(case).collect();
            let lines = plot(&cases).lines.into_iter().map(|line| {
                let points = line.points.iter();
                let times: Vec<f64> = points.map(|point| point.y.median).collect();
                format!("{}: {times:?}", line.name)
            });
            lines.collect()
        };
        let parents = [
            (0, Pages::Small, Some(2.0)),
            (64, Pages::Small, Some(3.0)),
            (64, Pages::Huge, Some(4.0)),
        ];
        let [thread, fork, huge, spawn] = [
            "thread: [1.0, 1.0]",
            "fork: [2.0, 3.0]",
            "fork, huge pages: [2.0, 4.0]",
            "spawn: [9.0, 9.0]",
        ];
        assert_eq!(lines(&parents), [thread, fork, huge, spawn]);
        assert_eq!(lines(&parents[..2]), [thread, fork, spawn]);
    }
}
