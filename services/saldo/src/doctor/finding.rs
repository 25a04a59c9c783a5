//! What a check comes to.

use serde::Serialize;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// It could not be looked at.
    Unknown,
}

impl State {
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Bad => "✗",
            Self::Unknown => "?",
        }
    }

    /// Green, red, yellow: the number of the terminal's colour.
    pub(super) fn colour(self) -> u8 {
        match self {
            Self::Good => 32,
            Self::Bad => 31,
            Self::Unknown => 33,
        }
    }
}

/// A line of the report. The order of the fields is the order of the JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The thing that was looked at, in a word.
    pub(super) about: &'static str,
    pub(super) state: State,
    pub(super) what: String,
    /// What to do; never missing where something is bad, nor for the first of what could not be looked at for one reason.
    pub(super) advice: Option<String>,
}

impl Finding {
    pub(super) fn good(about: &'static str, what: impl Into<String>) -> Self {
        Self { about, state: State::Good, what: what.into(), advice: None }
    }

    pub(super) fn bad(about: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { about, state: State::Bad, what: what.into(), advice: Some(advice.into()) }
    }

    pub(super) fn unknown(about: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { about, state: State::Unknown, what: what.into(), advice: Some(advice.into()) }
    }

    /// What was not looked at because of something that is a finding of its own, which has the advice.
    pub(super) fn unseen(about: &'static str, because: &str) -> Self {
        Self { about, state: State::Unknown, what: format!("not looked at: {because}"), advice: None }
    }

    /// What is bad or, where nothing is, that all is good.
    pub(super) fn all_or(bad: Vec<Self>, about: &'static str, good: impl Into<String>) -> Vec<Self> {
        if bad.is_empty() { vec![Self::good(about, good)] } else { bad }
    }
}
