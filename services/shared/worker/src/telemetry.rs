//! Logs: for people, or one JSON object a line. Never a message body, never a secret. Colours are for terminals.

use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::settings::{DEFAULT_LOG_FILTER, LogFormat, Settings};

/// Starts logging to standard error.
pub(crate) fn start(settings: &Settings) {
    let filter =
        EnvFilter::try_new(&settings.log_filter).unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG_FILTER));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // In a terminal the library looks at NO_COLOR itself.
    let builder = if std::io::stderr().is_terminal() { builder } else { builder.with_ansi(false) };
    let started = match settings.log_format {
        LogFormat::Human => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    // Only a second start in one process fails, and then logs already go somewhere.
    drop(started);
    std::panic::set_hook(Box::new(log_panic));
}

/// A panic's text may hold what it was about; its place is enough to find it.
fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, "a panic");
}
