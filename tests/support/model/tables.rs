//! What the tables say beside what the model says, row by row.
//!
//! Of some merchants, or of everything: then half a million rows are compared in a few seconds, and of those that differ
//! only the first few are told.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use serde_json::Value;
use sqlx::PgConnection;

use super::{AccountKey, Model};

/// Whose rows are read.
#[derive(Debug, Clone, Copy)]
pub enum Whose<'a> {
    /// Of these merchants, and of the commands with these ids of Saldo's.
    Of(&'a [String], &'a [String]),
    /// Of every merchant that a command has registered, and of every command that somebody sent.
    Everybody,
}

/// Rows by table and key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tables(BTreeMap<String, BTreeMap<String, Value>>);

impl Tables {
    /// As the database has them.
    ///
    /// # Errors
    /// The database's.
    pub async fn read(database: &mut PgConnection, whose: Whose<'_>) -> sqlx::Result<Self> {
        let query = match whose {
            Whose::Of(..) => OF,
            Whose::Everybody => EVERYBODY,
        };
        let statement = sqlx::AssertSqlSafe(format!("{query}{ROWS}"));
        let mut rows = sqlx::query_as::<_, (String, String, Value)>(statement);
        if let Whose::Of(merchants, ids) = whose {
            rows = rows.bind(merchants).bind(ids);
        }
        let mut tables = Self::default();
        let mut rows = rows.fetch(database);
        while let Some((table, key, mut row)) = rows.try_next().await? {
            if table == "merchants" {
                row = Model::preferences_state(&row["preferences"], row["hold_days"].as_i64().unwrap());
            }
            tables.0.entry(table).or_default().insert(key, row);
        }
        Ok(tables)
    }

    /// As the model has them.
    pub fn of(model: &Model) -> Self {
        let Value::Object(tables) = model.state() else { unreachable!("state() is an object") };
        let rows = |rows: Value| match rows {
            Value::Object(rows) => rows.into_iter().collect(),
            other => panic!("no rows: {other}"),
        };
        Self(tables.into_iter().map(|(table, of)| (table, rows(of))).collect())
    }

    /// Adds others' rows.
    pub fn add(&mut self, others: Self) {
        for (table, rows) in others.0 {
            self.0.entry(table).or_default().extend(rows);
        }
    }

    /// The rows of a table, by key.
    pub fn rows(&self, table: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.0.get(table).into_iter().flatten()
    }

    /// Where the database's are others than these, the model's: a text for each table, with the first few of them.
    pub fn differences(&self, real: &Self, most: usize) -> Vec<String> {
        let none = BTreeMap::new();
        let tables = self.0.keys().chain(real.0.keys().filter(|table| !self.0.contains_key(*table)));
        tables
            .filter_map(|table| {
                let [model, real] = [self, real].map(|tables| tables.0.get(table).unwrap_or(&none));
                let keys = model.keys().chain(real.keys().filter(|key| !model.contains_key(*key)));
                let differ: Vec<_> = keys.filter(|key| model.get(*key) != real.get(*key)).collect();
                let show = |row: Option<&Value>| row.map_or_else(|| "nothing".to_owned(), Value::to_string);
                let first = differ.iter().take(most).map(|key| {
                    format!(
                        "\n  {key}\n    model: {}\n    store: {}",
                        show(model.get(*key)),
                        show(real.get(*key))
                    )
                });
                let first: String = first.collect();
                (!differ.is_empty()).then(|| format!("{table}: {} rows differ, such as{first}", differ.len()))
            })
            .collect()
    }
}

/// How Saldo numbers the accounts of these merchants, or of all.
///
/// # Errors
/// The database's.
pub async fn numbers(
    database: &mut PgConnection,
    merchants: Option<&[String]>,
) -> sqlx::Result<Vec<(AccountKey, i64)>> {
    let accounts =
        "SELECT merchant, customer, currency, id FROM account WHERE $1::text[] IS NULL OR merchant = ANY($1)";
    let rows: Vec<(String, String, String, i64)> =
        sqlx::query_as(accounts).bind(merchants).fetch_all(database).await?;
    Ok(rows
        .into_iter()
        .map(|(merchant, customer, currency, id)| ((merchant, customer, currency), id))
        .collect())
}

const OF: &str = "
WITH shop AS (SELECT * FROM merchant WHERE id = ANY($1)),
     own AS (SELECT *, 10::numeric ^ exponent AS unit FROM account WHERE merchant = ANY($1)),
     people AS (SELECT * FROM customer WHERE merchant = ANY($1)),
     keys AS (SELECT decode(id, 'hex') AS key FROM unnest($2::text[]) AS k (id))";

/// Saldo's own sources are nobody's commands.
const EVERYBODY: &str = "
WITH shop AS (SELECT * FROM merchant WHERE put_at IS NOT NULL),
     own AS (SELECT *, 10::numeric ^ exponent AS unit FROM account),
     people AS (SELECT * FROM customer),
     keys AS (SELECT key FROM inbox WHERE source NOT LIKE '/saldo/%')";

/// As the model shows it.
const ROWS: &str = "
SELECT 'accounts', concat_ws(' ', merchant, customer, currency), jsonb_build_array(
    (balance * unit)::bigint, (held * unit)::bigint, (pending * unit)::bigint, version, entries)
FROM own
UNION ALL
SELECT 'customers', concat_ws(' ', c.merchant, c.id), jsonb_build_array(c.kind, c.locale, (
    SELECT max(version) FROM payout_method p WHERE p.merchant = c.merchant AND p.customer = c.id))
FROM people c
UNION ALL
SELECT 'merchants', id, jsonb_build_object('hold_days', hold_days, 'preferences', preferences)
FROM shop
UNION ALL
SELECT 'commissions', encode(key, 'hex'), jsonb_build_array((amount * unit)::bigint, (reversed * unit)::bigint, state)
FROM keys JOIN commission USING (key) JOIN own ON own.id = account_id
UNION ALL
SELECT 'withdrawals', encode(key, 'hex'), jsonb_build_array((amount * unit)::bigint, state, payout_version, (
    SELECT jsonb_agg(t.state ORDER BY number) FROM withdrawal_transition t WHERE withdrawal = key))
FROM keys JOIN withdrawal USING (key) JOIN own ON own.id = account_id
UNION ALL
SELECT 'waiting', encode(key, 'hex'), to_jsonb(CASE
    WHEN awaited_customer IS NOT NULL THEN 'customer' WHEN awaited_merchant IS NOT NULL THEN 'merchant'
    ELSE 'command' END)
FROM keys JOIN waiting USING (key)
UNION ALL
SELECT 'decided', encode(key, 'hex'), to_jsonb(outcome IS NOT NULL)
FROM keys JOIN inbox USING (key)";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tables(rows: &[(&str, Value)]) -> Tables {
        let rows = rows.iter().map(|(key, row)| ((*key).to_owned(), row.clone())).collect();
        Tables(BTreeMap::from([("accounts".to_owned(), rows)]))
    }

    #[test]
    fn rows_that_differ_or_are_on_one_side_only_are_told_and_only_the_first_of_many() {
        let model = tables(&[("a", json!([1])), ("b", json!([2])), ("c", json!([3]))]);
        assert_eq!(model.differences(&model, 2), Vec::<String>::new());
        let real = tables(&[("a", json!([1])), ("b", json!([7])), ("d", json!([4]))]);
        let [told] = &model.differences(&real, 2)[..] else { panic!("one table") };
        assert!(told.starts_with("accounts: 3 rows differ"), "{told}");
        assert!(told.contains("b\n    model: [2]\n    store: [7]"), "{told}");
        assert!(told.contains("c\n    model: [3]\n    store: nothing"), "{told}");
        assert!(!told.contains("d\n"), "{told}");
        assert_eq!(Tables::default().differences(&real, 1).len(), 1, "a table that the model does not have");
        assert_eq!(model.differences(&Tables::default(), 1).len(), 1, "a table that is empty");
    }
}
