//! Counts the items that have come from each writer, so that a lost item is noticed.

use anyhow::ensure;

use super::{Item, Plan};

pub struct Tally {
    plan: Plan,
    /// Per writer; this is also the number of the item that comes next.
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
    /// When it is not the next one of its writer.
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

    /// The items of all writers.
    pub fn total(&self) -> u64 {
        self.received.iter().copied().map(u64::from).sum()
    }

    /// Checks, at the end of the queue, that everything has come.
    ///
    /// # Errors
    /// Names the writers that put fewer items than planned: they died.
    pub fn check_complete(&self) -> anyhow::Result<()> {
        let items = self.plan.items;
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
