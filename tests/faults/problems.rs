//! Problems of many kinds, each of which may be there a thousand times.

use std::collections::BTreeMap;

/// Of each kind so many are told.
const MOST: usize = 5;

/// By kind.
#[derive(Debug, Default)]
pub(crate) struct Problems(BTreeMap<&'static str, Vec<String>>);

impl Problems {
    /// One more of a kind.
    pub(crate) fn add(&mut self, what: &'static str, which: impl Into<String>) {
        self.0.entry(what).or_default().push(which.into());
    }

    /// A text for each kind: how many there are, and the first of them.
    pub(crate) fn told(self) -> Vec<String> {
        let text = |(what, which): (&str, Vec<String>)| {
            format!("{what}: {}, such as {}", which.len(), which[..which.len().min(MOST)].join("; "))
        };
        self.0.into_iter().map(text).collect()
    }
}
