//! The notifier: tells a shop's staff and its affiliates by e-mail what became of withdrawals.
//!
//! | event | to the shop's staff (`notify`) | to the affiliate (`notify_customer`) |
//! |---|---|---|
//! | `withdrawal.requested` | a mail each; when there are many, a digest | if the shop wants it |
//! | `withdrawal.approved`, `paid`, `rejected`, `cancelled` | | if the shop wants it |
//!
//! An event is a hint: what is told comes from the ledger, and what no event told of is found there. Consuming one
//! records which mails are due and is acked; [`dispatch`] sends them, whether the broker is there or not. What a crash
//! at each step leaves is said in [`ledger::mail`]: at worst one mail twice, with one `Message-ID`.

pub mod dispatch;
pub mod letter;
mod line_by_line;
pub mod message;
mod metrics;
pub mod settings;
pub mod smtp;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use contract::{Malformed, MalformedReason, MerchantId, WithdrawalId, WithdrawalState};
use ledger::decide::Verdict;
use ledger::mail::{LeasedMail, MailRules, Notice, Written};
use ledger::{Failure, Store, read};
use lettre::Address;
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::sync::Notify;
use worker::metrics::Reading;
use worker::settings::Reader;
use worker::{Beside, Subscriber};

use crate::dispatch::Dispatcher;
use crate::letter::{Letter, LetterError, Letters};
use crate::message::{Content, Envelope};
use crate::settings::MailSettings;
use crate::smtp::{Accepted, SendFailure, Server};

/// Why a mail cannot be written. A later version may write it.
#[derive(Debug, thiserror::Error)]
enum Unwritable {
    #[error("the ledger's content of the mail cannot be understood")]
    Content,
    #[error("the address cannot stand in a mail")]
    Address,
    #[error("writing the mail ended in a panic")]
    Panic,
    #[error(transparent)]
    Letter(#[from] LetterError),
}

/// The notifier.
pub struct Notifier {
    settings: MailSettings,
    letters: Letters,
    server: Server,
    /// Mails were recorded.
    due: Notify,
    /// When the sweep last found nothing that was overlooked.
    swept: Mutex<Option<Instant>>,
}

/// A sweep goes back this far behind the last one: for transactions that were committed late.
const SWEEP_OVERLAP: Duration = Duration::from_hours(1);

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notifier").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Notifier {
    /// The notifier, as its settings have it; what is wrong with them the reader has noted. `None` if what is compiled into
    /// this program is not usable, which tests rule out.
    pub fn read(read: &mut Reader) -> Option<Self> {
        let settings = MailSettings::read(read);
        let letters = Letters::new(settings.style.clone()).ok()?;
        let server = Server::new(&settings);
        Some(Self { settings, letters, server, due: Notify::new(), swept: Mutex::default() })
    }

    /// Writes a mail: to whom, and its bytes.
    fn write(&self, mail: &LeasedMail, written: Option<&Written>) -> Result<(Address, Vec<u8>), Unwritable> {
        let written = written.ok_or(Unwritable::Content)?;
        let Letter { subject, text, html, language } = self.letters.write(&written.content)?;
        let (settings, address) = (&self.settings, mail.recipient.as_str());
        let to = message::recipient(address).ok_or(Unwritable::Address)?;
        let domain = settings.from.email.domain();
        let message_id = message::message_id(mail.kind, &written.event, address, mail.resent, domain);
        let envelope = Envelope {
            from: &settings.from,
            reply_to: settings.reply_to.as_ref(),
            to: &to,
            message_id: &message_id,
            date: OffsetDateTime::now_utc(),
            traceparent: written.traceparent.as_deref(),
        };
        let content = Content { subject: &subject, text: &text, html: &html, language: &language };
        let message = message::message(&envelope, &content);
        Ok((to, message))
    }

    /// Hands a mail to the mail server.
    async fn send(&self, to: &Address, message: &[u8]) -> Result<Accepted, SendFailure> {
        self.server.send(&self.settings.from.email, to, message).await
    }

    fn rules(&self) -> MailRules {
        MailRules { digest: self.settings.digest, give_up_after: self.settings.give_up_after }
    }
}

impl Subscriber for Notifier {
    const WORKER: &'static str = contract::notification::WORKER;
    type Event = Notice;

    fn read(body: &[u8]) -> Result<Notice, Malformed> {
        hint(body)
    }

    async fn record(&self, store: &mut Store, events: &[Arc<Notice>]) -> Result<Vec<Verdict>, Failure> {
        let notices: Vec<&Notice> = events.iter().map(AsRef::as_ref).collect();
        let known = store.record_notices(&notices, self.rules()).await?;
        self.due.notify_one();
        let verdict = |known| if known { Verdict::Decided } else { Verdict::Dead(unknown()) };
        Ok(known.into_iter().map(verdict).collect())
    }

    async fn overlooked(
        &self,
        store: &mut Store,
        skip: i64,
        limit: i64,
    ) -> Result<Vec<Arc<Notice>>, Failure> {
        let age = self.settings.notices_age;
        // The first sweep looks through the whole window, which takes long; the others only at what is new.
        let swept = *self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let since = swept.map(|swept| swept.elapsed() + age + SWEEP_OVERLAP);
        let window =
            since.map_or(self.settings.notices_window, |since| since.min(self.settings.notices_window));
        let began = Instant::now();
        let notices = store.overlooked_notices(age, window, skip, limit).await?;
        if notices.is_empty() && skip == 0 {
            *self.swept.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
        }
        Ok(notices.into_iter().map(Arc::new).collect())
    }

    async fn readings(store: &mut Store) -> Result<Vec<Reading>, Failure> {
        Ok(metrics::readings(read::mail_backlog(store.connection()).await?))
    }

    async fn beside(self: Arc<Self>, work: Beside) {
        Dispatcher::new(self, work).run().await;
    }
}

fn unknown() -> Malformed {
    Malformed::new(MalformedReason::InvalidData, "data: the ledger knows of no such state of a withdrawal")
}

/// Reads as much of an event as has to be known of it; what later versions add is nobody's business here.
fn hint(body: &[u8]) -> Result<Notice, Malformed> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "type")]
        message_type: String,
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        merchant: MerchantId,
        withdrawal: WithdrawalId,
    }
    let event: Event = serde_json::from_slice(body).map_err(|error| {
        let reason = if error.is_data() { MalformedReason::InvalidData } else { MalformedReason::NotJson };
        Malformed::new(reason, "the message is no event of a withdrawal")
    })?;
    let state = event.message_type.strip_prefix("withdrawal.").and_then(|rest| rest.strip_suffix(".v1"));
    let state: WithdrawalState = state.and_then(|state| state.parse().ok()).ok_or_else(|| {
        Malformed::new(MalformedReason::UnknownType, "type: is no state of a withdrawal that is mailed")
    })?;
    Ok(Notice { merchant: event.data.merchant, withdrawal: event.data.withdrawal, state })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"specversion":"1.0","type":"withdrawal.paid.v1","more":1,
        "data":{"merchant":"acme","withdrawal":"00112233445566778899aabbccddeeff","amount":"1.00"}}"#;

    #[test]
    fn an_event_is_read_for_what_it_is_about() {
        let notice = hint(EVENT.as_bytes()).unwrap();
        assert_eq!((notice.merchant.as_str(), notice.state), ("acme", WithdrawalState::Paid));
    }

    #[test]
    fn what_is_no_event_of_a_withdrawal_is_malformed() {
        for (from, to, reason) in [
            ("{\"spec", "spec", MalformedReason::NotJson),
            ("\"withdrawal\":", "\"other\":", MalformedReason::InvalidData),
            ("acme", "AC/ME", MalformedReason::InvalidData),
            ("paid.v1", "paid.v2", MalformedReason::UnknownType),
            ("paid.v1", "refused.v1", MalformedReason::UnknownType),
            ("withdrawal.paid", "commission.credited", MalformedReason::UnknownType),
        ] {
            let body = EVENT.replace(from, to);
            assert_eq!(hint(body.as_bytes()).unwrap_err().reason, reason, "{to}");
        }
    }
}
