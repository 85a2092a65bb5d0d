//! Clients for which no child could be forked. The parent answers them itself, and waits for none
//! of them.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read},
    net::{Shutdown, TcpStream},
    time::Instant,
};

use super::{
    connection::{LINGER, send},
    request::{HEAD_LIMIT, Status},
};

/// How many of these connections are kept at once. Each uses a descriptor.
const MOST: usize = 16;

/// The connections of clients that have their answer, each with the time when the server closes it.
///
/// The client may not have sent its whole request yet. If the server closed the connection now, the
/// rest of the request would break it off, and the client might lose the answer.
pub struct Refused(VecDeque<(TcpStream, Instant)>);

impl Refused {
    pub fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Answers a client that no child serves it (503), and keeps the connection open for a while.
    pub fn add(&mut self, client: TcpStream, buffer: &mut [u8; HEAD_LIMIT]) {
        // The answer fits into the buffer of a new connection. If it did not, the rest of it would
        // be lost: the server would not wait.
        let _ = client.set_nonblocking(true);
        send(&client, buffer, Status::Unavailable);
        let _ = client.shutdown(Shutdown::Write);
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back((client, Instant::now() + LINGER));
    }

    /// Reads what the clients have sent. Closes the connections of those that have closed their
    /// side, or whose time is up.
    pub fn read(&mut self, buffer: &mut [u8; HEAD_LIMIT]) {
        let now = Instant::now();
        self.0
            // Keeps a connection if this is true.
            .retain_mut(|(client, end)| match client.read(buffer) {
                Ok(bytes) => bytes > 0 && now < *end,
                // Nothing has come yet.
                Err(error) => error.kind() == ErrorKind::WouldBlock && now < *end,
            });
    }

    /// Closes all connections. In a child, these are copies: the parent keeps its own.
    pub fn close_all(&mut self) {
        self.0.clear();
    }

    /// When the time of the first connection is up.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.front().map(|&(_, end)| end)
    }

    pub fn clients(&self) -> impl Iterator<Item = &TcpStream> {
        self.0.iter().map(|(client, _)| client)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::TcpListener};

    use super::*;

    #[test]
    fn refused_clients_are_told_and_kept_until_they_close_but_no_more_than_some() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has one");
        let mut buffer = [0; HEAD_LIMIT];
        let mut refused = Refused::new();
        let mut clients: Vec<TcpStream> = (0..MOST + 1)
            .map(|_| {
                let client = TcpStream::connect(address).expect("it listens");
                let (server_side, _) = listener.accept().expect("a client has come");
                refused.add(server_side, &mut buffer);
                client
            })
            .collect();
        // The oldest had to make room.
        assert_eq!(refused.clients().count(), MOST);
        assert!(refused.deadline().is_some_and(|end| end > Instant::now()));

        let mut answer = String::new();
        let read = clients[MOST].read_to_string(&mut answer);
        assert!(read.is_ok() && answer.contains("503"), "{answer}");
        // It has not closed its side, and neither has any other. One has sent something.
        clients[1].write_all(b"x").expect("it is connected");
        let (first, _) = &refused.0[0];
        let arrived = first
            .set_nonblocking(false)
            .and_then(|()| first.peek(&mut [0]));
        assert!(arrived.is_ok_and(|bytes| bytes == 1));
        first.set_nonblocking(true).expect("it is open");
        refused.read(&mut buffer);
        assert_eq!(refused.clients().count(), MOST);
        let patience = Instant::now() + LINGER / 2;
        clients.truncate(MOST);
        while refused.clients().count() == MOST {
            refused.read(&mut buffer);
            assert!(
                Instant::now() < patience,
                "a client that has closed is still kept"
            );
        }
        assert_eq!(refused.clients().count(), MOST - 1);

        // The time of all is up. They are let go, whether they have sent something or not.
        clients[1].write_all(b"x").expect("it is connected");
        for (_, end) in &mut refused.0 {
            *end = Instant::now();
        }
        refused.read(&mut buffer);
        assert_eq!(refused.clients().count(), 0);
    }
}
