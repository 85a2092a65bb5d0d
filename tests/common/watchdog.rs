//! Ends what the tests have started when it hangs: when all of it stands still, or when one process
//! computes for ever. Some waits of a test have no limit of their own: the read of a pipe, for
//! example.

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
        super::{CPU_SECONDS, HUNG, kill_group, stuck::children},
        HAS_KILLED,
    };

    /// How long everything may stand still. The longest wait of a test takes half of it.
    const LIMIT: Duration = Duration::from_secs(20);

    /// Processes that use the processor no longer than this in that time stand still. In ticks.
    const STILL: u64 = 50;

    const TICKS_PER_SECOND: u64 = 100;

    pub fn look() {
        let (mut since, mut before) = (Instant::now(), 0);
        while since.elapsed() < LIMIT {
            thread::sleep(Duration::from_secs(1));
            let (all, most) = ticks_of_descendants();
            if most > CPU_SECONDS * TICKS_PER_SECOND {
                break;
            }
            // It is less than before if a process has ended whose parent does not want to know.
            if all.abs_diff(before) > STILL {
                (since, before) = (Instant::now(), all);
            }
        }
        HUNG.store(true, Relaxed);
        HAS_KILLED.store(true, Relaxed);
        // More than once: a test that has begun may start another process.
        loop {
            children(process::id()).into_iter().for_each(kill_group);
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// How long all descendants of this process have used a processor together, and how long that
    /// process of a demo that has used it most.
    fn ticks_of_descendants() -> (u64, u64) {
        let [_, _, reaped @ ..] = ticks(process::id()).unwrap_or_default();
        let (mut all, mut most) = (reaped.iter().sum(), 0);
        let mut left = children(process::id());
        while let Some(process) = left.pop() {
            let [user, system, reaped @ ..] = ticks(process).unwrap_or_default();
            all += user + system + reaped.iter().sum::<u64>();
            if is_of_a_demo(process) {
                most = most.max(user + system);
            }
            left.extend(children(process));
        }
        (all, most)
    }

    /// Other programs may compute longer: a compiler, for example.
    fn is_of_a_demo(process: u32) -> bool {
        let name = fs::read_to_string(format!("/proc/{process}/comm"));
        name.is_ok_and(|name| name.trim_end() == env!("CARGO_PKG_NAME"))
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
