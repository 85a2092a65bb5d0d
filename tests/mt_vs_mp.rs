//! What mt-vs-mp promises. How fast anything is, it does not promise.

mod common;
mod mt_vs_mp_serve;
mod readme;

#[cfg(target_os = "linux")]
use std::io::Read;
use std::{fs, path::PathBuf, process, sync::LazyLock};

use assert_cmd::assert::Assert;
use common::*;
use predicates::prelude::*;
use serde_json::Value;

/// A quick run of all experiments.
struct WholeRun {
    output: process::Output,
    report: Value,
    page: String,
}

/// Made once, by the first test that looks at something of it.
static WHOLE_RUN: LazyLock<WholeRun> = LazyLock::new(|| {
    let [json, html] = ["all.json", "all.html"].map(Scratch::new);
    let mut command = demo!("--quick", "--workers", "3", "--json");
    command.arg(&json.0).arg("--html").arg(&html.0);
    #[cfg(unix)]
    ignore_and_block_signals(&mut command);
    let output = finish(command.spawn().expect("the laboratory can be started"));
    WholeRun {
        output,
        report: json.report(),
        page: fs::read_to_string(&html.0).expect("the page was written"),
    }
});

/// Starts the laboratory as a program may be started that inherits its parent's settings: its
/// children are reaped by the system, and Ctrl-C waits.
#[cfg(unix)]
fn ignore_and_block_signals(command: &mut process::Command) {
    use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
    let settings = || {
        // SAFETY: no function is set as a handler.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
        Ok(SigSet::from(Signal::SIGINT).thread_block()?)
    };
    // SAFETY: the closure makes two system calls.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, settings) };
}

/// What the whole run says of one experiment.
fn experiment(name: &str) -> &'static Value {
    let mut entries = WHOLE_RUN.report["experiments"]
        .as_array()
        .into_iter()
        .flatten();
    entries
        .find(|entry| entry["name"] == name)
        .expect("it was run")
}

/// A file of this test's own, gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("mt-vs-mp-{}-{name}", process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// What the JSON file holds.
    fn report(&self) -> Value {
        let report = fs::read_to_string(&self.0).expect("the file was written");
        serde_json::from_str(&report).expect("it is JSON")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The text of a cell.
fn text(cell: &Value) -> &str {
    let text = cell.get("text").or_else(|| cell.pointer("/outcome/text"));
    text.and_then(Value::as_str).expect("the cell has a text")
}

fn names() -> Vec<String> {
    let out = stdout(&run(demo!("list")).success().stderr(""));
    captures(&out, r"(\w+)  .*\.")
}

#[test]
fn the_list_names_each_experiment_with_its_claim() {
    let out = stdout(&run(demo!("list")).success().stderr(""));
    assert_eq!(names().len(), out.lines().count(), "{out}");
    for name in [
        "create",
        "throughput",
        "crash",
        "sharing",
        "master",
        "transfer",
        "scale",
        "limits",
    ] {
        assert!(names().contains(&name.to_owned()), "{out}");
    }
}

#[test]
fn a_run_gives_every_experiment_a_verdict_and_ends_with_the_ledger() {
    let WholeRun {
        output,
        report,
        page,
    } = &*WHOLE_RUN;
    let out = stdout(&Assert::new(output.clone()).success().stderr(""));
    assert_eq!(report["format"], 2);
    assert_eq!(report["complete"], true);
    assert_eq!(report["mode"], "quick");
    assert_eq!(report["workers"], 3);
    assert!(report["seconds"].as_f64() > Some(0.0));
    let machine = &report["machine"];
    let [memory, available] = ["memory", "memory_available"].map(|key| machine[key].as_u64());
    assert!(memory > Some(1 << 20) && available > Some(1 << 20));
    assert!(available <= memory && machine["cores"].as_u64() > Some(0));
    let loads = ["load_before", "load_after"].map(|key| machine[key].as_f64());
    assert!(cfg!(not(unix)) || loads.iter().all(|load| *load >= Some(0.0)));

    let entries = report["experiments"].as_array().expect("a list");
    let run: Vec<_> = entries.iter().map(|entry| entry["name"].clone()).collect();
    assert_eq!(run, names());
    let ledger = &out[out.find("The ledger").expect("it is there")..];
    for entry in entries {
        let [name, claim, verdict, reason] = ["name", "claim", "verdict", "reason"]
            .map(|key| entry[key].as_str().expect("it is a text"));
        assert!(out.contains(&format!("\n{name}: {claim}\n")), "{out}");
        let words = verdict.replace('_', " ");
        // Where there is no fork, that is no failure of the run.
        let needs_fork = cfg!(not(unix)) && verdict == "not_measured";
        assert!(
            ["holds", "fails", "depends", "unclear"].contains(&verdict) || needs_fork,
            "{entry}"
        );
        assert!(
            out.contains(&format!("{}: {reason}.", words.to_uppercase())),
            "{out}"
        );
        assert!(ledger.contains(name) && ledger.contains(&words), "{ledger}");
        assert!(page.contains(name), "{page}");
    }
}

#[test]
fn every_figure_comes_with_its_unit_its_interval_and_its_samples() {
    let experiment = experiment("create");
    let rows = experiment["tables"][0]["rows"].as_array().expect("rows");
    assert!(rows.len() >= 2, "{rows:?}");
    for row in rows {
        let figure = &row[2]["figure"];
        assert_eq!(figure["unit"], "seconds");
        assert!(figure["samples"].as_u64() >= Some(6), "{figure}");
        let [low, median, high] =
            ["low", "median", "high"].map(|key| figure[key].as_f64().expect("it is a number"));
        assert!(0.0 < low && low <= median && median <= high, "{figure}");
    }
}

/// What is measured is never a whole second, and never one byte: such a figure was made up.
#[test]
fn every_figure_was_measured() {
    let entries = WHOLE_RUN.report["experiments"].as_array().expect("a list");
    let tables = entries.iter().flat_map(|entry| entry["tables"].as_array());
    let rows = tables.flatten().flat_map(|table| table["rows"].as_array());
    let cells = rows.flatten().flat_map(|row| row.as_array()).flatten();
    let mut measured = 0;
    for figure in cells.filter_map(|cell| cell.get("figure")) {
        if figure["unit"] == "seconds" || figure["unit"] == "bytes" {
            let median = figure["median"].as_f64().expect("it is a number");
            assert!(median > 0.0 && median != 1.0, "{figure}");
            measured += 1;
        }
    }
    assert!(measured > 20, "only {measured} figures");
}

/// A program may be started with a part of the processors only.
#[cfg(target_os = "linux")]
#[test]
fn a_run_pins_only_to_processors_that_it_may_use() {
    use nix::{sched, unistd::Pid};
    let ours = sched::sched_getaffinity(Pid::from_raw(0)).expect("Linux says it");
    let last = (0..sched::CpuSet::count())
        .rfind(|&cpu| ours.is_set(cpu).unwrap_or(false))
        .expect("this test runs on one");
    let program = demo!();
    let mut pinned = command("taskset", &["-c", &last.to_string()]);
    pinned.arg(program.get_program());
    pinned.args(["run", "create", "--quick"]);
    let out = stdout(&run(pinned).success());
    let places = captures(&out, r"│ processor (\d+) .*");
    assert!(!places.is_empty(), "{out}");
    assert!(places.iter().all(|cpu| *cpu == last.to_string()), "{out}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_same_is_created_on_one_processor_and_on_any() {
    let rows = first_cells(experiment("create"), 2);
    let created = |pinned: bool| {
        let rows = rows.iter();
        let here = rows.filter(|row| (row[0] != "any processor") == pinned);
        here.map(|row| row[1]).collect::<Vec<_>>()
    };
    let ways = [
        "thread",
        "thread of Rust's std",
        "fork",
        "spawn of `true`",
        "spawn of this program",
    ];
    assert_eq!(created(true), ways);
    assert_eq!(created(false), ways);
    for row in self::rows(experiment("create"), 0) {
        let is_itself = text(&row[1]) == "thread";
        assert!(!is_itself || median(&row[3]) == 1.0, "{row}");
    }
}

#[test]
fn all_setups_do_the_whole_work() {
    // A wrong result would be an error.
    let experiment = experiment("throughput");
    let setups = |table: usize| {
        let rows = experiment["tables"][table]["rows"]
            .as_array()
            .expect("rows");
        let setup = |row: &'static Value| (text(&row[0]), text(&row[1]));
        rows.iter().map(setup).collect::<Vec<_>>()
    };
    let all = [
        ("serial", "1"),
        ("threads", "1"),
        ("processes", "1"),
        ("threads", "3"),
        ("processes", "3"),
        ("threads", "6"),
        ("processes", "6"),
        // Three cannot be divided into several processes of several threads.
        ("hybrid, 2 × 3", "6"),
    ];
    let jobs = [("computing", 2), ("chatty", 100), ("waiting", 2)];
    for (table, (kind, tasks)) in jobs.into_iter().enumerate() {
        let title = format!("The {kind} job, {tasks} tasks for each worker:");
        assert_eq!(experiment["tables"][table]["title"], title);
        let mut setups = setups(table);
        if kind == "chatty" && cfg!(unix) {
            let with_index = |(name, _): &(&str, &str)| *name == "processes, shared index";
            let numbers = setups.iter().filter(|setup| with_index(setup));
            assert!(
                numbers.map(|setup| setup.1).eq(["1", "3", "6"]),
                "{setups:?}"
            );
            setups.retain(|setup| !with_index(setup));
        }
        assert_eq!(setups, all);
    }
    for table in 0..jobs.len() {
        let serial = &experiment["tables"][table]["rows"][0];
        assert_eq!(serial[3]["figure"]["median"], 1.0, "{serial}");
    }
    // The start is timed apart, and a serial job needs none.
    assert_eq!(setups(3), all[1..]);
    let lines = experiment["plots"][0]["lines"].as_array().expect("lines");
    let lines: Vec<_> = lines.iter().map(|line| line["name"].clone()).collect();
    assert_eq!(lines, ["threads", "processes", "hybrid", "ideal"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_crashed_process_leaves_the_others_alone_and_a_thread_does_so_only_by_a_panic() {
    let experiment = experiment("crash");
    let rows = experiment["tables"][0]["rows"].as_array().expect("rows");
    let rows: Vec<Vec<_>> = rows
        .iter()
        .map(|row| row.as_array().expect("cells").iter().map(text).collect())
        .collect();
    let panicked = "master lives, 0 of 3 lost; join: it panicked";
    let panic = "master lives, 0 of 3 lost; wait: exit status: 101";
    assert_eq!(rows[0], ["panic", panicked, panic, panicked]);
    for (row, (ending, how)) in [
        ("exit", "exit status: 3"),
        ("abort", "signal: 6 (SIGABRT)"),
        ("segfault", "signal: 11 (SIGSEGV)"),
        ("stack overflow", "signal: 6 (SIGABRT)"),
        ("SIGKILL", "signal: 9 (SIGKILL)"),
    ]
    .into_iter()
    .enumerate()
    {
        let by_threads = format!("master dies, 3 of 3 lost; {how}");
        let by_processes = format!("master lives, 0 of 3 lost; wait: {how}");
        let hybrid = format!("master lives, 1 of 3 lost; wait: {how}");
        assert_eq!(rows[row + 1], [ending, &by_threads, &by_processes, &hybrid]);
    }
    assert_eq!(experiment["verdict"], "depends");
}

#[cfg(unix)]
#[test]
fn counts_are_lost_by_careless_threads_and_by_processes_that_share_nothing() {
    let experiment = experiment("sharing");
    let rows = experiment["tables"][0]["rows"].as_array().expect("rows");
    let lost: Vec<_> = rows
        .iter()
        .map(|row| {
            let bound = |key| row[1]["figure"][key].as_f64().expect("it is a number");
            (text(&row[0]), bound("low"), bound("high"))
        })
        .collect();
    // The first is a race: it may lose any number, but nobody overwrites the last count.
    assert_eq!(lost[0].0, "threads, reading and then writing");
    assert!(lost[0].2 < 200_000.0, "{lost:?}");
    // No run takes half a minute.
    for row in rows {
        let time = row[2]["figure"]["median"].as_f64().expect("it is a number");
        assert!(time < 30.0 / 200_000.0, "{row}");
    }
    assert_eq!(
        lost[1..],
        [
            ("threads, with a mutex", 0.0, 0.0),
            ("threads, an atomic counter", 0.0, 0.0),
            ("processes, as they are", 200_000.0, 200_000.0),
            ("processes, shared memory, atomic", 0.0, 0.0),
            #[cfg(target_os = "linux")]
            ("processes, shared memory, a robust mutex", 0.0, 0.0),
        ]
    );
}

#[cfg(target_os = "linux")]
#[test]
fn only_a_robust_lock_outlives_its_owner() {
    let found: Vec<_> = rows(experiment("sharing"), 1)
        .iter()
        .map(|row| (text(&row[0]), row[1].pointer("/outcome/good")))
        .collect();
    let [waits, is_told] = [Value::Bool(false), Value::Bool(true)];
    assert_eq!(
        found,
        [
            ("a mutex", Some(&waits)),
            ("a robust mutex", Some(&is_told))
        ]
    );
}

#[cfg(target_os = "linux")]
#[test]
fn threads_die_with_their_master_and_processes_only_if_they_see_to_it() {
    let experiment = experiment("master");
    let rows = experiment["tables"][0]["rows"].as_array().expect("rows");
    let alive: Vec<_> = rows.iter().map(|row| text(&row[1])).collect();
    assert_eq!(alive, ["0 of 3", "3 of 3", "0 of 3", "0 of 3"]);
    let good = |row: &Value| row[1]["outcome"]["good"] == true;
    assert!(rows.iter().map(good).eq([true, false, true, true]));
    assert_eq!(experiment["verdict"], "depends");
}

#[test]
fn an_unknown_experiment_is_refused_and_the_nearest_suggested() {
    assert_usage_error(demo!("run", "crate"), "'create'");
    assert_usage_error(demo!("run"), "NAME");
}

#[test]
fn a_file_that_cannot_be_written_is_said_before_anything_is_measured() {
    for option in ["--json", "--html"] {
        run(demo!(option, "no/such/directory/report"))
            .code(1)
            .stdout("")
            .stderr(predicate::str::contains(
                "cannot write no/such/directory/report",
            ));
    }
}

/// Interrupts a run as soon as it has said something, and returns how it ended.
#[cfg(target_os = "linux")]
fn interrupt(signal: nix::sys::signal::Signal, json: &Scratch) -> process::Output {
    let mut command = demo!("--full", "--json");
    // Found in the environment of everybody whom the run starts: trials have groups of their own.
    command.arg(&json.0).env("MT_VS_MP_TEST", &json.0);
    ignore_and_block_signals(&mut command);
    let mut lab = command.spawn().expect("the laboratory can be started");
    let mut first = [0];
    let stdout = lab.stdout.as_mut().expect("it is a pipe");
    stdout.read_exact(&mut first).expect("it says something");
    nix::sys::signal::kill(pid(lab.id()), signal).expect("it is still there");
    let output = finish(lab);
    let mark = format!("MT_VS_MP_TEST={}", json.0.display());
    // A process that was sent SIGKILL may take a moment to go.
    let left = || {
        fs::read_dir("/proc")
            .expect("/proc can be read")
            .flatten()
            .any(|entry| {
                let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
                String::from_utf8_lossy(&environment).contains(&mark)
            })
    };
    wait_until("the end of whom the run has started", || !left());
    output
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_ends_everything_and_says_that_the_run_is_incomplete() {
    let json = Scratch::new("interrupted.json");
    let output = interrupt(nix::sys::signal::SIGINT, &json);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("the run is incomplete"), "{stderr}");
    let report = json.report();
    assert_eq!(report["complete"], false);
    let [done, missing] = ["experiments", "missing"].map(|key| {
        let list = report[key].as_array().expect("a list");
        list.len()
    });
    assert_eq!(done + missing, names().len());
    assert!(missing > 0, "{report}");
}

/// The last trial of `crash` is stopped in the middle, and then ends by Ctrl-C: an end, but not the
/// one that the experiment is about.
#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_in_the_last_case_of_a_crash_is_no_result() {
    use nix::sys::signal::{Signal, kill};
    let last = rows(experiment("crash"), 0).len() - 1;
    let last = format!("\0{{\"model\":2,\"ending\":{last}}}\0");
    let json = Scratch::new("interrupted-crash.json");
    for _ in 0..5 {
        let mut command = demo!("run", "crash", "--quick", "--json");
        let mut lab = command.arg(&json.0).spawn().expect("it can be started");
        let children = format!("/proc/{0}/task/{0}/children", lab.id());
        let stopped = loop {
            let ids = fs::read_to_string(&children).unwrap_or_default();
            let mut ids = ids.split_whitespace();
            let of = |id: &str| fs::read_to_string(format!("/proc/{id}/cmdline"));
            if let Some(id) = ids.find(|id| of(id).is_ok_and(|words| words.contains(&last))) {
                let id = id.parse().expect("it is a number");
                break kill(pid(id), Signal::SIGSTOP).is_ok();
            }
            if lab.try_wait().expect("it is our child").is_some() {
                break false;
            }
        };
        if stopped {
            kill(pid(lab.id()), Signal::SIGINT).expect("nobody has waited for it");
        }
        let code = finish(lab).status.code();
        let report = json.report();
        let finished = report["experiments"].as_array().map(Vec::len);
        // It is over in a moment: where it was missed, or was over when it was stopped, once more.
        if code == Some(0) {
            assert_eq!(finished, Some(1));
            continue;
        }
        assert_eq!(code, Some(130));
        assert_eq!(finished, Some(0));
        assert_eq!(report["missing"], serde_json::json!(["crash"]));
        return;
    }
    panic!("the last case was not seen in any of five runs");
}

#[cfg(target_os = "linux")]
#[test]
fn a_laboratory_that_is_killed_leaves_nobody_behind() {
    interrupt(nix::sys::signal::SIGKILL, &Scratch::new("killed.json"));
}

/// Clients that wait for an answer do so for 15 s, unless their parent ends.
#[cfg(target_os = "linux")]
#[test]
fn whoever_is_started_in_a_role_ends_with_its_parent() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    let load = format!(
        "{{\"port\":{port},\"clients\":1,\"requests_per_connection\":1,\"span\":1,\"rate\":null}}"
    );
    let program = demo!().get_program().to_owned();
    let mut parent = command(
        "sh",
        &["-c", r#""$0" --role "servers: clients" "$1" & wait"#],
    );
    parent.arg(program).arg(load);
    listener.set_nonblocking(true).expect("it need not wait");
    let parent = parent.spawn().expect("there is a shell");
    let _client = wait_for("a connection of the client", || listener.accept().ok());
    let start = std::time::Instant::now();
    kill_only_the_parent(parent);
    assert!(start.elapsed() < std::time::Duration::from_secs(10));
}

/// A trial, and the four processes that it has forked, once all of them sleep.
#[cfg(target_os = "linux")]
fn sleeping_crowd() -> (process::Child, Vec<u32>) {
    let crowd = r#"{"processes":true,"computing":false,"workers":3,"cores":0,"span":600000}"#;
    let trial = demo!("--role", "scale", crowd).spawn();
    let trial = trial.expect("the demo can be started");
    let _guard = Guard(trial.id());
    let sleeps = |id: &str| {
        let call = fs::read_to_string(format!("/proc/{id}/syscall"));
        let sleep = format!("{} ", nix::libc::SYS_clock_nanosleep);
        call.is_ok_and(|call| call.starts_with(&sleep))
    };
    let list = format!("/proc/{0}/task/{0}/children", trial.id());
    let sleepers = wait_for("four processes that sleep", || {
        let list = fs::read_to_string(&list).expect("Linux lists them");
        let sleepers = list.split_whitespace().filter(|id| sleeps(id));
        let sleepers: Vec<u32> = sleepers.filter_map(|id| id.parse().ok()).collect();
        (sleepers.len() == 4).then_some(sleepers)
    });
    (trial, sleepers)
}

/// The others may be waiting for the one that was killed: for a lock, for example. Here they wait
/// for ever, because they are stopped.
#[cfg(target_os = "linux")]
#[test]
fn when_one_of_several_processes_is_killed_the_others_are_killed_and_it_is_an_error() {
    use nix::sys::signal::{Signal, kill};
    let (trial, sleepers) = sleeping_crowd();
    let _guard = Guard(trial.id());
    for &waiting in &sleepers[..3] {
        kill(pid(waiting), Signal::SIGSTOP).expect("it runs");
    }
    // A real-time signal is not one of those that nix has a name for.
    let real_time = nix::libc::SIGRTMIN() + 1;
    // SAFETY: this call has no precondition.
    unsafe { nix::libc::kill(pid(sleepers[3]).as_raw(), real_time) };
    let error = format!("child {} failed: signal: {real_time}", sleepers[3]);
    Assert::new(finish(trial)).stdout(predicate::str::contains(error));
}

/// Here the processes would sleep for ten minutes.
#[cfg(target_os = "linux")]
#[test]
fn the_processes_of_a_trial_end_when_it_is_killed() {
    adopt_orphans();
    let (mut trial, _) = sleeping_crowd();
    let _guard = Guard(trial.id());
    trial.kill().expect("it runs");
    trial.wait().expect("it can be waited for");
    wait_until("the end of its processes", || group_is_gone(trial.id()));
}

#[test]
fn it_ends_quietly_when_nobody_reads() {
    assert_quiet_without_reader(demo!("--quick"));
}

#[test]
fn a_full_disk_is_an_error() {
    assert_error_on_full_disk(demo!("--quick"));
}

#[test]
fn wrong_arguments_are_refused_with_what_is_allowed() {
    assert_usage_error(demo!("--workers", "0"), "1..=256");
    assert_usage_error(demo!("--workers", "-1"), "1..=256");
    assert_usage_error(demo!("--quick", "--full"), "--full");
    assert_usage_error(demo!("--nonsense"), "--nonsense");
    // What measures nothing takes no option of a run.
    assert_usage_error(demo!("serve", "--model", "threads", "--quick"), "--quick");
    assert_usage_error(demo!("list", "--json", "x"), "--json");
}

#[test]
fn a_role_that_does_not_exist_is_an_error() {
    run(demo!("--role", "nonsense", "x"))
        .code(1)
        .stderr(predicate::str::contains("there is no role \"nonsense\""));
}

#[test]
fn help_names_every_option() {
    let help = stdout(&run(demo!("--help")).success());
    for option in [
        "--quick",
        "--full",
        "--workers",
        "--json",
        "--html",
        "list",
        "run",
    ] {
        assert!(help.contains(option), "{help}");
    }
}

/// The rows of an experiment's first table, each with the text of its first cells.
fn first_cells<'a>(experiment: &'a Value, cells: usize) -> Vec<Vec<&'a str>> {
    let rows = experiment["tables"][0]["rows"].as_array().expect("rows");
    let cells_of = |row: &'a Value| row.as_array().expect("cells")[..cells].iter().map(text);
    rows.iter().map(|row| cells_of(row).collect()).collect()
}

/// What was left out, all in one.
fn left_out(experiment: &Value) -> String {
    experiment["left_out"].to_string()
}

#[cfg(target_os = "linux")]
#[test]
fn the_page_tables_grow_with_the_parents_memory() {
    let experiment = experiment("memory");
    let rows = experiment["tables"][0]["rows"].as_array().expect("rows");
    // Where the system gives no huge pages, those rows are left out, with the cause.
    let names: Vec<_> = first_cells(experiment, 1).concat();
    for name in ["no memory", "32.0 MiB"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let name = "32.0 MiB in huge pages";
    assert!(
        names.contains(&name) != left_out(experiment).contains(name),
        "{names:?}"
    );
    assert!(
        left_out(experiment).contains("256 MiB: --quick"),
        "{experiment}"
    );
    let page_tables = |name| {
        let row = names
            .iter()
            .position(|&it| it == name)
            .expect("it is there");
        let figure = &rows[row][1]["figure"];
        assert_eq!(figure["unit"], "bytes");
        figure["median"].as_f64().expect("it is a number")
    };
    // An entry of 8 bytes for each page.
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    let page = page.ok().flatten().expect("pages have a size");
    let grown = page_tables("32.0 MiB") - page_tables("no memory");
    let entries = 8.0 * f64::from(32 << 20) / page as f64;
    assert!((0.75 * entries..2.0 * entries).contains(&grown), "{grown}");
    for row in rows {
        for cell in &row.as_array().expect("cells")[2..] {
            assert_eq!(cell["figure"]["unit"], "seconds");
        }
    }
    // Of each page that parent and child share, the first write makes a copy.
    for row in self::rows(experiment, 1) {
        assert!((0.9..2.0).contains(&median(&row[1])), "page faults: {row}");
        assert!(median(&row[2]) > 0.0 && median(&row[3]) > 0.0, "{row}");
    }
    // Eight workers have data of 2 MiB, each its own, or one for all as long as they only read.
    let [own, read, written] = &self::rows(experiment, 2)[..] else {
        panic!("{}", experiment["tables"][2]);
    };
    let [own, read, written] = [own, read, written].map(|row| median(&row[1]));
    let data = f64::from(2 << 20);
    assert!(
        own >= 8.0 * data && written >= 9.0 * data,
        "{own}, {written}"
    );
    assert!((data..4.0 * data).contains(&read), "{read}");
    let plot = &experiment["plots"][0];
    assert_eq!(plot["x"]["unit"], "bytes");
    assert_eq!(plot["lines"][1]["name"], "fork");
    assert_eq!(plot["lines"][1]["points"].as_array().map(Vec::len), Some(2));
}

#[cfg(target_os = "linux")]
#[test]
fn a_parent_that_does_not_fit_is_left_out_with_the_cause() {
    // A shell lowers the limit for all that it starts.
    let json = Scratch::new("no-memory.json");
    let program = assert_cmd::cargo::cargo_bin!("mt-vs-mp");
    let mut command = command("/bin/sh", &["-c", "ulimit -v 30000; exec \"$@\"", "sh"]);
    command
        .arg(program)
        .args(["run", "memory", "--quick", "--json"])
        .arg(&json.0);
    run(command).success();
    let experiment = &json.report()["experiments"][0];
    assert!(
        !first_cells(experiment, 1).concat().contains(&"32.0 MiB"),
        "{experiment}"
    );
    let cause = "32.0 MiB: the trial memory failed: cannot get 32.0 MiB: ENOMEM";
    assert!(left_out(experiment).contains(cause), "{experiment}");
}

#[test]
fn threads_and_processes_hand_over_in_the_same_places() {
    let experiment = experiment("switch");
    let header = [
        "threads, pipes",
        "processes, pipes",
        "processes / threads",
        "threads, channels",
    ];
    assert_eq!(
        experiment["tables"][0]["header"]
            .as_array()
            .map(|it| it[2..].to_vec()),
        Some(header.map(Value::from).into())
    );
    let rows = experiment["tables"][0]["rows"].as_array().expect("rows");
    let mut pinned = 0;
    for (number, row) in rows.iter().enumerate() {
        for cell in &row.as_array().expect("cells")[2..5] {
            assert!(cell["figure"]["median"].as_f64() > Some(0.0), "{row}");
        }
        let [place, memory] = [&row[0], &row[1]].map(text);
        assert_eq!(memory, ["none", "64.0 KiB", "1.00 MiB"][number % 3]);
        // Channels are tried only where nobody goes through memory.
        assert_eq!(row[5].get("figure").is_some(), memory == "none", "{row}");
        pinned += usize::from(place.starts_with("processor"));
    }
    assert_eq!(text(&rows[rows.len() - 1][0]), "any processor");
    assert_eq!(rows.len(), pinned + 1, "{rows:?}");
    // Pinning needs Linux, and two processors need two.
    if pinned == 0 {
        assert!(left_out(experiment).contains("pinned to processors"));
    } else {
        assert_eq!(
            pinned % 3,
            0,
            "each place is tried with three amounts of memory"
        );
        assert!(pinned > 3 || left_out(experiment).contains("only one"));
    }
}

#[test]
fn messages_of_every_size_arrive_by_every_way() {
    // One that does not arrive whole would be an error.
    let experiment = experiment("transfer");
    let mut ways = vec![
        "threads: channel, moved",
        "threads: channel, copied",
        "processes: shared memory",
        "processes: pipe",
        "processes: ipc-channel",
    ];
    if !cfg!(unix) {
        ways.remove(2);
        assert!(left_out(experiment).contains("shared memory"));
    }
    let sizes = [
        "64.0 B", "512 B", "4.00 KiB", "32.0 KiB", "256 KiB", "2.00 MiB",
    ];
    let rows: Vec<_> = sizes
        .iter()
        .flat_map(|&size| ways.iter().map(move |&way| vec![size, way]))
        .collect();
    assert_eq!(first_cells(experiment, 2), rows);
    for row in experiment["tables"][0]["rows"].as_array().expect("rows") {
        for cell in [&row[2], &row[3]] {
            assert!(cell["figure"]["median"].as_f64() > Some(0.0), "{row}");
        }
    }
    assert!(left_out(experiment).contains("16 MiB: --quick has no time"));
    let plot = &experiment["plots"][0];
    assert_eq!(plot["x"]["logarithmic"], true);
    assert_eq!(plot["y"]["unit"], "bytes_per_second");
    assert_eq!(plot["lines"].as_array().map(Vec::len), Some(ways.len()));
}

/// The rows of an experiment's table.
#[cfg(target_os = "linux")]
fn rows(experiment: &Value, table: usize) -> &Vec<Value> {
    let rows = &experiment["tables"][table]["rows"];
    rows.as_array().expect("rows")
}

/// The median of a figure, which must be one above zero.
#[cfg(target_os = "linux")]
fn median(cell: &Value) -> f64 {
    let median = cell["figure"]["median"].as_f64();
    median
        .filter(|&median| median > 0.0)
        .unwrap_or_else(|| panic!("it was not measured: {cell}"))
}

#[cfg(target_os = "linux")]
#[test]
fn crowds_that_compute_are_watched() {
    let experiment = experiment("scale");
    let crowds: Vec<_> = first_cells(experiment, 3);
    let cores = WHOLE_RUN.report["machine"]["cores"].to_string();
    // With so many cores, a crowd of a hundred is none.
    let number = |text: &str| text.parse::<u32>().expect("it is a number");
    let computing = ["100"].into_iter();
    let computing = computing.filter(|size| number(size) > number(&cores));
    let mut expected = Vec::new();
    for name in ["processes", "threads"] {
        expected.push(vec![name, "compute", &cores]);
        expected.extend(computing.clone().map(|size| vec![name, "compute", size]));
    }
    assert_eq!(crowds, expected);
    for row in rows(experiment, 0) {
        let [start, computed, memory, late, late_99] =
            [3, 4, 5, 6, 7].map(|cell| median(&row[cell]));
        assert!(start > 0.0 && computed > 0.0, "{row}");
        assert!(text(&row[2]) != cores || computed == 1.0, "{row}");
        assert!(memory >= 4096.0, "not even a page: {row}");
        assert!(late <= late_99, "{row}");
    }
    // A process has page tables of its own, and a copy of each page that it wrote to.
    let memory_of = |name| {
        let of = rows(experiment, 0)
            .iter()
            .filter(|row| text(&row[0]) == name);
        of.map(|row| median(&row[5])).fold(f64::INFINITY, f64::min)
    };
    assert!(memory_of("threads") < memory_of("processes"));
    // A hundred are no thousands.
    assert_eq!(experiment["verdict"], "unclear");
    assert!(
        left_out(experiment).contains("1000 workers, and crowds that sleep: --quick"),
        "{experiment}"
    );
}

/// Beside a crowd that sleeps, one for each core computes.
#[cfg(target_os = "linux")]
#[test]
fn beside_a_crowd_that_sleeps_others_compute() {
    for processes in ["true", "false"] {
        let tasks = |cores, span| {
            let parameter = format!(
                r#"{{"processes":{processes},"computing":false,"workers":20,"cores":{cores},"span":{span}}}"#
            );
            let answer = stdout(&run(demo!("--role", "scale", &parameter)).success());
            let answer: Value = serde_json::from_str(&answer).expect("it is JSON");
            answer["Ok"]["tasks"].as_f64().expect("it was measured")
        };
        assert_eq!(tasks(0, 20), 0.0, "those who sleep compute nothing");
        // On a busy machine, one process may have to wait for its turn.
        let mut spans = [50, 500, 5000].into_iter();
        assert!(spans.any(|span| tasks(1, span) > 0.0));
    }
}

/// A crowd that loses one of its members before it has begun neither hangs nor hides that.
#[cfg(target_os = "linux")]
#[test]
fn a_crowd_that_loses_a_member_fails_at_once() {
    let parameter =
        "{\"processes\":true,\"computing\":true,\"workers\":500,\"cores\":1,\"span\":200}";
    let trial = demo!("--role", "scale", parameter).spawn();
    let trial = trial.expect("the trial can be started");
    let children = format!("/proc/{0}/task/{0}/children", trial.id());
    let child = wait_for("the sixth child", || {
        let ids = fs::read_to_string(&children).ok()?;
        ids.split_whitespace().nth(5)?.parse().ok()
    });
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::SIGKILL)
        .expect("the child is there");
    let output = finish(trial);
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(answer.contains("SIGKILL"), "{output:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn crowds_that_a_limit_has_no_room_for_are_left_out_with_the_limits_name() {
    let limited = |names: &[&str]| {
        let mut command = demo!("run", "--quick");
        command.args(names);
        under(command, nix::libc::RLIMIT_AS, 400 << 20)
    };
    // A thread needs room for its stack, a process none that is its parent's.
    let out = stdout(&run(limited(&["scale"])).success().stderr(""));
    let left_out =
        "Left out: 100 threads that compute: RLIMIT_AS (ulimit -v) leaves room for 200 only";
    assert!(out.contains(left_out), "{out}");
    assert!(!out.contains("Left out: 100 processes"), "{out}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_thread_that_cannot_be_started_is_told_by_its_number() {
    let parameter =
        "{\"processes\":false,\"computing\":true,\"workers\":2,\"cores\":2,\"span\":20}";
    let mut trial = demo!("--role", "scale", parameter);
    // No thread can have so large a stack.
    trial.env("RUST_MIN_STACK", (1_u64 << 60).to_string());
    let answer = stdout(&run(trial).success());
    assert!(answer.contains("cannot start thread 1 of 3: "), "{answer}");
}

#[cfg(target_os = "linux")]
#[test]
fn after_an_experiment_that_failed_the_others_run_and_the_exit_code_is_1() {
    // Those that it has are stdin, stdout, stderr, and the pipe that tells of Ctrl-C.
    let lab = demo!("run", "create", "master", "--quick");
    let out = stdout(&run(under(lab, nix::libc::RLIMIT_NOFILE, 5)).code(1));
    for name in ["create", "master"] {
        let error = format!("NOT MEASURED: cannot start the trial {name}: Too many open files");
        assert!(out.contains(&error), "{out}");
    }
    assert_eq!(out.matches("┆ an error").count(), 2, "{out}");
}

/// A read with a time limit ends by EINTR then.
#[cfg(target_os = "linux")]
#[test]
fn a_client_that_is_stopped_and_goes_on_gets_its_answer() {
    use std::{io::Write, net::TcpListener};

    use nix::sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    };

    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    let load = serde_json::json!({
        "port": port, "clients": 1, "requests_per_connection": 1, "span": 0, "rate": null,
    });
    let clients = demo!("--role", "servers: clients", &load.to_string()).spawn();
    let clients = clients.expect("they can be started");
    let (mut connection, _) = listener.accept().expect("the client connects");
    let asked = connection.read(&mut [0; 1024]).expect("the client asks");
    assert!(asked > 0);
    // All of its threads sleep: one waits for the answer, and the others for that thread.
    let threads = format!("/proc/{}/task", clients.id());
    wait_until("the client waits", || {
        fs::read_dir(&threads).expect("it runs").all(|thread| {
            let stat = thread.and_then(|it| fs::read_to_string(it.path().join("stat")));
            // The state comes after the name, which is in parentheses.
            stat.is_ok_and(|stat| stat.contains(") S "))
        })
    });
    let id = pid(clients.id());
    kill(id, Signal::SIGSTOP).expect("it runs");
    waitpid(id, Some(WaitPidFlag::WUNTRACED)).expect("it stops");
    kill(id, Signal::SIGCONT).expect("it is stopped");
    let answer = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1024));
    // This fails if the client has ended, which is seen below.
    let _ = connection.write_all(answer.as_bytes());
    let output = finish(clients);
    let served = String::from_utf8_lossy(&output.stdout);
    assert!(served.starts_with("{\"Ok\":"), "{output:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn servers_without_room_for_their_clients_are_not_measured_but_a_server_that_fails_is_an_error() {
    let limited = |limit, to| run(under(demo!("run", "servers", "--quick"), limit, to));
    // The clients are sixteen threads, and their stacks are too large.
    let out = stdout(&limited(nix::libc::RLIMIT_AS, 32 << 20).success());
    assert!(out.contains("NOT MEASURED: prefork: "), "{out}");
    // They need more descriptors than this.
    let out = stdout(&limited(nix::libc::RLIMIT_NOFILE, 40).success());
    let reason = "NOT MEASURED: 16 clients need up to 48 descriptors, and RLIMIT_NOFILE (ulimit -n) allows 40.";
    assert!(out.contains(reason), "{out}");
    // The limit would do, but most of the descriptors are in use: only the laboratory has enough.
    let mut crowded = under(
        demo!("run", "servers", "--quick"),
        nix::libc::RLIMIT_NOFILE,
        48,
    );
    let leave_18 = || {
        for descriptor in 3..48 {
            // SAFETY: what is open here is not used any more: the next call runs the laboratory.
            unsafe {
                match descriptor < 3 + 18 {
                    true => nix::libc::fcntl(descriptor, nix::libc::F_SETFD, nix::libc::FD_CLOEXEC),
                    false => nix::libc::dup2(0, descriptor),
                }
            };
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only.
    unsafe { std::os::unix::process::CommandExt::pre_exec(&mut crowded, leave_18) };
    let out = stdout(&run(crowded).code(1));
    assert!(
        out.contains("NOT MEASURED: the trial servers failed"),
        "{out}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_report_that_may_not_be_so_large_is_an_error_and_leaves_no_file() {
    let folder = Scratch::new("small");
    fs::create_dir(&folder.0).expect("a folder can be made");
    let mut command = demo!("run", "limits", "--quick", "--html");
    command.arg(folder.0.join("page.html"));
    run(under(command, nix::libc::RLIMIT_FSIZE, 4096))
        .code(1)
        .stderr(predicate::str::contains("page.html: File too large"));
    // This succeeds only if the folder is empty.
    fs::remove_dir(&folder.0).expect("nothing is left");
}

/// Lowers a limit for what a command starts.
#[cfg(target_os = "linux")]
fn under(
    mut command: process::Command,
    limit: nix::libc::__rlimit_resource_t,
    to: u64,
) -> process::Command {
    use std::os::unix::process::CommandExt;
    let lower = move || {
        let limits = nix::libc::rlimit {
            rlim_cur: to,
            rlim_max: to,
        };
        // SAFETY: `limits` is read, and nothing else touched.
        match unsafe { nix::libc::setrlimit(limit, &limits) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call, and allocates nothing.
    unsafe { command.pre_exec(lower) };
    command
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_lowered_a_limit_is_refused_the_next_child() {
    let experiment = experiment("limits");
    assert_eq!(experiment["verdict"], "holds", "{experiment}");
    let names: Vec<_> = rows(experiment, 0)
        .iter()
        .map(|row| text(&row[0]))
        .collect();
    for name in [
        "RLIMIT_NPROC",
        "kernel.pid_max",
        "kernel.threads-max",
        "memory",
    ] {
        let found = names.iter().filter(|row| row.starts_with(name));
        assert_eq!(found.count(), 1, "{names:?}");
    }
    let [proof] = &rows(experiment, 1)[..] else {
        panic!("one proof, not {}", experiment["tables"][1]);
    };
    let [limit, lowered_to, started] = [0, 1, 2].map(|column| text(&proof[column]));
    let [lowered_to, started]: [u64; 2] =
        [lowered_to, started].map(|number| number.parse().expect("it is a number"));
    assert!(started < lowered_to, "{proof}");
    assert!(text(&proof[3]).starts_with("refused: EAGAIN"), "{proof}");
    if limit.ends_with("ordinary user") {
        // Nobody else has that user's id: all but the parent itself were its children.
        assert_eq!((lowered_to, started), (11, 10));
    }
}

/// The administrator is exempt from the limit, but an ordinary user is not.
#[cfg(target_os = "linux")]
#[test]
fn the_limit_on_the_processes_of_a_user_is_told_to_those_whom_it_binds() {
    use std::os::unix::process::CommandExt;
    // The tests of an ordinary user cannot become another one.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let json = Scratch::new("ordinary.json");
    let copy = ExecutableForAll::copy_of(&demo!());
    let mut lab = command(&copy.0, &["run", "limits", "--quick", "--json"]);
    lab.arg(&json.0).uid(1_999_999_998);
    run(under(lab, nix::libc::RLIMIT_NPROC, 500)).success();
    let report = json.report();
    let limit = first_cells(&report["experiments"][0], 4).swap_remove(0);
    assert_eq!(limit[..2], ["RLIMIT_NPROC (ulimit -u)", "500"]);
    // The laboratory, and its thread that waits for Ctrl-C.
    let [used, room] = [limit[2], limit[3]].map(|it| it.parse().expect("it is a number"));
    assert!((1..100).contains(&used) && used + room == 500, "{limit:?}");
}

/// A terminal of 60 columns shows no line that is longer; in a pipe, a sentence stays on one line.
#[cfg(unix)]
#[test]
fn a_narrow_terminal_is_filled_and_no_more() {
    let seen = run_on_a_terminal(demo!("run", "crash", "--quick"));
    for line in seen.lines() {
        assert!(
            line.chars().count() <= TERMINAL_COLUMNS.into(),
            "{line:?} is too long in:\n{seen}"
        );
    }
    assert!(seen.contains("DEPENDS: "), "{seen}");
}

#[test]
fn the_page_shows_what_the_json_file_holds() {
    let WholeRun { report, page, .. } = &*WHOLE_RUN;
    let entries = report["experiments"].as_array().expect("a list");
    for entry in entries {
        let name = entry["name"].as_str().expect("it is a text");
        let section = format!("<section id=\"{name}\"");
        assert!(page.contains(&section), "{section} is missing");
        assert!(page.contains(&format!("href=\"#{name}\"")), "{page}");
    }
    let tables = entries.iter().flat_map(|entry| entry["tables"].as_array());
    let with_dots = tables.flatten().filter(|table| table["dots"].is_u64());
    let rows = with_dots.map(|table| table["rows"].as_array().expect("rows").len());
    assert_eq!(
        page.matches("class=\"dot colour-0\"").count(),
        rows.sum::<usize>()
    );
}

#[test]
fn those_that_are_named_are_run_once_and_in_the_lists_order() {
    let json = Scratch::new("some.json");
    let mut command = demo!("run", "limits", "master", "limits", "--quick", "--json");
    command.arg(&json.0);
    run(command);
    let report = json.report();
    let entries = report["experiments"].as_array().expect("a list");
    let run: Vec<_> = entries.iter().map(|entry| entry["name"].clone()).collect();
    assert_eq!(run, ["master", "limits"]);
}

#[cfg(target_os = "linux")]
#[test]
fn each_is_pinned_to_the_core_that_it_is_told() {
    // No machine has this one: whoever is to be pinned there says so.
    const NONE: usize = 9999;
    let cores = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0));
    let cores = cores.expect("the cores of this test can be seen");
    let core = (0..1024).find(|&core| cores.is_set(core) == Ok(true));
    let core = core.expect("this test runs on one");
    let refuses = |trial, parameter: String| {
        stdout(&run(demo!("--role", trial, &parameter))).contains("cannot pin to processor 9999")
    };
    for pair in 0..3 {
        let on = |first, second| {
            let setting = format!(
                "{{\"place\":{{\"Far\":[{first},{second}]}},\"working_set\":0,\"round_trips\":10}}"
            );
            refuses(
                "switch",
                format!("{{\"pair\":{pair},\"setting\":{setting}}}"),
            )
        };
        let refused = [on(NONE, core), on(core, NONE), on(core, core)];
        assert_eq!(refused, [true, true, false], "{pair}");
    }
    let on = |core| {
        refuses(
            "create",
            format!("{{\"place\":{{\"One\":{core}}},\"way\":0}}"),
        )
    };
    assert_eq!([on(NONE), on(core)], [true, false]);
}

/// Two runs of the same machine, side by side.
#[test]
fn two_runs_are_compared_verdict_by_verdict_and_figure_by_figure() {
    let [a, b] = ["a.json", "b.json"].map(Scratch::new);
    let mut command = demo!("run", "master", "switch", "--quick", "--json");
    command.arg(&a.0);
    run(command).success();
    // The second run is the first one with another verdict.
    let mut report = a.report();
    report["experiments"][0]["verdict"] = "fails".into();
    fs::write(&b.0, report.to_string()).expect("it can be written");
    let mut command = demo!("compare");
    command.arg(&a.0).arg(&b.0);
    let out = stdout(&run(command).success().stderr(""));
    assert!(out.contains("Verdicts: 1 of 2 differ."), "{out}");
    capture(&out, "│ (master) +┆ [a-z]+ +┆ fails +┆ differs +│");
    for text in ["master", "switch", "│ any processor, none", "B / A"] {
        assert!(out.contains(text), "{text} is missing in {out}");
    }

    fs::write(&b.0, "{\"format\": 1}").expect("it can be written");
    let mut command = demo!("compare");
    command.arg(&a.0).arg(&b.0);
    run(command)
        .code(1)
        .stdout("")
        .stderr(predicate::str::contains("has format 1, and only format 2"));
}

#[test]
fn one_file_for_both_reports_is_refused() {
    let both = Scratch::new("both");
    let folder = both.0.parent().expect("it has a folder");
    let otherwise = folder
        .join("../")
        .join(folder.file_name().expect("it has a name"));
    let otherwise = otherwise.join(both.0.file_name().expect("it has a name"));
    for other in [&both.0, &otherwise] {
        let mut command = demo!("--quick", "--json");
        command.arg(&both.0).arg("--html").arg(other);
        assert_usage_error(command, "name the same file");
    }
    assert!(!both.0.exists());
}

#[cfg(unix)]
#[test]
fn a_file_that_keeps_nothing_may_be_named_for_both_reports() {
    run(demo!(
        "run",
        "limits",
        "--quick",
        "--json",
        "/dev/null",
        "--html",
        "/dev/null"
    ))
    .success();
}

/// Only its trials end with the process that started them.
#[cfg(target_os = "linux")]
#[test]
fn a_laboratory_outlives_the_shell_that_started_it() {
    let json = Scratch::new("outlived.json");
    // Without a second command, the shell would become the laboratory.
    let mut shell = command("/bin/sh", &["-c", "\"$@\"; true", "sh"]);
    shell.arg(demo!().get_program());
    shell
        .args(["run", "master", "--quick", "--json"])
        .arg(&json.0);
    let mut shell = shell.spawn().expect("there is a shell");
    read_until(&mut shell, "\n");
    kill_only_the_parent(shell);
    assert_eq!(json.report()["complete"], true);
}

/// `nohup` starts a program with SIGHUP ignored, so that it outlives its terminal.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_the_starter_ignores_stays_ignored() {
    use std::os::unix::process::CommandExt;
    let ignored = |signals: &[nix::sys::signal::Signal]| {
        let mut command = demo!("--quick");
        let signals = signals.to_vec();
        let ignore = move || {
            for &signal in &signals {
                // SAFETY: no handler is set.
                unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigIgn) }?;
            }
            Ok(())
        };
        // SAFETY: the closure makes system calls alone.
        unsafe { command.pre_exec(ignore) };
        let mut lab = command.spawn().expect("the laboratory can be started");
        let stdout = lab.stdout.as_mut().expect("it is a pipe");
        stdout.read_exact(&mut [0]).expect("it says something");
        let status = fs::read_to_string(format!("/proc/{}/status", lab.id())).expect("it is there");
        let _ = lab.kill();
        let _ = finish(lab);
        let mask = captures(&status, r"(?m)^SigIgn:\s+([0-9a-f]+)$");
        let mask = u64::from_str_radix(&mask[0], 16).expect("it is a number");
        [1, 2, 15].map(|signal| mask & 1 << (signal - 1) != 0)
    };
    use nix::sys::signal::Signal::{SIGHUP, SIGINT};
    assert_eq!(ignored(&[]), [false, false, false]);
    assert_eq!(ignored(&[SIGHUP]), [true, false, false]);
    assert_eq!(ignored(&[SIGHUP, SIGINT]), [true, true, false]);
}

/// Of sixteen requests under way one crashes, and takes with it the others of its process.
#[cfg(target_os = "linux")]
#[test]
fn servers_of_all_models_are_measured_and_crashed() {
    let experiment = experiment("servers");
    let radius: Vec<_> = rows(experiment, 0)
        .iter()
        .map(|row| {
            assert!(median(&row[4]) > 4096.0, "no memory: {row}");
            let again = row[3].get("figure").is_some();
            assert_eq!(row[2]["outcome"]["good"], text(&row[2]) == "0 of 15");
            (text(&row[0]), text(&row[2]), again)
        })
        .collect();
    assert_eq!(
        radius,
        [
            ("prefork", "0 of 15", true),
            ("threads", "15 of 15", false),
            ("hybrid", "3 of 15", true)
        ]
    );
    let reason = experiment["reason"].as_str().expect("it is a text");
    assert!(
        reason.starts_with("processes are more stable: holds"),
        "{reason}"
    );

    // On kept and on new connections.
    let ways: Vec<_> = rows(experiment, 1)
        .iter()
        .map(|row| {
            assert!(median(&row[3]) > 0.0, "nothing was answered: {row}");
            let is_itself = text(&row[2]) == "prefork";
            assert!(!is_itself || median(&row[4]) == 1.0, "{row}");
            [0, 1, 2].map(|cell| text(&row[cell]))
        })
        .collect();
    let models = ["prefork", "threads", "hybrid"];
    let expected = [["20", "16"], ["1", "16"]];
    let expected = expected.map(|[kept, clients]| models.map(|model| [kept, clients, model]));
    assert_eq!(ways, expected.concat());
    assert!(left_out(experiment).contains("four clients for each worker: --quick"));

    // One rate in a quick run.
    assert_eq!(rows(experiment, 2).len(), models.len());
    for row in rows(experiment, 2) {
        let [half, most, worst] = [2, 3, 4].map(|cell| median(&row[cell]));
        assert!(half <= most && most <= worst, "{row}");
    }
}
