use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::Relay;

/// Nothing on this machine takes so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long is listened to what should be silent.
const MOMENT: Duration = Duration::from_millis(200);

/// A server whose ends of the connections are in the test's hands.
struct Scene {
    server: TcpListener,
    relay: Relay,
}

impl Scene {
    async fn new() -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Relay::to(server.local_addr().unwrap()).await;
        Self { server, relay }
    }

    async fn client(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.relay.port())).await.unwrap()
    }

    /// Both ends of a connection that works.
    async fn connection(&self) -> (TcpStream, TcpStream) {
        let (client, server) = tokio::join!(self.client(), timeout(PATIENCE, self.server.accept()));
        let (mut client, mut server) = (client, server.unwrap().unwrap().0);
        assert_passes(&mut client, &mut server).await;
        assert_passes(&mut server, &mut client).await;
        (client, server)
    }
}

async fn assert_passes(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"word").await.unwrap();
    let mut heard = [0; 4];
    timeout(PATIENCE, to.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(&heard, b"word");
}

/// A clean end or a reset.
async fn assert_closed(stream: &mut TcpStream) {
    let read = timeout(PATIENCE, stream.read(&mut [0; 16])).await.expect("it is still open");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

async fn assert_silent(stream: &mut TcpStream) {
    let heard = timeout(MOMENT, stream.read(&mut [0; 16])).await;
    assert!(heard.is_err(), "{heard:?}");
}

/// Takes far more than all buffers between hold, so somebody reads it.
async fn assert_taken(stream: &mut TcpStream) {
    timeout(PATIENCE, stream.write_all(&vec![7; 32 << 20])).await.expect("nobody reads it").unwrap();
}

#[tokio::test]
async fn much_passes_unchanged_and_so_does_the_end_of_one_direction() {
    let scene = Scene::new().await;
    let (mut client, mut server) = scene.connection().await;
    let sent: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let write = async {
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let ((), read) = tokio::join!(write, timeout(PATIENCE, server.read_to_end(&mut received)));
    read.unwrap().unwrap();
    assert!(received == sent, "{} bytes of {}", received.len(), sent.len());
    assert_passes(&mut server, &mut client).await;
    drop(server);
    assert_closed(&mut client).await;
}

#[tokio::test]
async fn a_reset_passes() {
    let scene = Scene::new().await;
    let (client, mut server) = scene.connection().await;
    super::reset(client);
    let read = timeout(PATIENCE, server.read(&mut [0; 16])).await.unwrap();
    assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_end_that_does_not_read_holds_the_other_up() {
    let scene = Scene::new().await;
    let (mut client, server) = scene.connection().await;
    let written = timeout(2 * MOMENT, client.write_all(&vec![7; 64 << 20])).await;
    assert!(written.is_err(), "{written:?}");
    drop(server);
    assert_closed(&mut client).await;
}

#[tokio::test]
async fn cut_closes_both_ends_and_lets_nobody_in_until_it_is_restored() {
    let scene = Scene::new().await;
    let (mut client, mut server) = scene.connection().await;
    scene.relay.cut();
    assert_closed(&mut client).await;
    assert_closed(&mut server).await;
    // Whether a moment passes before it is refused, or none.
    if let Ok(mut refused) = TcpStream::connect(("127.0.0.1", scene.relay.port())).await {
        assert_closed(&mut refused).await;
    }
    scene.relay.restore();
    scene.connection().await;
}

#[tokio::test]
async fn what_was_cut_stays_cut_however_soon_it_is_restored() {
    let scene = Scene::new().await;
    let mut connections = Vec::new();
    for _ in 0..20 {
        connections.push(scene.connection().await);
    }
    scene.relay.cut();
    scene.relay.restore();
    for (client, server) in &mut connections {
        assert_closed(client).await;
        assert_closed(server).await;
    }
    scene.connection().await;
}

#[tokio::test]
async fn slow_bytes_come_late_in_order_and_no_fewer_of_them() {
    const DELAY: Duration = Duration::from_millis(400);
    let scene = Scene::new().await;
    let (mut client, mut server) = scene.connection().await;
    scene.relay.slow(DELAY);
    // A chunk at a time, each waiting for the one before it, would take a minute.
    let began = Instant::now();
    let sent: Vec<u8> = (0..1_250_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut received = vec![0; sent.len()];
    let receive = async {
        server.read_exact(&mut received[..1]).await.unwrap();
        let first = began.elapsed();
        server.read_exact(&mut received[1..]).await.unwrap();
        first
    };
    let (wrote, first) = tokio::join!(client.write_all(&sent), timeout(PATIENCE, receive));
    wrote.unwrap();
    let (first, all) = (first.unwrap(), began.elapsed());
    assert!(received == sent);
    assert!(first >= DELAY, "{first:?}");
    assert!(all < Duration::from_secs(4), "{all:?}");

    let began = Instant::now();
    assert_passes(&mut server, &mut client).await;
    assert!(began.elapsed() >= DELAY, "{:?}", began.elapsed());
    let began = Instant::now();
    drop(client);
    assert_closed(&mut server).await;
    assert!(began.elapsed() >= DELAY, "the end came early: {:?}", began.elapsed());

    scene.relay.restore();
    let began = Instant::now();
    scene.connection().await;
    assert!(began.elapsed() < DELAY, "{:?}", began.elapsed());
}

#[tokio::test]
async fn many_small_words_are_slow_and_not_held_up() {
    const WORDS: usize = 20_000;
    let scene = Scene::new().await;
    let (mut client, mut server) = scene.connection().await;
    scene.relay.slow(Duration::from_millis(300));
    let began = Instant::now();
    let send = async {
        for _ in 0..WORDS {
            client.write_all(b"word").await.unwrap();
        }
    };
    let mut received = vec![0; 4 * WORDS];
    tokio::join!(send, async { timeout(PATIENCE, server.read_exact(&mut received)).await.unwrap().unwrap() });
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(received.chunks(4).all(|word| word == b"word"));
}

#[tokio::test]
async fn in_a_silent_connection_both_ends_stay_open_and_hear_nothing() {
    let scene = Scene::new().await;
    let (mut client, mut server) = scene.connection().await;
    scene.relay.silence();
    assert_taken(&mut client).await;
    assert_taken(&mut server).await;
    assert_silent(&mut client).await;
    assert_silent(&mut server).await;
    let mut new = scene.client().await;
    assert_taken(&mut new).await;
    assert_silent(&mut new).await;

    scene.relay.restore();
    assert_silent(&mut new).await;
    assert_taken(&mut client).await;
    drop(client);
    assert_silent(&mut server).await;
    let (mut client, mut other) = scene.connection().await;
    assert_passes(&mut client, &mut other).await;
}

#[tokio::test]
async fn a_deserted_client_hears_nothing_and_the_server_is_rid_of_it() {
    let scene = Scene::new().await;
    let (mut client, mut server) = scene.connection().await;
    scene.relay.desert();
    assert_closed(&mut server).await;
    assert_taken(&mut client).await;
    assert_silent(&mut client).await;
    let mut new = scene.client().await;
    assert_silent(&mut new).await;
    scene.relay.restore();
    assert_silent(&mut client).await;
    scene.relay.cut();
    assert_closed(&mut client).await;
    assert_closed(&mut new).await;
}

#[tokio::test]
async fn a_ghost_stays_with_the_server_whatever_happens_to_the_relay() {
    let scene = Scene::new().await;
    let (mut client, mut server) = scene.connection().await;
    scene.relay.haunt();
    assert_closed(&mut client).await;
    if let Ok(mut refused) = TcpStream::connect(("127.0.0.1", scene.relay.port())).await {
        assert_closed(&mut refused).await;
    }
    for change in [Relay::silence, Relay::desert, Relay::cut, Relay::haunt, Relay::restore] {
        change(&scene.relay);
        assert_silent(&mut server).await;
    }
    assert_taken(&mut server).await;
    scene.connection().await;
    let Scene { relay, .. } = scene;
    drop(relay);
    assert_closed(&mut server).await;
}

#[tokio::test]
async fn the_last_handle_takes_the_connections_with_it() {
    let scene = Scene::new().await;
    let (mut client, mut server) = scene.connection().await;
    let another = scene.relay.clone();
    let Scene { relay, .. } = scene;
    drop(relay);
    assert_passes(&mut client, &mut server).await;
    drop(another);
    assert_closed(&mut client).await;
    assert_closed(&mut server).await;
}

#[tokio::test]
async fn while_the_target_is_away_who_comes_is_sent_away() {
    let Scene { server, relay } = Scene::new().await;
    let address: SocketAddr = server.local_addr().unwrap();
    drop(server);
    let mut client = TcpStream::connect(("127.0.0.1", relay.port())).await.unwrap();
    assert_closed(&mut client).await;
    let server = TcpListener::bind(address).await.unwrap();
    Scene { server, relay }.connection().await;
}

#[tokio::test]
async fn what_both_ends_have_left_is_forgotten() {
    let scene = Scene::new().await;
    let count = || async {
        // Whoever comes sees to it.
        let newest = scene.connection().await;
        let known = scene.relay.0.office.state().connections.len();
        drop(newest);
        known
    };
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(scene.connection().await);
    }
    scene.relay.silence();
    scene.relay.restore();
    assert!(count().await > 10);
    drop(silent);
    crate::eventually("nobody is left", PATIENCE, || async {
        match count().await {
            0..3 => Ok(()),
            left => Err(left),
        }
    })
    .await;
}
