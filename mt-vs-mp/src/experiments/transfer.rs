//! What it costs to move data: between two threads, and between two processes, by the size of the
//! message.
//!
//! There are two figures. *Handed over*: the receiver has the message, and has looked at its first
//! and its last word. A message that is moved to another thread is not copied: only its owner
//! changes, whatever its size. *Read*: the receiver has also added up all words of the message, as
//! a receiver that needs the data does.

use std::{
    io::{self, Read, Write},
    sync::mpsc,
    thread,
};

use anyhow::Context;
use ipc_channel::ipc::{IpcBytesSender, IpcOneShotServer, IpcSender, bytes_channel};
use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::{
    finding::{
        Finding,
        figure::{Unit, amount},
        interval::Interval,
        plot::{Axis, Line, Plot},
        table::Table,
        verdict,
    },
    lab::{
        Lab, Measured, Mode,
        role::{Partner, Role},
        trial,
    },
};

mod messages;
#[cfg(unix)]
mod shared_memory;

use messages::{Batch, check, prepare, receive_all, send_all};

pub const EXPERIMENT: Experiment = Experiment {
    name: "transfer",
    claim: "Large data gets from thread to thread far faster than from process to process.",
    share: 8,
    run,
    roles: &[&TRANSFER, &RECEIVER],
    published: &[(
        "a pipe carries 4.87 MB/s",
        "lmbench, 1994: the manual of bw_pipe; history",
    )],
};

/// "Far faster": the best way between processes takes at least `FAR` times as long as a move
/// between threads.
const FAR: f64 = 2.0;

/// How a message gets from the sender to the receiver.
struct Way {
    name: &'static str,
    /// Whether sender and receiver are processes. Otherwise they are threads.
    processes: bool,
    /// Whether the message is copied on its way.
    copies: bool,
    /// Sends all batches. Returns the time per message of each batch, in seconds.
    transfer: fn(&[Batch]) -> anyhow::Result<Vec<f64>>,
}

/// The others are compared with the first.
const WAYS: &[Way] = &[
    Way {
        name: "threads: channel, moved",
        processes: false,
        copies: false,
        transfer: |batches| by_threads(batches, false),
    },
    Way {
        name: "threads: channel, copied",
        processes: false,
        copies: true,
        transfer: |batches| by_threads(batches, true),
    },
    #[cfg(unix)]
    Way {
        name: "processes: shared memory",
        processes: true,
        copies: true,
        transfer: shared_memory::transfer,
    },
    Way {
        name: "processes: pipe",
        processes: true,
        copies: true,
        transfer: by_pipe,
    },
    Way {
        name: "processes: ipc-channel",
        processes: true,
        copies: true,
        transfer: by_ipc_channel,
    },
];

/// From 64 bytes to 16 MiB. Each size is eight times the one before.
fn sizes(mode: Mode) -> Vec<usize> {
    let steps = mode.pick(6, 7, 7);
    (0..steps).map(|step| 64 << (3 * step)).collect()
}

/// Two batches for each size: one that is only handed over, and one that is read.
fn batches(mode: Mode, copies: bool) -> Vec<Batch> {
    // The time of a batch includes one answer, which must not matter: so the smaller the messages,
    // the more there are of them.
    let (bytes, most) = mode.pick((1 << 20, 300), (4 << 20, 1000), (64 << 20, 10_000));
    let mut batches = Vec::new();
    for size in sizes(mode) {
        for read in [false, true] {
            let messages = match copies || read {
                true => (bytes / size).clamp(2, most),
                // Nothing is copied or read, so the size does not matter.
                false => 300,
            };
            batches.push(Batch {
                size,
                messages,
                read,
            });
        }
    }
    batches
}

/// From thread to thread. The receiver returns each message, and the sender uses its memory again:
/// so the time to allocate memory is not in the figures. To move a message is to move three words,
/// whatever its size: address, length and capacity. With `copy`, the sender keeps its own message
/// and sends a copy.
fn by_threads(batches: &[Batch], copy: bool) -> anyhow::Result<Vec<f64>> {
    let (to_receiver, messages) = mpsc::channel::<Vec<u8>>();
    let (to_sender, returned) = mpsc::channel();
    let (mut answer_reader, mut answer_writer) = io::pipe().context("cannot make a pipe")?;
    thread::scope(|scope| {
        let receive = move || {
            receive_all(batches, &mut answer_writer, |number, batch| {
                let message = messages.recv().context("the sender is gone")?;
                check(&message, number, batch)?;
                to_sender.send(message).context("the sender is gone")
            })
        };
        let receiver = thread::Builder::new().spawn_scoped(scope, receive);
        let receiver = receiver.context("cannot start a thread")?;
        // The number of messages whose memory goes to and fro.
        let mut circulating = 0;
        let mut own = Vec::new();
        let seconds = send_all(batches, &mut answer_reader, |number, batch| {
            // Of larger messages, fewer may be under way.
            while circulating > batch.under_way() {
                drop(returned.recv()?);
                circulating -= 1;
            }
            let mut message = Vec::new();
            if circulating < batch.under_way() {
                circulating += 1;
            } else {
                message = returned.recv()?;
            }
            if copy {
                prepare(&mut own, number, batch.size);
                message.clear();
                message.extend_from_slice(&own);
            } else {
                prepare(&mut message, number, batch.size);
            }
            Ok(to_receiver.send(message)?)
        });
        // A receiver that still waits ends when the channel does.
        drop(to_receiver);
        receiver.join().expect("it does not panic")?;
        seconds
    })
}

/// Where a receiving process gets its messages from.
#[derive(Serialize, Deserialize)]
enum Source {
    Stdin,
    /// The receiver makes a channel, and sends its sending end to the server of this name.
    IpcChannel(String),
}

/// The receiving process.
static RECEIVER: Role<(Source, Vec<Batch>)> = Role {
    name: "transfer-receiver",
    play: |(source, batches)| {
        // Without the buffers of `io::stdin` and `io::stdout`.
        let mut answers = os_pipe::dup_stdout().context("cannot use stdout")?;
        match source {
            Source::Stdin => {
                let mut pipe = os_pipe::dup_stdin().context("cannot use stdin")?;
                let mut message = Vec::new();
                receive_all(&batches, &mut answers, |number, batch| {
                    message.resize(batch.size, 0);
                    let read = pipe.read_exact(&mut message);
                    read.context("the sender is gone")?;
                    check(&message, number, batch)
                })
            }
            Source::IpcChannel(server) => {
                let (sender, receiver) = bytes_channel().context("cannot make a channel")?;
                IpcSender::connect(server)
                    .context("cannot connect to the sender")?
                    .send(sender)
                    .context("cannot send the channel's other end")?;
                answers.write_all(b".").context("the sender is gone")?;
                // `recv` allocates the memory of each message.
                receive_all(&batches, &mut answers, |number, batch| {
                    check(&receiver.recv()?, number, batch)
                })
            }
        }
    },
};

fn by_pipe(batches: &[Batch]) -> anyhow::Result<Vec<f64>> {
    let mut receiver = RECEIVER.start(&(Source::Stdin, batches.to_vec()))?;
    let (pipe, answers) = receiver.pipes()?;
    let mut message = Vec::new();
    let seconds = send_all(batches, answers, |number, batch| {
        prepare(&mut message, number, batch.size);
        Ok(pipe.write_all(&message)?)
    });
    end(receiver, seconds)
}

fn by_ipc_channel(batches: &[Batch]) -> anyhow::Result<Vec<f64>> {
    let (server, name) =
        IpcOneShotServer::<IpcBytesSender>::new().context("cannot open a server")?;
    let mut receiver = RECEIVER.start(&(Source::IpcChannel(name), batches.to_vec()))?;
    let (_, answers) = receiver.pipes()?;
    // First the byte that the receiver writes when it has connected: if it has died before,
    // `accept` would wait for ever.
    answers
        .read_exact(&mut [0])
        .context("the receiver is gone")?;
    let (_, channel) = server.accept().context("cannot receive the channel")?;
    let mut message = Vec::new();
    let seconds = send_all(batches, answers, |number, batch| {
        prepare(&mut message, number, batch.size);
        Ok(channel.send(&message)?)
    });
    // A receiver that still waits ends when the channel does.
    drop(channel);
    end(receiver, seconds)
}

/// Waits for the receiver's end. If both sides failed, the receiver's error is returned.
fn end(mut receiver: Partner, seconds: anyhow::Result<Vec<f64>>) -> anyhow::Result<Vec<f64>> {
    receiver.finish::<()>().context("the receiver")?;
    seconds
}

/// The times per message of one size, in seconds.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct PerMessage {
    handed_over: f64,
    read: f64,
}

/// Sends the batches by a row of [`WAYS`].
static TRANSFER: Role<(usize, Vec<Batch>), Vec<PerMessage>> = Role {
    name: "transfer",
    play: |(way, batches)| {
        let seconds = (WAYS[way].transfer)(&batches)?;
        let (pairs, _) = seconds.as_chunks();
        let times = pairs
            .iter()
            .map(|&[handed_over, read]| PerMessage { handed_over, read });
        Ok(times.collect())
    },
};

/// A way, and in each round its times for each size.
type Times = Measured<usize, Vec<PerMessage>>;

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let times = lab.alternate(lab.budget, 0..WAYS.len(), |&way| {
        trial::run(&TRANSFER, &(way, batches(lab.mode, WAYS[way].copies)))
    })?;
    let sizes = sizes(lab.mode);
    let mut finding = judge(&sizes, &times);
    finding.tables.push(table(&sizes, &times));
    finding.plots.push(plot(&sizes, &times));
    if lab.mode == Mode::Quick {
        let why = "16 MiB: --quick has no time for it";
        finding.left_out.push(why.to_owned());
    }
    if cfg!(not(unix)) {
        let why = "shared memory: it needs fork here, which exists on Unix only";
        finding.left_out.push(why.to_owned());
    }
    Ok(finding)
}

fn table(sizes: &[usize], times: &[Times]) -> Table {
    let mut rows = Vec::new();
    for size in 0..sizes.len() {
        rows.extend(times.iter().map(|times| (size, times)));
    }
    Table::of(
        "Messages one after the other, in one direction; the time for each:",
        &rows,
        &[
            ("message", &|&(size, _)| {
                amount(sizes[size] as f64, Unit::Bytes).into()
            }),
            ("way", &|(_, times)| WAYS[times.variant].name.into()),
            ("handed over", &|&(size, times)| {
                times
                    .figure(Unit::Seconds, |times| times[size].handed_over)
                    .into()
            }),
            ("and read", &|&(size, times)| {
                times.figure(Unit::Seconds, |times| times[size].read).into()
            }),
        ],
    )
}

fn plot(sizes: &[usize], times: &[Times]) -> Plot {
    let line = |times: &Times| {
        let points = sizes.iter().enumerate().map(|(place, &size)| {
            let rates = times.numbers(|times| size as f64 / times[place].read);
            (size as f64, Interval::of(&rates))
        });
        Line::new(WAYS[times.variant].name, points)
    };
    Plot::new(
        "How fast data gets from one to the other, and is read",
        Axis::logarithmic("size of a message", Unit::Bytes),
        Axis::logarithmic("rate", Unit::BytesPerSecond),
        times.iter().map(line),
    )
}

/// The largest messages decide: of small ones, most of the time is for waking the receiver. The
/// best way between processes is compared with a move between threads.
fn judge(sizes: &[usize], times: &[Times]) -> Finding {
    let last = sizes.len() - 1;
    let compare = |time: fn(&PerMessage) -> f64| {
        let median = |it: &Times| Interval::of(&it.numbers(|times| time(&times[last]))).median;
        let processes = times.iter().filter(|it| WAYS[it.variant].processes);
        let best = processes
            .min_by(|one, other| median(one).total_cmp(&median(other)))
            .expect("there are ways between processes on every system");
        let name = WAYS[best.variant].name.trim_start_matches("processes: ");
        (name, best.ratio_to(&times[0], |times| time(&times[last])))
    };
    let (best, handed_over) = compare(|it| it.handed_over);
    let (best_read, read) = compare(|it| it.read);
    let size = amount(sizes[last] as f64, Unit::Bytes);
    Finding::new(
        // To read the data is not a part of the transfer. The reason tells that time too.
        verdict::at_least(handed_over.interval, FAR),
        format!(
            "to hand over {size}, the best way between processes ({best}) takes {handed_over} as long as a \
             move to another thread; if the receiver then reads all of it, the best way ({best_read}) takes \
             {read} as long"
        ),
        format!("{size}, processes / threads: handed over {handed_over}, and read {read}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::verdict::Verdict;

    /// The times of messages of two sizes.
    fn times(variant: usize, small: f64, handed_over: f64, read: f64) -> Times {
        let small = PerMessage {
            handed_over: small,
            read: small,
        };
        let large = PerMessage { handed_over, read };
        Times {
            variant,
            samples: vec![vec![small, large]; 9],
        }
    }

    #[test]
    fn the_largest_messages_and_the_best_way_between_processes_decide() {
        let judged = |handed_over, read| {
            let process = WAYS.len() - 2;
            let times = [
                times(0, 50.0, 1.0, 10.0),
                times(process, 1.0, handed_over, read),
                times(process + 1, 1.0, 99.0, 25.0),
            ];
            judge(&[64, 512], &times)
        };
        let finding = judged(8.0, 30.0);
        assert_eq!(finding.verdict, Verdict::Holds);
        assert_eq!(
            finding.reason,
            "to hand over 512 B, the best way between processes (pipe) takes 8.00 × [8.00, 8.00] as long as a \
             move to another thread; if the receiver then reads all of it, the best way (ipc-channel) takes \
             2.50 × [2.50, 2.50] as long"
        );
        assert_eq!(judged(1.5, 30.0).verdict, Verdict::Fails);
    }

    #[test]
    fn a_rate_is_what_is_read_in_a_second() {
        let plot = plot(&[64, 512], &[times(0, 4.0, 1.0, 2.0)]);
        let points = plot.lines[0].points.iter();
        let points: Vec<_> = points.map(|point| (point.x, point.y.median)).collect();
        assert_eq!(points, [(64.0, 16.0), (512.0, 256.0)]);
    }

    #[test]
    fn the_larger_messages_are_the_fewer_they_are_unless_nothing_is_copied_or_read() {
        let numbers = |mode, copies| -> Vec<[usize; 2]> {
            let batches = batches(mode, copies);
            let (pairs, rest) = batches.as_chunks();
            assert!(rest.is_empty() && pairs.iter().all(|[one, two]| !one.read && two.read));
            let numbers = pairs.iter().map(|pair| pair.map(|batch| batch.messages));
            numbers.collect()
        };
        for (mode, of_64_bytes, of_32_kib, of_2_mib) in [
            (Mode::Quick, 300, 32, 2),
            (Mode::Default, 1000, 128, 2),
            (Mode::Full, 10_000, 2048, 32),
        ] {
            let copied = numbers(mode, true);
            assert_eq!(
                [copied[0], copied[3], copied[5]],
                [[of_64_bytes; 2], [of_32_kib; 2], [of_2_mib; 2]]
            );
            assert_eq!(numbers(mode, false)[3], [300, of_32_kib]);
        }
    }

    #[test]
    fn sizes_go_from_64_bytes_to_16_mib_each_eight_times_the_one_before() {
        let default = sizes(Mode::Default);
        assert_eq!((default[0], default[6], default.len()), (64, 16 << 20, 7));
        assert!(default.windows(2).all(|sizes| sizes[1] == 8 * sizes[0]));
        // In a hurry, the largest is left out.
        assert_eq!(sizes(Mode::Quick), default[..6]);
    }
}
