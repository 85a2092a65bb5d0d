//! All limits that apply here, which of them would be hit first, and the proof that one binds.

use anyhow::Context;

use crate::{
    lab::{
        Lab,
        limits::{self, Limit},
        role::Role,
        verdict::{self, Judgement},
    },
    report::{
        Cell, Finding, Table,
        figure::{Unit, amount},
    },
};

mod refusal;

use refusal::{REFUSAL, Refusal, Way};

pub const ROLES: &[&dyn Role] = &[&REFUSAL];

/// About what the kernel needs for a process beside the memory that it maps, in bytes: its stack of
/// 16 KiB, and its notes.
const KERNEL: u64 = 20 << 10;

pub fn run(lab: &Lab) -> anyhow::Result<(Finding, Judgement)> {
    let mut finding = Finding::default();
    let (what, refusal) = prove(lab, &mut finding)?;

    let mut limits = limits::of_processes();
    if let Some(each) = refusal.memory.map(|memory| memory + KERNEL) {
        let free = lab.machine.memory_available;
        let [each_has, has] = [each, free].map(|bytes| amount(bytes as f64, Unit::Bytes));
        let name = format!("memory: {has} available, {each_has} for a process that does nothing");
        limits.push(Limit::new(name, Some(free / each), 0));
    } else {
        finding.leave_out("memory: the system does not say what a process takes");
    }
    finding.tables = vec![survey(&limits), proof(what, &refusal)];

    let first = limits::first(&limits);
    finding.headline = match first {
        Some((limit, room)) => format!("{room} more, then {}", limit.name),
        None => "no limit was found".to_owned(),
    };
    let limited = refusal.error.is_some();
    let judgement = Judgement::new(
        verdict::is(limited),
        match &refusal.error {
            Some(error) => format!(
                "after {} processes the next was refused ({error}), when {what} had been lowered to {}; as \
                 it is, what would be hit first is {}",
                refusal.started,
                refusal.lowered_to,
                first.map_or("none that was found", |(limit, _)| &limit.name)
            ),
            None => format!("{what} did not stop {} processes", refusal.started),
        },
    );
    Ok((finding, judgement))
}

/// By the limit on processes if it can be made to bind, otherwise by another that binds everyone.
fn prove(lab: &Lab, finding: &mut Finding) -> anyhow::Result<(&'static str, Refusal)> {
    let (way, what) = match limits::exempt() {
        false => (Way::Ourselves, "RLIMIT_NPROC"),
        true => (Way::AnotherUser, "RLIMIT_NPROC, for an ordinary user,"),
    };
    lab.go_on()?;
    match REFUSAL.run(&way) {
        Ok(refusal) => return Ok((what, refusal)),
        Err(error) => finding.leave_out(format!("the proof by {what} {error:#}")),
    }
    lab.go_on()?;
    let refusal = REFUSAL.run(&Way::Pipes).context("nor by RLIMIT_NOFILE")?;
    Ok(("RLIMIT_NOFILE, with a pipe for each process,", refusal))
}

fn survey(limits: &[Limit]) -> Table {
    let mut table = Table::new(
        "What limits the number of processes here (threads count as well):",
        ["limit", "at most", "there are", "so many more"],
    );
    for limit in limits {
        let number = |number: Option<u64>| number.map_or("no limit".into(), |n| n.to_string());
        table.rows.push(vec![
            limit.name.clone().into(),
            number(limit.most).into(),
            limit.used.to_string().into(),
            number(limit.room()).into(),
        ]);
    }
    table
}

fn proof(what: &str, refusal: &Refusal) -> Table {
    let mut table = Table::new(
        "A process lowers a limit for itself, and forks:",
        ["limit", "lowered to", "processes started", "and the next"],
    );
    let text = match &refusal.error {
        Some(error) => format!("refused: {error}"),
        None => "was started too".to_owned(),
    };
    table.rows.push(vec![
        what.trim_end_matches(',').into(),
        refusal.lowered_to.to_string().into(),
        refusal.started.to_string().into(),
        Cell::Outcome {
            text,
            good: refusal.error.is_some(),
        },
    ]);
    table
}
