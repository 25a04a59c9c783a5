//! The commissions worker: what an affiliate earned is credited, at once or after a hold period, and taken
//! back when the order is.
//!
//! | command | refused when | otherwise |
//! |---|---|---|
//! | `commission.credit` | the account would leave its range | `pending` until the hold period ends, or in the balance |
//! | `commission.reverse` | nothing or not enough is left, wrong currency, no commission | shrinks what is pending, or debits the balance, which may fall below zero |
//! | (a hold period ends) | – | what is left moves from `pending` into the balance |
//!
//! A reversal may come before its commission, and a commission before its merchant is registered: they wait.

use std::sync::Arc;
use std::time::Duration;

use contract::commission::{
    CommissionCommand, CommissionCredit, CommissionCredited, CommissionHeld, CommissionMature,
    CommissionMatured, CommissionRefused, CommissionReverse, CommissionReversed,
};
use contract::{Commands, CustomerKind, Event, ReasonCode, Received, Refusal, SignedAmount};
use ledger::rules::Refused;
use ledger::{
    About, AccountKey, Awaited, Books, Commission, CommissionState, Decision, Failure, Item, Named, Naming,
    Needs, Rules, Shift, Store, read,
};
use rust_decimal::Decimal;
use worker::Handler;
use worker::metrics::{PENDING, Reading};

/// The commissions worker's rules.
#[derive(Debug, Clone)]
pub struct Commissions {
    /// How long a commission waits for its merchant to be registered.
    pub patience: Duration,
    /// How long a reversal waits for its commission.
    pub reversal_patience: Duration,
}

impl Rules for Commissions {
    type Command = CommissionCommand;
    const WORKER: &'static str = contract::commission::WORKER;
    // Only the hold period is asked for: large preferences are none of this queue's business.
    const PREFERENCES: bool = false;

    fn needs(&self, command: &CommissionCommand) -> Needs {
        match command {
            CommissionCommand::Credit(credit) => Needs {
                account: Some(owner(credit)),
                creates: Some(CustomerKind::Affiliate),
                ..Needs::default()
            },
            CommissionCommand::Reverse(CommissionReverse { merchant, commission, .. })
            | CommissionCommand::Mature(CommissionMature { merchant, commission }) => {
                Needs { names: Some(Naming::Commission(commission.within(merchant))), ..Needs::default() }
            }
        }
    }

    fn decide(&self, received: &Received<CommissionCommand>, books: &mut Books) -> Decision {
        let decision = match &received.command {
            CommissionCommand::Credit(command) => credit(received, command, books),
            CommissionCommand::Reverse(command) => reverse(received, command, books),
            CommissionCommand::Mature(command) => Ok(mature(received, command, books)),
        };
        decision.unwrap_or_else(Decision::Refused)
    }

    fn refused(&self, received: &Received<CommissionCommand>, refusal: &Refusal, books: &Books) -> Refused {
        let merchant = received.command.merchant();
        let (commission, customer, account) = match &received.command {
            CommissionCommand::Credit(credit) => {
                (received.key.reference(), Some(credit.customer.clone()), books.account(&owner(credit)))
            }
            CommissionCommand::Reverse(CommissionReverse { commission, .. })
            | CommissionCommand::Mature(CommissionMature { commission, .. }) => {
                let account = match books.named(commission.within(merchant).hash()) {
                    Named::Commission(known) => books.account_by_id(known.account),
                    _ => None,
                };
                (commission.clone(), account.map(|account| account.key.customer.clone()), account)
            }
        };
        let event = CommissionRefused {
            merchant: merchant.clone(),
            command: received.command.name(),
            reason: refusal.code,
            message: refusal.message.clone(),
            customer,
            commission,
            account: account.map(ledger::Account::state),
        };
        Refused { account: account.map(|account| account.id), event: books.event(received, &event) }
    }

    fn patience(&self, command: &CommissionCommand) -> Duration {
        match command {
            CommissionCommand::Reverse(_) => self.reversal_patience,
            CommissionCommand::Credit(_) | CommissionCommand::Mature(_) => self.patience,
        }
    }
}

impl Handler for Commissions {
    async fn due(
        store: &mut Store,
        skip: i64,
        limit: i64,
    ) -> Result<Vec<Arc<Item<CommissionCommand>>>, Failure> {
        store.commissions_due(skip, limit).await
    }

    /// What is in its hold period, by currency.
    async fn readings(store: &mut Store) -> Result<Vec<Reading>, Failure> {
        let pending = read::pending(store.connection()).await?;
        Ok(pending.iter().map(|pending| Reading::amount(PENDING, pending)).collect())
    }
}

fn owner(credit: &CommissionCredit) -> AccountKey {
    AccountKey {
        merchant: credit.merchant.clone(),
        customer: credit.customer.clone(),
        currency: credit.money.currency(),
    }
}

fn credit(
    received: &Received<CommissionCommand>,
    credit: &CommissionCredit,
    books: &mut Books,
) -> Result<Decision, Refusal> {
    let owner = owner(credit);
    let (Some(merchant), Some(account)) = (books.merchant(&credit.merchant), books.account(&owner)) else {
        return Ok(Decision::NotYet {
            awaited: Awaited::Merchant(credit.merchant.clone()),
            otherwise: Refusal::new(ReasonCode::UnknownMerchant, "The merchant is not registered."),
        });
    };
    let account = account.id;
    // The merchant's hold period starts now, whatever time the publisher claims.
    let held_until = books.now().plus(time::Duration::days(merchant.hold_days.into()));
    let available_at = credit.available_at.map_or(held_until, |wanted| wanted.max(held_until));
    let about = About { order: credit.order.clone(), level: credit.level, note: credit.note.clone() };
    let mut commission = Commission {
        key: received.key.clone(),
        account,
        owner,
        amount: credit.money.amount(),
        reversed: Decimal::ZERO,
        state: CommissionState::Credited,
        about,
    };
    let event = if available_at > books.now() {
        let state = books.shift(account, Shift { pending: commission.amount, ..Shift::default() })?;
        commission.state = CommissionState::Pending { available_at };
        books.put_commission(commission);
        books.event(
            received,
            &CommissionHeld {
                merchant: credit.merchant.clone(),
                customer: credit.customer.clone(),
                commission: received.key.reference(),
                amount: credit.money.into(),
                currency: credit.money.currency(),
                order: credit.order.clone(),
                level: credit.level,
                available_at,
                account: state,
            },
        )
    } else {
        let posting = commission.credit(received.hash, received.time);
        let (entry, state) = books.post(account, Shift::default(), posting)?;
        books.know_commission(commission);
        books.event(
            received,
            &CommissionCredited {
                merchant: credit.merchant.clone(),
                customer: credit.customer.clone(),
                commission: received.key.reference(),
                amount: credit.money.into(),
                currency: credit.money.currency(),
                order: credit.order.clone(),
                level: credit.level,
                entry,
                account: state,
            },
        )
    };
    Ok(done(account, event))
}

fn reverse(
    received: &Received<CommissionCommand>,
    reverse: &CommissionReverse,
    books: &mut Books,
) -> Result<Decision, Refusal> {
    let key = reverse.commission.within(&reverse.merchant).hash();
    let mut commission = match books.named(key) {
        Named::Commission(commission) => commission.clone(),
        Named::Refused => {
            return Err(Refusal::new(ReasonCode::CommissionRefused, "The commission was itself refused."));
        }
        Named::Withdrawal(_) | Named::Entry(_) | Named::Other => {
            return Err(Refusal::new(
                ReasonCode::NotACommission,
                "The command that is named is no commission.",
            ));
        }
        Named::Unknown => {
            return Ok(Decision::NotYet {
                awaited: Awaited::Command(key),
                otherwise: Refusal::new(ReasonCode::UnknownCommission, "There is no such commission."),
            });
        }
    };
    let account = commission.account;
    let part = commission.reversible(reverse.money)?;
    let (entry, state) = match commission.state {
        CommissionState::Pending { .. } | CommissionState::Cancelled => {
            (None, books.shift(account, Shift { pending: -part, ..Shift::default() })?)
        }
        CommissionState::Credited => {
            let posting = commission.reversal(part, reverse.reason.clone(), received.hash, received.time);
            let (entry, state) = books.post(account, Shift::default(), posting)?;
            (Some(entry), state)
        }
    };
    commission.reverse(part);
    let currency = commission.owner.currency;
    let event = CommissionReversed {
        merchant: reverse.merchant.clone(),
        customer: commission.owner.customer.clone(),
        commission: reverse.commission.clone(),
        amount: SignedAmount::new(part, currency),
        remaining: SignedAmount::new(commission.remaining(), currency),
        currency,
        entry,
        account: state,
    };
    books.put_commission(commission);
    Ok(done(account, books.event(received, &event)))
}

fn mature(received: &Received<CommissionCommand>, mature: &CommissionMature, books: &mut Books) -> Decision {
    let key = mature.commission.within(&mature.merchant);
    let Named::Commission(commission) = books.named(key.hash()) else { return Decision::Nothing };
    match commission.state {
        CommissionState::Pending { available_at } if available_at <= books.now() => {}
        CommissionState::Pending { .. } | CommissionState::Credited | CommissionState::Cancelled => {
            return Decision::Nothing;
        }
    }
    let mut commission = commission.clone();
    let (account, rest) = (commission.account, commission.remaining());
    let posting = commission.credit(received.hash, received.time);
    let matured = books.post(account, Shift { pending: -rest, ..Shift::default() }, posting);
    // An account that is full has room again one day: until then it stays pending and is looked at again.
    let Ok((entry, state)) = matured else { return Decision::Nothing };
    commission.state = CommissionState::Credited;
    let currency = commission.owner.currency;
    let event = CommissionMatured {
        merchant: mature.merchant.clone(),
        customer: commission.owner.customer.clone(),
        commission: mature.commission.clone(),
        amount: SignedAmount::new(rest, currency),
        currency,
        entry,
        account: state,
    };
    books.put_commission(commission);
    // The publisher of the commission looks for what became of it under the key it gave.
    done(account, books.event_of(&key, received.traceparent.as_deref(), &event))
}

fn done(account: i64, event: Event) -> Decision {
    Decision::Done { account: Some(account), events: vec![event] }
}
