//! What it ran on, as far as that matters to whoever reads the figures.

use std::collections::BTreeMap;

use tests::World;

/// Names and values.
pub(crate) async fn describe(world: &World) -> Vec<(String, String)> {
    let mut database = world.superuser().await;
    let setting = |name: &'static str| sqlx::query_scalar("SELECT current_setting($1)").bind(name);
    let mut described = vec![
        ("cores".to_owned(), std::thread::available_parallelism().map_or(0, usize::from).to_string()),
        ("processor".to_owned(), of_file("/proc/cpuinfo", "model name")),
        ("memory".to_owned(), of_file("/proc/meminfo", "MemTotal")),
        ("rabbitmq".to_owned(), broker(world).await),
    ];
    for name in
        ["server_version", "shared_buffers", "wal_compression", "synchronous_commit", "fsync", "max_wal_size"]
    {
        described.push((format!("postgres {name}"), setting(name).fetch_one(&mut database).await.unwrap()));
    }
    described
}

async fn broker(world: &World) -> String {
    let overview = world.manage("GET", "overview", None).await;
    let text = |name: &str| overview[name].as_str().unwrap_or("?").to_owned();
    format!("{}, Erlang {}", text("rabbitmq_version"), text("erlang_version"))
}

/// The first value of this name.
fn of_file(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines: BTreeMap<_, _> = text
        .lines()
        .rev()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    lines.get(name).map_or_else(|| "?".to_owned(), |value| (*value).to_owned())
}
