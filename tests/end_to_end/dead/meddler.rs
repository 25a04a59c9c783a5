//! A management API at whose worst moment somebody else is busy with the same queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use serde_json::{Value, json};
use tests::world::server;
use tests::{PATIENCE, Publisher, World, http_client};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::holds;

/// What somebody publishes.
pub(super) type Publishing = Box<dyn Future<Output = ()> + Send>;

/// Hands requests on to the broker's own API. Before the first one that takes a message for good, the queue's first message
/// comes to lie behind all others.
pub(super) struct Meddler {
    port: u16,
    _serving: JoinHandle<()>,
}

struct Meddling {
    world: World,
    publisher: Publisher,
    queue: String,
    /// Comes into the queue right before.
    newcomer: Mutex<Option<std::pin::Pin<Publishing>>>,
    taken: AtomicU32,
    /// How many messages published after that are refused.
    refusals: AtomicU32,
}

impl Meddler {
    pub(super) async fn start(
        world: &World,
        queue: &str,
        newcomer: Option<Publishing>,
        refusals: u32,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let meddling = Meddling {
            world: world.clone(),
            publisher: world.publisher().await,
            queue: queue.to_owned(),
            newcomer: Mutex::new(newcomer.map(Box::into_pin)),
            taken: AtomicU32::new(0),
            refusals: AtomicU32::new(refusals),
        };
        let router = Router::new().fallback(hand_on).with_state(Arc::new(meddling));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, _serving: serving }
    }

    /// For `broker.management_url`.
    pub(super) fn url(&self) -> String {
        format!("http://nobody:needed@127.0.0.1:{}", self.port)
    }
}

async fn hand_on(
    State(meddling): State<Arc<Meddling>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> (StatusCode, Bytes) {
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    if asked["ackmode"] == "ack_requeue_false" && meddling.taken.fetch_add(1, Ordering::SeqCst) == 0 {
        meddling.shuffle().await;
    }
    let is_over = meddling.taken.load(Ordering::SeqCst) > 0;
    let refuse = |left: u32| left.checked_sub(1);
    if is_over
        && uri.path().ends_with("/publish")
        && meddling.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, refuse).is_ok()
    {
        return (StatusCode::SERVICE_UNAVAILABLE, Bytes::new());
    }
    let url = format!("{}{uri}", server("SALDO_TEST_MANAGEMENT_URL"));
    let answer = http_client(PATIENCE).request(method, url).body(body).send().await.unwrap();
    (answer.status(), answer.bytes().await.unwrap())
}

impl Meddling {
    async fn shuffle(&self) {
        let before = self.publisher.queued(&self.queue).await.ready;
        let newcomer = self.newcomer.lock().await.take();
        let all = before + u32::from(newcomer.is_some());
        if let Some(newcomer) = newcomer {
            newcomer.await;
        }
        for count in [all, 1] {
            holds(&self.publisher, &self.queue, all).await;
            let wanted = json!({ "count": count, "ackmode": "reject_requeue_true", "encoding": "base64" });
            self.world
                .manage("POST", &format!("queues/{}/{}/get", self.world.name, self.queue), Some(wanted))
                .await;
        }
        holds(&self.publisher, &self.queue, all).await;
    }
}
