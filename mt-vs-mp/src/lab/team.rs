//! A team: members that are started one after the other, wait until all are there, and begin at
//! once. They are processes or threads, and talk to whoever started them by the ends of pipes alone.
//!
//! Nobody ever writes to these pipes. A pipe ends when the last of those who hold its writing end
//! has closed it, so the end of one says that all are there, and that of another that all are done:
//! also if one of them was killed. And the end of a third wakes as many as wait for it.

use std::{
    io::{self, PipeReader, PipeWriter, Read},
    sync::Arc,
    thread::{self, JoinHandle},
};

use anyhow::{Context, anyhow};

use super::fork;

/// What the members are.
enum Members {
    Processes(Vec<fork::Child>),
    Threads(Vec<JoinHandle<anyhow::Result<()>>>),
}

/// All members are there, and wait for [`Team::begin`].
pub struct Team {
    members: Members,
    begin: PipeWriter,
    done: PipeReader,
}

/// All members are at their work, or have done it.
pub struct Working {
    members: Members,
    done: PipeReader,
}

/// What each member holds of the pipes.
struct Ends {
    there: PipeWriter,
    begin: PipeReader,
    done: PipeWriter,
}

impl Team {
    /// Forks the members, each of which does `work` with its number, from 0.
    ///
    /// # Safety
    /// No other thread may exist in this process: see [`fork::child`].
    pub unsafe fn processes(
        members: usize,
        work: impl Fn(usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let (there, begin, done, ends) = pipes()?;
        let (mut begin, mut ends) = (Some(begin), Some(ends));
        let mut children = Vec::with_capacity(members);
        for number in 0..members {
            let member = || {
                // Closes this child's copy alone. Kept, it would hold the sign to begin back.
                begin = None;
                let ends = ends.take().context("they are its own")?;
                drop(ends.there);
                await_end(&ends.begin)?;
                work(number)
            };
            // SAFETY: as for this function.
            let child = unsafe { fork::child(member) };
            children.push(child.with_context(|| cannot_start("process", number, members))?);
        }
        drop(ends);
        await_end(&there)?;
        Ok(Self {
            members: Members::Processes(children),
            begin: begin.context("only the children close it")?,
            done,
        })
    }

    /// The same by threads of this process.
    pub fn threads(
        members: usize,
        work: impl Fn(usize) -> anyhow::Result<()> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let (there, begin, done, ends) = pipes()?;
        // The last one that lets go of an end closes it.
        let (is_there, may_begin, is_done) = (
            Arc::new(ends.there),
            Arc::new(ends.begin),
            Arc::new(ends.done),
        );
        let work = Arc::new(work);
        let mut threads = Vec::with_capacity(members);
        for number in 0..members {
            let (is_there, may_begin, is_done, work) = (
                is_there.clone(),
                may_begin.clone(),
                is_done.clone(),
                work.clone(),
            );
            let member = move || {
                drop(is_there);
                await_end(&may_begin)?;
                let result = work(number);
                drop(is_done);
                result
            };
            let thread = thread::Builder::new().spawn(member);
            threads.push(thread.with_context(|| cannot_start("thread", number, members))?);
        }
        drop((is_there, is_done));
        await_end(&there)?;
        Ok(Self {
            members: Members::Threads(threads),
            begin,
            done,
        })
    }

    /// The ids of the processes; none for threads.
    pub fn ids(&self) -> Vec<u32> {
        match &self.members {
            Members::Processes(children) => children.iter().map(fork::Child::id).collect(),
            Members::Threads(_) => Vec::new(),
        }
    }

    /// Lets all of them begin. When this returns, all have been woken.
    pub fn begin(self) -> Working {
        drop(self.begin);
        Working {
            members: self.members,
            done: self.done,
        }
    }
}

impl Working {
    /// Waits until all have done their work.
    pub fn until_done(&self) -> anyhow::Result<()> {
        await_end(&self.done)
    }

    /// Waits for the end of each, whatever became of the others.
    ///
    /// # Errors
    /// When one has failed or was killed.
    pub fn join(self) -> anyhow::Result<()> {
        let ends: Vec<anyhow::Result<()>> = match self.members {
            Members::Processes(children) => children.into_iter().map(fork::Child::join).collect(),
            Members::Threads(threads) => {
                let join = |thread: JoinHandle<_>| match thread.join() {
                    Ok(result) => result,
                    Err(_) => Err(anyhow!("a thread panicked")),
                };
                threads.into_iter().map(join).collect()
            }
        };
        ends.into_iter().collect()
    }
}

fn pipes() -> anyhow::Result<(PipeReader, PipeWriter, PipeReader, Ends)> {
    let pipe = || io::pipe().context("cannot make a pipe");
    let (all_there, there) = pipe()?;
    let (may_begin, begin) = pipe()?;
    let (all_done, done) = pipe()?;
    let ends = Ends {
        there,
        begin: may_begin,
        done,
    };
    Ok((all_there, begin, all_done, ends))
}

fn await_end(mut pipe: &PipeReader) -> anyhow::Result<()> {
    pipe.read_to_end(&mut Vec::new())
        .context("cannot wait for the others")?;
    Ok(())
}

fn cannot_start(what: &str, number: usize, of: usize) -> String {
    format!("cannot start {what} {} of {of}", number + 1)
}
