//! A master of three workers is killed, and whoever is still there is counted.

use serde::{Deserialize, Serialize};

use crate::{
    lab::{
        Lab,
        role::Role,
        trial::Trial,
        verdict::{self, Judgement},
    },
    report::{Cell, Finding, Table},
};

mod observer;

pub const ROLES: &[&dyn Role] = &[&OBSERVE, &observer::MASTER];

const WORKERS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Workers {
    Threads,
    Processes,
    /// Processes that hold a pipe from the master, and end when it does.
    Watching,
    /// Processes that asked Linux to be killed when their parent dies (`PR_SET_PDEATHSIG`).
    Tied,
}

impl Workers {
    const ALL: [Self; 4] = [Self::Threads, Self::Processes, Self::Watching, Self::Tied];

    fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::Processes => "processes",
            Self::Watching => "processes that watch a pipe from the master",
            Self::Tied => "processes tied to the master (PR_SET_PDEATHSIG)",
        }
    }
}

pub fn run(lab: &Lab) -> anyhow::Result<(Finding, Judgement)> {
    let mut finding = Finding::default();
    let mut table = Table::new(
        "The master of three workers is killed (SIGKILL):",
        ["workers are", "alive after it"],
    );
    let mut survivors = Vec::new();
    for workers in Workers::ALL {
        if workers == Workers::Tied && cfg!(not(target_os = "linux")) {
            finding.leave_out(format!("{}: Linux alone has this", workers.name()));
            continue;
        }
        lab.go_on()?;
        let alive = OBSERVE.run(&workers)?;
        let outcome = Cell::Outcome {
            text: format!("{alive} of {WORKERS}"),
            good: alive == 0,
        };
        table.rows.push(vec![workers.name().into(), outcome]);
        survivors.push((workers, alive));
    }
    finding.tables.push(table);
    let alive = |of| {
        let found = survivors.iter().find(|(workers, _)| *workers == of);
        found.map_or(0, |(_, alive)| *alive)
    };
    let (threads, processes) = (alive(Workers::Threads), alive(Workers::Processes));
    finding.headline =
        format!("alive after the master: threads {threads}, processes {processes} of {WORKERS}");
    Ok((finding, judge(threads, processes)))
}

/// By the workers that nobody told to die with their master, nor to live on.
fn judge(threads: usize, processes: usize) -> Judgement {
    Judgement::new(
        verdict::all([threads, processes].map(|alive| verdict::is(alive == 0))),
        format!(
            "{threads} of {WORKERS} threads lived on, and {processes} of {WORKERS} processes: a process dies \
             with its master only if it sees to that itself"
        ),
    )
}

/// How many workers are alive after their master.
static OBSERVE: Trial<Workers, usize> = Trial {
    name: "master",
    body: observer::observe,
};
