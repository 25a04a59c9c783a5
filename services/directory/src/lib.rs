//! The directory worker: what is known of shops, of their customers, and of how these are paid.
//!
//! | command | refused when | otherwise |
//! |---|---|---|
//! | `preferences.put` | a newer put is known | the shop is registered, or is now as this says |
//! | `customer.put` | a newer put is known | the customer is known, and now as this says |
//! | `payout-method.put` | a newer put is known | encrypted, it is the customer's next version and the current one |
//!
//! Each replaces all that the one before it said. Puts are ordered by their `time`, not by their arrival. A customer
//! may come before its merchant, and a payout method before its customer: they wait.
//!
//! Payout details leave this worker encrypted or masked, never in clear: in the ledger, in parked commands and in
//! dead letters. Events do not hold names or e-mail addresses, because they are kept for ever.

use std::time::Duration;

use contract::directory::{
    CustomerPut, CustomerRefused, CustomerUpdated, DirectoryCommand, PayoutMethodPut, PayoutMethodRefused,
    PayoutMethodUpdated, PreferencesPut, PreferencesRefused, PreferencesUpdated, PutRefused,
};
use contract::{
    Commands, ContentHash, CustomerId, Event, KeyHash, MerchantId, PayoutMethod, ReasonCode, Received,
    Refusal, Timestamp,
};
use ledger::rules::Refused;
use ledger::vault::{Purpose, Sealed, Vault};
use ledger::{
    Awaited, Books, CurrentPayout, Customer, CustomerKey, Decision, Merchant, Needs, NewPayout,
    PayoutSnapshot, Rules,
};
use worker::Handler;

/// The directory worker's rules.
#[derive(Debug)]
pub struct Directory {
    /// How long a command waits for its merchant or customer.
    pub patience: Duration,
    /// What encrypts payout details.
    pub vault: Vault,
}

impl Handler for Directory {
    /// Whatever could not be read may be anything, a payout method among others.
    fn seal_letter(&self, body: &[u8]) -> Option<Sealed> {
        Some(self.vault.seal(Purpose::DeadLetter { worker: Self::WORKER }, body))
    }
}

impl Rules for Directory {
    type Command = DirectoryCommand;
    const WORKER: &'static str = contract::directory::WORKER;

    fn needs(&self, command: &DirectoryCommand) -> Needs {
        let customer = |merchant: &MerchantId, customer: &CustomerId| Needs {
            customer: Some(key(merchant, customer)),
            changes_customer: true,
            ..Needs::default()
        };
        match command {
            DirectoryCommand::Customer(put) => customer(&put.merchant, &put.customer),
            DirectoryCommand::PayoutMethod(put) => customer(&put.merchant, &put.customer),
            DirectoryCommand::Preferences(_) => Needs { changes_merchant: true, ..Needs::default() },
        }
    }

    fn decide(&self, received: &Received<DirectoryCommand>, books: &mut Books) -> Decision {
        let decision = match &received.command {
            DirectoryCommand::Customer(put) => put_customer(received, put, books),
            DirectoryCommand::PayoutMethod(put) => self.put_payout_method(received, put, books),
            DirectoryCommand::Preferences(put) => put_preferences(received, put, books),
        };
        decision.unwrap_or_else(Decision::Refused)
    }

    fn refused(&self, received: &Received<DirectoryCommand>, refusal: &Refusal, books: &Books) -> Refused {
        let refused = |customer: Option<&CustomerId>| PutRefused {
            merchant: received.command.merchant().clone(),
            command: received.command.name(),
            reason: refusal.code,
            message: refusal.message.clone(),
            customer: customer.cloned(),
        };
        let event = match &received.command {
            DirectoryCommand::Customer(put) => {
                books.event(received, &CustomerRefused(refused(Some(&put.customer))))
            }
            DirectoryCommand::PayoutMethod(put) => {
                books.event(received, &PayoutMethodRefused(refused(Some(&put.customer))))
            }
            DirectoryCommand::Preferences(_) => books.event(received, &PreferencesRefused(refused(None))),
        };
        Refused { account: None, event }
    }

    fn patience(&self, _: &DirectoryCommand) -> Duration {
        self.patience
    }

    fn fingerprint(&self, received: &Received<DirectoryCommand>) -> ContentHash {
        if received.command.is_secret() { self.vault.fingerprint(received.content) } else { received.content }
    }

    fn is_same(&self, received: &Received<DirectoryCommand>, stored: ContentHash) -> bool {
        if received.command.is_secret() {
            self.vault.is_fingerprint(stored, received.content)
        } else {
            received.content == stored
        }
    }

    fn conceal(&self, received: &Received<DirectoryCommand>, body: &[u8]) -> Option<Sealed> {
        match received.command {
            DirectoryCommand::PayoutMethod(_) => {
                Some(self.vault.seal(Purpose::Parked { key: received.hash }, body))
            }
            DirectoryCommand::Customer(_) | DirectoryCommand::Preferences(_) => None,
        }
    }

    fn reveal(&self, key: KeyHash, sealed: &Sealed) -> Option<Vec<u8>> {
        self.vault.open(Purpose::Parked { key }, sealed).ok().map(|body| body.to_vec())
    }
}

fn key(merchant: &MerchantId, customer: &CustomerId) -> CustomerKey {
    CustomerKey { merchant: merchant.clone(), customer: customer.clone() }
}

fn done(event: Event) -> Decision {
    Decision::Done { account: None, events: vec![event] }
}

fn unknown_merchant(merchant: &MerchantId) -> Decision {
    Decision::NotYet {
        awaited: Awaited::Merchant(merchant.clone()),
        otherwise: Refusal::new(ReasonCode::UnknownMerchant, "The merchant is not registered."),
    }
}

/// # Errors
/// Something as new as this, or newer, is known.
fn newer_than(known: Option<Timestamp>, time: Timestamp) -> Result<(), Refusal> {
    match known {
        Some(known) if time <= known => Err(Refusal::new(
            ReasonCode::Outdated,
            format!("What is known is of {known}; this is of {time}, which is not later."),
        )),
        _ => Ok(()),
    }
}

fn put_preferences(
    received: &Received<DirectoryCommand>,
    put: &PreferencesPut,
    books: &mut Books,
) -> Result<Decision, Refusal> {
    newer_than(books.merchant(&put.merchant).and_then(|merchant| merchant.put_at), received.time)?;
    books.put_merchant(Merchant {
        id: put.merchant.clone(),
        name: put.name.clone(),
        hold_days: put.hold_days,
        preferences: (*put.preferences).clone(),
        put_at: Some(received.time),
    });
    let event = PreferencesUpdated {
        merchant: put.merchant.clone(),
        name: put.name.clone(),
        actor: put.actor.clone(),
        user: received.user.clone(),
        hold_days: put.hold_days,
        negative_limit: put.preferences.negative_limit.clone(),
        withdrawals: put.preferences.withdrawals.clone(),
        put_at: received.time,
    };
    Ok(done(books.event(received, &event)))
}

fn put_customer(
    received: &Received<DirectoryCommand>,
    put: &CustomerPut,
    books: &mut Books,
) -> Result<Decision, Refusal> {
    if books.merchant(&put.merchant).is_none() {
        return Ok(unknown_merchant(&put.merchant));
    }
    let key = key(&put.merchant, &put.customer);
    let known = books.customer(&key);
    newer_than(known.and_then(|known| known.put_at), received.time)?;
    let customer = Customer {
        kind: put.kind,
        name: put.name.clone(),
        email: put.email.clone(),
        locale: put.locale.clone(),
        put_at: Some(received.time),
        payout: known.and_then(|known| known.payout.clone()),
        key,
    };
    books.put_customer(customer);
    let event = CustomerUpdated {
        merchant: put.merchant.clone(),
        customer: put.customer.clone(),
        kind: put.kind,
        locale: put.locale.clone(),
        put_at: received.time,
    };
    Ok(done(books.event(received, &event)))
}

impl Directory {
    fn put_payout_method(
        &self,
        received: &Received<DirectoryCommand>,
        put: &PayoutMethodPut,
        books: &mut Books,
    ) -> Result<Decision, Refusal> {
        if books.merchant(&put.merchant).is_none() {
            return Ok(unknown_merchant(&put.merchant));
        }
        let owner = key(&put.merchant, &put.customer);
        let Some(customer) = books.customer(&owner) else {
            return Ok(Decision::NotYet {
                awaited: Awaited::Customer(put.merchant.clone(), put.customer.clone()),
                otherwise: Refusal::new(ReasonCode::UnknownCustomer, "There is no such customer."),
            });
        };
        newer_than(customer.payout.as_ref().map(|payout| payout.put_at), received.time)?;
        let version =
            customer.payout.as_ref().map_or(0, |CurrentPayout { snapshot, .. }| snapshot.version) + 1;
        let purpose = Purpose::PayoutMethod { merchant: &put.merchant, customer: &put.customer, version };
        let snapshot = PayoutSnapshot { version, kind: put.method.kind(), masked: put.method.masked() };
        books.put_payout(NewPayout {
            owner,
            snapshot: snapshot.clone(),
            sealed: self.vault.seal(purpose, details(&put.method).as_bytes()),
            put_at: received.time,
            command: received.hash,
        });
        let event = PayoutMethodUpdated {
            merchant: put.merchant.clone(),
            customer: put.customer.clone(),
            version,
            kind: put.method.kind(),
            masked: snapshot.masked,
        };
        Ok(done(books.event(received, &event)))
    }
}

/// What is sealed of a payout method: its JSON, as whoever reveals it reads it.
#[expect(clippy::expect_used, reason = "strings in an object, whose serialisation cannot fail")]
fn details(method: &PayoutMethod) -> String {
    serde_json::to_string(method).expect("a payout method can be written as JSON")
}
