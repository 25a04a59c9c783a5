//! How a worker is, as others see it: `/livez`, `/readyz` and `/metrics`.
//!
//! Live means that the process answers. Ready means that commands are being consumed and nothing is in
//! trouble; whoever is in trouble says so here and takes it back when it is over.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Exposition;

/// What keeps the worker from being ready, by who has the trouble.
#[derive(Debug, Clone)]
pub struct Health(Arc<Mutex<BTreeMap<String, String>>>);

impl Health {
    /// Not ready: nothing is connected yet.
    pub(crate) fn starting() -> Self {
        let health = Self(Arc::default());
        health.trouble("session", &"starting");
        health
    }

    /// Somebody is in trouble.
    pub fn trouble(&self, who: &str, what: &dyn std::fmt::Display) {
        self.lock().insert(who.to_owned(), what.to_string());
    }

    /// It is over.
    pub fn fine(&self, who: &str) {
        self.lock().remove(who);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are in trouble; the worker is ready if nobody is.
    fn troubles(&self) -> usize {
        self.lock().len()
    }

    fn report(&self) -> (StatusCode, Value) {
        let troubles = self.lock().clone();
        let ready = troubles.is_empty();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, json!({ "ready": ready, "troubles": troubles }))
    }
}

/// Binds the address; nothing is answered yet.
///
/// # Errors
/// The address is taken or not ours.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers until stopped.
pub(crate) async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Exposition,
    stop: CancellationToken,
) {
    let router = Router::new()
        .route("/livez", get(|| async { Json(json!({ "live": true })) }))
        .route("/readyz", get(readyz))
        .with_state(health.clone())
        .route("/metrics", get(async move || text(metrics.render(health.troubles()))));
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the health endpoint has stopped");
    }
}

/// As Prometheus reads it.
fn text(metrics: String) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics)
}

async fn readyz(State(health): State<Health>) -> (StatusCode, Json<Value>) {
    let (status, report) = health.report();
    (status, Json(report))
}
