//! A Prometheus of a test's own, on a free port of 127.0.0.1, and a node exporter that has one file.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tests::worker_process::free_port;
use tests::{PATIENCE, eventually, http_client};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A running Prometheus. Killed when dropped, its data removed; what it said is printed if the test fails.
#[derive(Debug)]
pub(super) struct Prometheus {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Prometheus {
    /// With this configuration, which names these rules.
    pub(super) async fn start(configuration: &str, rules: &Path) -> Self {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("saldo-prometheus-{}-{port}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("prometheus.yml"), configuration).unwrap();
        std::fs::copy(rules, folder.join(rules.file_name().unwrap())).unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("prometheus: {error}; run deploy/local/install tests"))
            .unwrap();
        let prometheus = Self { child, port, folder };
        eventually("Prometheus answers", PATIENCE, || prometheus.ask("status/runtimeinfo", &[])).await;
        prometheus
    }

    /// A question to its API; `data` of the answer.
    pub(super) async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("http://127.0.0.1:{}/api/v1/{path}", self.port);
        let url = reqwest::Url::parse_with_params(&url, parameters).unwrap();
        let client = http_client(Duration::from_secs(10));
        let answer = client.get(url).send().await.map_err(|error| error.to_string())?;
        let mut answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].take()),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// The series that a query results in.
    pub(super) async fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let mut data = self.ask("query", &[("query", query)]).await?;
        match data["result"].take() {
            Value::Array(series) => Ok(series),
            other => Err(format!("no vector: {other}")),
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            let troubles = log.lines().filter(|line| !line.contains("level=info")).take(20);
            #[expect(clippy::print_stderr, reason = "a failing test shows what Prometheus said")]
            troubles.for_each(|line| eprintln!("prometheus: {line}"));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Serves this file to whoever asks, as a node exporter's textfile collector does, until the test ends; the port.
pub(super) async fn serve_textfile(file: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            // Whoever goes away early asks again.
            let _ = answer(connection, &file).await;
        }
    });
    port
}

async fn answer(mut connection: TcpStream, file: &Path) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(connection.read_u8().await?);
    }
    let text = std::fs::read_to_string(file)?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(text.as_bytes()).await
}
