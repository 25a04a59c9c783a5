//! Sending a file's lines: in windows, each confirmed before the next; what a full queue refuses is sent again.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use worker::broker::BrokerError;
use worker::submit::{Command, Submission, Submitter};

use crate::lines::Line;
use crate::output::Output;
use crate::run::Run;

/// Commands that are under way at once: enough to keep the connection busy, few enough to be sent again.
const WINDOW: usize = 500;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What sending came to.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// How many lines a queue has.
    pub(crate) confirmed: usize,
    /// Lines that no queue has, by their place, and why.
    pub(crate) failed: Vec<(usize, Failed)>,
    /// Why it ended early.
    pub(crate) broken: Option<BrokerError>,
}

/// Why no queue has a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failed {
    /// There is no routing key to send it with.
    NoRoutingKey,
    /// The broker did not take it.
    Answered(Submission),
    /// The connection failed: it may or may not have been taken.
    Unknown,
}

/// Sends the lines in this run, those without a routing key with `fallback`. Ends early only where the connection fails.
pub(crate) async fn send(
    submitter: &mut Submitter,
    lines: &[Line],
    run: &Run,
    fallback: Option<&str>,
    output: &mut Output,
) -> Sent {
    let bar = progress_bar(lines.len());
    let mut sent = Sent::default();
    let ids: Vec<String> = lines.iter().map(|line| run.message_id(line.number)).collect();
    let mut sendable = Vec::with_capacity(lines.len());
    for (place, (line, message_id)) in lines.iter().zip(&ids).enumerate() {
        match line.routing_key.as_deref().or(fallback) {
            Some(routing_key) => {
                sendable.push((place, Command { routing_key, body: &line.body, message_id }));
            }
            None => sent.failed.push((place, Failed::NoRoutingKey)),
        }
    }
    for window in sendable.chunks(WINDOW) {
        if sent.broken.is_none() {
            send_window(submitter, window, &mut sent, &bar, output).await;
        } else {
            sent.failed.extend(window.iter().map(|(place, _)| (*place, Failed::Unknown)));
        }
    }
    bar.finish_and_clear();
    sent
}

async fn send_window(
    submitter: &mut Submitter,
    window: &[(usize, Command<'_>)],
    sent: &mut Sent,
    bar: &ProgressBar,
    output: &mut Output,
) {
    let mut pending = window.to_vec();
    let mut pause = FIRST_PAUSE;
    loop {
        let commands: Vec<Command<'_>> = pending.iter().map(|(_, command)| *command).collect();
        let answers = match submitter.submit(&commands).await {
            Ok(answers) => answers,
            Err(error) => {
                sent.failed.extend(pending.iter().map(|(place, _)| (*place, Failed::Unknown)));
                sent.broken = Some(error);
                return;
            }
        };
        let before = pending.len();
        let mut full = Vec::new();
        for ((place, command), answer) in pending.into_iter().zip(answers) {
            match answer {
                Submission::Confirmed => sent.confirmed += 1,
                Submission::Full => full.push((place, command)),
                answer => sent.failed.push((place, Failed::Answered(answer))),
            }
        }
        bar.inc((before - full.len()) as u64);
        if full.is_empty() {
            return;
        }
        if full.len() < before {
            pause = FIRST_PAUSE;
        }
        let waiting = format!(
            "the queue is full or not available: {} commands are sent again in {pause:?}",
            full.len()
        );
        if bar.is_hidden() {
            output.message(waiting);
        } else {
            bar.set_message(waiting);
        }
        tokio::time::sleep(pause).await;
        bar.set_message("");
        pause = (pause * 2).min(LONGEST_PAUSE);
        pending = full;
    }
}

/// On standard error, and only where that is a terminal.
fn progress_bar(lines: usize) -> ProgressBar {
    let bar = ProgressBar::new(lines as u64);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {human_pos} of {human_len}, {per_sec}, {eta} left {msg}")
    {
        bar.set_style(style);
    }
    bar
}
