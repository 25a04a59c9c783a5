//! The one consume loop, and everything a worker needs around its rules.

pub mod broker;
pub mod settings;
pub mod topology;
