//! Ends what the tests have started when all of it stands still. Some waits of a test have no limit
//! of their own: the read of a pipe, for example.

use std::sync::atomic::AtomicBool;

/// Whether it has ended them.
pub static HAS_KILLED: AtomicBool = AtomicBool::new(false);

/// Starts to look, once for all tests of the program.
pub fn watch() {
    #[cfg(target_os = "linux")]
    {
        static STARTED: std::sync::Once = std::sync::Once::new();
        STARTED.call_once(|| drop(std::thread::spawn(linux::look)));
    }
}

#[cfg(target_os = "linux")]
pub mod linux {
    use std::{
        fs, process,
        sync::atomic::Ordering::Relaxed,
        thread,
        time::{Duration, Instant},
    };

    use super::{
        super::{HUNG, kill_group, stuck::children},
        HAS_KILLED,
    };

    /// How long everything may stand still. The longest wait of a test takes a third of it.
    const LIMIT: Duration = Duration::from_secs(30);

    /// Processes that use the processor no longer than this in that time stand still. In ticks, of
    /// which a second has 100.
    const STILL: u64 = 50;

    pub fn look() {
        let (mut since, mut before) = (Instant::now(), ticks_of_all());
        loop {
            thread::sleep(Duration::from_secs(1));
            let now = ticks_of_all();
            // It is less than before if a process has ended whose parent does not want to know.
            if now.abs_diff(before) > STILL {
                (since, before) = (Instant::now(), now);
            } else if since.elapsed() > LIMIT {
                HUNG.store(true, Relaxed);
                HAS_KILLED.store(true, Relaxed);
                children(process::id()).into_iter().for_each(kill_group);
            }
        }
    }

    /// How long all descendants of this process have used a processor.
    fn ticks_of_all() -> u64 {
        let [_, _, reaped @ ..] = ticks(process::id()).unwrap_or_default();
        let mut sum: u64 = reaped.iter().sum();
        let mut left = children(process::id());
        while let Some(process) = left.pop() {
            sum += ticks(process).unwrap_or_default().iter().sum::<u64>();
            left.extend(children(process));
        }
        sum
    }

    /// How long a process has used a processor: in its own code, and in the system for it; then the
    /// same of the children that it has reaped. In ticks; `None` if there is no such process. See
    /// proc_pid_stat(5).
    pub fn ticks(process: u32) -> Option<[u64; 4]> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The second field is a name in parentheses, which may hold spaces.
        let fields = stat.rsplit(')').next()?.split_whitespace();
        // The fields 14 to 17. The first one here is field 3.
        let fields: Vec<u64> = fields.skip(11).map_while(|f| f.parse().ok()).collect();
        fields.first_chunk().copied()
    }
}
