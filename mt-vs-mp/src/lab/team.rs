//! A team: its members start one after the other and wait until all are there; then all begin at
//! the same time. They are processes or threads. Pipes alone connect them with their master, the
//! thread that starts the team:
//!
//! ```text
//! all_there   master reads  <──  members hold the writing end until they are there
//! may_begin   members read  <──  master holds the writing end until `begin`
//! all_done    master reads  <──  members hold the writing end until they have done their work
//! ```
//!
//! No byte is ever written to these pipes. A pipe ends for its readers when the last holder of its
//! writing end has closed it, also if that holder was killed. The end of one pipe wakes all its
//! readers.

use std::{
    io::{self, PipeReader, PipeWriter, Read},
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::{Context, anyhow};

use super::{fork, role};

/// The members: child processes, or threads.
enum Members {
    Processes(Vec<fork::Child>),
    Threads(Vec<JoinHandle<anyhow::Result<()>>>),
}

/// A team whose members are all there, and wait for [`Team::begin`].
pub struct Team {
    members: Members,
    may_begin: PipeWriter,
    all_done: PipeReader,
}

/// A team whose members are at work, or have done it.
pub struct Working {
    members: Members,
    all_done: PipeReader,
}

/// The ends of the pipes that the master holds.
struct MasterEnds {
    all_there: PipeReader,
    may_begin: PipeWriter,
    all_done: PipeReader,
}

/// The ends of the pipes that each member holds.
struct MemberEnds {
    all_there: PipeWriter,
    may_begin: PipeReader,
    all_done: PipeWriter,
}

impl Team {
    /// Forks the members. Each of them does `work` with its number, from 0.
    ///
    /// # Safety
    /// No other thread may exist in this process: see [`fork::child`].
    pub unsafe fn processes(
        members: usize,
        work: impl Fn(usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let (master, member) = pipes()?;
        // In `Option`s, because each child has its own copies and takes them out of there.
        let (mut may_begin, mut ends) = (Some(master.may_begin), Some(member));
        let mut children = Vec::with_capacity(members);
        for number in 0..members {
            let member = || {
                role::end_with_the_parent()?;
                // Closes this child's copy. If the child kept it, no member would ever begin.
                may_begin = None;
                // `all_done` is closed when `ends` goes out of scope: after the work.
                let ends = ends.take().context("each child has its own copy")?;
                drop(ends.all_there);
                await_end(&ends.may_begin)?;
                work(number)
            };
            // SAFETY: see this function's own precondition.
            let child = unsafe { fork::child(member) };
            children.push(child.with_context(|| cannot_start("process", number, members))?);
        }
        drop(ends);
        await_end(&master.all_there)?;
        Ok(Self {
            members: Members::Processes(children),
            may_begin: may_begin.context("only the children close it")?,
            all_done: master.all_done,
        })
    }

    /// Starts the members as threads of this process. Each does `work` with its number, from 0.
    pub fn threads(
        members: usize,
        work: impl Fn(usize) -> anyhow::Result<()> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let (master, member) = pipes()?;
        // Each thread holds a reference. When the last one is dropped, the pipe's end is closed.
        let all_there = Arc::new(member.all_there);
        let may_begin = Arc::new(member.may_begin);
        let all_done = Arc::new(member.all_done);
        let work = Arc::new(work);
        let mut threads = Vec::with_capacity(members);
        for number in 0..members {
            let (all_there, may_begin) = (all_there.clone(), may_begin.clone());
            let (all_done, work) = (all_done.clone(), work.clone());
            let member = move || {
                drop(all_there);
                await_end(&may_begin)?;
                let result = work(number);
                drop(all_done);
                result
            };
            let thread = thread::Builder::new().spawn(member);
            threads.push(thread.with_context(|| cannot_start("thread", number, members))?);
        }
        drop((all_there, all_done));
        await_end(&master.all_there)?;
        Ok(Self {
            members: Members::Threads(threads),
            may_begin: master.may_begin,
            all_done: master.all_done,
        })
    }

    /// The ids of the processes; none for threads.
    pub fn ids(&self) -> Vec<u32> {
        match &self.members {
            Members::Processes(children) => children.iter().map(fork::Child::id).collect(),
            Members::Threads(_) => Vec::new(),
        }
    }

    /// Wakes all members, which then begin their work.
    pub fn begin(self) -> Working {
        drop(self.may_begin);
        Working {
            members: self.members,
            all_done: self.all_done,
        }
    }
}

impl Working {
    /// Waits until all members have done their work, or have died.
    pub fn until_done(&self) -> anyhow::Result<()> {
        await_end(&self.all_done)
    }

    /// Waits for the end of every member, also if some have failed. (Processes are killed when one
    /// of them has failed.)
    ///
    /// # Errors
    /// When a member has failed or was killed.
    pub fn join(self) -> anyhow::Result<()> {
        let threads = match self.members {
            Members::Processes(children) => return fork::join_all(children),
            Members::Threads(threads) => threads,
        };
        let join = |thread: JoinHandle<_>| match thread.join() {
            Ok(result) => result,
            Err(_) => Err(anyhow!("a thread panicked")),
        };
        let results: Vec<anyhow::Result<()>> = threads.into_iter().map(join).collect();
        // The first error, if there is one.
        results.into_iter().collect()
    }
}

fn pipes() -> anyhow::Result<(MasterEnds, MemberEnds)> {
    let pipe = || io::pipe().context("cannot make a pipe");
    let (there_reader, there_writer) = pipe()?;
    let (begin_reader, begin_writer) = pipe()?;
    let (done_reader, done_writer) = pipe()?;
    let master = MasterEnds {
        all_there: there_reader,
        may_begin: begin_writer,
        all_done: done_reader,
    };
    let member = MemberEnds {
        all_there: there_writer,
        may_begin: begin_reader,
        all_done: done_writer,
    };
    Ok((master, member))
}

/// Waits for the end of a pipe.
fn await_end(mut pipe: &PipeReader) -> anyhow::Result<()> {
    pipe.read_to_end(&mut Vec::new())
        .context("cannot wait for the others")?;
    Ok(())
}

fn cannot_start(what: &str, number: usize, members: usize) -> String {
    format!("cannot start {what} {} of {members}", number + 1)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use anyhow::ensure;

    use super::*;

    #[test]
    fn threads_work_after_the_begin_each_with_its_number() {
        let sum = Arc::new(AtomicUsize::new(0));
        let of_work = sum.clone();
        let team = Team::threads(5, move |number| {
            of_work.fetch_add(10 + number, SeqCst);
            Ok(())
        });
        let team = team.expect("there is room for five");
        assert!(team.ids().is_empty());
        assert_eq!(sum.load(SeqCst), 0);
        let working = team.begin();
        working.until_done().expect("they end");
        assert_eq!(sum.load(SeqCst), 60);
        working.join().expect("none failed");
    }

    #[test]
    fn the_first_member_that_failed_is_the_error() {
        let join = |work: fn(usize) -> anyhow::Result<()>| {
            let team = Team::threads(3, work).expect("there is room for three");
            let result = team.begin().join();
            result.expect_err("a member failed").to_string()
        };
        let fails = |number| {
            ensure!(number == 0, "number {number} failed");
            Ok(())
        };
        assert_eq!(join(fails), "number 1 failed");
        let panics = |number| match number {
            2 => panic!("as this test wants"),
            _ => Ok(()),
        };
        assert_eq!(join(panics), "a thread panicked");
    }
}
