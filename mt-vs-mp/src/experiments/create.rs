//! What a thread costs, and what a process: from the call that starts it until it has been joined.
//!
//! Each of them does nothing, so that only its making and its end are timed. The process that makes
//! them is as small as a process of this program can be; what a large one pays for its forks is
//! another experiment.
//!
//! The system may put what is new on the core of whoever makes it, or on another one, which may be
//! asleep and has to be woken. That can double the figure, and is decided anew each time. So all of
//! it is done twice: pinned to one core, where there is nothing to decide, and unpinned.

use super::Experiment;
use crate::{
    lab::{
        Lab,
        pin::{self, Place},
        statistics::median,
        trial::Trial,
        verdict::Judgement,
    },
    report::{Finding, Table, figure::Figure},
};

mod compared;
pub mod way;

use compared::Compared;
use way::{NOTHING, Way, the_true_program};

pub const EXPERIMENT: Experiment = Experiment {
    name: "create",
    claim: "Creating a process is expensive, but with fork it will do.",
    share: 8,
    run,
    roles: &[&CREATE, &NOTHING],
};

fn run(lab: &Lab) -> anyhow::Result<(Finding, Judgement)> {
    let mut finding = Finding::default();
    let ways = ways(&mut finding);
    let places = places(&mut finding);
    let variants: Vec<(Place, Way)> = places
        .iter()
        .flat_map(|&place| ways.iter().map(move |&way| (place, way)))
        .collect();
    let samples = lab.alternate(lab.budget, &variants, |variant| CREATE.run(variant))?;

    let mut table = Table::new(
        "One after the other, each doing nothing:",
        [
            "all on",
            "what",
            "from its start to its joined end",
            "times a thread",
        ],
    );
    let mut compared = Vec::new();
    for (&place, samples) in places.iter().zip(samples.chunks(ways.len())) {
        for (way, samples_of_way) in ways.iter().zip(samples) {
            table.rows.push(vec![
                place.name().into(),
                way.name().into(),
                Figure::seconds(samples_of_way).into(),
                Figure::times(samples_of_way, &samples[0]).into(),
            ]);
        }
        compared.push(Compared::of(place, &ways, samples)?);
    }
    table.bars = Some(2);
    finding.tables.push(table);
    finding.headline = compared::headline(&compared);
    Ok((finding, compared::judge(&compared)))
}

/// What there is to create here, first of all a thread.
fn ways(finding: &mut Finding) -> Vec<Way> {
    let mut ways = vec![Way::Thread];
    if cfg!(unix) {
        ways.extend([Way::StdThread, Way::Fork]);
    } else {
        finding.leave_out("fork: it exists on Unix only");
    }
    match the_true_program() {
        Some(_) => ways.push(Way::SpawnTrue),
        None => finding.leave_out("spawn of `true`: there is no such program"),
    }
    ways.push(Way::SpawnSelf);
    ways
}

/// One core where a program can choose it, and wherever the system likes.
fn places(finding: &mut Finding) -> Vec<Place> {
    let mut places = pin::places(&mut Vec::new());
    places.retain(|place| !matches!(place, Place::Two(..)));
    if places == [Place::Free] {
        finding.leave_out("pinned to one core: only Linux lets a program choose");
    }
    places
}

/// The median time of one creation, in seconds.
static CREATE: Trial<(Place, Way), f64> = Trial {
    name: "create",
    body: |(place, way)| {
        // What it creates inherits the core.
        place.pin_first()?;
        let mut times = Vec::with_capacity(way.calls());
        for _ in 0..way.calls() / 10 {
            way.time()?;
        }
        for _ in 0..way.calls() {
            times.push(way.time()?.as_secs_f64());
        }
        Ok(median(times))
    },
};
