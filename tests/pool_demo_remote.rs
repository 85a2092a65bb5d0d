//! What pool-demo promises of workers on other machines.

mod common;

#[cfg(target_os = "linux")]
use std::time::{Duration, Instant};

use common::*;
use predicates::prelude::*;

/// Long enough for a slow and busy machine.
#[cfg(target_os = "linux")]
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `remote` over some ways, and returns what it printed once it has succeeded.
#[cfg(unix)]
fn remote(arguments: &[&str]) -> (String, String) {
    let mut remote = demo!("remote", "--tasks", "300", "--numbers", "100");
    remote.args(arguments);
    let assert = run(remote).success();
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
}

#[cfg(unix)]
#[test]
fn a_way_that_leads_to_no_worker_is_given_up_and_the_others_do_its_tasks() {
    let banner = r#"sh -c 'echo Welcome; exec "$0" "$@"'"#;
    for (via, error) in [
        (banner, r#"but with "Welcome""#),
        ("no-such-command-here", "cannot start"),
        (r#"sh -c 'exit 3'"#, "it ended before it was ready"),
    ] {
        let command = demo!("remote", "--tasks", "3", "--via", via);
        run(command)
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
    let folder = std::env::temp_dir().join(format!("pool-demo-test-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder can be made");
    let once = folder.join("once");
    let once = once.display();
    // What happens the first time; afterwards, all is well.
    for first in [
        "exit 1",
        // It is cut off in the middle of a message.
        r#""$0" "$@" | head -c 60"#,
        // It swallows the tasks: nothing is closed, and nothing comes.
        r#"echo "pool-demo 0.1.0 worker little-endian primes nowhere 1"; exec cat >/dev/null"#,
    ] {
        let via = format!(r#"sh -c 'if mkdir {once}; then {first}; else exec "$0" "$@"; fi'"#);
        let (_, errors) = remote(&["--via", &via, "--task-timeout", "2"]);
        assert!(errors.contains("once more in"), "{first}: {errors}");
        std::fs::remove_dir(folder.join("once")).expect("it was used");
    }
    std::fs::remove_dir(&folder).expect("it is empty");
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
    assert_eq!(errors.matches("once more in").count(), 2, "{errors}");
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
    let start = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < LIMIT, "the server does not listen");
        std::thread::yield_now();
    }

    let via = format!(
        "ssh -i {} -p {port} -o BatchMode=yes -o StrictHostKeyChecking=no \
         -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR 127.0.0.1",
        path("user")
    );
    let (out, errors) = remote(&["--via", &via, "--workers", "2"]);
    assert_eq!(errors, "");
    assert!(!captures(&out, r".+/(\d+): \d+ tasks, .*").is_empty());

    server.kill().expect("it runs");
    finish_with_orphans(server);
    std::fs::remove_dir_all(&folder).expect("it is there");
}
