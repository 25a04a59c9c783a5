//! Sends what is due: chooses, leases, writes, sends, settles.
//!
//! One connection to the ledger does all of it but the sending, one thing at a time; several mails are with the mail
//! server at once, each on a connection of its own.
//!
//! **Nobody waits for somebody else's mail.** Of the `mail.connections` a shop has at most `mail.merchant_connections`,
//! mails that are tried again have at most half, and a connection that is free goes to a shop that has none, if it has
//! anything due: however many of a shop's mails hang until they time out, another shop's find a free one. Only where as
//! many shops hang as there are connections do others wait, for the next timeout. A shop that has used up its rate waits
//! alone.
//!
//! **Whose fault.** A failure before RCPT TO is the server's: the mail is tried again soon, and after
//! [`SERVER_FAILURES`] in a row nothing is sent until a probe gets through; the notifier is not ready meanwhile. Later
//! ones are the mail's: it is tried again after a pause that doubles each time, or, refused for good, given up.
//!
//! **Bounds.** Memory is the mails being sent, and a few words for each shop. A lease outlives the longest attempt, with
//! what the database may take before and after it, by [`LEASE_MARGIN`]. An attempt whose outcome cannot be settled, because
//! the database is away, keeps its place until it can; when that takes longer than the lease, another process may send the
//! mail once more.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::notification::FailureReason;
use contract::{MailKind, MerchantId};
use futures_util::FutureExt as _;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use ledger::mail::{Answer, LeasedMail};
use ledger::{Failure, Store};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tracing::{info, warn};
use worker::fault::{self, Point};
use worker::traces::{SpanKind, Trace, Work};
use worker::{Access, Beside};

use crate::metrics;
use crate::smtp::{Accepted, Class, SendFailure, Stage};
use crate::{Notifier, Unwritable};

/// So many attempts in a row that failed before RCPT TO mean that the server is away.
const SERVER_FAILURES: u32 = 3;

/// How much longer a lease is than the longest attempt: for writing the mail, and for settling.
const LEASE_MARGIN: Duration = Duration::from_secs(30);

/// The pause between two tries to settle what is left when the process is to end.
const SETTLE_AGAIN: Duration = Duration::from_millis(200);

/// Its names in the health report.
const LEDGER: &str = "mails";
const SERVER: &str = "mail server";

/// How an attempt ended.
type Outcome = Result<Accepted, SendFailure>;

/// Sends mails until it is told to stop.
pub(crate) struct Dispatcher {
    notifier: Arc<Notifier>,
    work: Beside,
    access: Access,
    /// With the mail server.
    sending: JoinSet<(i64, Outcome)>,
    /// Leased, by number: being sent, or not settled yet.
    leased: HashMap<i64, LeasedMail>,
    unsettled: Vec<(i64, Outcome)>,
    limits: Limits,
    /// Attempts in a row that failed before RCPT TO.
    server_failures: u32,
    /// Whether nothing is sent because the server is away.
    away: bool,
    /// When the server was last talked to.
    asked_at: Instant,
}

/// How many mails may go out.
struct Limits {
    all: DefaultDirectRateLimiter,
    merchants: DefaultKeyedRateLimiter<MerchantId>,
    /// Until when nothing, or nothing of a merchant, may go out.
    held: Option<Instant>,
    merchants_held: HashMap<MerchantId, Instant>,
}

/// What to do after looking for a mail.
enum Next {
    /// There may be more.
    Again,
    /// Nothing before this, or something else, happens.
    Wait(Option<Instant>),
}

impl Dispatcher {
    pub(crate) fn new(notifier: Arc<Notifier>, work: Beside) -> Self {
        metrics::begin();
        let settings = &notifier.settings;
        let limits = Limits {
            all: RateLimiter::direct(Quota::per_minute(settings.per_minute)),
            merchants: RateLimiter::keyed(Quota::per_minute(settings.merchant_per_minute)),
            held: None,
            merchants_held: HashMap::new(),
        };
        Self {
            notifier,
            access: Access::new(work.ledger.clone(), Arc::clone(&work.settings)),
            work,
            sending: JoinSet::new(),
            leased: HashMap::new(),
            unsettled: Vec::new(),
            limits,
            server_failures: 0,
            away: false,
            asked_at: Instant::now(),
        }
    }

    /// Works until shutdown; then waits, for the grace period, for what is with the mail server.
    pub(crate) async fn run(mut self) {
        let shutdown = self.work.shutdown.clone();
        // Ready only once the server has answered.
        self.work.health.trouble(SERVER, &"not asked yet");
        self.probe().await;
        while !shutdown.is_cancelled() {
            let settings = &self.notifier.settings;
            let unasked = if self.away { settings.probe_interval } else { settings.check_interval };
            if (self.away || self.sending.is_empty()) && self.asked_at.elapsed() >= unasked {
                self.probe().await;
            }
            let wait = self.turn().await;
            self.pause(wait).await;
        }
        let grace = self.work.settings.shutdown_grace;
        if timeout(grace, self.finish()).await.is_err() {
            warn!(mails = self.leased.len(), "mails under way are left to their next attempt");
        }
    }

    /// Settles what has ended and leases what is due; returns when to look again.
    async fn turn(&mut self) -> Option<Instant> {
        let shutdown = self.work.shutdown.clone();
        while !shutdown.is_cancelled() {
            // Each time: what has ended does not wait until everything that is due is looked at.
            self.settle_all().await;
            let failure = match self.next().await {
                Ok(Next::Again) => continue,
                Ok(Next::Wait(until)) => return until,
                Err(failure) => failure,
            };
            self.trouble(&failure);
            break;
        }
        None
    }

    /// Until something ended, something became due, or it is time to look again.
    async fn pause(&mut self, until: Option<Instant>) {
        let notifier = Arc::clone(&self.notifier);
        let interval = Instant::now() + notifier.settings.interval;
        let until = until.map_or(interval, |until| until.min(interval));
        tokio::select! {
            () = self.work.shutdown.cancelled() => {}
            () = notifier.due.notified() => {}
            () = tokio::time::sleep_until(until.into()) => {}
            Some(ended) = self.sending.join_next() => self.ended(ended),
        }
    }

    /// Leases a mail and hands it over, if there is one and there is room.
    async fn next(&mut self) -> Result<Next, Failure> {
        let notifier = Arc::clone(&self.notifier);
        let settings = &notifier.settings;
        if self.away {
            return Ok(Next::Wait(Some(self.asked_at + settings.probe_interval)));
        }
        if self.leased.len() >= settings.connections {
            return Ok(Next::Wait(None));
        }
        let now = Instant::now();
        if let Some(held) = self.limits.held.filter(|held| *held > now) {
            return Ok(Next::Wait(Some(held)));
        }
        self.limits.merchants_held.retain(|_, held| *held > now);
        let again = self.leased.values().filter(|mail| mail.attempts > 1).count();
        let retries = again < (settings.connections / 2).max(1);
        fault::reach(Point::Leasing);
        let chosen = self.choose(retries).await?;
        if self.unsettled.is_empty() {
            self.work.health.fine(LEDGER);
        }
        let Some(merchant) = chosen else {
            return Ok(Next::Wait(self.limits.merchants_held.values().min().copied()));
        };
        if !self.limits.allow(&merchant) {
            return Ok(Next::Again);
        }
        // Reading what it says and settling what came of it may take as long as the database may.
        let lease = settings.timeout + 2 * self.work.settings.database_timeout + LEASE_MARGIN;
        let leased = self
            .access
            .with("lease", async |store| store.lease_mail(&merchant, retries, lease).await)
            .await?;
        if let Some(mail) = leased {
            fault::reach(Point::Leased);
            self.hand_over(mail).await?;
        }
        Ok(Next::Again)
    }

    /// Whose mail is next: of the shops that have nothing under way, or else of those that have not all they may have.
    async fn choose(&mut self, retries: bool) -> Result<Option<MerchantId>, Failure> {
        let most = self.notifier.settings.merchant_connections;
        let shares = if self.leased.is_empty() || most == 1 { vec![most] } else { vec![1, most] };
        for share in shares {
            let busy = self.busy(share);
            let found =
                self.access.with("choose", async |store| store.next_mail_of(&busy, retries).await).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Merchants that have all that they may have.
    fn busy(&self, most: usize) -> Vec<MerchantId> {
        let mut sending: HashMap<&MerchantId, usize> = HashMap::new();
        for mail in self.leased.values() {
            *sending.entry(&mail.merchant).or_default() += 1;
        }
        let full = sending.into_iter().filter(|(_, count)| *count >= most).map(|(merchant, _)| merchant);
        full.chain(self.limits.merchants_held.keys()).cloned().collect()
    }

    /// Writes a mail and begins to send it.
    async fn hand_over(&mut self, mail: LeasedMail) -> Result<(), Failure> {
        if mail.expired {
            let settled = self
                .access
                .with("settle", async |store| store.mail_failed(&mail, FailureReason::Expired, None).await)
                .await?;
            if settled {
                metrics::settled(metrics::Result::Failed);
            }
            warn!(mail = mail.id, merchant = %mail.merchant, attempts = mail.attempts, "a mail is given up: it could not be handed over in time");
            return Ok(());
        }
        let written = self.access.with("read", async |store| store.mail_content(&mail).await).await?;
        let (id, kind) = (mail.id, mail.kind);
        let traceparent = written.as_ref().and_then(|written| written.traceparent.as_deref());
        let trace = traceparent.and_then(Trace::sampled);
        // A panic over one mail must not be the end of all.
        let message = catch_unwind(AssertUnwindSafe(|| self.notifier.write(&mail, written.as_ref())));
        match message.unwrap_or(Err(Unwritable::Panic)) {
            Ok((to, message)) => {
                let notifier = Arc::clone(&self.notifier);
                self.leased.insert(id, mail);
                let traces = self.work.traces.clone();
                self.sending.spawn(async move {
                    let since = Instant::now();
                    let sent = AssertUnwindSafe(notifier.send(&to, &message)).catch_unwind().await;
                    let sent = sent.unwrap_or_else(|_| Err(panicked()));
                    metrics::talked(since.elapsed());
                    if let Some(trace) = trace {
                        traces.add(trace, || span(kind, since, &sent));
                    }
                    (id, sent)
                });
            }
            Err(problem) => {
                warn!(mail = id, %problem, "a mail cannot be written");
                let answer = Answer { status: None, text: "the mail cannot be written".to_owned() };
                let pause = self.backoff(mail.attempts);
                let postpone = async |store: &mut Store| store.mail_postponed(&mail, &answer, pause).await;
                if self.access.with("settle", postpone).await? {
                    metrics::settled(metrics::Result::Postponed);
                }
            }
        }
        Ok(())
    }

    /// Notes how an attempt ended.
    fn ended(&mut self, ended: Result<(i64, Outcome), JoinError>) {
        // Nothing is aborted and panics are caught, so that there always is an outcome.
        let Ok((id, outcome)) = ended else { return };
        self.asked_at = Instant::now();
        match &outcome {
            Err(failure) if failure.class == Class::Server => {
                self.server_failures += 1;
                if self.server_failures >= SERVER_FAILURES {
                    self.server_away(failure);
                }
            }
            _ => self.server_failures = 0,
        }
        self.unsettled.push((id, outcome));
    }

    fn server_away(&mut self, failure: &SendFailure) {
        if !self.away {
            warn!(%failure, "the mail server is away; nothing is sent until it answers");
        }
        self.away = true;
        metrics::server_away(true);
        self.work.health.trouble(SERVER, failure);
    }

    /// Settles what has ended, as far as the ledger is there.
    async fn settle_all(&mut self) {
        while let Some(ended) = self.sending.try_join_next() {
            self.ended(ended);
        }
        while let Some((id, outcome)) = self.unsettled.pop() {
            let Some(mail) = self.leased.get(&id).cloned() else { continue };
            let settled = self.settle(&mail, &outcome).await;
            if let Err(failure) = settled {
                // Behind the others, should it be what cannot be settled.
                self.unsettled.insert(0, (id, outcome));
                self.trouble(&failure);
                return;
            }
            self.leased.remove(&id);
        }
    }

    async fn settle(&mut self, mail: &LeasedMail, outcome: &Outcome) -> Result<(), Failure> {
        let LeasedMail { id, merchant, kind, attempts, .. } = mail;
        let (settled, result) = match outcome {
            Ok(Accepted { status, answer }) => {
                fault::reach(Point::Handed);
                let answer = Answer { status: Some(*status), text: answer.clone() };
                let settled =
                    self.access.with("settle", async |store| store.mail_sent(mail, &answer).await).await?;
                info!(mail = id, %merchant, %kind, attempts, "a mail is sent");
                (settled, metrics::Result::Sent)
            }
            Err(failure) => {
                let answer =
                    Answer { status: failure.status, text: format!("{}: {}", failure.stage, failure.answer) };
                let (stage, status) = (failure.stage, failure.status);
                if failure.class == Class::Permanent {
                    let reason = FailureReason::Refused;
                    let fail = async |store: &mut Store| store.mail_failed(mail, reason, Some(&answer)).await;
                    let settled = self.access.with("settle", fail).await?;
                    warn!(mail = id, %merchant, %kind, attempts, %stage, status, "a mail is refused for good");
                    (settled, metrics::Result::Failed)
                } else {
                    let pause = match failure.class {
                        Class::Server => self.notifier.settings.probe_interval,
                        _ => self.backoff(*attempts),
                    };
                    let postpone = async |store: &mut Store| store.mail_postponed(mail, &answer, pause).await;
                    let settled = self.access.with("settle", postpone).await?;
                    info!(mail = id, %merchant, %kind, attempts, %stage, status, "a mail is tried again later");
                    (settled, metrics::Result::Postponed)
                }
            }
        };
        if settled {
            metrics::settled(result);
        } else {
            warn!(mail = id, "an attempt outlived its lease; another one settles the mail");
        }
        Ok(())
    }

    /// Asks the mail server whether it can be used; mails that end meanwhile are settled.
    async fn probe(&mut self) {
        let notifier = Arc::clone(&self.notifier);
        let probe = notifier.server.probe(&notifier.settings.from.email);
        tokio::pin!(probe);
        let probed = loop {
            tokio::select! {
                () = self.work.shutdown.cancelled() => return,
                probed = &mut probe => break probed,
                Some(ended) = self.sending.join_next() => {
                    self.ended(ended);
                    self.settle_all().await;
                }
            }
        };
        self.asked_at = Instant::now();
        match probed {
            Ok(()) => {
                if self.away {
                    info!("the mail server answers");
                }
                self.work.health.fine(SERVER);
                (self.away, self.server_failures) = (false, 0);
                metrics::server_away(false);
            }
            Err(failure) => self.server_away(&failure),
        }
    }

    /// Waits for everything under way.
    async fn finish(&mut self) {
        loop {
            self.settle_all().await;
            if self.leased.is_empty() {
                break;
            }
            if self.sending.is_empty() {
                // Only the ledger is waited for.
                tokio::time::sleep(SETTLE_AGAIN).await;
            } else if let Some(ended) = self.sending.join_next().await {
                self.ended(ended);
            }
        }
    }

    /// The pause after so many attempts: doubling, jittered.
    fn backoff(&self, attempts: i32) -> Duration {
        let settings = &self.notifier.settings;
        let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(20);
        let pause = settings.retry_min.saturating_mul(1 << doublings).min(settings.retry_max);
        worker::jittered(pause)
    }

    fn trouble(&self, failure: &Failure) {
        warn!(%failure, "the ledger is not available for mails");
        self.work.health.trouble(LEDGER, failure);
    }
}

impl Limits {
    /// Whether one more mail of this merchant may go out now; otherwise notes when.
    fn allow(&mut self, merchant: &MerchantId) -> bool {
        let clock = DefaultClock::default();
        let wait = |until: governor::NotUntil<_>| Instant::now() + until.wait_time_from(clock.now());
        if let Err(until) = self.merchants.check_key(merchant) {
            self.merchants_held.insert(merchant.clone(), wait(until));
            return false;
        }
        if let Err(until) = self.all.check() {
            self.held = Some(wait(until));
            return false;
        }
        true
    }
}

/// What an attempt to send looks like in its trace.
fn span(kind: MailKind, since: Instant, sent: &Outcome) -> Work {
    Work {
        name: "send mail".into(),
        kind: SpanKind::Client,
        since,
        attributes: vec![("saldo.mail.kind", kind.as_str().into())],
        error: sent.as_ref().err().map(|failure| match failure.class {
            Class::Server => "mail server away",
            Class::Transient => "postponed",
            Class::Permanent => "refused",
        }),
    }
}

fn panicked() -> SendFailure {
    let answer = "the notifier failed".to_owned();
    SendFailure { stage: Stage::Connect, class: Class::Transient, status: None, answer }
}
