-- Manual adjustments, what is known of customers and shops, and withdrawals. Runs as saldo_owner with
-- search_path = saldo.

ALTER TABLE merchant
    -- As contract::Preferences writes them, without name and hold_days, which commissions ask for by themselves.
    -- What is absent has its default.
    ADD COLUMN preferences jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(preferences) = 'object'),
    -- The `time` of the put that they come from; null: registered before there were puts.
    ADD COLUMN put_at timestamptz;

ALTER TABLE customer
    ADD COLUMN name text CHECK (length(name) BETWEEN 1 AND 200),
    ADD COLUMN email text CHECK (length(email) BETWEEN 3 AND 254),
    ADD COLUMN locale text CHECK (length(locale) BETWEEN 2 AND 35),
    -- The `time` of the put that they come from; null: first seen through an account.
    ADD COLUMN put_at timestamptz;

-- A customer's way to be paid: every version is kept, the newest is the current one. A withdrawal names the
-- version it was requested with, which is its snapshot: no version ever changes its meaning.
CREATE TABLE payout_method (
    merchant text NOT NULL,
    customer text NOT NULL,
    -- From 1, without gaps, within the customer.
    version integer NOT NULL CHECK (version > 0),
    kind text NOT NULL CHECK (kind IN ('bank-account', 'paypal', 'other')),
    -- What people and programs may see.
    masked text NOT NULL CHECK (length(masked) BETWEEN 1 AND 300),
    -- Encrypted with the key of this id; merchant, customer and version are authenticated with it.
    key_id text NOT NULL,
    sealed bytea NOT NULL,
    -- The `time` of the put, by which puts are ordered.
    put_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    -- The command that put it, as in inbox.key.
    command bytea NOT NULL CHECK (length(command) = 16),
    PRIMARY KEY (merchant, customer, version),
    FOREIGN KEY (merchant, customer) REFERENCES customer
);

-- `saldo keys rotate` asks for what is sealed with other keys than the current one.
CREATE INDEX payout_method_key ON payout_method (key_id);

ALTER TABLE entry
    -- The broker user whose command it was, where one is required; beside `actor`, whom the command names.
    ADD COLUMN user_id text,
    -- What the other side calls it: an adjustment's reference, a payout's payment reference.
    ADD COLUMN reference text,
    -- The number of the account's entry that this one takes back.
    ADD COLUMN reverses bigint,
    DROP CONSTRAINT entry_kind_check,
    ADD CONSTRAINT entry_kind_check CHECK (kind IN
        ('commission', 'commission-reversal', 'adjustment', 'adjustment-reversal', 'withdrawal')),
    ADD CONSTRAINT entry_reverses_check CHECK
        ((kind = 'adjustment-reversal') = (reverses IS NOT NULL) AND (reverses IS NULL OR reverses < number));

-- An entry is taken back at most once. Partial: nearly all entries take nothing back.
CREATE UNIQUE INDEX entry_reversed ON entry (account_id, reverses) WHERE reverses IS NOT NULL;

-- A request for payout. While it is open its amount is part of the account's `held`.
CREATE TABLE withdrawal (
    -- The requesting command, as in inbox.key; in hexadecimal it is the withdrawal's id.
    key bytea PRIMARY KEY CHECK (length(key) = 16),
    account_id bigint NOT NULL REFERENCES account,
    amount numeric(20, 4) NOT NULL CHECK (amount > 0),
    state text NOT NULL CHECK (state IN ('requested', 'approved', 'paid', 'rejected', 'cancelled')),
    -- The customer's payout method at the request.
    payout_version integer NOT NULL,
    -- The number of its newest transition.
    transitions integer NOT NULL CHECK (transitions > 0),
    -- The number of the account's entry that paid it.
    payment bigint,
    requested_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    CHECK ((state = 'paid') = (payment IS NOT NULL))
);

-- Lists are of one account, newest first; what is open is asked for alone, and is little.
CREATE INDEX withdrawal_account ON withdrawal (account_id, requested_at);
CREATE INDEX withdrawal_open ON withdrawal (account_id) WHERE state IN ('requested', 'approved');

-- Every state a withdrawal has had, the request first.
CREATE TABLE withdrawal_transition (
    withdrawal bytea NOT NULL REFERENCES withdrawal,
    number integer NOT NULL CHECK (number > 0),
    state text NOT NULL CHECK (state IN ('requested', 'approved', 'paid', 'rejected', 'cancelled')),
    -- Whom the command names, and the broker user who sent it, where one is required.
    actor text,
    user_id text,
    reason text,
    payment_reference text,
    -- The command that brought it about, as in inbox.key; a request that is approved at once has two.
    command bytea NOT NULL CHECK (length(command) = 16),
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (withdrawal, number)
);

-- Who has seen payout details in clear. Written, and committed, before they are shown.
CREATE TABLE revelation (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    withdrawal bytea NOT NULL REFERENCES withdrawal,
    role text NOT NULL DEFAULT session_user,
    -- Who says to be sitting there.
    actor text NOT NULL CHECK (length(actor) BETWEEN 1 AND 128),
    revealed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege',
        HINT = CASE TG_TABLE_NAME WHEN 'entry' THEN 'Post a reversal instead.' ELSE 'What is written here stays.' END;
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON withdrawal_transition
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON withdrawal_transition
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON revelation
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON revelation
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE withdrawal_transition ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE withdrawal_transition ENABLE ALWAYS TRIGGER append_only_whole;
ALTER TABLE revelation ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE revelation ENABLE ALWAYS TRIGGER append_only_whole;

ALTER TABLE waiting
    -- The broker user who sent it, which its later decision needs as much as the message.
    ADD COLUMN user_id text,
    -- The key that the body is encrypted with; null: it is as it was received.
    ADD COLUMN key_id text,
    -- A customer of the awaited merchant that is to be known.
    ADD COLUMN awaited_customer text,
    ADD CONSTRAINT waiting_customer_check CHECK (awaited_customer IS NULL OR awaited_merchant IS NOT NULL);

-- Who may do what. One role for each worker; nobody but the treasurer can read what is sealed.
GRANT USAGE ON SCHEMA saldo TO saldo_adjustments, saldo_directory, saldo_withdrawals, saldo_treasurer;
GRANT SELECT ON _sqlx_migrations TO saldo_adjustments, saldo_directory, saldo_withdrawals, saldo_treasurer;
GRANT SELECT ON merchant, customer, account, entry, commission, withdrawal, batch, inbox, waiting
    TO saldo_adjustments, saldo_directory, saldo_withdrawals;

GRANT INSERT ON batch, inbox, waiting TO saldo_adjustments, saldo_directory, saldo_withdrawals;
GRANT UPDATE (published_at) ON batch TO saldo_adjustments, saldo_directory, saldo_withdrawals;
GRANT UPDATE (batch_id, account_id, version, entry_number, position, outcome) ON inbox
    TO saldo_adjustments, saldo_directory, saldo_withdrawals;
GRANT DELETE ON waiting TO saldo_adjustments, saldo_directory, saldo_withdrawals;

GRANT SELECT ON withdrawal TO saldo_commissions;

GRANT INSERT ON customer, account, entry TO saldo_adjustments;
GRANT UPDATE (balance, held, pending, version, entries, head) ON account TO saldo_adjustments, saldo_withdrawals;

GRANT INSERT ON merchant, customer, payout_method TO saldo_directory;
GRANT UPDATE (name, hold_days, preferences, put_at, updated_at) ON merchant TO saldo_directory;
GRANT UPDATE (kind, name, email, locale, put_at) ON customer TO saldo_directory;

GRANT INSERT ON entry, withdrawal, withdrawal_transition TO saldo_withdrawals;
GRANT UPDATE (state, transitions, payment, changed_at) ON withdrawal TO saldo_withdrawals;

GRANT SELECT (merchant, customer, version, kind, masked, key_id, put_at, recorded_at, command) ON payout_method
    TO saldo_directory, saldo_withdrawals, saldo_operator;
GRANT SELECT ON withdrawal, withdrawal_transition, revelation TO saldo_operator;
-- Merchants come through preferences.put now.
REVOKE INSERT, UPDATE ON merchant FROM saldo_operator;

-- Reveals payout details, and encrypts them anew when keys are rotated.
GRANT SELECT ON merchant, customer, account, withdrawal, withdrawal_transition, payout_method, inbox, waiting
    TO saldo_treasurer;
GRANT UPDATE (key_id, sealed) ON payout_method TO saldo_treasurer;
GRANT UPDATE (key_id, body) ON waiting TO saldo_treasurer;
GRANT INSERT (withdrawal, actor) ON revelation TO saldo_treasurer;

-- How many of an account's entries were recorded before a moment. They are numbered in the order in which they
-- were recorded, so that doubling and then halving finds it: an index by time would cost every entry ever written.
CREATE FUNCTION entries_before(account bigint, moment timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    found bigint;
    step bigint := 1;
BEGIN
    WHILE EXISTS (SELECT FROM entry WHERE account_id = account AND number = step AND recorded_at < moment) LOOP
        step := step * 2;
    END LOOP;
    found := step / 2;
    step := step / 4;
    WHILE step > 0 LOOP
        IF EXISTS (SELECT FROM entry WHERE account_id = account AND number = found + step AND recorded_at < moment)
        THEN
            found := found + step;
        END IF;
        step := step / 2;
    END LOOP;
    RETURN found;
END
$$;

-- Lists of a shop's customers by name.
CREATE INDEX customer_name ON customer (merchant, name, id);
