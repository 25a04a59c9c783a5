//! One connection through a relay.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::{Delay, Order};

/// Most bytes read at once.
const CHUNK: usize = 32 * 1024;

/// Most bytes under way in one direction: enough for half a second of 20 MiB each, and an end that does not read is
/// noticed by the other, as without a relay.
const UNDER_WAY: usize = 10 * 1024 * 1024;

/// Both ends of it, as far as they are open.
#[derive(Debug)]
pub(super) struct Connection {
    client: Option<TcpStream>,
    server: Option<TcpStream>,
    silent: bool,
    delay: Delay,
    orders: mpsc::UnboundedReceiver<Order>,
}

/// What happened while nothing was handed on.
enum Heard {
    ClientLeft,
    ServerLeft,
    Ordered(Option<Order>),
}

impl Connection {
    pub(super) fn new(client: TcpStream, delay: Delay, orders: mpsc::UnboundedReceiver<Order>) -> Self {
        Self { client: Some(client), server: None, silent: false, delay, orders }
    }

    /// One that never gets to its server.
    pub(super) fn silent(client: TcpStream, delay: Delay, orders: mpsc::UnboundedReceiver<Order>) -> Self {
        Self { silent: true, ..Self::new(client, delay, orders) }
    }

    /// Until both ends are closed, or the relay is gone.
    pub(super) async fn run(mut self, target: SocketAddr) {
        if !self.silent {
            self.relay(target).await;
        }
        while self.client.is_some() || self.server.is_some() {
            match self.swallow().await {
                Heard::ClientLeft => self.client = None,
                Heard::ServerLeft => self.server = None,
                Heard::Ordered(Some(order)) => self.obey(order),
                Heard::Ordered(None) => break,
            }
        }
        self.obey(Order::Cut);
    }

    /// Connects and hands on, until it is told otherwise or it is over: then both ends are closed.
    async fn relay(&mut self, target: SocketAddr) {
        let Some(client) = &mut self.client else { return };
        let order = tokio::select! {
            order = self.orders.recv() => order,
            connected = TcpStream::connect(target) => match connected {
                Err(_) => Some(Order::Cut),
                Ok(server) => {
                    let server = self.server.insert(server);
                    tokio::select! {
                        order = self.orders.recv() => order,
                        handed_on = hand_on(client, server, &self.delay) => {
                            if handed_on.is_ok() {
                                (self.client, self.server) = (None, None);
                            }
                            Some(Order::Cut)
                        }
                    }
                }
            }
        };
        self.obey(order.unwrap_or(Order::Cut));
    }

    fn obey(&mut self, order: Order) {
        // What has lost its client without the server's knowing is a ghost, and nobody's to command.
        let ghost = self.silent && self.client.is_none();
        self.silent = true;
        let (client, server) = match order {
            Order::Silence => (false, false),
            Order::Cut => (true, !ghost),
            Order::Desert => (false, !ghost),
            Order::Haunt => (true, false),
        };
        let client = self.client.take_if(|_| client);
        let server = self.server.take_if(|_| server);
        [client, server].into_iter().flatten().for_each(reset);
    }

    async fn swallow(&mut self) -> Heard {
        tokio::select! {
            () = ended(self.client.as_mut()) => Heard::ClientLeft,
            () = ended(self.server.as_mut()) => Heard::ServerLeft,
            order = self.orders.recv() => Heard::Ordered(order),
        }
    }
}

/// Closes it with a reset; what was not sent yet is not sent any more.
pub(super) fn reset(stream: TcpStream) {
    // It may be closed already.
    let _ = stream.set_zero_linger();
    drop(stream);
}

/// Reads until the other side closes; for ever where there is none.
async fn ended(stream: Option<&mut TcpStream>) {
    let Some(stream) = stream else { return std::future::pending().await };
    let mut buffer = [0; 4096];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

/// Until both directions have come to their end, or one has failed.
async fn hand_on(client: &mut TcpStream, server: &mut TcpStream, delay: &Delay) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::try_join!(one_way(from_client, to_server, delay), one_way(from_server, to_client, delay))?;
    Ok(())
}

/// Reading and writing go on side by side: what is under way waits for its time, and nothing else for it.
async fn one_way(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, delay: &Delay) -> io::Result<()> {
    let room = Semaphore::new(UNDER_WAY);
    let (sender, mut under_way) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = from.read(&mut buffer).await?;
            let permits = room.acquire_many(u32::try_from(count).unwrap_or(u32::MAX)).await;
            permits.map_err(io::Error::other)?.forget();
            // Nothing to write is the end of the stream, which takes its time as well.
            let sent = sender.send((Instant::now() + delay.get(), buffer[..count].to_vec()));
            if count == 0 || sent.is_err() {
                return Ok(());
            }
        }
    };
    let write = async {
        while let Some((due, bytes)) = under_way.recv().await {
            if due > Instant::now() {
                tokio::time::sleep_until(due).await;
            }
            if bytes.is_empty() {
                break;
            }
            to.write_all(&bytes).await?;
            room.add_permits(bytes.len());
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(|_: ((), ())| ())
}
