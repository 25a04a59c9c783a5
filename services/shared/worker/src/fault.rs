//! Fault points: places where a test kills the process. Compiled only with the feature `fault-points`, which
//! nothing that is shipped turns on.

/// Where a test can kill the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A batch was received and not yet decided.
    Received,
    /// A batch is committed, its events are not published.
    Committed,
    /// A batch's events are confirmed, its commands are not acked.
    Published,
    /// A mail is about to be leased.
    Leasing,
    /// A mail is leased, and nothing was sent yet.
    Leased,
    /// The mail server has taken a mail, and the ledger does not know yet.
    Handed,
}

/// Dies by SIGKILL here if `SALDO_FAULT` is `<point>:<n>` and this is the n-th time.
#[cfg(feature = "fault-points")]
pub fn reach(point: Point) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static REACHED: AtomicUsize = AtomicUsize::new(0);

    let name = match point {
        Point::Received => "received",
        Point::Committed => "committed",
        Point::Published => "published",
        Point::Leasing => "leasing",
        Point::Leased => "leased",
        Point::Handed => "handed",
    };
    let Ok(fault) = std::env::var("SALDO_FAULT") else { return };
    let Some((wanted, times)) = fault.split_once(':') else { return };
    if wanted == name && times.parse() == Ok(REACHED.fetch_add(1, Ordering::SeqCst) + 1) {
        let me = rustix::process::getpid();
        let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
    }
}

/// Does nothing.
#[cfg(not(feature = "fault-points"))]
pub fn reach(_: Point) {}
