//! The withdrawals worker: affiliates request payouts, the shop approves, pays or rejects them, the customer may
//! cancel while they are open.
//!
//! | command | refused when | otherwise |
//! |---|---|---|
//! | `withdrawal.request` | withdrawals are disabled, the customer is no affiliate or has no payout method, the minimum is not met, or more is asked for than is available | the amount is held; below the shop's limit for it, approved at once |
//! | `withdrawal.approve` | it is not `requested`; refunds have taken the balance below what is held | `approved` |
//! | `withdrawal.pay` | it is not open; refunds have taken the balance below what is held | `paid`: the balance is debited and the hold released in one posting |
//! | `withdrawal.reject` | it is not open | `rejected`: the hold is released |
//! | `withdrawal.cancel` | it is not open, or is another customer's | `cancelled`: the hold is released |
//!
//! Everything is decided under the account's lock, and what is held was available when it was requested: requests
//! can never exceed the balance together, and nothing is paid twice. What a refund leaves uncovered stays open,
//! until later commissions cover it or somebody ends it.
//!
//! A decision may come before its request, and a request before its merchant is registered: they wait.

use std::time::Duration;

use contract::withdrawal::{
    MaskedPayout, WithdrawalApproved, WithdrawalCancelled, WithdrawalCommand, WithdrawalFacts,
    WithdrawalPaid, WithdrawalRefused, WithdrawalRejected, WithdrawalRequest, WithdrawalRequested,
};
use contract::{
    AccountState, Actor, Commands, CustomerKind, KeyHash, MerchantId, Money, Name, Note, PostedEntry,
    ReasonCode, Received, ReferenceText, Refusal, SignedAmount, WithdrawalId, WithdrawalState,
};
use ledger::rules::Refused;
use ledger::{
    Account, AccountKey, Awaited, Books, CustomerKey, Decision, Failure, Merchant, Named, Naming, Needs,
    PayoutSnapshot, Posting, Rules, Shift, Step, Store, Transition, Withdrawal, minimum, read,
};
use rust_decimal::Decimal;
use worker::Handler;
use worker::metrics::{HELD, Reading};

/// The withdrawals worker's rules.
#[derive(Debug, Clone)]
pub struct Withdrawals {
    /// How long a command waits for its merchant to be registered, or for the request that it names.
    pub patience: Duration,
}

impl Handler for Withdrawals {
    /// What open withdrawals hold, by currency.
    async fn readings(store: &mut Store) -> Result<Vec<Reading>, Failure> {
        let held = read::held(store.connection()).await?;
        Ok(held.iter().map(|held| Reading::amount(HELD, held)).collect())
    }
}

impl Rules for Withdrawals {
    type Command = WithdrawalCommand;
    const WORKER: &'static str = contract::withdrawal::WORKER;

    fn needs(&self, command: &WithdrawalCommand) -> Needs {
        match command {
            WithdrawalCommand::Request(request) => {
                let owner = owner(request);
                let customer =
                    CustomerKey { merchant: owner.merchant.clone(), customer: owner.customer.clone() };
                Needs { account: Some(owner), customer: Some(customer), ..Needs::default() }
            }
            WithdrawalCommand::Approve(approve) => named(&approve.merchant, &approve.withdrawal),
            WithdrawalCommand::Pay(pay) => named(&pay.merchant, &pay.withdrawal),
            WithdrawalCommand::Reject(reject) => named(&reject.merchant, &reject.withdrawal),
            WithdrawalCommand::Cancel(cancel) => named(&cancel.merchant, &cancel.withdrawal),
        }
    }

    fn decide(&self, received: &Received<WithdrawalCommand>, books: &mut Books) -> Decision {
        let decision = match &received.command {
            WithdrawalCommand::Request(command) => request(received, command, books),
            command => step(received, command, books),
        };
        decision.unwrap_or_else(Decision::Refused)
    }

    fn refused(&self, received: &Received<WithdrawalCommand>, refusal: &Refusal, books: &Books) -> Refused {
        let (customer, withdrawal, account) = match &received.command {
            WithdrawalCommand::Request(request) => {
                (Some(request.customer.clone()), None, books.account(&owner(request)))
            }
            command => {
                let known = find(command, books).ok();
                let account = known.and_then(|withdrawal| books.account_by_id(withdrawal.account));
                let customer = known.map(|withdrawal| withdrawal.owner.customer.clone());
                (customer, known.map(Withdrawal::id), account)
            }
        };
        let event = WithdrawalRefused {
            merchant: received.command.merchant().clone(),
            command: received.command.name(),
            reason: refusal.code,
            message: refusal.message.clone(),
            customer,
            withdrawal,
            account: account.map(Account::state),
        };
        Refused { account: account.map(|account| account.id), event: books.event(received, &event) }
    }

    fn patience(&self, _: &WithdrawalCommand) -> Duration {
        self.patience
    }
}

fn owner(request: &WithdrawalRequest) -> AccountKey {
    AccountKey {
        merchant: request.merchant.clone(),
        customer: request.customer.clone(),
        currency: request.currency,
    }
}

fn named(merchant: &MerchantId, name: &Name<WithdrawalId>) -> Needs {
    let naming = match name {
        Name::Command(reference) => Naming::Withdrawal(reference.within(merchant)),
        Name::Id(id) => Naming::WithdrawalId(merchant.clone(), *id),
    };
    Needs { names: Some(naming), ..Needs::default() }
}

// ---- the request --------------------------------------------------------------------------------------------------

fn request(
    received: &Received<WithdrawalCommand>,
    request: &WithdrawalRequest,
    books: &mut Books,
) -> Result<Decision, Refusal> {
    let Some(merchant) = books.merchant(&request.merchant).cloned() else {
        return Ok(Decision::NotYet {
            awaited: Awaited::Merchant(request.merchant.clone()),
            otherwise: Refusal::new(ReasonCode::UnknownMerchant, "The merchant is not registered."),
        });
    };
    let (account, amount, payout) = allowed(request, &merchant, books)?;
    let state = books.shift(account, Shift { held: amount, ..Shift::default() })?;
    let mut withdrawal = Withdrawal {
        request: received.key.clone(),
        account,
        owner: owner(request),
        amount,
        state: WithdrawalState::Requested,
        payout,
        transitions: 0,
        payment: None,
        requested_at: books.now(),
    };
    let by = By { reason: request.note.clone(), ..By::default() };
    enter(&mut withdrawal, WithdrawalState::Requested, &by, received, books);
    let minimum = minimum::minimum(&merchant.preferences, request.currency);
    let requested = WithdrawalRequested {
        facts: facts(&withdrawal),
        minimum: (!minimum.is_zero()).then(|| SignedAmount::new(minimum, request.currency)),
        note: request.note.clone(),
        account: state,
    };
    let mut events = vec![books.event(received, &requested)];
    let small = merchant.preferences.withdrawals.auto_approve_below.get(&request.currency);
    if small.is_some_and(|small| amount < *small) {
        let account = books.shift(account, Shift::default())?;
        enter(&mut withdrawal, WithdrawalState::Approved, &By::default(), received, books);
        let facts = facts(&withdrawal);
        let approved = WithdrawalApproved { facts, actor: None, user: None, note: None, account };
        events.push(books.event(received, &approved));
    }
    Ok(Decision::Done { account: Some(account), events })
}

/// The account, how much of it is to be held, and how it is to be paid.
///
/// # Errors
/// Why not.
fn allowed(
    request: &WithdrawalRequest,
    merchant: &Merchant,
    books: &Books,
) -> Result<(i64, Decimal, PayoutSnapshot), Refusal> {
    let preferences = &merchant.preferences;
    let refused = |code, message: &str| Err(Refusal::new(code, message));
    if !preferences.withdrawals.enabled {
        return refused(ReasonCode::WithdrawalsDisabled, "The shop takes no requests for payouts.");
    }
    let key = CustomerKey { merchant: request.merchant.clone(), customer: request.customer.clone() };
    let Some(customer) = books.customer(&key) else {
        return refused(ReasonCode::UnknownCustomer, "There is no such customer.");
    };
    if customer.kind != CustomerKind::Affiliate {
        return refused(ReasonCode::NotAnAffiliate, "Only affiliates can request payouts.");
    }
    let Some(payout) = &customer.payout else {
        return refused(ReasonCode::NoPayoutMethod, "The customer has not said how to be paid.");
    };
    let account = books.account(&owner(request));
    let available = account.map_or(Decimal::ZERO, Account::available);
    let amount = request.money.map_or(available, Money::amount);
    let currency = request.currency;
    let shown = |figure| SignedAmount::new(figure, currency);
    if !minimum::is_met(preferences, currency, available, amount) {
        let message = if minimum::is_reached(preferences, currency, available) {
            let minimum = minimum::minimum(preferences, currency);
            format!("{} {currency} is less than the minimum of {} {currency}.", shown(amount), shown(minimum))
        } else {
            minimum::message(preferences, customer.locale.as_ref(), currency, available, false)
        };
        return Err(Refusal::new(ReasonCode::BelowMinimum, message));
    }
    match account {
        Some(account) if Decimal::ZERO < amount && amount <= available => {
            Ok((account.id, amount, payout.snapshot.clone()))
        }
        _ if request.money.is_none() => refused(ReasonCode::InsufficientFunds, "Nothing is available."),
        _ => Err(Refusal::new(
            ReasonCode::InsufficientFunds,
            format!(
                "{} {currency} is more than the {} {currency} that is available.",
                shown(amount),
                shown(available)
            ),
        )),
    }
}

// ---- the steps ----------------------------------------------------------------------------------------------------

/// Who takes a step, and what they say about it.
#[derive(Debug, Clone, Default)]
struct By {
    actor: Option<Actor>,
    reason: Option<Note>,
    payment_reference: Option<ReferenceText>,
}

/// The withdrawal that a command names.
///
/// # Errors
/// The stored key of the command that it waits for, where nothing is known of that; or why it is refused. What is
/// another merchant's, or for a customer's own command another customer's, is unknown.
fn find<'b>(command: &WithdrawalCommand, books: &'b Books) -> Result<&'b Withdrawal, Missing> {
    let (name, customer) = match command {
        WithdrawalCommand::Approve(approve) => (&approve.withdrawal, None),
        WithdrawalCommand::Pay(pay) => (&pay.withdrawal, None),
        WithdrawalCommand::Reject(reject) => (&reject.withdrawal, None),
        WithdrawalCommand::Cancel(cancel) => (&cancel.withdrawal, Some(&cancel.customer)),
        WithdrawalCommand::Request(_) => return Err(Missing::For(unknown())),
    };
    let merchant = command.merchant();
    let key = match name {
        Name::Command(reference) => reference.within(merchant).hash(),
        Name::Id(id) => id.0,
    };
    let found = match (books.named(key), name) {
        (Named::Withdrawal(withdrawal), _) => withdrawal,
        // Whoever knows an id has it from an event, so that there is nothing to wait for.
        (_, Name::Id(_)) => return Err(Missing::For(unknown())),
        (Named::Unknown, Name::Command(_)) => return Err(Missing::Yet(key)),
        (Named::Refused, Name::Command(_)) => {
            let refusal = Refusal::new(ReasonCode::WithdrawalRefused, "The withdrawal was itself refused.");
            return Err(Missing::For(refusal));
        }
        (Named::Commission(_) | Named::Entry(_) | Named::Other, Name::Command(_)) => {
            let refusal = Refusal::new(
                ReasonCode::NotAWithdrawal,
                "The command that is named requested no withdrawal.",
            );
            return Err(Missing::For(refusal));
        }
    };
    let owner = &found.owner;
    if owner.merchant == *merchant && customer.is_none_or(|customer| owner.customer == *customer) {
        Ok(found)
    } else {
        Err(Missing::For(unknown()))
    }
}

/// Why there is no withdrawal to take a step with.
enum Missing {
    /// Nothing is known of the command under this key.
    Yet(KeyHash),
    /// And there is nothing to wait for.
    For(Refusal),
}

fn unknown() -> Refusal {
    Refusal::new(ReasonCode::UnknownWithdrawal, "There is no such withdrawal.")
}

fn step(
    received: &Received<WithdrawalCommand>,
    command: &WithdrawalCommand,
    books: &mut Books,
) -> Result<Decision, Refusal> {
    let mut withdrawal = match find(command, books) {
        Ok(withdrawal) => withdrawal.clone(),
        Err(Missing::For(refusal)) => return Err(refusal),
        Err(Missing::Yet(key)) => {
            return Ok(Decision::NotYet { awaited: Awaited::Command(key), otherwise: unknown() });
        }
    };
    let event = match command {
        WithdrawalCommand::Request(_) => return Err(unknown()),
        WithdrawalCommand::Approve(approve) => {
            let next = covered(&withdrawal, Step::Approve, books)?;
            let account = books.shift(withdrawal.account, Shift::default())?;
            let (actor, note) = (Some(approve.actor.clone()), approve.note.clone());
            let by = By { actor: actor.clone(), reason: note.clone(), payment_reference: None };
            enter(&mut withdrawal, next, &by, received, books);
            let (facts, user) = (facts(&withdrawal), received.user.clone());
            books.event(received, &WithdrawalApproved { facts, actor, user, note, account })
        }
        WithdrawalCommand::Pay(pay) => {
            let next = covered(&withdrawal, Step::Pay, books)?;
            let by = By {
                actor: Some(pay.actor.clone()),
                reason: pay.note.clone(),
                payment_reference: pay.payment_reference.clone(),
            };
            let (entry, account) = post_payment(&withdrawal, &by, received, books)?;
            withdrawal.payment = Some(entry.id.number);
            enter(&mut withdrawal, next, &by, received, books);
            let paid = WithdrawalPaid {
                facts: facts(&withdrawal),
                actor: pay.actor.clone(),
                user: received.user.clone(),
                payment_reference: pay.payment_reference.clone(),
                note: pay.note.clone(),
                entry,
                account,
            };
            books.event(received, &paid)
        }
        WithdrawalCommand::Reject(reject) => {
            let next = possible(&withdrawal, Step::Reject)?;
            let account = release(&withdrawal, books)?;
            let (actor, reason) = (reject.actor.clone(), reject.reason.clone());
            let by = By { actor: Some(actor.clone()), reason: Some(reason.clone()), payment_reference: None };
            enter(&mut withdrawal, next, &by, received, books);
            let (facts, user) = (facts(&withdrawal), received.user.clone());
            books.event(received, &WithdrawalRejected { facts, actor, user, reason, account })
        }
        WithdrawalCommand::Cancel(cancel) => {
            let next = possible(&withdrawal, Step::Cancel)?;
            let account = release(&withdrawal, books)?;
            let reason = cancel.reason.clone();
            enter(&mut withdrawal, next, &By { reason: reason.clone(), ..By::default() }, received, books);
            books.event(received, &WithdrawalCancelled { facts: facts(&withdrawal), reason, account })
        }
    };
    Ok(Decision::Done { account: Some(withdrawal.account), events: vec![event] })
}

/// The state that a step leads to.
///
/// # Errors
/// It leads nowhere.
fn possible(withdrawal: &Withdrawal, step: Step) -> Result<WithdrawalState, Refusal> {
    step.from(withdrawal.state).ok_or_else(|| {
        Refusal::new(
            ReasonCode::InvalidTransition,
            format!("The withdrawal is {} already.", withdrawal.state),
        )
    })
}

/// The state that a step leads to which promises or moves money.
///
/// # Errors
/// It leads nowhere; or refunds have taken the balance below what is held.
fn covered(withdrawal: &Withdrawal, step: Step, books: &Books) -> Result<WithdrawalState, Refusal> {
    let next = possible(withdrawal, step)?;
    match books.account_by_id(withdrawal.account) {
        Some(account) if account.available() < Decimal::ZERO => {
            let shown = |figure| SignedAmount::new(figure, account.key.currency);
            Err(Refusal::new(
                ReasonCode::InsufficientFunds,
                format!(
                    "The balance is {} {currency}; {} {currency} of it is held.",
                    shown(account.balance),
                    shown(account.held),
                    currency = account.key.currency,
                ),
            ))
        }
        _ => Ok(next),
    }
}

/// Debits the balance and releases the hold.
fn post_payment(
    withdrawal: &Withdrawal,
    by: &By,
    received: &Received<WithdrawalCommand>,
    books: &mut Books,
) -> Result<(PostedEntry, AccountState), Refusal> {
    let By { actor, reason, payment_reference } = by.clone();
    let posting = Posting {
        note: reason,
        actor,
        user: received.user.clone(),
        reference: payment_reference,
        ..withdrawal.posting(received.hash, received.time)
    };
    books.post(withdrawal.account, Shift { held: -withdrawal.amount, ..Shift::default() }, posting)
}

fn release(withdrawal: &Withdrawal, books: &mut Books) -> Result<AccountState, Refusal> {
    books.shift(withdrawal.account, Shift { held: -withdrawal.amount, ..Shift::default() })
}

/// Writes down that the withdrawal is in this state now.
fn enter(
    withdrawal: &mut Withdrawal,
    state: WithdrawalState,
    by: &By,
    received: &Received<WithdrawalCommand>,
    books: &mut Books,
) {
    withdrawal.state = state;
    withdrawal.transitions += 1;
    let By { actor, reason, payment_reference } = by.clone();
    let transition = Transition {
        withdrawal: withdrawal.request.hash(),
        number: withdrawal.transitions,
        state,
        actor,
        user: received.user.clone(),
        reason,
        payment_reference,
        command: received.hash,
        occurred_at: received.time,
        recorded_at: books.now(),
    };
    books.put_withdrawal(withdrawal.clone(), transition);
}

fn facts(withdrawal: &Withdrawal) -> WithdrawalFacts {
    let Withdrawal { owner, payout, .. } = withdrawal;
    WithdrawalFacts {
        merchant: owner.merchant.clone(),
        customer: owner.customer.clone(),
        withdrawal: withdrawal.id(),
        request: withdrawal.request.reference(),
        amount: withdrawal.shown(),
        currency: owner.currency,
        state: withdrawal.state,
        payout: MaskedPayout { kind: payout.kind, masked: payout.masked.clone(), version: payout.version },
    }
}
