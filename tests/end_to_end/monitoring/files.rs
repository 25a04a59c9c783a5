//! What the files of `deploy/monitoring` have to agree on among themselves, and with the code.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use worker::topology::{self, Limits};

/// A file of `deploy/monitoring`.
pub(super) fn monitoring(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../deploy/monitoring", name].iter().collect()
}

fn text(name: &str) -> String {
    std::fs::read_to_string(monitoring(name)).unwrap()
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&text(name)).unwrap()
}

/// The dashboard.
pub(super) struct Dashboard(Value);

/// Reads it.
pub(super) fn dashboard() -> Dashboard {
    Dashboard(serde_json::from_str(&text("grafana/dashboard.json")).unwrap())
}

impl Dashboard {
    fn panels(&self) -> impl Iterator<Item = &Value> {
        self.0["panels"].as_array().unwrap().iter()
    }

    /// Every query: where it stands, the query, its legend.
    pub(super) fn queries(&self) -> Vec<(String, String, String)> {
        let query = |panel: &Value, target: &Value| {
            let field = |name: &str| target[name].as_str().unwrap_or_default().to_owned();
            let name = format!("panel {}, {}, query {}", panel["id"], panel["title"], target["refId"]);
            (name, field("expr"), field("legendFormat"))
        };
        let panels = self.panels().filter(|panel| panel["type"] != "row");
        let of_panels = panels
            .flat_map(|panel| panel["targets"].as_array().unwrap().iter().map(|target| query(panel, target)));
        let annotations = self.0["annotations"]["list"].as_array().unwrap().iter().map(|annotation| {
            let field = |name: &str| annotation[name].as_str().unwrap().to_owned();
            (format!("annotation {}", annotation["name"]), field("expr"), field("titleFormat"))
        });
        of_panels.chain(annotations).collect()
    }
}

/// The alert rules.
fn alerts() -> Vec<Value> {
    let groups = yaml("alerts.yml");
    let groups = groups["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn name(alert: &Value) -> &str {
    alert["alert"].as_str().unwrap()
}

/// For each case of `alerts_test.yml` about this alert alone: the labels of what must fire.
fn cases(tests: &Value, alert: &str) -> Vec<Vec<String>> {
    let asked = format!(r#"ALERTS{{alertname="{alert}", alertstate="firing"}}"#);
    let tests = tests["tests"].as_array().unwrap();
    let cases = tests.iter().flat_map(|test| test["promql_expr_test"].as_array().unwrap());
    let labels = |sample: &Value| sample["labels"].as_str().unwrap().to_owned();
    cases
        .filter(|case| case["expr"] == asked)
        .map(|case| case["exp_samples"].as_array().unwrap().iter().map(labels).collect())
        .collect()
}

#[test]
fn every_alert_is_tested_to_fire_and_not_to_fire() {
    let tests = yaml("alerts_test.yml");
    for alert in alerts() {
        let cases = cases(&tests, name(&alert));
        assert!(cases.iter().any(Vec::is_empty), "{} is not tested not to fire", name(&alert));
        assert!(!cases.iter().all(Vec::is_empty), "{} is not tested to fire", name(&alert));
    }
}

#[test]
fn alerts_say_what_to_do_in_words_that_they_have() {
    let tests = yaml("alerts_test.yml");
    for alert in alerts() {
        let severity = alert["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("critical" | "warning" | "info")), "{alert}");
        let sample = cases(&tests, name(&alert)).concat().concat();
        for part in ["summary", "description"] {
            let text = alert["annotations"][part].as_str().unwrap();
            for named in text.split("$labels.").skip(1) {
                let label =
                    named.split(|char: char| !(char.is_alphanumeric() || char == '_')).next().unwrap();
                assert!(sample.contains(&format!("{label}=\"")), "{} has no label {label}", name(&alert));
            }
        }
    }
}

#[test]
fn the_readme_has_every_alert_with_its_severity() {
    let readme = text("README.md");
    let row =
        |line: &str| Some(line.strip_prefix("| Saldo")?.split(" | ").take(2).collect::<Vec<_>>().join(" "));
    let told: Vec<_> = readme.lines().filter_map(row).map(|row| format!("Saldo{row}")).collect();
    let alerts = alerts();
    let is = |alert: &Value| format!("{} {}", name(alert), alert["labels"]["severity"].as_str().unwrap());
    assert_eq!(told, alerts.iter().map(is).collect::<Vec<_>>());
    assert!(readme.contains(&format!("{} alert rules", alerts.len())), "the README counts other alerts");
}

#[test]
fn rules_and_scrapes_know_every_worker_and_the_limits_of_queues() {
    let (rules, scraped) = (text("alerts.yml"), text("prometheus.yml"));
    for worker in topology::workers() {
        for wanted in [format!("absent(saldo_ready{{worker=\"{worker}\"}})"), topology::queue(worker)] {
            assert!(rules.contains(&wanted), "no {wanted} in alerts.yml");
        }
        assert!(scraped.contains(&format!("worker: {worker} ")), "no {worker} in prometheus.yml");
    }
    let Limits { queue_bytes, subscriber_bytes, .. } = Limits::default();
    for bytes in [queue_bytes, subscriber_bytes] {
        assert!(rules.contains(&format!("0.7 * {bytes}")), "no {bytes} in alerts.yml");
    }
}

#[test]
fn every_panel_is_described_and_has_a_unit_and_a_place_of_its_own() {
    let dashboard = dashboard();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard.panels() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels are {}", panel["id"]);
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for column in place("x")..place("x") + place("w") {
            for line in place("y")..place("y") + place("h") {
                assert!(
                    column < 24 && taken.insert((column, line)),
                    "{} covers another panel",
                    panel["title"]
                );
            }
        }
        if panel["type"] != "row" {
            assert!(panel["description"].as_str().unwrap().ends_with('.'), "{}", panel["title"]);
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{} has no unit", panel["title"]);
        }
    }
}
