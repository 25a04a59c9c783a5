//! No order of any commands breaks an invariant. The pure path from commands to books is driven with random
//! sequences, in random batches: repeated, conflicting, early, late and impossible ones included. A map stands
//! where the tables are; nothing else differs from what the store does.
#![expect(clippy::unwrap_used, reason = "tests fail loudly")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use commissions::Commissions;
use contract::commission::{CommissionCommand, CommissionMature};
use contract::{Commands as _, KeyHash, Preferences, Received, Timestamp};
use ledger::decide::{Deciding, ItemOrigin, Stored, Verdict, decide};
use ledger::entry::{Hashed, genesis};
use ledger::{
    Account, AccountKey, Awaited, Books, Commission, CommissionState, Entry, Item, Merchant, Named, Naming,
    Rules as _,
};
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::json;

const RULES: Commissions =
    Commissions { patience: Duration::from_hours(1), reversal_patience: Duration::from_hours(24) };

type Command = Arc<Item<CommissionCommand>>;

/// What the tables hold.
#[derive(Default)]
struct Tables {
    registered: bool,
    hold_days: u16,
    accounts: BTreeMap<AccountKey, Account>,
    entries: Vec<Entry>,
    commissions: HashMap<KeyHash, Commission>,
    inbox: HashMap<KeyHash, (Stored, &'static str)>,
    waiting: Vec<(Awaited, Command)>,
    told: HashMap<String, std::sync::Arc<str>>,
    seconds: i64,
}

impl Tables {
    fn now(&self) -> Timestamp {
        time::OffsetDateTime::from_unix_timestamp(1_800_000_000 + self.seconds).unwrap().into()
    }

    fn account(&mut self, key: &AccountKey) {
        let id = i64::try_from(self.accounts.len()).unwrap() + 1;
        self.accounts.entry(key.clone()).or_insert_with(|| Account::new(id, key.clone()));
    }

    /// One transaction, as the store makes it.
    fn carry_out(&mut self, items: &[Command]) -> Vec<Verdict> {
        let mut books = Books::new("commissions", self.now());
        if self.registered {
            books.load_merchant(Merchant {
                id: "acme".parse().unwrap(),
                name: "Acme".parse().unwrap(),
                hold_days: self.hold_days,
                preferences: Preferences::default(),
                put_at: None,
            });
        }
        for needs in items.iter().map(|item| RULES.needs(&item.received.command)) {
            if let Some(key) = needs.account.filter(|_| self.registered) {
                self.account(&key);
            }
            let Some(Naming::Commission(key)) = needs.names else { continue };
            let name = key.hash();
            if let Some(commission) = self.commissions.get(&name) {
                books.load_named(name, Named::Commission(commission.clone()));
            } else if let Some((Stored { outcome: Some(_), .. }, message_type)) = self.inbox.get(&name) {
                books.note_decided(name, message_type);
            }
        }
        self.accounts.values().cloned().for_each(|account| books.load_account(account));
        let stored: HashMap<_, _> =
            self.inbox.iter().map(|(key, (stored, _))| (*key, stored.clone())).collect();
        let keys: HashSet<_> = items.iter().map(|item| item.received.hash).collect();
        let undecided = |key: &KeyHash| stored.get(key).is_none_or(|stored| stored.outcome.is_none());
        let (taken, rest): (Vec<_>, Vec<_>) =
            self.waiting.drain(..).partition(|(awaited, item)| match awaited {
                _ if items.iter().any(|scanned| Arc::ptr_eq(scanned, item)) => true,
                Awaited::Command(key) => keys.contains(key) && undecided(key),
                Awaited::Merchant(_) | Awaited::Customer(..) => false,
            });
        self.waiting = rest;
        let waiters: Vec<_> = taken
            .into_iter()
            .filter(|(_, item)| !items.iter().any(|scanned| Arc::ptr_eq(scanned, item)))
            .collect();
        let whole = decide(&RULES, books.clone(), items, &stored, waiters.clone());
        let mut deciding = Deciding::new(&RULES, books, &stored, waiters);
        let hashes =
            |books: &Books| books.changes().entries.iter().map(|entry| entry.hash).collect::<Vec<_>>();
        for part in items.chunks(2) {
            let before = hashes(deciding.books());
            deciding.decide(part);
            assert!(hashes(deciding.books()).starts_with(&before), "what was posted stays");
        }
        let plan = deciding.end();
        assert_eq!(
            (&whole.verdicts, &whole.events, hashes(&whole.books)),
            (&plan.verdicts, &plan.events, hashes(&plan.books)),
            "part by part or all at once: the same"
        );
        for record in plan.records {
            let key = record.item.received.hash;
            let content = record.item.received.content;
            if let Some(awaits) = record.awaits {
                let origin = match record.item.origin {
                    parked @ ItemOrigin::Parked { .. } => parked,
                    _ => ItemOrigin::Parked {
                        since: self.now(),
                        deadline: self
                            .now()
                            .plus(RULES.patience(&record.item.received.command).try_into().unwrap()),
                    },
                };
                self.waiting.push((awaits, Arc::new(Item { origin, ..Item::clone(&record.item) })));
            }
            let stored =
                Stored { content, same_key: true, outcome: record.outcome.as_deref().map(str::to_owned) };
            let before = self.inbox.insert(key, (stored, record.item.received.command.message_type()));
            assert_eq!(
                before.is_some(),
                record.was_parked,
                "a key is recorded once, or parked and then decided"
            );
            assert!(before.is_none_or(|(before, _)| before.outcome.is_none()), "an outcome is written once");
            if let Named::Commission(commission) = plan.books.named(key) {
                self.commissions.insert(key, commission.clone());
            }
        }
        for (key, commission) in &plan.books.changes().commissions {
            self.commissions.insert(*key, commission.clone());
        }
        for id in &plan.books.changes().accounts {
            let account = plan.books.account_by_id(*id).unwrap();
            self.accounts.insert(account.key.clone(), account.clone());
        }
        self.entries.extend(plan.books.changes().entries.iter().cloned());
        for event in plan.events {
            let first = self.told.entry(event.id).or_insert_with(|| event.body.clone());
            assert_eq!(*first, event.body, "one content per event id");
        }
        plan.verdicts
    }

    /// What the scans do.
    fn scan(&mut self) {
        let due: Vec<Command> = self
            .waiting
            .iter()
            .filter(|(awaited, item)| match (awaited, item.origin) {
                (_, ItemOrigin::Parked { deadline, .. }) if deadline <= self.now() => true,
                (Awaited::Merchant(_) | Awaited::Customer(..), _) => self.registered,
                (Awaited::Command(key), _) => {
                    self.inbox.get(key).is_some_and(|(stored, _)| stored.outcome.is_some())
                }
            })
            .map(|(_, item)| Arc::clone(item))
            .collect();
        self.carry_out(&due);
        let ripe = self.commissions.values().filter(
            |c| matches!(c.state, CommissionState::Pending { available_at } if available_at <= self.now()),
        );
        let ripe: Vec<Command> = ripe
            .map(|commission| {
                let mature = CommissionMature {
                    merchant: commission.key.merchant.clone(),
                    commission: commission.key.reference(),
                };
                let (source, id) = ("/saldo/commissions/maturity", commission.key.hash().to_string());
                let command = CommissionCommand::Mature(mature);
                let received =
                    Received::new(source.parse().unwrap(), id.parse().unwrap(), self.now(), None, command);
                Arc::new(Item { received, body: Arc::from([]), origin: ItemOrigin::Due })
            })
            .collect();
        self.carry_out(&ripe);
    }

    /// What must hold after every transaction.
    fn check(&self) {
        for (key, account) in &self.accounts {
            let mut head = genesis(key);
            let mut balance = Decimal::ZERO;
            let mut number = 0;
            for entry in self.entries.iter().filter(|entry| entry.id.account == account.id) {
                number += 1;
                balance += entry.posting.amount;
                assert_eq!(entry.id.number, number, "entries are numbered without gaps");
                assert_eq!(entry.balance_after, balance, "running balances are right");
                head = rehash(head, key, entry);
                assert_eq!(entry.hash, head, "the chain holds");
            }
            assert_eq!(account.balance, balance, "a balance is the sum of its entries");
            assert_eq!(account.entries, number);
            assert_eq!(account.head.unwrap_or_else(|| genesis(key)), head);
            assert!(account.held.is_zero());
            let own = || self.commissions.values().filter(|c| c.account == account.id);
            let pending: Decimal = own().filter(|c| is_pending(c)).map(Commission::remaining).sum();
            assert_eq!(account.pending, pending, "pending is what pending commissions have left");
            let all: Decimal = own().map(Commission::remaining).sum();
            assert_eq!(account.balance + account.pending, all, "money is conserved");
        }
        for commission in self.commissions.values() {
            assert!(commission.reversed >= Decimal::ZERO && commission.reversed <= commission.amount);
            assert!(!is_pending(commission) || !commission.remaining().is_zero());
        }
        for (_, item) in &self.waiting {
            let stored = self.inbox.get(&item.received.hash);
            assert!(stored.is_some_and(|(stored, _)| stored.outcome.is_none()), "who waits is in the inbox");
        }
    }
}

fn is_pending(commission: &Commission) -> bool {
    matches!(commission.state, CommissionState::Pending { .. })
}

fn rehash(previous: [u8; 32], key: &AccountKey, entry: &Entry) -> [u8; 32] {
    let posting = &entry.posting;
    Hashed {
        previous,
        number: entry.id.number,
        kind: posting.kind.as_str(),
        counterpart: posting.kind.counterpart(),
        amount: contract::SignedAmount::new(posting.amount, key.currency),
        balance_after: contract::SignedAmount::new(entry.balance_after, key.currency),
        command: posting.command,
        order: posting.order.as_ref().map_or("", |order| order.as_str()),
        level: posting.level.map_or(0, contract::Level::get),
        note: posting.note.as_ref().map_or("", |note| note.as_str()),
        actor: "",
        user: "",
        reference: "",
        reverses: 0,
        occurred_at: posting.occurred_at,
        recorded_at: entry.recorded_at,
    }
    .hash()
}

/// One step of a run.
#[derive(Debug, Clone)]
enum Step {
    Batch(Vec<(u8, Body)>),
    Register(u16),
    Wait(i64),
    Scan,
}

#[derive(Debug, Clone)]
enum Body {
    Credit { customer: u8, cents: u64, currency: u8, hold: Option<i64> },
    Reverse { commission: u8, cents: Option<u64>, currency: u8 },
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        3 => (0..3_u8, 1..2_000_u64, 0..4_u8, proptest::option::of(0..200_000_i64)).prop_map(
            |(customer, cents, currency, hold)| Body::Credit { customer, cents, currency, hold }
        ),
        // The largest amount there is, now and then.
        1 => (0..3_u8).prop_map(|customer| Body::Credit {
            customer, cents: 99_999_999_999_999, currency: 0, hold: None
        }),
        3 => (0..20_u8, proptest::option::of(1..1_500_u64), 0..4_u8)
            .prop_map(|(commission, cents, currency)| Body::Reverse { commission, cents, currency }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        // Twenty ids: repeats, conflicts and early reversals are frequent.
        6 => proptest::collection::vec((0..20_u8, body()), 1..8).prop_map(Step::Batch),
        1 => (0..2_u16).prop_map(Step::Register),
        1 => (1..100_000_i64).prop_map(Step::Wait),
        2 => Just(Step::Scan),
    ]
}

fn command(id: u8, body: &Body) -> Command {
    // Mostly euros, so that currencies differ now and then.
    let currency = |n: u8| if n == 0 { "USD" } else { "EUR" };
    let amount = |cents: u64| format!("{}.{:02}", cents / 100, cents % 100);
    let (message_type, data) = match body {
        Body::Credit { customer, cents, currency: n, hold } => {
            let mut data = json!({
                "merchant": "acme", "customer": format!("c-{customer}"), "amount": amount(*cents),
                "currency": currency(*n),
            });
            if let Some(hold) = hold {
                let at = time::OffsetDateTime::from_unix_timestamp(1_800_000_000 + hold).unwrap();
                data["available_at"] = json!(Timestamp::from(at));
            }
            ("commission.credit.v1", data)
        }
        Body::Reverse { commission, cents, currency: n } => {
            let reference = json!({ "source": "/affiliates", "id": format!("m-{commission}") });
            let mut data = json!({ "merchant": "acme", "commission": reference });
            if let Some(cents) = cents {
                data["amount"] = json!(amount(*cents));
                data["currency"] = json!(currency(*n));
            }
            ("commission.reverse.v1", data)
        }
    };
    let message = json!({
        "specversion": "1.0", "id": format!("m-{id}"), "source": "/affiliates", "type": message_type,
        "time": "2026-11-22T10:00:00Z", "data": data,
    });
    let body: Arc<[u8]> = message.to_string().into_bytes().into();
    let received = Received::read(&body).unwrap();
    Arc::new(Item { received, body, origin: ItemOrigin::Delivered })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_any_commands_breaks_an_invariant(steps in proptest::collection::vec(step(), 1..40)) {
        let mut tables = Tables::default();
        let mut first_content = HashMap::new();
        for step in steps {
            match step {
                Step::Register(hold_days) => {
                    tables.registered = true;
                    tables.hold_days = hold_days;
                }
                Step::Wait(seconds) => tables.seconds += seconds,
                Step::Scan => tables.scan(),
                Step::Batch(batch) => {
                    let items: Vec<_> = batch.iter().map(|(id, body)| command(*id, body)).collect();
                    let verdicts = tables.carry_out(&items);
                    prop_assert_eq!(verdicts.len(), items.len());
                    for (item, verdict) in items.iter().zip(verdicts) {
                        let received = &item.received;
                        let first = *first_content.entry(received.hash).or_insert(received.content);
                        prop_assert_eq!(
                            matches!(verdict, Verdict::Dead(_)), first != received.content,
                            "a key keeps its first content, and only other contents are dead"
                        );
                    }
                }
            }
            tables.check();
        }
        // Registered, and with all patience and every hold period over, nothing waits any longer.
        tables.registered = true;
        for _ in 0..3 {
            tables.seconds += 400 * 86_400;
            tables.scan();
            tables.check();
        }
        prop_assert!(tables.waiting.is_empty(), "{} still wait", tables.waiting.len());
        prop_assert!(tables.inbox.values().all(|(stored, _)| stored.outcome.is_some()));
        prop_assert!(tables.accounts.values().all(|account| account.pending.is_zero()));
    }
}
