//! What belongs together across tables. The database compares and returns only what differs; each statement reads
//! its tables once, in whatever order suits it.

use contract::{Currency, EntryId, KeyHash, WithdrawalState};
use futures_util::{Stream, TryStreamExt};
use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::{Check, Fault, Faults};
use crate::Step;
use crate::read::Result;
use crate::read::chain::{Scope, shown};

/// A place where something differs.
struct Difference {
    merchant: Option<String>,
    customer: Option<String>,
    currency: Option<String>,
    account: Option<i64>,
    number: Option<i64>,
    withdrawal: Option<Vec<u8>>,
    /// Which of the things that a statement compares.
    what: Option<String>,
    expected: Option<Decimal>,
    found: Option<Decimal>,
}

impl Difference {
    fn what(&self) -> &str {
        self.what.as_deref().unwrap_or("")
    }

    fn amount(&self, amount: Option<Decimal>) -> Decimal {
        let amount = amount.unwrap_or_default();
        match self.currency.as_deref().map(str::parse::<Currency>) {
            Some(Ok(currency)) => shown(amount, currency),
            _ => amount.normalize(),
        }
    }

    fn expected(&self) -> Decimal {
        self.amount(self.expected)
    }

    fn found(&self) -> Decimal {
        self.amount(self.found)
    }

    fn fault(self, check: Check, message: String) -> Fault {
        let number = self.account.zip(self.number);
        let withdrawal = self.withdrawal.map(|key| match <[u8; 16]>::try_from(key) {
            Ok(key) => KeyHash(key).to_string(),
            Err(_) => "of an impossible id".to_owned(),
        });
        Fault {
            check,
            merchant: self.merchant,
            customer: self.customer,
            currency: self.currency,
            account: self.account,
            entry: number.map(|(account, number)| EntryId { account, number }),
            withdrawal,
            message,
        }
    }
}

/// Compares everything.
pub(super) async fn compare(
    snapshot: &mut PgConnection,
    scope: Scope<'_>,
    faults: &mut Faults,
) -> Result<()> {
    let merchant = scope.merchant();
    if matches!(scope, Scope::Ledger) {
        each(ownerless(snapshot), Check::Owner, faults, |_| "it belongs to no account".to_owned()).await?;
    }
    each(held(snapshot, merchant), Check::Held, faults, |it| {
        format!("{} is held; its open withdrawals make {}", it.found(), it.expected())
    })
    .await?;
    each(pending(snapshot, merchant), Check::Pending, faults, |it| {
        format!("{} is pending; its commissions in their hold period make {}", it.found(), it.expected())
    })
    .await?;
    each(reversals(snapshot, merchant), Check::Reversal, faults, |it| match it.what() {
        "missing" => "the entry that it takes back does not exist".to_owned(),
        "kind" => "what it takes back is no adjustment".to_owned(),
        "twice" => "what it takes back had been taken back before".to_owned(),
        _ => format!("its amount is {}; what it takes back makes {}", it.found(), it.expected()),
    })
    .await?;
    each(withdrawals(snapshot, merchant), Check::Withdrawal, faults, |it| match it.what() {
        "payment" => "it is paid and names no payment, or names one and is not paid".to_owned(),
        "payout" => "the payout method that it was requested with does not exist".to_owned(),
        _ => "its newest transition is missing".to_owned(),
    })
    .await?;
    each(requests(snapshot, merchant), Check::Withdrawal, faults, |it| match it.what() {
        "amount" => format!("it is of {}; {} was told when it was requested", it.found(), it.expected()),
        _ => "its payout method is another one than was told when it was requested".to_owned(),
    })
    .await?;
    each(transitions(snapshot, merchant), Check::Withdrawal, faults, |it| match it.what() {
        what @ ("orphan" | "command" | "request") => match what {
            "orphan" => "it has transitions and does not exist",
            "command" => "a transition's command is not recorded as decided",
            _ => "its first transition is not its request",
        }
        .to_owned(),
        "number" => {
            format!("transition {} stands where number {} should", it.found(), it.expected())
        }
        "last" => "its state and number of transitions are not its newest transition's".to_owned(),
        step => format!("its transition {} is {step}, which does not happen", it.found()),
    })
    .await?;
    each(payments(snapshot, merchant), Check::Payment, faults, |it| match it.what() {
        "missing" => "the entry that paid it does not exist".to_owned(),
        "kind" => "the entry that is said to have paid it is no withdrawal's".to_owned(),
        "command" => "the entry that paid it and its last transition come from different commands".to_owned(),
        _ => format!("the entry that paid it is of {}; expected {}", it.found(), it.expected()),
    })
    .await?;
    each(unasked_payments(snapshot, merchant), Check::Payment, faults, |it| {
        format!("it pays {} withdrawals; expected one", it.found())
    })
    .await?;
    each(commands(snapshot, merchant), Check::Command, faults, |it| match it.what() {
        "missing" => "its command is unknown".to_owned(),
        "parked" => "its command is recorded as not decided".to_owned(),
        "merchant" => "its command is another merchant's".to_owned(),
        _ => "its command is recorded as decided with another entry, or with none".to_owned(),
    })
    .await?;
    each(effects(snapshot, merchant), Check::Command, faults, |it| match it.what() {
        "missing" => "a command is recorded as decided with it; it does not exist".to_owned(),
        _ => "another command than its own is recorded as decided with it".to_owned(),
    })
    .await?;
    each(totals(snapshot, merchant), Check::Total, faults, |it| match it.what() {
        "trial" => format!("the trial balance is {}; expected zero", it.found()),
        _ => format!("the balances make {}; the entries make {}", it.found(), it.expected()),
    })
    .await
}

async fn each(
    differences: impl Stream<Item = Result<Difference>>,
    check: Check,
    faults: &mut Faults,
    message: impl Fn(&Difference) -> String,
) -> Result<()> {
    futures_util::pin_mut!(differences);
    while let Some(difference) = differences.try_next().await? {
        let message = message(&difference);
        faults.add(difference.fault(check, message));
    }
    Ok(())
}

fn ownerless(snapshot: &mut PgConnection) -> impl Stream<Item = Result<Difference>> + '_ {
    sqlx::query_as!(
        Difference,
        r#"SELECT NULL::text AS merchant, NULL::text AS customer, NULL::text AS currency,
                  e.account_id AS "account?", e.number AS "number?", NULL::bytea AS withdrawal,
                  NULL::text AS what, NULL::numeric AS expected, NULL::numeric AS found
           FROM entry e WHERE NOT EXISTS (SELECT FROM account a WHERE a.id = e.account_id)"#,
    )
    .fetch(snapshot)
}

fn held<'c>(
    snapshot: &'c mut PgConnection,
    merchant: Option<&str>,
) -> impl Stream<Item = Result<Difference>> + use<'c> {
    sqlx::query_as!(
        Difference,
        r#"SELECT a.merchant AS "merchant?", a.customer AS "customer?", a.currency AS "currency?",
                  a.id AS "account?", NULL::bigint AS number, NULL::bytea AS withdrawal, NULL::text AS what,
                  coalesce(w.amount, 0) AS expected, a.held AS "found?"
           FROM account a
           LEFT JOIN (SELECT account_id, sum(amount) AS amount FROM withdrawal
                      WHERE state IN ('requested', 'approved') GROUP BY account_id) w ON w.account_id = a.id
           WHERE ($1::text IS NULL OR a.merchant = $1) AND a.held <> coalesce(w.amount, 0)
           ORDER BY a.id"#,
        merchant,
    )
    .fetch(snapshot)
}

fn pending<'c>(
    snapshot: &'c mut PgConnection,
    merchant: Option<&str>,
) -> impl Stream<Item = Result<Difference>> + use<'c> {
    sqlx::query_as!(
        Difference,
        r#"SELECT a.merchant AS "merchant?", a.customer AS "customer?", a.currency AS "currency?",
                  a.id AS "account?", NULL::bigint AS number, NULL::bytea AS withdrawal, NULL::text AS what,
                  coalesce(c.amount, 0) AS expected, a.pending AS "found?"
           FROM account a
           LEFT JOIN (SELECT account_id, sum(amount - reversed) AS amount FROM commission
                      WHERE state = 'pending' GROUP BY account_id) c ON c.account_id = a.id
           WHERE ($1::text IS NULL OR a.merchant = $1) AND a.pending <> coalesce(c.amount, 0)
           ORDER BY a.id"#,
        merchant,
    )
    .fetch(snapshot)
}

/// What an index and a check constraint see to as long as they are there.
fn reversals<'c>(
    snapshot: &'c mut PgConnection,
    merchant: Option<&str>,
) -> impl Stream<Item = Result<Difference>> + use<'c> {
    sqlx::query_as!(
        Difference,
        r#"SELECT a.merchant AS "merchant?", a.customer AS "customer?", a.currency AS "currency?",
                  e.account_id AS "account?", e.number AS "number?", NULL::bytea AS withdrawal,
                  CASE WHEN t.number IS NULL THEN 'missing' WHEN t.kind <> 'adjustment' THEN 'kind'
                       WHEN t.amount <> -e.amount THEN 'amount' WHEN e.earlier > 0 THEN 'twice' END AS what,
                  -t.amount AS expected, e.amount AS "found?"
           FROM (SELECT account_id, number, reverses, amount,
                        row_number() OVER (PARTITION BY account_id, reverses ORDER BY number) - 1 AS earlier
                 FROM entry WHERE kind = 'adjustment-reversal' OR reverses IS NOT NULL) e
           JOIN account a ON a.id = e.account_id
           LEFT JOIN entry t ON t.account_id = e.account_id AND t.number = e.reverses AND t.number < e.number
           WHERE ($1::text IS NULL OR a.merchant = $1)
             AND (t.number IS NULL OR t.kind <> 'adjustment' OR t.amount <> -e.amount OR e.earlier > 0)
           ORDER BY e.account_id, e.number"#,
        merchant,
    )
    .fetch(snapshot)
}

fn withdrawals<'c>(
    snapshot: &'c mut PgConnection,
    merchant: Option<&str>,
) -> impl Stream<Item = Result<Difference>> + use<'c> {
    sqlx::query_as!(
        Difference,
        r#"SELECT a.merchant AS "merchant?", a.customer AS "customer?", a.currency AS "currency?",
                  w.account_id AS "account?", NULL::bigint AS number, w.key AS "withdrawal?",
                  CASE WHEN (w.state = 'paid') <> (w.payment IS NOT NULL) THEN 'payment'
                       WHEN p.version IS NULL THEN 'payout' ELSE 'transition' END AS what,
                  NULL::numeric AS expected, NULL::numeric AS found
           FROM withdrawal w
           LEFT JOIN account a ON a.id = w.account_id
           LEFT JOIN payout_method p
               ON (p.merchant, p.customer, p.version) = (a.merchant, a.customer, w.payout_version)
           LEFT JOIN withdrawal_transition t ON t.withdrawal = w.key AND t.number = w.transitions
           WHERE ($1::text IS NULL OR a.merchant = $1)
             AND ((w.state = 'paid') <> (w.payment IS NOT NULL) OR p.version IS NULL OR t.number IS NULL)
           ORDER BY w.account_id, w.requested_at, w.key"#,
        merchant,
    )
    .fetch(snapshot)
}

/// Withdrawals that are not as the first event of their request, which the inbox keeps, tells: nothing else covers how
/// much is to be paid, and to whom.
fn requests<'c>(
    snapshot: &'c mut PgConnection,
    merchant: Option<&str>,
) -> impl Stream<Item = Result<Difference>> + use<'c> {
    sqlx::query_as!(
        Difference,
        r#"SELECT a.merchant AS "merchant?", a.customer AS "customer?", a.currency AS "currency?",
                  w.account_id AS "account?", NULL::bigint AS number, w.key AS "withdrawal?",
                  CASE WHEN told.amount IS DISTINCT FROM w.amount THEN 'amount' ELSE 'payout' END AS what,
                  told.amount AS expected, w.amount AS found
           FROM withdrawal w
           JOIN account a ON a.id = w.account_id
           JOIN payout_method p
               ON (p.merchant, p.customer, p.version) = (a.merchant, a.customer, w.payout_version)
           JOIN inbox i ON i.key = w.key
           CROSS JOIN LATERAL (
               SELECT (data ->> 'amount')::numeric AS amount, (data -> 'payout' ->> 'version')::integer AS version,
                      data -> 'payout' ->> 'masked' AS masked
               FROM (SELECT split_part(i.outcome, E'\n', 1)::jsonb -> 'data' AS data) event
           ) told
           WHERE ($1::text IS NULL OR a.merchant = $1)
             AND (told.amount, told.version, told.masked) IS DISTINCT FROM (w.amount, w.payout_version, p.masked)
           ORDER BY w.account_id, w.requested_at, w.key"#,
        merchant,
    )
    .fetch(snapshot)
}

/// What may follow what, as the statement below writes it; nothing stands before a request.
fn steps() -> Vec<String> {
    use WithdrawalState::{Approved, Cancelled, Paid, Rejected, Requested};
    let states = [Requested, Approved, Paid, Rejected, Cancelled];
    let steps = [Step::Approve, Step::Pay, Step::Reject, Step::Cancel];
    let from = |state: WithdrawalState| {
        let after = steps.into_iter().filter_map(move |step| step.from(state));
        after.map(move |after| format!("{}, {}", state.as_str(), after.as_str()))
    };
    std::iter::once(Requested.as_str().to_owned()).chain(states.into_iter().flat_map(from)).collect()
}

fn transitions<'c>(
    snapshot: &'c mut PgConnection,
    merchant: Option<&str>,
) -> impl Stream<Item = Result<Difference>> + use<'c> {
    sqlx::query_as!(
        Difference,
        r#"SELECT a.merchant AS "merchant?", a.customer AS "customer?", a.currency AS "currency?",
                  w.account_id AS "account?", NULL::bigint AS number, t.withdrawal AS "withdrawal?",
                  CASE WHEN w.key IS NULL THEN 'orphan' WHEN t.number <> t.due THEN 'number'
                       WHEN t.step <> ALL ($2) THEN t.step WHEN t.due = 1 AND t.command <> w.key THEN 'request'
                       WHEN i.key IS NULL THEN 'command' ELSE 'last' END AS what,
                  t.due::numeric AS expected, t.number::numeric AS found
           FROM (SELECT withdrawal, number, state, command, row_number() OVER entered AS due,
                        concat_ws(', ', lag(state) OVER entered, state) AS step,
                        lead(number) OVER entered IS NULL AS newest
                 FROM withdrawal_transition WINDOW entered AS (PARTITION BY withdrawal ORDER BY number)) t
           LEFT JOIN withdrawal w ON w.key = t.withdrawal
           LEFT JOIN account a ON a.id = w.account_id
           LEFT JOIN inbox i ON i.key = t.command AND i.outcome IS NOT NULL
           WHERE ($1::text IS NULL OR a.merchant = $1)
             AND (w.key IS NULL OR t.number <> t.due OR t.step <> ALL ($2)
                  OR (t.due = 1 AND t.command <> w.key) OR i.key IS NULL
                  OR (t.newest AND (t.state, t.number) <> (w.state, w.transitions)))
           ORDER BY t.withdrawal, t.number"#,
        merchant,
        &steps(),
    )
    .fetch(snapshot)
}

fn payments<'c>(
    snapshot: &'c mut PgConnection,
    merchant: Option<&str>,
) -> impl Stream<Item = Result<Difference>> + use<'c> {
    sqlx::query_as!(
        Difference,
        r#"SELECT a.merchant AS "merchant?", a.customer AS "customer?", a.currency AS "currency?",
                  w.account_id AS "account?", w.payment AS number, w.key AS "withdrawal?",
                  CASE WHEN e.number IS NULL THEN 'missing' WHEN e.kind <> 'withdrawal' THEN 'kind'
                       WHEN e.amount <> -w.amount THEN 'amount' ELSE 'command' END AS what,
                  -w.amount AS expected, e.amount AS "found?"
           FROM withdrawal w
           LEFT JOIN account a ON a.id = w.account_id
           LEFT JOIN entry e ON e.account_id = w.account_id AND e.number = w.payment
           LEFT JOIN withdrawal_transition t ON t.withdrawal = w.key AND t.number = w.transitions
           WHERE ($1::text IS NULL OR a.merchant = $1) AND w.payment IS NOT NULL
             AND (e.number IS NULL OR e.kind <> 'withdrawal' OR e.amount <> -w.amount OR e.command <> t.command)
           ORDER BY w.account_id, w.requested_at, w.key"#,
        merchant,
    )
    .fetch(snapshot)
}

fn unasked_payments<'c>(
    snapshot: &'c mut PgConnection,
    merchant: Option<&str>,
) -> impl Stream<Item = Result<Difference>> + use<'c> {
    sqlx::query_as!(
        Difference,
        r#"SELECT a.merchant AS "merchant?", a.customer AS "customer?", a.currency AS "currency?",
                  e.account_id AS "account?", e.number AS "number?", NULL::bytea AS withdrawal, NULL::text AS what,
                  NULL::numeric AS expected, coalesce(w.paid, 0)::numeric AS found
           FROM entry e
           JOIN account a ON a.id = e.account_id
           LEFT JOIN (SELECT account_id, payment, count(*) AS paid FROM withdrawal
                      WHERE payment IS NOT NULL GROUP BY account_id, payment) w
               ON w.account_id = e.account_id AND w.payment = e.number
           WHERE ($1::text IS NULL OR a.merchant = $1) AND e.kind = 'withdrawal' AND coalesce(w.paid, 0) <> 1
           ORDER BY e.account_id, e.number"#,
        merchant,
    )
    .fetch(snapshot)
}

fn commands<'c>(
    snapshot: &'c mut PgConnection,
    merchant: Option<&str>,
) -> impl Stream<Item = Result<Difference>> + use<'c> {
    sqlx::query_as!(
        Difference,
        r#"SELECT a.merchant AS "merchant?", a.customer AS "customer?", a.currency AS "currency?",
                  e.account_id AS "account?", e.number AS "number?", NULL::bytea AS withdrawal,
                  CASE WHEN i.key IS NULL THEN 'missing' WHEN NOT i.decided THEN 'parked'
                       WHEN i.merchant <> a.merchant THEN 'merchant' ELSE 'other' END AS what,
                  NULL::numeric AS expected, NULL::numeric AS found
           FROM entry e
           JOIN account a ON a.id = e.account_id
           LEFT JOIN (SELECT key, merchant, account_id, entry_number, outcome IS NOT NULL AS decided FROM inbox) i
               ON i.key = e.command
           WHERE ($1::text IS NULL OR a.merchant = $1)
             AND (i.key IS NULL OR NOT i.decided OR i.merchant <> a.merchant
                  OR (i.account_id, i.entry_number) IS DISTINCT FROM (e.account_id, e.number))
           ORDER BY e.account_id, e.number"#,
        merchant,
    )
    .fetch(snapshot)
}

/// The other way round: an entry that is no longer there was removed.
fn effects<'c>(
    snapshot: &'c mut PgConnection,
    merchant: Option<&str>,
) -> impl Stream<Item = Result<Difference>> + use<'c> {
    sqlx::query_as!(
        Difference,
        r#"SELECT i.merchant AS "merchant?", a.customer AS "customer?", a.currency AS "currency?",
                  i.account_id AS account, i.entry_number AS number, NULL::bytea AS withdrawal,
                  CASE WHEN e.number IS NULL THEN 'missing' ELSE 'other' END AS what,
                  NULL::numeric AS expected, NULL::numeric AS found
           FROM inbox i
           LEFT JOIN entry e ON e.account_id = i.account_id AND e.number = i.entry_number
           LEFT JOIN account a ON a.id = i.account_id
           WHERE ($1::text IS NULL OR i.merchant = $1) AND i.entry_number IS NOT NULL
             AND e.command IS DISTINCT FROM i.key
           ORDER BY i.account_id, i.entry_number"#,
        merchant,
    )
    .fetch(snapshot)
}

fn totals<'c>(
    snapshot: &'c mut PgConnection,
    merchant: Option<&str>,
) -> impl Stream<Item = Result<Difference>> + use<'c> {
    sqlx::query_as!(
        Difference,
        r#"SELECT merchant AS "merchant?", NULL::text AS customer, currency AS "currency?", NULL::bigint AS account,
                  NULL::bigint AS number, NULL::bytea AS withdrawal, 'trial' AS what, 0::numeric AS expected,
                  difference AS found
           FROM trial_balance WHERE ($1::text IS NULL OR merchant = $1) AND difference <> 0
           UNION ALL
           SELECT a.merchant, NULL, a.currency, NULL, NULL, NULL, 'balances', e.amount, a.balance
           FROM (SELECT merchant, currency, sum(balance) AS balance FROM account
                 WHERE $1::text IS NULL OR merchant = $1 GROUP BY merchant, currency) a
           LEFT JOIN (SELECT a.merchant, a.currency, sum(e.amount) AS amount
                      FROM entry e JOIN account a ON a.id = e.account_id
                      WHERE $1::text IS NULL OR a.merchant = $1 GROUP BY a.merchant, a.currency) e
               USING (merchant, currency)
           WHERE a.balance <> coalesce(e.amount, 0)"#,
        merchant,
    )
    .fetch(snapshot)
}
