//! The adjustments worker: what a person credits or debits by hand, and takes back.
//!
//! | command | refused when | otherwise |
//! |---|---|---|
//! | `adjustment.credit` | the account would leave its range | the balance grows |
//! | `adjustment.debit` | the balance, less what withdrawals hold, would fall below the shop's limit in this currency; without a limit never | the balance shrinks, and may be negative: the customer owes it |
//! | `adjustment.reverse` | what it names is no adjustment, is taken back already, or is a reversal itself | the opposite is posted, whatever the limit |
//!
//! A customer that is not known yet is created as one that is no affiliate. A reversal may come before its
//! adjustment, and an adjustment before its merchant is registered: they wait.

use std::time::Duration;

use contract::adjustment::{
    Adjustment, AdjustmentCommand, AdjustmentCredited, AdjustmentDebited, AdjustmentPosted,
    AdjustmentRefused, AdjustmentReverse, AdjustmentReversed,
};
use contract::{Commands, CustomerKind, EntryId, Event, Name, ReasonCode, Received, Refusal, SignedAmount};
use ledger::rules::Refused;
use ledger::{
    Account, AccountKey, Awaited, Books, Decision, EntryKind, Named, Naming, Needs, Posted, Posting, Rules,
    Shift,
};
use worker::Handler;

/// The adjustments worker's rules.
#[derive(Debug, Clone)]
pub struct Adjustments {
    /// How long an adjustment waits for its merchant to be registered.
    pub patience: Duration,
    /// How long a reversal waits for its adjustment.
    pub reversal_patience: Duration,
}

impl Handler for Adjustments {}

impl Rules for Adjustments {
    type Command = AdjustmentCommand;
    const WORKER: &'static str = contract::adjustment::WORKER;

    fn needs(&self, command: &AdjustmentCommand) -> Needs {
        let account =
            |owner| Needs { account: Some(owner), creates: Some(CustomerKind::Customer), ..Needs::default() };
        match command {
            AdjustmentCommand::Credit(credit) => account(owner(credit)),
            AdjustmentCommand::Debit(debit) => account(owner(debit)),
            AdjustmentCommand::Reverse(reverse) => Needs { names: Some(naming(reverse)), ..Needs::default() },
        }
    }

    fn decide(&self, received: &Received<AdjustmentCommand>, books: &mut Books) -> Decision {
        let decision = match &received.command {
            AdjustmentCommand::Credit(credit) => adjust(received, credit, books),
            AdjustmentCommand::Debit(debit) => adjust(received, debit, books),
            AdjustmentCommand::Reverse(command) => reverse(received, command, books),
        };
        decision.unwrap_or_else(Decision::Refused)
    }

    fn refused(&self, received: &Received<AdjustmentCommand>, refusal: &Refusal, books: &Books) -> Refused {
        let (customer, account) = match &received.command {
            AdjustmentCommand::Credit(credit) => {
                (Some(credit.customer.clone()), books.account(&owner(credit)))
            }
            AdjustmentCommand::Debit(debit) => (Some(debit.customer.clone()), books.account(&owner(debit))),
            AdjustmentCommand::Reverse(reverse) => {
                let account = known(reverse, books).map(|(_, _, account)| account);
                (account.map(|account| account.key.customer.clone()), account)
            }
        };
        let event = AdjustmentRefused {
            merchant: received.command.merchant().clone(),
            command: received.command.name(),
            reason: refusal.code,
            message: refusal.message.clone(),
            customer,
            account: account.map(Account::state),
        };
        Refused { account: account.map(|account| account.id), event: books.event(received, &event) }
    }

    fn patience(&self, command: &AdjustmentCommand) -> Duration {
        match command {
            AdjustmentCommand::Reverse(_) => self.reversal_patience,
            AdjustmentCommand::Credit(_) | AdjustmentCommand::Debit(_) => self.patience,
        }
    }
}

fn owner<const SIGN: i8>(adjustment: &Adjustment<SIGN>) -> AccountKey {
    AccountKey {
        merchant: adjustment.merchant.clone(),
        customer: adjustment.customer.clone(),
        currency: adjustment.money.currency(),
    }
}

fn adjust<const SIGN: i8>(
    received: &Received<AdjustmentCommand>,
    adjustment: &Adjustment<SIGN>,
    books: &mut Books,
) -> Result<Decision, Refusal> {
    let owner = owner(adjustment);
    let (Some(merchant), Some(account)) = (books.merchant(&adjustment.merchant), books.account(&owner))
    else {
        return Ok(Decision::NotYet {
            awaited: Awaited::Merchant(adjustment.merchant.clone()),
            otherwise: Refusal::new(ReasonCode::UnknownMerchant, "The merchant is not registered."),
        });
    };
    let id = account.id;
    let amount = adjustment.money.amount();
    let debits = SIGN < 0;
    if debits && let Some(limit) = merchant.preferences.negative_limit.get(&owner.currency) {
        let left = account.available() - amount;
        if left < -*limit {
            let shown = |figure| SignedAmount::new(figure, owner.currency);
            return Err(Refusal::new(
                ReasonCode::BelowLimit,
                format!(
                    "The debit would leave {} {currency}; the shop's limit is {} {currency}.",
                    shown(left),
                    shown(-*limit),
                    currency = owner.currency,
                ),
            ));
        }
    }
    let occurred_at = adjustment.occurred_at.unwrap_or(received.time);
    let signed = if debits { -amount } else { amount };
    let posting = Posting {
        note: Some(adjustment.description.clone()),
        actor: Some(adjustment.actor.clone()),
        user: received.user.clone(),
        reference: adjustment.reference.clone(),
        ..Posting::new(EntryKind::Adjustment, signed, received.hash, occurred_at)
    };
    let (entry, state) = books.post(id, Shift::default(), posting)?;
    books.know_entry(received.hash, entry.id);
    let posted = AdjustmentPosted {
        merchant: adjustment.merchant.clone(),
        customer: adjustment.customer.clone(),
        amount: adjustment.money.into(),
        currency: owner.currency,
        description: adjustment.description.clone(),
        actor: adjustment.actor.clone(),
        user: received.user.clone(),
        reference: adjustment.reference.clone(),
        entry,
        account: state,
    };
    let event = if debits {
        books.event(received, &AdjustmentDebited(posted))
    } else {
        books.event(received, &AdjustmentCredited(posted))
    };
    Ok(done(id, event))
}

fn naming(reverse: &AdjustmentReverse) -> Naming {
    match &reverse.entry {
        Name::Command(reference) => Naming::Entry(reference.within(&reverse.merchant)),
        Name::Id(id) => Naming::EntryId(reverse.merchant.clone(), *id),
    }
}

/// The entry that is named, if it is one of the merchant's own.
fn known<'b>(reverse: &AdjustmentReverse, books: &'b Books) -> Option<(EntryId, Posted, &'b Account)> {
    let id = match &reverse.entry {
        Name::Id(id) => *id,
        Name::Command(reference) => match books.named(reference.within(&reverse.merchant).hash()) {
            Named::Entry(id) => *id,
            _ => return None,
        },
    };
    let account = books.account_by_id(id.account)?;
    let posted = books.posted(id)?;
    (account.key.merchant == reverse.merchant).then_some((id, *posted, account))
}

/// What an entry that is not [`known`] comes to.
fn not_known(reverse: &AdjustmentReverse, books: &Books) -> Result<Decision, Refusal> {
    let unknown = || Refusal::new(ReasonCode::UnknownEntry, "There is no such entry.");
    // Whoever knows an id has it from an event, so that there is nothing to wait for.
    let Name::Command(reference) = &reverse.entry else { return Err(unknown()) };
    let key = reference.within(&reverse.merchant).hash();
    match books.named(key) {
        Named::Refused => {
            Err(Refusal::new(ReasonCode::AdjustmentRefused, "The adjustment was itself refused."))
        }
        Named::Commission(_) | Named::Withdrawal(_) | Named::Entry(_) | Named::Other => Err(no_adjustment()),
        Named::Unknown => Ok(Decision::NotYet { awaited: Awaited::Command(key), otherwise: unknown() }),
    }
}

fn no_adjustment() -> Refusal {
    Refusal::new(
        ReasonCode::NotAnAdjustment,
        "What is named is no adjustment; only one can be taken back so.",
    )
}

fn reverse(
    received: &Received<AdjustmentCommand>,
    reverse: &AdjustmentReverse,
    books: &mut Books,
) -> Result<Decision, Refusal> {
    let Some((id, posted, account)) = known(reverse, books) else { return not_known(reverse, books) };
    let owner = account.key.clone();
    match posted.kind {
        EntryKind::Adjustment => {}
        EntryKind::AdjustmentReversal => {
            return Err(Refusal::new(ReasonCode::NotAnAdjustment, "A reversal cannot be taken back."));
        }
        EntryKind::Commission | EntryKind::CommissionReversal | EntryKind::Withdrawal => {
            return Err(no_adjustment());
        }
    }
    if posted.reversed {
        return Err(Refusal::new(ReasonCode::AlreadyReversed, "The adjustment is taken back already."));
    }
    let posting = Posting {
        note: Some(reverse.reason.clone()),
        actor: Some(reverse.actor.clone()),
        user: received.user.clone(),
        reverses: Some(id.number),
        ..Posting::new(EntryKind::AdjustmentReversal, -posted.amount, received.hash, received.time)
    };
    let (entry, state) = books.post(id.account, Shift::default(), posting)?;
    books.know_entry(received.hash, entry.id);
    let event = AdjustmentReversed {
        merchant: reverse.merchant.clone(),
        customer: owner.customer,
        reversed: id,
        amount: SignedAmount::new(posted.amount, owner.currency),
        currency: owner.currency,
        reason: reverse.reason.clone(),
        actor: reverse.actor.clone(),
        user: received.user.clone(),
        entry,
        account: state,
    };
    Ok(done(id.account, books.event(received, &event)))
}

fn done(account: i64, event: Event) -> Decision {
    Decision::Done { account: Some(account), events: vec![event] }
}
