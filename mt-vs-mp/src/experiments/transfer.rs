//! What moving data costs: between two threads, and between two processes, by the size of the
//! message.
//!
//! Every message is marked with its number, once in each 4 KiB and at its end, and the receiver
//! looks at each mark. So all of it has arrived; but no more is read of it than that, for what is
//! done with a message is another matter.

use super::Experiment;
use crate::{
    lab::{
        Lab, Mode,
        statistics::median,
        verdict::{self, Judgement, Verdict},
    },
    report::{
        Finding,
        figure::{Figure, Unit, amount},
    },
};

mod message;
mod processes;
#[cfg(unix)]
mod shared;
mod shown;
mod threads;
mod way;

use message::Batch;
use way::{TRANSFER, Way};

pub const EXPERIMENT: Experiment = Experiment {
    name: "transfer",
    claim: "Large data gets from thread to thread far faster than from process to process.",
    share: 11,
    run,
    roles: &[&TRANSFER, &processes::RECEIVER],
};

/// "Far faster": processes take at least so many times as long.
const FAR: f64 = 2.0;

/// One way's times per message: in each round, one for each batch.
struct Times {
    way: Way,
    rounds: Vec<Vec<f64>>,
}

impl Times {
    /// Those of one batch, by its place.
    fn of(&self, batch: usize) -> Vec<f64> {
        self.rounds.iter().map(|round| round[batch]).collect()
    }
}

fn run(lab: &Lab) -> anyhow::Result<(Finding, Judgement)> {
    let mut finding = Finding::default();
    let batches = batches(lab.mode);
    if lab.mode == Mode::Quick {
        finding.leave_out("16 MiB: --quick has no time for it");
    }
    let mut ways = Way::ALL.to_vec();
    if cfg!(not(unix)) {
        ways.retain(|&way| way != Way::SharedMemory);
        finding.leave_out("shared memory: it needs fork here, which exists on Unix only");
    }
    let rounds = lab.alternate(lab.budget, &ways, |&way| {
        TRANSFER.run(&(way, batches.clone()))
    })?;
    let times: Vec<Times> = ways
        .into_iter()
        .zip(rounds)
        .map(|(way, rounds)| Times { way, rounds })
        .collect();
    finding.tables.push(shown::table(&batches, &times));
    finding.plots.push(shown::plot(&batches, &times));
    let (headline, judgement) = judge(&batches, &times);
    finding.headline = headline;
    Ok((finding, judgement))
}

/// From 64 bytes to 16 MiB, each eight times the one before: of the small ones many, and of all so
/// much that the first and the last of them do not matter.
fn batches(mode: Mode) -> Vec<Batch> {
    let (sizes, bytes, most) = match mode {
        Mode::Quick => (6, 1 << 20, 300),
        Mode::Default => (7, 16 << 20, 1000),
        Mode::Full => (7, 64 << 20, 10_000),
    };
    let sizes = (0..sizes).map(|step| 64_usize << (3 * step));
    let batch = |size| Batch {
        size,
        messages: (bytes / size).clamp(2, most),
    };
    sizes.map(batch).collect()
}

/// By the largest messages: with small ones, to wake the other takes longer than the data.
fn judge(batches: &[Batch], times: &[Times]) -> (String, Judgement) {
    let last = batches.len().saturating_sub(1);
    let largest = |times: &Times| (times.way, times.of(last));
    let of = |way| times.iter().map(largest).find(|it| it.0 == way);
    let processes = times
        .iter()
        .map(largest)
        .filter(|it| it.0.is_of_processes());
    let best = processes.min_by(|a, b| {
        let [a, b] = [a, b].map(|it| median(it.1.iter().copied()));
        a.total_cmp(&b)
    });
    let (Some(size), Some((_, moved)), Some((_, copied)), Some((best, time))) =
        (batches.last(), of(Way::Moved), of(Way::Copied), best)
    else {
        let nothing = Judgement::new(Verdict::NotMeasured, "there is nothing to compare");
        return (String::new(), nothing);
    };
    let size = amount(size.size as f64, Unit::Bytes);
    let against_moved = Figure::times(&time, &moved);
    let against_copied = Figure::times(&time, &copied);
    let judgement = Judgement::new(
        verdict::at_least(against_moved.interval, FAR),
        format!(
            "the best way between processes ({}) takes {against_moved} as long for {size} as to move \
             them to another thread, and {against_copied} as long as to copy them for it",
            best.name().trim_start_matches("processes: ")
        ),
    );
    let headline = format!("{size}, processes / threads: {against_moved}");
    (headline, judgement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_messages_and_the_best_way_between_processes_decide() {
        let batches = [64, 512].map(|size| Batch { size, messages: 2 });
        let times = |way, small, large| Times {
            way,
            rounds: vec![vec![small, large]; 9],
        };
        let verdict = |shared| {
            let times = [
                times(Way::Moved, 50.0, 1.0),
                times(Way::Copied, 50.0, 4.0),
                times(Way::SharedMemory, 1.0, shared),
                times(Way::Pipe, 1.0, 99.0),
            ];
            judge(&batches, &times).1
        };
        assert_eq!(verdict(8.0).verdict, Verdict::Holds);
        assert!(verdict(8.0).reason.contains("(shared memory) takes 8.00 ×"));
        assert_eq!(verdict(1.5).verdict, Verdict::Fails);
        assert_eq!(judge(&[], &[]).1.verdict, Verdict::NotMeasured);
    }

    #[test]
    fn sizes_go_from_64_bytes_to_16_mib_each_eight_times_the_one_before() {
        let sizes: Vec<usize> = batches(Mode::Default).iter().map(|it| it.size).collect();
        assert_eq!((sizes[0], sizes[6], sizes.len()), (64, 16 << 20, 7));
        assert!(sizes.windows(2).all(|pair| pair[1] == 8 * pair[0]));
        // In a hurry, the largest is left out.
        let quick: Vec<usize> = batches(Mode::Quick).iter().map(|it| it.size).collect();
        assert_eq!(quick, sizes[..6]);
    }
}
