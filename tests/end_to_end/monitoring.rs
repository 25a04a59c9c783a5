//! What `deploy/monitoring` asks for exists: each query of the alert rules and of the dashboard is asked of a real
//! Prometheus, which scrapes real workers that have seen commands of every kind, and the real broker.

mod files;
mod prometheus;
mod promql;
mod stack;

use std::collections::BTreeSet;

use serde_json::Value;
use tests::{PATIENCE, eventually};

use files::{dashboard, monitoring};
use prometheus::Prometheus;
use promql::named;
use stack::Stack;

/// Labels that a legend shows where there is something to show: the broker took everything here.
const ONLY_IN_TROUBLE: [&str; 1] = ["error_type"];

/// All names of metrics that there are.
async fn metrics(prometheus: &Prometheus) -> BTreeSet<String> {
    let names = prometheus.ask("label/__name__/values", &[]).await.unwrap();
    names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// What a query names exists: the metrics, and each label in one of them at least.
async fn names_what_exists(prometheus: &Prometheus, query: &str) -> Result<(), String> {
    let (named, known) = (named(query), metrics(prometheus).await);
    if named.metrics.is_empty() {
        return Err("names no metric".to_owned());
    }
    let unknown: Vec<_> = named.metrics.difference(&known).collect();
    if !unknown.is_empty() {
        return Err(format!("names metrics that do not exist: {unknown:?}"));
    }
    let any = named.metrics.into_iter().collect::<Vec<_>>().join("|");
    for label in named.labels.iter().filter(|label| !ONLY_IN_TROUBLE.contains(&label.as_str())) {
        let with = format!(r#"{{__name__=~"{any}", {label}!=""}}"#);
        if prometheus.query(&with).await?.is_empty() {
            return Err(format!("names the label {label}, which none of {any} has"));
        }
    }
    Ok(())
}

/// The query of a panel finds something, which has the labels of its legend.
async fn shows_something(prometheus: &Prometheus, query: &str, legend: &str) -> Result<(), String> {
    names_what_exists(prometheus, query).await?;
    let found = prometheus.query(query).await?;
    if found.is_empty() {
        return Err("finds nothing".to_owned());
    }
    let labels = legend.split("{{").skip(1).filter_map(|part| Some(part.split_once("}}")?.0));
    for label in labels.filter(|label| !ONLY_IN_TROUBLE.contains(label)) {
        if found.iter().all(|series| series["metric"].get(label).is_none()) {
            return Err(format!("its legend shows {label}, which nothing has that it finds"));
        }
    }
    Ok(())
}

/// As Grafana writes it when all workers are chosen.
fn filled_in(query: &str, workers: &str) -> String {
    query.replace("$__rate_interval", "1m").replace("$worker", workers)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_rules_and_dashboard_finds_what_it_names() {
    let stack = Stack::new().await;
    let prometheus = Prometheus::start(&stack.scraped(), &monitoring("alerts.yml")).await;
    eventually("every target is scraped", PATIENCE, || async {
        let down = prometheus.query("up == 0").await?;
        let up = prometheus.query("up == 1").await?.len();
        if down.is_empty() && up == stack::TARGETS { Ok(()) } else { Err(format!("{up} up, down: {down:?}")) }
    })
    .await;
    // A worker is who the configuration says it is.
    let mistaken = r#"up{job="saldo"} unless on (worker, instance) saldo_ready == 1"#;
    assert_eq!(prometheus.query(mistaken).await, Ok(Vec::new()));

    stack.carry_out_all_kinds().await;

    let rules = prometheus.ask("rules", &[]).await.unwrap();
    let groups = rules["groups"].as_array().unwrap();
    let rules: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert!(rules.len() >= 20, "{rules:?}");
    for rule in rules {
        let name = rule["name"].as_str().unwrap();
        assert_eq!(rule["lastError"], Value::Null, "{name}");
        let query = rule["query"].as_str().unwrap();
        eventually(name, PATIENCE, || names_what_exists(&prometheus, query)).await;
    }

    let workers = format!("({})", tests::world::ALL_WORKERS.join("|"));
    let panels = dashboard().queries();
    assert!(panels.len() >= 60, "{}", panels.len());
    for (panel, query, legend) in panels {
        let query = filled_in(&query, &workers);
        assert!(!query.contains('$'), "{panel}: {query}");
        eventually(&panel, PATIENCE, || shows_something(&prometheus, &query, &legend)).await;
    }

    // The dead letter and the stray were meant; nothing else is wrong.
    let firing = r#"ALERTS{alertstate="firing", alertname!~"SaldoDeadLetters|SaldoStrays"}"#;
    assert_eq!(prometheus.query(firing).await, Ok(Vec::new()));
}
