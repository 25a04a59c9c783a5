//! `saldo`, as an operator runs it.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::World;
use crate::worker_process::{forget_settings, program};
use crate::world::server;

/// A file of a test's own, removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A name that nobody else has; there is no such file yet.
    pub fn new(what: &str) -> Self {
        static FILES: AtomicU32 = AtomicU32::new(1);
        let number = FILES.fetch_add(1, Ordering::SeqCst);
        Self(std::env::temp_dir().join(format!("saldo-test-{}-{number}-{what}", std::process::id())))
    }

    /// As an argument.
    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// What it holds.
    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }

    /// Replaces what it holds.
    pub fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit status.
    pub status: i32,
    /// What it wrote to standard output.
    pub output: String,
    /// What it wrote to standard error.
    pub messages: String,
    /// The most memory it was seen to have resident, in bytes.
    pub peak_memory: u64,
}

impl Ran {
    /// Standard output as JSON lines, of a command that went well.
    pub fn lines(&self) -> Vec<Value> {
        assert_eq!(self.status, 0, "{self:?}");
        self.output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Standard output as one JSON document.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl World {
    /// Runs `saldo` with the operator's role.
    pub async fn saldo(&self, arguments: &[&str]) -> Ran {
        self.saldo_with(&[], arguments).await
    }

    /// Runs `saldo` as the treasurer, who has these keys.
    pub async fn saldo_of_treasurer(&self, keys: &str, arguments: &[&str]) -> Ran {
        let url = self.database_url(Some("saldo_treasurer"));
        let settings = [("SALDO__TREASURY__DATABASE_URL", url.as_str()), ("SALDO__PAYOUT__KEYS", keys)];
        self.saldo_with(&settings, arguments).await
    }

    /// Runs `saldo` with the operator's role, and as the broker's administrator.
    pub async fn saldo_at_broker(&self, arguments: &[&str]) -> Ran {
        let (broker, management) = (self.amqp_url(), server("SALDO_TEST_MANAGEMENT_URL"));
        let settings =
            [("SALDO__BROKER__URL", broker.as_str()), ("SALDO__BROKER__MANAGEMENT_URL", management.as_str())];
        self.saldo_with(&settings, arguments).await
    }

    /// Runs `saldo` with the operator's role, and these settings besides or instead.
    pub async fn saldo_with(&self, settings: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let (output, messages) = (Scratch::new("output"), Scratch::new("messages"));
        let mut command = Command::new(program("saldo-under-test"));
        forget_settings(&mut command);
        let mut child = command
            .args(arguments)
            .env("SALDO__DATABASE__URL", self.database_url(Some("saldo_operator")))
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(File::create(output.path()).unwrap())
            .stderr(File::create(messages.path()).unwrap())
            .spawn()
            .unwrap();
        let mut peak_memory = 0;
        let status = loop {
            peak_memory = peak_memory.max(crate::worker_process::peak_memory(child.id()));
            if let Some(status) = child.try_wait().unwrap() {
                break status.code().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        Ran { status, output: output.text(), messages: messages.text(), peak_memory }
    }
}
