//! What moving data costs: between two threads, and between two processes, by the size of the
//! message.
//!
//! Two figures, for they answer two questions. *Handed over*: the receiver has the message, and has
//! looked at its first and its last word. Between threads that takes the same time whatever the
//! size, for only the owner changes. *Read*: the receiver has added up all of it, as somebody does
//! who wants the data.

use std::{
    io::{self, Read, Write},
    sync::mpsc,
    thread,
    time::Instant,
};

use anyhow::{Context, ensure};
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

#[cfg(unix)]
mod shared_memory;

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

/// "Far faster": processes take at least so many times as long.
const FAR: f64 = 2.0;

/// How a message gets from one to the other of two.
struct Way {
    name: &'static str,
    /// Whether the two are processes.
    processes: bool,
    /// Whether the message is copied on its way.
    copies: bool,
    /// Sends all batches, and returns the time per message of each, in seconds.
    transfer: fn(&[Batch]) -> anyhow::Result<Vec<f64>>,
}

/// The first is what the others are compared with.
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

/// Messages of one size, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Batch {
    /// In bytes.
    size: usize,
    messages: usize,
    /// Whether the receiver reads all of each message.
    read: bool,
}

impl Batch {
    /// How many messages may be under way, where that is ours to decide: about as many as a pipe of
    /// 64 KiB holds, and a few of the larger.
    fn under_way(self) -> usize {
        ((64 << 10) / self.size).clamp(2, 250)
    }

    /// Those that are not timed, for memory is new to both sides the first time; and those that are.
    fn parts(self) -> [usize; 2] {
        [self.under_way(), self.messages]
    }
}

/// From 64 bytes to 16 MiB, each eight times the one before: of the small ones many, and of all so
/// many that the last answer does not matter.
fn batches(mode: Mode, copies: bool) -> Vec<Batch> {
    let sizes = (0..mode.pick(6, 7, 7)).map(|step| 64_usize << (3 * step));
    let (bytes, most) = mode.pick((1 << 20, 300), (4 << 20, 1000), (64 << 20, 10_000));
    let batch = move |size, read| Batch {
        size,
        messages: match copies || read {
            true => (bytes / size).clamp(2, most),
            false => 300,
        },
        read,
    };
    sizes
        .flat_map(|size| [false, true].map(|read| batch(size, read)))
        .collect()
}

/// Every byte of a message, but for its first and its last word: those are its number.
const FILL: u8 = 1;
const WORD: usize = size_of::<u64>();

/// Makes of this memory the message of this number.
fn prepare(message: &mut Vec<u8>, number: u64, size: usize) {
    if message.len() != size {
        message.clear();
        message.resize(size, FILL);
    }
    message[..WORD].copy_from_slice(&number.to_ne_bytes());
    message[size - WORD..].copy_from_slice(&number.to_ne_bytes());
}

/// # Errors
/// When it is not whole, or not this message.
fn check(message: &[u8], number: u64, batch: Batch) -> anyhow::Result<()> {
    let (words, rest) = message.as_chunks::<WORD>();
    let word = |bytes: &[u8; WORD]| u64::from_ne_bytes(*bytes);
    let ends = [words.first(), words.last()].map(|end| end.map(word));
    let mut arrived = message.len() == batch.size && rest.is_empty() && ends == [Some(number); 2];
    if arrived && batch.read {
        let between = (words.len() as u64 - 2).wrapping_mul(u64::from_ne_bytes([FILL; WORD]));
        let sum = words.iter().map(word).fold(0, u64::wrapping_add);
        arrived = sum == between.wrapping_add(2 * number);
    }
    ensure!(
        arrived,
        "message {number} of {} bytes did not arrive whole",
        batch.size
    );
    Ok(())
}

/// The sender's side: `send` sends the message of a number; when all of a batch have arrived, the
/// receiver answers with a byte.
fn send_all(
    batches: &[Batch],
    answers: &mut impl Read,
    mut send: impl FnMut(u64, Batch) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<f64>> {
    let mut numbers = 0..;
    let mut seconds = Vec::new();
    for &batch in batches {
        let mut per_message = f64::NAN;
        for messages in batch.parts() {
            let start = Instant::now();
            for number in numbers.by_ref().take(messages) {
                send(number, batch).context("the receiver is gone")?;
            }
            answers
                .read_exact(&mut [0])
                .context("the receiver is gone")?;
            per_message = start.elapsed().as_secs_f64() / messages as f64;
        }
        seconds.push(per_message);
    }
    Ok(seconds)
}

/// The receiver's side: `receive` gets the message of a number, and checks it.
fn receive_all(
    batches: &[Batch],
    answers: &mut impl Write,
    mut receive: impl FnMut(u64, Batch) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut numbers = 0..;
    for &batch in batches {
        for messages in batch.parts() {
            for number in numbers.by_ref().take(messages) {
                receive(number, batch)?;
            }
            answers.write_all(b".").context("the sender is gone")?;
        }
    }
    Ok(())
}

/// From thread to thread. Messages go to and fro in the same few pieces of memory, so that what is
/// timed is the way and not the allocator. One that is moved changes its owner: three words,
/// whatever its size. One is copied because the sender needs its own for something else.
fn by_threads(batches: &[Batch], copy: bool) -> anyhow::Result<Vec<f64>> {
    let (to, messages) = mpsc::channel::<Vec<u8>>();
    let (back, returned) = mpsc::channel();
    let (mut answers, mut answer) = io::pipe().context("cannot make a pipe")?;
    thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            receive_all(batches, &mut answer, |number, batch| {
                let message = messages.recv().context("the sender is gone")?;
                check(&message, number, batch)?;
                back.send(message).context("the sender is gone")
            })
        });
        let (mut own, mut under_way) = (Vec::new(), 0);
        let seconds = send_all(batches, &mut answers, |number, batch| {
            // Of the memory for smaller messages there is more than is wanted now.
            while under_way > batch.under_way() {
                returned.recv()?;
                under_way -= 1;
            }
            let mut message = match under_way < batch.under_way() {
                true => Vec::new(),
                false => returned.recv()?,
            };
            under_way = (under_way + 1).min(batch.under_way());
            if copy {
                prepare(&mut own, number, batch.size);
                message.clear();
                message.extend_from_slice(&own);
            } else {
                prepare(&mut message, number, batch.size);
            }
            Ok(to.send(message)?)
        });
        // The end of the channel ends a receiver that still waits.
        drop(to);
        receiver.join().expect("it does not panic")?;
        seconds
    })
}

/// Where the other process gets its messages from.
#[derive(Serialize, Deserialize)]
enum Source {
    Stdin,
    /// A channel of its own making, the other end of which it sends to this server.
    IpcChannel(String),
}

/// The other process: the message is copied into the system and out of it.
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
                // Each message comes in memory of its own: so this library has it.
                receive_all(&batches, &mut answers, |number, batch| {
                    check(&receiver.recv()?, number, batch)
                })
            }
        }
    },
};

fn by_pipe(batches: &[Batch]) -> anyhow::Result<Vec<f64>> {
    let mut receiver = RECEIVER.start(&(Source::Stdin, batches.to_vec()))?;
    let (to, answers) = receiver.pipes()?;
    let mut message = Vec::new();
    let seconds = send_all(batches, answers, |number, batch| {
        prepare(&mut message, number, batch.size);
        Ok(to.write_all(&message)?)
    });
    end(receiver, seconds)
}

fn by_ipc_channel(batches: &[Batch]) -> anyhow::Result<Vec<f64>> {
    let (server, name) =
        IpcOneShotServer::<IpcBytesSender>::new().context("cannot open a server")?;
    let mut receiver = RECEIVER.start(&(Source::IpcChannel(name), batches.to_vec()))?;
    let (_, answers) = receiver.pipes()?;
    // `accept` would wait for ever for a receiver that died first. It says that it is there.
    answers
        .read_exact(&mut [0])
        .context("the receiver is gone")?;
    let (_, channel) = server.accept().context("cannot receive the channel")?;
    let mut message = Vec::new();
    let seconds = send_all(batches, answers, |number, batch| {
        prepare(&mut message, number, batch.size);
        Ok(channel.send(&message)?)
    });
    // The end of the channel ends a receiver that still waits.
    drop(channel);
    end(receiver, seconds)
}

/// What the receiver says is the cause if both failed.
fn end(mut receiver: Partner, seconds: anyhow::Result<Vec<f64>>) -> anyhow::Result<Vec<f64>> {
    receiver.finish::<()>().context("the receiver")?;
    seconds
}

/// The time per message, in seconds, of each batch.
static TRANSFER: Role<(usize, Vec<Batch>), Vec<f64>> = Role {
    name: "transfer",
    play: |(way, batches)| (WAYS[way].transfer)(&batches),
};

/// A way and its times: in each round, one for each batch.
type Times = Measured<usize, Vec<f64>>;

fn run(lab: &Lab) -> anyhow::Result<Finding> {
    let times = lab.alternate(lab.budget, 0..WAYS.len(), |&way| {
        trial::run(&TRANSFER, &(way, batches(lab.mode, WAYS[way].copies)))
    })?;
    let sizes: Vec<usize> = batches(lab.mode, true)
        .iter()
        .step_by(2)
        .map(|it| it.size)
        .collect();
    let rows: Vec<(usize, &Times)> = (0..sizes.len())
        .flat_map(|size| times.iter().map(move |times| (size, times)))
        .collect();
    let table = Table::of(
        "Messages one after the other, in one direction; the time for each:",
        &rows,
        &[
            ("message", &|&(size, _)| {
                amount(sizes[size] as f64, Unit::Bytes).into()
            }),
            ("from one to the other of two", &|(_, times)| {
                WAYS[times.variant].name.into()
            }),
            ("handed over", &|&(size, times)| {
                times.figure(Unit::Seconds, |times| times[2 * size]).into()
            }),
            ("and read", &|&(size, times)| {
                times
                    .figure(Unit::Seconds, |times| times[2 * size + 1])
                    .into()
            }),
        ],
    );
    let line = |times: &Times| {
        let point = |(place, &size): (usize, &usize)| {
            let rates = times.numbers(|times| size as f64 / times[2 * place + 1]);
            (size as f64, Interval::of(&rates))
        };
        Line::new(
            WAYS[times.variant].name,
            sizes.iter().enumerate().map(point),
        )
    };
    let plot = Plot::new(
        "How fast data gets from one to the other, and is read",
        Axis::logarithmic("size of a message", Unit::Bytes),
        Axis::logarithmic("rate", Unit::BytesPerSecond),
        times.iter().map(line),
    );
    let mut finding = judge(&sizes, &times);
    finding.tables.push(table);
    finding.plots.push(plot);
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

/// By the largest messages: with small ones, to wake the other takes longer than the data. The best
/// way between processes is compared with a move between threads.
fn judge(sizes: &[usize], times: &[Times]) -> Finding {
    let last = 2 * (sizes.len() - 1);
    let compared = [last, last + 1].map(|batch| {
        let time = |times: &Times| times.figure(Unit::Seconds, |times| times[batch]);
        let processes = times.iter().filter(|it| WAYS[it.variant].processes);
        let best = processes.min_by(|a, b| {
            let [a, b] = [a, b].map(|it| time(it).interval.median);
            a.total_cmp(&b)
        });
        let best = best.expect("there are ways between processes on every system");
        let name = WAYS[best.variant].name.trim_start_matches("processes: ");
        (name, best.ratio_to(&times[0], |times| times[batch]))
    });
    let size = amount(sizes[sizes.len() - 1] as f64, Unit::Bytes);
    let [(best, handed), (best_read, read)] = compared;
    Finding::new(
        // What the receiver does with the data is not the way's affair: it is told beside it.
        verdict::at_least(handed.interval, FAR),
        format!(
            "to hand over {size} the best way between processes ({best}) takes {handed} as long as to move \
             them to another thread; if the receiver then reads all of it ({best_read}), {read}"
        ),
        format!("{size}, processes / threads: handed over {handed}, and read {read}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::finding::verdict::Verdict;

    #[test]
    fn the_largest_messages_and_the_best_way_between_processes_decide() {
        let times = |variant, small, [handed, read]: [f64; 2]| Measured {
            variant,
            samples: vec![vec![small, small, handed, read]; 9],
        };
        let judged = |[handed, read]: [f64; 2]| {
            let moved = times(0, 50.0, [1.0, 10.0]);
            let process = WAYS.len() - 2;
            judge(
                &[64, 512],
                &[
                    moved,
                    times(process, 1.0, [handed, read]),
                    times(process + 1, 1.0, [99.0, 99.0]),
                ],
            )
        };
        assert_eq!(judged([8.0, 30.0]).verdict, Verdict::Holds);
        assert!(judged([8.0, 30.0]).reason.contains("takes 8.00 ×"));
        assert_eq!(judged([1.5, 30.0]).verdict, Verdict::Fails);
    }

    #[test]
    fn a_message_that_lacks_a_byte_or_is_an_older_one_is_noticed() {
        for size in [64, 72, 4096] {
            let batch = |read| Batch {
                size,
                messages: 1,
                read,
            };
            let mut message = Vec::new();
            prepare(&mut message, 300, size);
            for read in [false, true] {
                assert!(check(&message, 300, batch(read)).is_ok(), "{size}");
                assert!(check(&message, 299, batch(read)).is_err(), "{size}");
                assert!(check(&message[1..], 300, batch(read)).is_err(), "{size}");
            }
            message[size / 2] ^= 1;
            assert!(
                check(&message, 300, batch(false)).is_ok(),
                "its ends are there"
            );
            assert!(check(&message, 300, batch(true)).is_err(), "{size}");
            // The memory of an older message is no obstacle.
            prepare(&mut message, 301, size + 8);
            let longer = Batch {
                size: size + 8,
                messages: 1,
                read: true,
            };
            assert!(check(&message, 301, longer).is_ok());
        }
    }

    #[test]
    fn both_sides_agree_on_numbers_and_batches() {
        let batches = [64, 512].map(|size| Batch {
            size,
            messages: 3,
            read: false,
        });
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        let mut answers = Vec::new();
        let receive = |number, batch| {
            received.push((number, batch));
            Ok(())
        };
        receive_all(&batches, &mut answers, receive).expect("nothing fails");
        let send = |number, batch| {
            sent.push((number, batch));
            Ok(())
        };
        let times = send_all(&batches, &mut &answers[..], send).expect("nothing fails");
        assert_eq!((times.len(), answers.len()), (2, 4));
        assert_eq!(sent, received);
        assert_eq!(
            received.len(),
            batches[0].under_way() + batches[1].under_way() + 6
        );
    }

    #[test]
    fn sizes_go_from_64_bytes_to_16_mib_each_eight_times_the_one_before() {
        let sizes = |mode| {
            batches(mode, true)
                .into_iter()
                .map(|it| it.size)
                .collect::<Vec<_>>()
        };
        let default = sizes(Mode::Default);
        assert_eq!((default[0], default[13], default.len()), (64, 16 << 20, 14));
        assert!(default.windows(3).all(|sizes| sizes[2] == 8 * sizes[0]));
        // In a hurry, the largest is left out.
        assert_eq!(sizes(Mode::Quick), default[..12]);
    }
}
