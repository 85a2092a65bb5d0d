//! What pool-demo promises of workers on other machines.

use assert_cmd::assert::Assert;
use predicates::prelude::*;

use crate::common::*;

/// Runs `remote` over some ways, and returns what it printed once it has succeeded.
#[cfg(unix)]
fn remote(arguments: &[&str]) -> (String, String) {
    let mut remote = demo!("remote", "--tasks", "300", "--numbers", "100");
    remote.args(arguments);
    // Where a launcher was killed, what it had started may be about to end.
    adopt_orphans();
    let child = remote.spawn().expect("the demo can be started");
    let assert = Assert::new(finish_with_orphans(child)).success();
    let out = stdout(&assert);
    // There are 3245 primes below 30,000. A task that was counted twice, or not, would show.
    capture(&out, "(300 tasks, each counted once: 3245 primes)\\. .*");
    let errors = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    (out, errors)
}

#[cfg(unix)]
#[test]
fn workers_that_are_started_by_any_command_share_one_job() {
    let shell = r#"sh -c 'exec "$0" "$@"'"#;
    for arguments in [
        &[][..],
        &[
            "--via",
            "",
            "--via",
            "env",
            "--via",
            shell,
            "--workers",
            "2",
        ],
        &["--chunk", "1"],
        &["--chunk", "2048"],
    ] {
        let (out, errors) = remote(arguments);
        assert_eq!(errors, "");
        let shares = captures(&out, r".+/\d+: (\d+) tasks, .*");
        let done: u32 = shares
            .iter()
            .map(|n| n.parse::<u32>().expect("a number"))
            .sum();
        assert_eq!(done, 300, "{out}");
    }
    // What a single worker does in a second is what all do.
    let (out, _) = remote(&[]);
    let host = nix::unistd::gethostname().expect("this machine has a name");
    let worker = format!("{}/", host.to_string_lossy());
    assert!(out.starts_with(&worker), "{out}");
    let rates = captures(&out, r".* (\d+\.\d) tasks per second\.?");
    assert_eq!(rates.len(), 2, "{out}");
    assert_eq!(rates[0], rates[1], "{out}");
}

#[cfg(unix)]
#[test]
fn a_way_that_leads_to_no_worker_is_given_up_and_the_others_do_its_tasks() {
    let banner = r#"sh -c 'echo Welcome; exec "$0" "$@"'"#;
    let ways = [
        (banner, r#"but with "Welcome""#),
        ("no-such-command-here", "cannot start"),
        (r#"sh -c 'exit 3'"#, "it ended before it was ready"),
        ("sh -c no-such-command-here", "it ended before it was ready"),
        (
            r#"sh -c 'printf "Password: "; exit 255'"#,
            r#"but with "Password:""#,
        ),
        // Another version; other tasks.
        (
            r#"sh -c 'echo "pool-demo 0.0.9 worker little-endian primes node1 1"'"#,
            "is the same pool-demo there",
        ),
        (
            r#"sh -c 'echo "pool-demo 0.1.0 worker little-endian sums node1 1"'"#,
            "is the same pool-demo there",
        ),
        // A length that no message has: it is refused, and no memory is taken for it. The command
        // does not end by itself, so it is killed.
        (
            r#"sh -c 'echo "pool-demo 0.1.0 worker little-endian primes node1 1";
                      printf "\377\377\377\377\377\377\377\177";
                      exec tail -f /dev/null >/dev/null 2>&1'"#,
            "what arrived is no message",
        ),
    ];
    // All at once: each is tried three times, with a pause before each time.
    let running = ways.map(|(via, error)| {
        let mut command = demo!("remote", "--tasks", "3", "--via", via);
        (command.spawn().expect("the demo can be started"), error)
    });
    for (demo, error) in running {
        Assert::new(finish(demo))
            .code(1)
            .stderr(predicate::str::contains(error))
            .stderr(predicate::str::contains("given up after 3 failures"))
            .stderr(predicate::str::contains("no worker is left"));
    }
    let (_, errors) = remote(&["--via", "", "--via", "false"]);
    assert!(!errors.contains("no worker is left"), "{errors}");
}

#[cfg(unix)]
#[test]
fn a_worker_that_is_lost_or_silent_is_replaced_and_no_task_is_lost() {
    // What happens the first time; afterwards, all is well.
    let ends = [
        "exit 1",
        // It is cut off in the middle of a message.
        r#""$0" "$@" | head -c 60"#,
        // It swallows the tasks: nothing is closed, and nothing comes.
        r#"echo "pool-demo 0.1.0 worker little-endian primes nowhere 1"; exec cat >/dev/null"#,
    ];
    // All at once, since each waits for a new attempt.
    std::thread::scope(|scope| {
        for (number, first) in ends.into_iter().enumerate() {
            scope.spawn(move || {
                let name = format!("pool-demo-test-{}-{number}", std::process::id());
                let once = std::env::temp_dir().join(name);
                let tried = once.display();
                let via =
                    format!(r#"sh -c 'if mkdir {tried}; then {first}; else exec "$0" "$@"; fi'"#);
                let (_, errors) = remote(&["--via", &via, "--task-timeout", "2"]);
                std::fs::remove_dir(once).expect("the first attempt made it");
                assert!(errors.contains("once more in"), "{first}: {errors}");
            });
        }
    });
}

#[cfg(unix)]
#[test]
fn remote_workers_end_when_their_master_is_killed() {
    let mut demo = demo!("remote", "--tasks", "100000", "--workers", "2")
        .args([
            "--via",
            "",
            "--via",
            r#"sh -c 'echo started >&2; "$0" "$@"; true'"#,
        ])
        .spawn()
        .expect("the demo can be started");
    let mut errors = demo.stderr.take().expect("it is a pipe");
    let mut line = [0; 8];
    std::io::Read::read_exact(&mut errors, &mut line).expect("a worker is started");
    demo.stderr = Some(errors);
    kill_only_the_parent(demo);
}

#[cfg(unix)]
#[test]
fn remote_workers_end_when_their_master_is_interrupted_or_terminated() {
    use nix::sys::signal::{Signal, kill, killpg};
    adopt_orphans();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let via = r#"sh -c 'echo started >&2; exec "$0" "$@"'"#;
        let mut demo = demo!("remote", "--tasks", "100000", "--via", via)
            .spawn()
            .expect("the demo can be started");
        let mut line = [0; 8];
        let errors = demo.stderr.as_mut().expect("it is a pipe");
        std::io::Read::read_exact(errors, &mut line).expect("a worker is started");
        // Ctrl-C reaches the whole group; who terminates a program knows its own id only.
        match signal {
            Signal::SIGINT => killpg(pid(demo.id()), signal),
            _ => kill(pid(demo.id()), signal),
        }
        .expect("it runs");
        let end = finish_with_orphans(demo);
        assert!(!end.status.success(), "{signal}: {end:#?}");
    }
}

#[cfg(unix)]
#[test]
fn a_way_that_is_late_or_fails_twice_and_then_works_is_used() {
    let late = r#"sh -c 'sleep 0.2; exec "$0" "$@"'"#;
    assert_eq!(remote(&["--via", late]).1, "");

    let folder = std::env::temp_dir().join(format!("pool-demo-twice-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder can be made");
    let (one, two) = (folder.join("1"), folder.join("2"));
    let (one, two) = (one.display(), two.display());
    let via =
        format!(r#"sh -c 'mkdir {one} 2>/dev/null || mkdir {two} 2>/dev/null || exec "$0" "$@"'"#);
    let (_, errors) = remote(&["--via", &via]);
    std::fs::remove_dir_all(&folder).expect("it is there");
    // Each time it is given longer.
    let pauses = captures(&errors, r"pool-demo: via .*; once more in (.*)");
    assert_eq!(pauses, ["400ms", "1.6s"], "{errors}");
}

#[cfg(unix)]
#[test]
fn over_a_slow_link_a_job_is_done_and_one_task_at_a_time_waits_for_the_link() {
    let link = assert_cmd::cargo::cargo_bin!("slow-link").display();
    let (_, errors) = remote(&["--via", &format!("{link} 20")]);
    assert_eq!(errors, "");
    // A task at a time cannot be faster than the link, however fast the machine is.
    let mut demo = demo!("remote", "--tasks", "10", "--chunk", "1");
    demo.args(["--via", &format!("{link} 20")]);
    let out = stdout(&run(demo).success());
    let rate = capture(&out, r"10 tasks, .* (\d+)\.\d tasks per second\.");
    assert!(rate.parse::<u32>().expect("a number") <= 25, "{out}");
    // The link ends as the command does that it leads to.
    run(command(link.to_string(), &["0", "true"])).success();
    run(command(link.to_string(), &["0", "false"])).code(1);
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs an ssh server's program"]
fn workers_are_started_over_a_real_ssh_on_this_machine() {
    const SSHD: &str = "/usr/sbin/sshd";
    if !std::path::Path::new(SSHD).exists() {
        eprintln!("left out: there is no {SSHD}");
        return;
    }
    // The server wants this folder where it separates privileges; it may be there.
    let _ = std::fs::create_dir_all("/run/sshd");
    let folder = std::env::temp_dir().join(format!("pool-demo-ssh-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder can be made");
    let path = |name: &str| folder.join(name).display().to_string();
    for key in ["host", "user"] {
        let keygen = ["-q", "-t", "ed25519", "-N", "", "-f", &path(key)];
        run(command("ssh-keygen", &keygen)).success();
    }
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port is free")
        .port();
    let options = [
        format!("Port={port}"),
        "ListenAddress=127.0.0.1".to_owned(),
        format!("HostKey={}", path("host")),
        format!("AuthorizedKeysFile={}", path("user.pub")),
        "StrictModes=no".to_owned(),
        "UsePAM=no".to_owned(),
        "PidFile=none".to_owned(),
    ];
    let mut server = command(SSHD, &["-D", "-f", "/dev/null"]);
    server.args(options.iter().flat_map(|option| ["-o", option]));
    let mut server = server.spawn().expect("the server can be started");
    let _server = Guard(server.id());
    wait_until("a server that listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });

    let via = format!(
        "ssh -i {} -p {port} -o BatchMode=yes -o StrictHostKeyChecking=no \
         -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR 127.0.0.1",
        path("user")
    );
    let (out, errors) = remote(&["--via", &via, "--workers", "2"]);
    // What the user's login shell says there is none of our business.
    assert!(!errors.contains("pool-demo: "), "{errors}");
    assert!(!captures(&out, r".+/(\d+): \d+ tasks, .*").is_empty());

    server.kill().expect("it runs");
    finish_with_orphans(server);
    std::fs::remove_dir_all(&folder).expect("it is there");
}

/// Two network namespaces that are joined by a cable, as two hosts are. They go with this value.
#[cfg(target_os = "linux")]
struct TwoHosts {
    master: String,
    other: String,
}

#[cfg(target_os = "linux")]
impl TwoHosts {
    /// `None`: this user or this system cannot make them.
    fn new() -> Option<Self> {
        let id = std::process::id();
        let hosts = Self {
            master: format!("pool-demo-{id}-a"),
            other: format!("pool-demo-{id}-b"),
        };
        let (a, b) = (&hosts.master, &hosts.other);
        ip(&format!("netns add {a}"))?;
        ip(&format!("netns add {b}"))?;
        ip(&format!(
            "-n {a} link add cable type veth peer cable netns {b}"
        ))?;
        for (host, address) in [(a, "192.0.2.1/24"), (b, "192.0.2.2/24")] {
            ip(&format!("-n {host} address add {address} dev cable"))?;
            ip(&format!("-n {host} link set cable up"))?;
            ip(&format!("-n {host} link set lo up"))?;
        }
        Some(hosts)
    }

    /// The command that runs something on a host.
    fn on(host: &str, words: &[&str]) -> std::process::Command {
        let mut command = command("ip", &["netns", "exec", host]);
        command.args(words);
        command
    }

    /// The workers on the other host, and how often each has waited: for each chunk once, at least.
    fn workers(&self) -> Vec<u64> {
        let pids = Self::ip_output(&format!("netns pids {}", self.other));
        let waits = |pid: &str| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let mut words = words.split(|&byte| byte == 0);
            let program = words.next()?.ends_with(b"/pool-demo");
            let worker = program && words.next()? == b"--worker";
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let waits = captures(&status, r"voluntary_ctxt_switches:\s*(\d+)").pop()?;
            worker.then_some(waits.parse().ok()?)
        };
        pids.split_whitespace().filter_map(waits).collect()
    }

    fn ip_output(words: &str) -> String {
        let words: Vec<&str> = words.split(' ').collect();
        stdout(&run(command("ip", &words)))
    }
}

#[cfg(target_os = "linux")]
impl Drop for TwoHosts {
    fn drop(&mut self) {
        for host in [&self.master, &self.other] {
            ip(&format!("netns delete {host}"));
        }
    }
}

/// Not by `command`, which panics after a demo hung: the namespaces are deleted even then.
#[cfg(target_os = "linux")]
fn ip(words: &str) -> Option<()> {
    let mut ip = std::process::Command::new("ip");
    ip.args(words.split(' '))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    ip.status().ok()?.success().then_some(())
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "needs root, and ssh's programs"]
fn a_job_over_two_hosts_survives_that_one_is_cut_off() {
    let Some(hosts) = TwoHosts::new().filter(|_| std::path::Path::new("/usr/sbin/sshd").exists())
    else {
        eprintln!("left out: `ip netns add` does not work here, or there is no sshd");
        return;
    };
    let _ = std::fs::create_dir_all("/run/sshd");
    let folder = std::env::temp_dir().join(format!("pool-demo-hosts-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder can be made");
    let path = |name: &str| folder.join(name).display().to_string();
    for key in ["host", "user"] {
        let keygen = ["-q", "-t", "ed25519", "-N", "", "-f", &path(key)];
        run(command("ssh-keygen", &keygen)).success();
    }
    let options = [
        "Port=2222".to_owned(),
        "ListenAddress=192.0.2.2".to_owned(),
        format!("HostKey={}", path("host")),
        format!("AuthorizedKeysFile={}", path("user.pub")),
        "StrictModes=no".to_owned(),
        "UsePAM=no".to_owned(),
        "PidFile=none".to_owned(),
        // The server asks whether its client is still there, and ends its programs when it is not.
        "ClientAliveInterval=2".to_owned(),
    ];
    let mut words = vec!["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null"];
    words.extend(options.iter().flat_map(|option| ["-o", option]));
    let mut server = TwoHosts::on(&hosts.other, &words)
        .spawn()
        .expect("the server can be started");
    let _server = Guard(server.id());
    let mut log = std::io::BufReader::new(server.stderr.take().expect("it is a pipe"));
    let mut line = String::new();
    while !line.contains("listening") {
        line.clear();
        let read = std::io::BufRead::read_line(&mut log, &mut line).expect("it can be read");
        assert!(read > 0, "the server does not listen");
    }
    server.stderr = Some(log.into_inner());

    // 20 ms each way. The kernel does it where it can; or else a program at this end of the link.
    let delay = |host: &str| {
        let netem = "tc qdisc add dev cable root netem delay 20ms";
        let words: Vec<&str> = netem.split(' ').collect();
        let status = TwoHosts::on(host, &words).status();
        status.is_ok_and(|status| status.success())
    };
    let link = assert_cmd::cargo::cargo_bin!("slow-link").display();
    let slow = format!("{link} 20");
    let delayed = delay(&hosts.master) && delay(&hosts.other);
    let delay = if delayed {
        String::new()
    } else {
        format!("{slow} ")
    };
    let via = format!(
        "{delay}ssh -i {} -p 2222 -o BatchMode=yes -o StrictHostKeyChecking=no -o ConnectTimeout=5 \
         -o ServerAliveInterval=5 -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR 192.0.2.2",
        path("user")
    );
    let program = assert_cmd::cargo::cargo_bin!("pool-demo")
        .display()
        .to_string();
    // The worker on this host is slowed down too. So the other host's worker is there long before
    // the end.
    let mut words = vec![&*program, "remote", "--via", &slow, "--via", &via];
    words.extend(["--tasks", "2500", "--chunk", "10", "--task-timeout", "10"]);
    adopt_orphans();
    let mut demo = TwoHosts::on(&hosts.master, &words)
        .spawn()
        .expect("the demo can be started");
    let _demo = Guard(demo.id());

    // In the middle: the other host's worker has done some of it.
    wait_until("a worker on the other host", || {
        let end = demo.try_wait().expect("it is our child");
        assert!(end.is_none(), "the job ended first");
        hosts.workers().iter().any(|&waits| waits >= 30)
    });
    ip(&format!("-n {} link set cable down", hosts.other)).expect("it can be cut");

    let end = finish_with_orphans(demo);
    let out = String::from_utf8_lossy(&end.stdout);
    let errors = String::from_utf8_lossy(&end.stderr);
    assert!(end.status.success(), "{out}{errors}");
    // A task that was counted twice, or not, would show.
    capture(&out, "(2500 tasks, each counted once: 183072 primes)\\. .*");
    assert!(errors.contains("silent for 10s; once more in"), "{errors}");
    wait_until("the end of the other host's workers", || {
        hosts.workers().is_empty()
    });
    server.kill().expect("it runs");
    finish_with_orphans(server);
    std::fs::remove_dir_all(&folder).expect("it is there");
}
