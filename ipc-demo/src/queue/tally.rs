//! Counts the items that have come from each writer, so that a lost item is noticed.

use anyhow::ensure;

use super::{Item, Plan};

pub struct Tally {
    plan: Plan,
    /// How many items have come from each writer. That is also the number of its next item.
    received: Vec<u32>,
}

impl Tally {
    pub fn new(plan: Plan) -> Self {
        let received = vec![0; plan.writers as usize];
        Self { plan, received }
    }

    /// Counts an item.
    ///
    /// # Errors
    /// It is not the next item of its writer.
    pub fn count(&mut self, item: Item) -> anyhow::Result<()> {
        let due = &mut self.received[item.writer as usize];
        ensure!(
            item.number == *due,
            "writer {}'s item {} came when {due} was due",
            item.writer + 1,
            item.number,
        );
        *due += 1;
        Ok(())
    }

    /// How many items have come from all writers.
    pub fn total(&self) -> u64 {
        self.received.iter().copied().map(u64::from).sum()
    }

    /// Checks, at the end of the queue, that all items have come.
    ///
    /// # Errors
    /// Some writers have put fewer items than planned: they have ended early. The error names them.
    pub fn check_complete(&self) -> anyhow::Result<()> {
        let items = self.plan.items;
        // `(1..)` counts from 1: the printed numbers of the writers.
        let lost: Vec<_> = (1..)
            .zip(&self.received)
            .filter(|(_, received)| **received < items)
            .map(|(writer, received)| format!("writer {writer} put {received} of {items} items"))
            .collect();
        ensure!(
            lost.is_empty(),
            "the queue ended early, the rest is lost: {}",
            lost.join(", ")
        );
        Ok(())
    }
}
