//! Figures of the ledger, and the gauges that show them.

use std::time::Duration;

use ledger::read::Outstanding;
use metrics::gauge;

use super::figure;

/// A figure that a worker reads in the ledger every `metrics.interval`.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The gauge.
    pub name: &'static str,
    /// What tells it from others of its name, such as its currency.
    pub label: Option<(&'static str, String)>,
    /// What it shows.
    pub value: f64,
}

impl Reading {
    /// So many.
    pub fn count(name: &'static str, count: i64) -> Self {
        Self { name, label: None, value: figure(u64::try_from(count).unwrap_or(0)) }
    }

    /// For so long; `None` is zero.
    pub fn age(name: &'static str, age: Option<Duration>) -> Self {
        Self { name, label: None, value: age.unwrap_or_default().as_secs_f64() }
    }

    /// As much money, rounded as floating-point numbers are: to look at, not to reckon with.
    pub fn amount(name: &'static str, outstanding: &Outstanding) -> Self {
        let Outstanding { currency, amount } = outstanding;
        let value = amount.to_string().parse().unwrap_or(f64::NAN);
        Self { name, label: Some(("currency", currency.code().to_owned())), value }
    }
}

/// The gauges that were read last: one that is not read any more (a currency in which nothing is held) shows zero.
#[derive(Debug, Default)]
pub(crate) struct Gauges(Vec<Reading>);

impl Gauges {
    /// Nothing can be read.
    pub(crate) fn unknown(&mut self) {
        let unknown = |reading: &Reading| Reading { value: f64::NAN, ..reading.clone() };
        self.show(self.0.iter().map(unknown).collect());
    }

    pub(crate) fn show(&mut self, readings: Vec<Reading>) {
        let shown =
            |old: &Reading| readings.iter().any(|new| (new.name, &new.label) == (old.name, &old.label));
        let gone: Vec<_> = self.0.iter().filter(|old| !shown(old)).cloned().collect();
        let gone = gone.into_iter().map(|old| Reading { value: 0.0, ..old });
        self.0 = readings.into_iter().chain(gone).collect();
        for Reading { name, label, value } in &self.0 {
            match label {
                Some((key, label)) => gauge!(*name, *key => label.clone()).set(*value),
                None => gauge!(*name).set(*value),
            }
        }
    }
}
