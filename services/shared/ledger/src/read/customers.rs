//! A merchant's customers, with what they have.

use std::collections::HashMap;

use contract::withdrawal::MaskedPayout;
use contract::{
    AccountState, Currency, CustomerId, CustomerKind, Email, Locale, MerchantId, PersonName, Timestamp,
};
use rust_decimal::Decimal;
use serde::Serialize;
use sqlx::{Connection, PgConnection};

use super::accounts::AccountRow;
use super::{Result, optional, parsed};
use crate::Account;

/// A customer as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct Customer {
    /// The merchant's id of it.
    pub customer: CustomerId,
    /// Affiliates may withdraw.
    pub kind: CustomerKind,
    /// What people call it.
    pub name: Option<PersonName>,
    /// Where it gets mail.
    pub email: Option<Email>,
    /// In which language it is written to.
    pub locale: Option<Locale>,
    /// How it is paid now.
    pub payout: Option<MaskedPayout>,
    /// What it has, by currency.
    pub accounts: Vec<AccountState>,
    /// When the newest of its entries was recorded.
    pub last_operation: Option<Timestamp>,
}

/// How customers are ordered; those that are alike by their id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CustomerSort {
    /// By id.
    #[default]
    Id,
    /// By name; those without one last.
    Name,
    /// By balance in one currency, the largest first.
    Balance(Currency),
    /// By their newest entry's time, the newest first; those without one last.
    LastOperation,
}

/// Which customers are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomersWanted {
    /// Part of the id or the name, in capitals or not.
    pub search: Option<String>,
    /// Only those that have an account in this currency, and only that account. A sort by balance implies it.
    pub currency: Option<Currency>,
    /// In which order.
    pub sort: CustomerSort,
}

/// Which customer a page ended with. By id and by name, what happens meanwhile neither repeats nor hides a customer;
/// by balance and by last operation, it moves those to whom it happens.
#[derive(Clone, PartialEq, Eq)]
pub struct CustomersFrom {
    sort: CustomerSort,
    id: String,
    name: Option<String>,
    balance: Option<Decimal>,
    last: Option<time::OffsetDateTime>,
}

/// Some of a merchant's customers.
#[derive(Clone)]
pub struct CustomersPage {
    /// The customers.
    pub customers: Vec<Customer>,
    /// From where to go on; `None` if nothing is left.
    pub next: Option<CustomersFrom>,
}

/// A merchant's customers with what they have, at most `limit`, all as of one moment.
///
/// `from` belongs to the same question; that of another order is the beginning.
///
/// # Errors
/// The database's.
pub async fn customers(
    connection: &mut PgConnection,
    merchant: &MerchantId,
    wanted: &CustomersWanted,
    from: Option<&CustomersFrom>,
    limit: i64,
) -> Result<CustomersPage> {
    let mut snapshot = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let mut rows = ordered(&mut snapshot, merchant, wanted, from, limit.saturating_add(1)).await?;
    let left = rows.len() > usize::try_from(limit).unwrap_or(0);
    if left {
        rows.pop();
    }
    let next = rows.last().filter(|_| left).map(|row| row.place(wanted.sort));
    let currency = match wanted.sort {
        CustomerSort::Balance(currency) => Some(currency),
        _ => wanted.currency,
    };
    let customers = with_accounts(&mut snapshot, merchant, rows, currency).await?;
    snapshot.rollback().await?;
    Ok(CustomersPage { customers, next })
}

/// One customer; `None` if the merchant has no such one.
///
/// # Errors
/// The database's.
pub async fn customer(
    connection: &mut PgConnection,
    merchant: &MerchantId,
    customer: &CustomerId,
) -> Result<Option<Customer>> {
    let mut snapshot = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id, kind, name, email, locale, NULL::numeric AS balance, NULL::timestamptz AS last
           FROM customer WHERE merchant = $1 AND id = $2"#,
        merchant.as_str(),
        customer.as_str(),
    )
    .fetch_optional(&mut *snapshot)
    .await?;
    let mut found = with_accounts(&mut snapshot, merchant, Vec::from_iter(row), None).await?;
    snapshot.rollback().await?;
    Ok(found.pop())
}

/// What a page of customers is asked for with.
struct Question<'a> {
    merchant: &'a str,
    search: Option<&'a str>,
    currency: Option<&'a str>,
    /// The id of the customer that the last page ended with.
    after: Option<&'a str>,
    limit: i64,
}

/// The customers of a page in their order, without what they have.
///
/// A search reads the merchant's customers one after the other and compares: a part of a name anywhere in it is
/// what people type, no plain index finds that, and an index of trigrams needs an extension that the schema's owner
/// may not install everywhere.
async fn ordered(
    connection: &mut PgConnection,
    merchant: &MerchantId,
    wanted: &CustomersWanted,
    from: Option<&CustomersFrom>,
    limit: i64,
) -> Result<Vec<Row>> {
    let from = from.filter(|from| from.sort == wanted.sort);
    let question = Question {
        merchant: merchant.as_str(),
        search: wanted.search.as_deref(),
        currency: wanted.currency.map(Currency::code),
        after: from.map(|from| from.id.as_str()),
        limit,
    };
    match wanted.sort {
        CustomerSort::Id => by_id(connection, question).await,
        CustomerSort::Name => by_name(connection, question, from.and_then(|from| from.name.as_deref())).await,
        CustomerSort::Balance(currency) => {
            let question = Question { currency: Some(currency.code()), ..question };
            by_balance(connection, question, from.and_then(|from| from.balance)).await
        }
        CustomerSort::LastOperation => {
            by_last_operation(connection, question, from.and_then(|from| from.last)).await
        }
    }
}

/// Along the primary key, (merchant, id).
async fn by_id(connection: &mut PgConnection, question: Question<'_>) -> Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        r#"SELECT c.id, c.kind, c.name, c.email, c.locale, NULL::numeric AS balance, NULL::timestamptz AS last
           FROM customer c
           WHERE c.merchant = $1
             AND ($2::text IS NULL OR strpos(lower(c.id), lower($2)) > 0 OR strpos(lower(c.name), lower($2)) > 0)
             AND ($3::text IS NULL OR EXISTS (SELECT FROM account a WHERE
                  (a.merchant, a.customer, a.currency) = (c.merchant, c.id, $3)))
             AND ($4::text IS NULL OR c.id > $4)
           ORDER BY c.id LIMIT $5"#,
        question.merchant,
        question.search,
        question.currency,
        question.after,
        question.limit,
    )
    .fetch_all(connection)
    .await
}

/// Along the index `customer_name`, (merchant, name, id), past what came before. Those without a name are its end, which needs a condition of its own:
/// a comparison with null is not true.
async fn by_name(
    connection: &mut PgConnection,
    question: Question<'_>,
    name: Option<&str>,
) -> Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        r#"SELECT c.id, c.kind, c.name, c.email, c.locale, NULL::numeric AS balance, NULL::timestamptz AS last
           FROM customer c
           WHERE c.merchant = $1
             AND ($2::text IS NULL OR strpos(lower(c.id), lower($2)) > 0 OR strpos(lower(c.name), lower($2)) > 0)
             AND ($3::text IS NULL OR EXISTS (SELECT FROM account a WHERE
                  (a.merchant, a.customer, a.currency) = (c.merchant, c.id, $3)))
             AND ($4::text IS NULL OR (c.name, c.id) > ($5, $4)
                  OR (c.name IS NULL AND (c.id > $4 OR $5 IS NOT NULL)))
           ORDER BY c.name, c.id LIMIT $6"#,
        question.merchant,
        question.search,
        question.currency,
        question.after,
        name,
        question.limit,
    )
    .fetch_all(connection)
    .await
}

/// Reads the merchant's accounts in this currency for each page. An index by balance would make every update of an
/// account one of that index too, which the workers would pay for with every command.
async fn by_balance(
    connection: &mut PgConnection,
    question: Question<'_>,
    balance: Option<Decimal>,
) -> Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        r#"SELECT c.id, c.kind, c.name, c.email, c.locale, a.balance AS "balance?", NULL::timestamptz AS last
           FROM account a JOIN customer c ON (c.merchant, c.id) = (a.merchant, a.customer)
           WHERE a.merchant = $1 AND a.currency = $3
             AND ($2::text IS NULL OR strpos(lower(c.id), lower($2)) > 0 OR strpos(lower(c.name), lower($2)) > 0)
             AND ($4::text IS NULL OR a.balance < $5 OR (a.balance = $5 AND c.id > $4))
           ORDER BY a.balance DESC, c.id LIMIT $6"#,
        question.merchant,
        question.search,
        question.currency,
        question.after,
        balance,
        question.limit,
    )
    .fetch_all(connection)
    .await
}

/// Reads the merchant's accounts for each page, and of each its newest entry by the primary key.
async fn by_last_operation(
    connection: &mut PgConnection,
    question: Question<'_>,
    last: Option<time::OffsetDateTime>,
) -> Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        r#"SELECT c.id, c.kind, c.name, c.email, c.locale, NULL::numeric AS balance, newest.last AS "last?"
           FROM customer c
           LEFT JOIN (
               SELECT a.customer, max(e.recorded_at) AS last
               FROM account a JOIN entry e ON e.account_id = a.id AND e.number = a.entries
               WHERE a.merchant = $1 AND ($3::text IS NULL OR a.currency = $3)
               GROUP BY a.customer
           ) newest ON newest.customer = c.id
           WHERE c.merchant = $1
             AND ($2::text IS NULL OR strpos(lower(c.id), lower($2)) > 0 OR strpos(lower(c.name), lower($2)) > 0)
             AND ($3::text IS NULL OR EXISTS (SELECT FROM account a WHERE
                  (a.merchant, a.customer, a.currency) = (c.merchant, c.id, $3)))
             AND ($4::text IS NULL OR newest.last < $5 OR (newest.last = $5 AND c.id > $4)
                  OR (newest.last IS NULL AND (c.id > $4 OR $5 IS NOT NULL)))
           ORDER BY newest.last DESC NULLS LAST, c.id LIMIT $6"#,
        question.merchant,
        question.search,
        question.currency,
        question.after,
        last,
        question.limit,
    )
    .fetch_all(connection)
    .await
}

/// Adds what these customers have: their accounts, or those in one currency, along the unique index of (merchant,
/// customer, currency), and their newest payout methods, along its primary key backwards.
async fn with_accounts(
    connection: &mut PgConnection,
    merchant: &MerchantId,
    rows: Vec<Row>,
    currency: Option<Currency>,
) -> Result<Vec<Customer>> {
    let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let mut accounts: HashMap<String, Vec<(AccountState, Option<time::OffsetDateTime>)>> = HashMap::new();
    let found = sqlx::query!(
        r#"SELECT a.id, a.merchant, a.customer, a.currency, a.balance, a.held, a.pending, a.version, a.entries,
                  a.head, e.recorded_at AS "last?"
           FROM account a LEFT JOIN entry e ON e.account_id = a.id AND e.number = a.entries
           WHERE a.merchant = $1 AND a.customer = ANY($2) AND ($3::text IS NULL OR a.currency = $3)
           ORDER BY a.customer, a.currency"#,
        merchant.as_str(),
        &ids,
        currency.map(Currency::code),
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in found {
        let (customer, last) = (row.customer.clone(), row.last);
        let account = Account::try_from(AccountRow {
            id: row.id,
            merchant: row.merchant,
            customer: row.customer,
            currency: row.currency,
            balance: row.balance,
            held: row.held,
            pending: row.pending,
            version: row.version,
            entries: row.entries,
            head: row.head,
        })?;
        accounts.entry(customer).or_default().push((account.state(), last));
    }
    let found = sqlx::query!(
        r#"SELECT c.id AS "id!", p.kind, p.masked, p.version
           FROM unnest($2::text[]) AS c (id)
           CROSS JOIN LATERAL (
               SELECT kind, masked, version FROM payout_method
               WHERE merchant = $1 AND customer = c.id ORDER BY version DESC LIMIT 1
           ) p"#,
        merchant.as_str(),
        &ids,
    )
    .fetch_all(connection)
    .await?;
    let mut payouts: HashMap<String, MaskedPayout> = HashMap::new();
    for row in found {
        let kind = parsed("payout_method.kind", &row.kind)?;
        payouts.insert(row.id, MaskedPayout { kind, masked: row.masked, version: row.version });
    }
    let customers = rows.into_iter().map(|row| {
        let (accounts, newest): (Vec<_>, Vec<_>) =
            accounts.remove(&row.id).unwrap_or_default().into_iter().unzip();
        Ok(Customer {
            customer: parsed("customer.id", &row.id)?,
            kind: parsed("customer.kind", &row.kind)?,
            name: optional("customer.name", row.name.as_deref())?,
            email: optional("customer.email", row.email.as_deref())?,
            locale: optional("customer.locale", row.locale.as_deref())?,
            payout: payouts.remove(&row.id),
            accounts,
            last_operation: newest.into_iter().flatten().max().map(Timestamp::from),
        })
    });
    customers.collect()
}

struct Row {
    id: String,
    kind: String,
    name: Option<String>,
    email: Option<String>,
    locale: Option<String>,
    balance: Option<Decimal>,
    last: Option<time::OffsetDateTime>,
}

impl Row {
    fn place(&self, sort: CustomerSort) -> CustomersFrom {
        let Self { id, name, balance, last, .. } = self;
        CustomersFrom { sort, id: id.clone(), name: name.clone(), balance: *balance, last: *last }
    }
}
