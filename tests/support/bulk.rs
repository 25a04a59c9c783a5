//! A ledger of any size, written without workers as they would have written it.

use contract::{CommandKey, Currency, CustomerId, MerchantId};
use ledger::{Account, AccountKey, Entry, EntryKind, Posting};
use rust_decimal::Decimal;
use sqlx::PgConnection;

use crate::World;
use crate::message::{MERCHANT, SOURCE};

/// Writes entries and the commands that caused them, many at once.
#[derive(Debug)]
pub struct Bulk {
    database: PgConnection,
    accounts: Vec<Account>,
    commands: usize,
    entries: Vec<Entry>,
    keys: Vec<CommandKey>,
}

/// An account of a [`Bulk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(usize);

impl Bulk {
    /// Entries that are sent to the database at once.
    const CHUNK: usize = 5000;

    /// For one merchant of this world.
    pub async fn new(world: &World) -> Self {
        let database = world.superuser().await;
        Self { database, accounts: Vec::new(), commands: 0, entries: Vec::new(), keys: Vec::new() }
    }

    /// A new account.
    pub async fn account(&mut self, customer: &str, currency: &str) -> Place {
        self.accounts([customer.to_owned()], currency).await[0]
    }

    /// A new account for each of these customers.
    pub async fn accounts(
        &mut self,
        customers: impl IntoIterator<Item = String>,
        currency: &str,
    ) -> Vec<Place> {
        let currency: Currency = currency.parse().unwrap();
        let merchant: MerchantId = MERCHANT.parse().unwrap();
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "WITH known AS (INSERT INTO customer (merchant, id, kind) SELECT $1, unnest($2), 'affiliate'
                            ON CONFLICT DO NOTHING)
             INSERT INTO account (merchant, customer, currency, exponent) SELECT $1, unnest($2), $3, $4
             RETURNING id, customer",
        )
        .bind(merchant.as_str())
        .bind(customers.into_iter().collect::<Vec<_>>())
        .bind(currency.code())
        .bind(i16::try_from(currency.exponent()).unwrap())
        .fetch_all(&mut self.database)
        .await
        .unwrap();
        let first = self.accounts.len();
        self.accounts.extend(rows.into_iter().map(|(id, customer)| {
            let (merchant, customer): (_, CustomerId) = (merchant.clone(), customer.parse().unwrap());
            Account::new(id, AccountKey { merchant, customer, currency })
        }));
        (first..self.accounts.len()).map(Place).collect()
    }

    /// Posts an entry, recorded at this time, which is also when it happened; `change` may add to it.
    pub async fn post(
        &mut self,
        place: Place,
        kind: EntryKind,
        amount: &str,
        time: &str,
        change: impl FnOnce(&mut Posting),
    ) {
        let account = &mut self.accounts[place.0];
        self.commands += 1;
        let key = CommandKey {
            merchant: account.key.merchant.clone(),
            source: SOURCE.parse().unwrap(),
            id: format!("bulk-{}", self.commands).parse().unwrap(),
        };
        let (amount, time) = (amount.parse::<Decimal>().unwrap(), time.parse().unwrap());
        let mut posting = Posting::new(kind, amount, key.hash(), time);
        change(&mut posting);
        let entry = Entry::next(account, posting, time);
        account.balance = entry.balance_after;
        account.entries = entry.id.number;
        account.head = Some(entry.hash);
        account.version += 1;
        self.entries.push(entry);
        self.keys.push(key);
        if self.entries.len() >= Self::CHUNK {
            self.flush().await;
        }
    }

    /// Sends what has not been sent.
    async fn flush(&mut self) {
        let (entries, keys) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.keys));
        let column = |value: fn(&Entry) -> Option<String>| entries.iter().map(value).collect::<Vec<_>>();
        let bytes = |value: fn(&Entry) -> Vec<u8>| entries.iter().map(value).collect::<Vec<_>>();
        let numbers = |value: fn(&Entry) -> i64| entries.iter().map(value).collect::<Vec<_>>();
        let amounts = |value: fn(&Entry) -> Decimal| entries.iter().map(value).collect::<Vec<_>>();
        sqlx::query(
            "INSERT INTO entry (account_id, number, kind, counterpart, amount, balance_after, command, hash,
                                order_number, note, actor, user_id, reference, reverses, occurred_at, recorded_at)
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::numeric[], $6::numeric[],
                                  $7::bytea[], $8::bytea[], $9::text[], $10::text[], $11::text[], $12::text[],
                                  $13::text[], $14::bigint[], $15::timestamptz[], $16::timestamptz[])",
        )
        .bind(numbers(|entry| entry.id.account))
        .bind(numbers(|entry| entry.id.number))
        .bind(column(|entry| Some(entry.posting.kind.as_str().to_owned())))
        .bind(column(|entry| Some(entry.posting.kind.counterpart().to_owned())))
        .bind(amounts(|entry| entry.posting.amount))
        .bind(amounts(|entry| entry.balance_after))
        .bind(bytes(|entry| entry.posting.command.0.to_vec()))
        .bind(bytes(|entry| entry.hash.to_vec()))
        .bind(column(|entry| entry.posting.order.as_ref().map(ToString::to_string)))
        .bind(column(|entry| entry.posting.note.as_ref().map(ToString::to_string)))
        .bind(column(|entry| entry.posting.actor.as_ref().map(ToString::to_string)))
        .bind(column(|entry| entry.posting.user.as_ref().map(ToString::to_string)))
        .bind(column(|entry| entry.posting.reference.as_ref().map(ToString::to_string)))
        .bind(entries.iter().map(|entry| entry.posting.reverses).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.posting.occurred_at.get()).collect::<Vec<_>>())
        .bind(entries.iter().map(|entry| entry.recorded_at.get()).collect::<Vec<_>>())
        .execute(&mut self.database)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO inbox (key, account_id, entry_number, version, id,
                                batch_id, position, merchant, source, type, content, outcome)
             SELECT c.*, 1, 0, $6, $7, 'commission.credit.v1', decode(repeat('00', 32), 'hex'), ''
             FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[]) c",
        )
        .bind(bytes(|entry| entry.posting.command.0.to_vec()))
        .bind(numbers(|entry| entry.id.account))
        .bind(numbers(|entry| entry.id.number))
        .bind(numbers(|entry| entry.id.number))
        .bind(keys.iter().map(|key| key.id.to_string()).collect::<Vec<_>>())
        .bind(MERCHANT)
        .bind(SOURCE)
        .execute(&mut self.database)
        .await
        .unwrap();
    }

    /// Sends everything, and what it makes of the accounts. More can be posted afterwards.
    pub async fn finish(&mut self) {
        self.flush().await;
        let accounts = &self.accounts;
        sqlx::query(
            "UPDATE account a SET balance = n.balance, version = n.version, entries = n.entries, head = n.head
             FROM unnest($1::bigint[], $2::numeric[], $3::bigint[], $4::bigint[], $5::bytea[])
                 AS n (id, balance, version, entries, head)
             WHERE a.id = n.id",
        )
        .bind(accounts.iter().map(|account| account.id).collect::<Vec<_>>())
        .bind(accounts.iter().map(|account| account.balance).collect::<Vec<_>>())
        .bind(accounts.iter().map(|account| account.version).collect::<Vec<_>>())
        .bind(accounts.iter().map(|account| account.entries).collect::<Vec<_>>())
        .bind(accounts.iter().map(|account| account.head.map(|head| head.to_vec())).collect::<Vec<_>>())
        .execute(&mut self.database)
        .await
        .unwrap();
    }
}
