//! A pattern of a permission, as the broker uses it.

use regex_lite::Regex;

use super::NOTHING;

/// Looks for a match anywhere in a name. An empty one matches nothing; one that cannot be read here counts as one that matches.
pub(super) struct Pattern(Option<Regex>);

impl Pattern {
    pub(super) fn new(pattern: &str) -> Self {
        Self(Regex::new(if pattern.is_empty() { NOTHING } else { pattern }).ok())
    }

    /// Whether this is one that matches no name: as it is written, since a pattern that was not meant so is not taken for one.
    pub(super) fn is_nothing(pattern: &str) -> bool {
        pattern.is_empty() || pattern == NOTHING
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|pattern| pattern.is_match(name))
    }
}
