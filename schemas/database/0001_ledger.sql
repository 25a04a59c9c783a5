-- The ledger. Runs as saldo_owner with search_path = saldo.
--
-- Amounts are NUMERIC with room for 16 digits before the point and the four decimals that the longest
-- currency has; the domain refuses what would leave ±10^15.

CREATE TABLE merchant (
    id text PRIMARY KEY CHECK (id ~ '^[a-z0-9-]{1,63}$'),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    -- Preferences.
    hold_days integer NOT NULL DEFAULT 0 CHECK (hold_days BETWEEN 0 AND 3650),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE customer (
    merchant text NOT NULL REFERENCES merchant,
    id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('customer', 'affiliate', 'reseller')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (merchant, id)
);

-- Every batch updates its accounts: room on the page keeps those updates off the indexes (HOT).
CREATE TABLE account (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    merchant text NOT NULL,
    customer text NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    exponent smallint NOT NULL CHECK (exponent BETWEEN 0 AND 4),
    balance numeric(20, 4) NOT NULL DEFAULT 0,
    held numeric(20, 4) NOT NULL DEFAULT 0 CHECK (held >= 0),
    pending numeric(20, 4) NOT NULL DEFAULT 0 CHECK (pending >= 0),
    -- Grows by one with every change.
    version bigint NOT NULL DEFAULT 0,
    -- Number and hash of the newest entry.
    entries bigint NOT NULL DEFAULT 0,
    head bytea CHECK (length(head) = 32),
    CHECK ((entries = 0) = (head IS NULL)),
    CHECK (balance = round(balance, exponent)),
    UNIQUE (merchant, customer, currency),
    FOREIGN KEY (merchant, customer) REFERENCES customer
) WITH (fillfactor = 70);

-- One row is one double-entry posting: the customer's account and its counterpart. Its account is locked by
-- whoever inserts it and accounts are never deleted, so there is no foreign key to pay for on every row.
CREATE TABLE entry (
    account_id bigint NOT NULL,
    -- From 1, without gaps, within the account.
    number bigint NOT NULL CHECK (number > 0),
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    amount numeric(20, 4) NOT NULL CHECK (amount <> 0),
    balance_after numeric(20, 4) NOT NULL,
    kind text NOT NULL CHECK (kind IN ('commission', 'commission-reversal')),
    counterpart text NOT NULL CHECK (counterpart IN ('commissions', 'adjustments', 'payouts')),
    -- The command that caused it, as in inbox.key.
    command bytea NOT NULL CHECK (length(command) = 16),
    order_number text,
    level smallint,
    note text,
    actor text,
    -- SHA-256 over these fields and the account's previous entry's hash.
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (account_id, number)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'entries are append-only' USING ERRCODE = 'insufficient_privilege',
        HINT = 'Post a reversal instead.';
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON entry
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- Also for a session that replays replication, which skips ordinary triggers.
ALTER TABLE entry ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE entry ENABLE ALWAYS TRIGGER append_only_whole;

-- What an entry does not say of a commission. A row exists from the moment the commission is held, or is
-- first reversed; one that was credited at once and never reversed is its entry and nothing more.
CREATE TABLE commission (
    -- The creating command, as in inbox.key.
    key bytea PRIMARY KEY CHECK (length(key) = 16),
    account_id bigint NOT NULL REFERENCES account,
    amount numeric(20, 4) NOT NULL CHECK (amount > 0),
    reversed numeric(20, 4) NOT NULL DEFAULT 0 CHECK (reversed BETWEEN 0 AND amount),
    -- pending: in its hold period; credited: in the balance; cancelled: reversed wholly while pending.
    state text NOT NULL CHECK (state IN ('pending', 'credited', 'cancelled')),
    -- When the hold period ends; null: credited at once.
    available_at timestamptz,
    -- What the command said, for the entry that is posted when the hold period ends.
    order_number text,
    level smallint,
    note text,
    CHECK (state <> 'pending' OR (available_at IS NOT NULL AND reversed < amount)),
    CHECK (state <> 'cancelled' OR reversed = amount)
);

-- The maturing scan asks for the pending ones whose time has come, oldest first.
CREATE INDEX commission_due ON commission (available_at) WHERE state = 'pending';

-- One row a transaction. Until published_at is set, the sweep may publish its events again.
CREATE TABLE batch (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    worker text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz
) WITH (fillfactor = 80);

-- The sweep asks for one worker's unpublished ones, oldest first; they are few.
CREATE INDEX batch_unpublished ON batch (worker, id) WHERE published_at IS NULL;

-- Every command ever decided or parked, for ever, with what it caused. Also the transactional outbox.
CREATE TABLE inbox (
    -- The first 16 bytes of SHA-256 over merchant, source and id, each with its length; the texts are
    -- compared on a hit. Short, because publishers' ids are random and this index is the one that grows.
    key bytea PRIMARY KEY CHECK (length(key) = 16),
    batch_id bigint NOT NULL,
    -- The account as the command left it; null where it met none.
    account_id bigint,
    version bigint,
    -- The posting it caused, if any.
    entry_number bigint,
    -- Its place within the batch.
    position integer NOT NULL,
    merchant text NOT NULL,
    source text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    -- SHA-256 over type and data in RFC 8785 form.
    content bytea NOT NULL CHECK (length(content) = 32),
    -- The events' exact bytes, one a line; null while the command is parked (see waiting).
    outcome text
);

-- Batches are written one after the other, so their rows lie together: block ranges find them at almost no
-- cost to the insert. Ranges that no vacuum has summarised would be read whole: every full one is at once, and
-- vacuum comes by count, not by a share of a table that only grows.
CREATE INDEX inbox_batch ON inbox USING brin (batch_id) WITH (pages_per_range = 16, autosummarize = on);
ALTER TABLE inbox SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000);

-- Commands that cannot be decided yet. Their inbox rows exist and have no outcome.
CREATE TABLE waiting (
    key bytea PRIMARY KEY REFERENCES inbox,
    worker text NOT NULL,
    -- What it waits for: a command that is to be decided, or a merchant that is to be registered.
    awaited_command bytea CHECK (length(awaited_command) = 16),
    awaited_merchant text,
    -- The message as it was received.
    body bytea NOT NULL,
    parked_at timestamptz NOT NULL,
    -- After this it is refused.
    deadline timestamptz NOT NULL,
    CHECK (num_nonnulls(awaited_command, awaited_merchant) = 1)
);

CREATE INDEX waiting_command ON waiting (awaited_command) WHERE awaited_command IS NOT NULL;
CREATE INDEX waiting_merchant ON waiting (awaited_merchant) WHERE awaited_merchant IS NOT NULL;
CREATE INDEX waiting_deadline ON waiting (worker, deadline);

-- Each entry's two lines. Balances are owed to customers, so crediting one credits its account.
CREATE VIEW journal AS
SELECT e.account_id, e.number, line.position, a.merchant, a.currency, line.account,
    line.debit, line.credit, e.kind, e.occurred_at, e.recorded_at
FROM entry e
JOIN account a ON a.id = e.account_id
CROSS JOIN LATERAL (VALUES
    (1, 'customer:' || a.customer, greatest(-e.amount, 0), greatest(e.amount, 0)),
    (2, e.counterpart, greatest(e.amount, 0), greatest(-e.amount, 0))
) AS line (position, account, debit, credit);

-- Zero in every row, always.
CREATE VIEW trial_balance AS
SELECT merchant, currency, sum(debit) AS debit, sum(credit) AS credit, sum(debit - credit) AS difference
FROM journal
GROUP BY merchant, currency;

-- Who may do what.
GRANT USAGE ON SCHEMA saldo TO saldo_commissions, saldo_operator;
GRANT SELECT ON ALL TABLES IN SCHEMA saldo TO saldo_commissions, saldo_operator;

GRANT INSERT ON customer, account, entry, commission, batch, inbox, waiting TO saldo_commissions;
GRANT UPDATE (balance, held, pending, version, entries, head) ON account TO saldo_commissions;
GRANT UPDATE (reversed, state) ON commission TO saldo_commissions;
GRANT UPDATE (published_at) ON batch TO saldo_commissions;
-- Only the outcome of a parked command is ever written later; the trigger below sees to the rest.
GRANT UPDATE (batch_id, account_id, version, entry_number, position, outcome) ON inbox TO saldo_commissions;
GRANT DELETE ON waiting TO saldo_commissions;

GRANT INSERT, UPDATE ON merchant TO saldo_operator;

CREATE FUNCTION refuse_second_outcome() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an outcome is written once' USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER outcome_once BEFORE UPDATE ON inbox
    FOR EACH ROW WHEN (OLD.outcome IS NOT NULL) EXECUTE FUNCTION refuse_second_outcome();
