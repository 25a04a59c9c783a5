//! A TCP relay on 127.0.0.1 that can be cut, slow or silent, as networks and the boxes in their middle are.
//!
//! It runs within the runtime and ends with its last handle, and so do its connections. It hands on what comes, the end of
//! a stream and a reset; where it hands on nothing it goes on reading and throws away what it read, so that neither
//! end notices by itself. It never polls. "Refused" means accepted and closed at once by a reset: while a listener is
//! closed, anybody's outgoing connection may be given its port.

mod connection;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use connection::{Connection, reset};

/// How long nobody is let in after the system could not (it has no more file descriptors, for instance).
const PAUSE: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug, Clone)]
pub struct Relay(Arc<Listening>);

#[derive(Debug)]
struct Listening {
    port: u16,
    office: Arc<Office>,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    /// Connections end when nobody can give them orders any more.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What listener and handles share; connections have only an end of a channel each.
#[derive(Debug)]
struct Office {
    target: SocketAddr,
    delay: Delay,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    door: Door,
    connections: Vec<mpsc::UnboundedSender<Order>>,
}

/// What becomes of new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// They are relayed.
    Open,
    /// They are closed.
    Shut,
    /// They get no answer.
    Mute,
}

/// What becomes of those there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Cut,
    Silence,
    Desert,
    Haunt,
}

/// By how much everything arrives later; connections look at it whenever they read.
#[derive(Debug, Clone, Default)]
struct Delay(Arc<AtomicU64>);

impl Delay {
    fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, delay: Duration) {
        self.0.store(delay.as_micros().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Relay {
    /// Listens on a free port and leads there. While the target is away, who comes is accepted and closed at once.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Mutex::new(State { door: Door::Open, connections: Vec::new() });
        let office = Arc::new(Office { target, delay: Delay::default(), state });
        let task = tokio::spawn(listen(listener, Arc::clone(&office)));
        Self(Arc::new(Listening { port, office, task }))
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Closes both ends of all connections, and refuses new ones. Only ghosts stay.
    pub fn cut(&self) {
        self.order(Door::Shut, Order::Cut);
    }

    /// All bytes arrive later by this, each way and in order; no fewer in a second, up to some 10 MiB in flight.
    pub fn slow(&self, by: Duration) {
        self.0.office.delay.set(by);
    }

    /// Both ends stay open, and hear nothing of each other. New ones are accepted and get no answer.
    pub fn silence(&self) {
        self.order(Door::Mute, Order::Silence);
    }

    /// The server's ends are closed; the clients' stay open and silent. New ones are accepted and get no answer.
    pub fn desert(&self) {
        self.order(Door::Mute, Order::Desert);
    }

    /// The clients' ends are closed, and new ones refused; the server's ends stay open and silent, as ghosts: until
    /// the server closes them, whatever else happens.
    pub fn haunt(&self) {
        self.order(Door::Shut, Order::Haunt);
    }

    /// New connections work again, and slow ones become fast. Silent ones stay silent until their end closes them.
    pub fn restore(&self) {
        self.0.office.delay.set(Duration::ZERO);
        self.0.office.state().door = Door::Open;
    }

    fn order(&self, door: Door, order: Order) {
        let mut state = self.0.office.state();
        state.door = door;
        state.connections.retain(|connection| connection.send(order).is_ok());
    }
}

impl Office {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Whoever comes after an order finds the door as it left it, and whoever came before has had the order.
    fn receive(&self, client: TcpStream) {
        let mut state = self.state();
        let (orders, receiver) = mpsc::unbounded_channel();
        let connection = match state.door {
            Door::Shut => return reset(client),
            Door::Open => Connection::new(client, self.delay.clone(), receiver),
            Door::Mute => Connection::silent(client, self.delay.clone(), receiver),
        };
        state.connections.retain(|connection| !connection.is_closed());
        state.connections.push(orders);
        tokio::spawn(connection.run(self.target));
    }
}

async fn listen(listener: TcpListener, office: Arc<Office>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => office.receive(client),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests;
