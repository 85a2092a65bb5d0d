//! How a master and its crowd talk: by pipes, and by the ends of pipes.
//!
//! Nobody ever writes to the pipes for the signs. They end when the master lets go of its end: that
//! wakes as many as there are, and comes also when the master is killed. No worker needs a
//! descriptor of its own in the master.

use std::io::{self, PipeReader, PipeWriter};

/// The ends that the master keeps. To drop `begin` or `leave` gives that sign.
pub struct Master {
    pub begin: PipeWriter,
    pub leave: PipeWriter,
    pub results: PipeReader,
    pub lateness: PipeReader,
}

/// The ends that every worker holds.
pub struct Ends {
    pub begin: PipeReader,
    pub leave: PipeReader,
    pub lateness: PipeWriter,
}

/// The third is the end for the results, of which a worker lets go as soon as it has given its own.
pub fn pipes() -> io::Result<(Master, Ends, PipeWriter)> {
    let (begin, give_begin) = io::pipe()?;
    let (leave, give_leave) = io::pipe()?;
    let (results, give_result) = io::pipe()?;
    let (lateness, give_lateness) = io::pipe()?;
    let master = Master {
        begin: give_begin,
        leave: give_leave,
        results,
        lateness,
    };
    let ends = Ends {
        begin,
        leave,
        lateness: give_lateness,
    };
    Ok((master, ends, give_result))
}
