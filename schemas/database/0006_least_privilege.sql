-- Each role loses what its program does not use, and each worker its hands on another's rows. Runs as saldo_owner with
-- search_path = saldo. What is left is listed in ledger::privileges; a test compares both.

-- Nobody's worker reads the journal: it is for people.
REVOKE SELECT ON journal, trial_balance FROM saldo_commissions;

-- Names and addresses are for who tells people something, or changes them. The others ask whether a customer is known.
REVOKE SELECT ON customer FROM saldo_commissions, saldo_adjustments;
GRANT SELECT (merchant, id) ON customer TO saldo_commissions, saldo_adjustments;

-- Commissions, adjustments and the directory never look at withdrawals.
REVOKE SELECT ON withdrawal FROM saldo_commissions, saldo_adjustments, saldo_directory;
-- The directory moves no money; withdrawals name no entries.
REVOKE SELECT ON account, entry, commission FROM saldo_directory;
REVOKE SELECT ON entry, commission FROM saldo_withdrawals;
REVOKE SELECT ON commission FROM saldo_adjustments;

-- An account begins at zero, a customer without a name, a batch unpublished.
REVOKE INSERT ON account FROM saldo_commissions, saldo_adjustments;
GRANT INSERT (merchant, customer, currency, exponent) ON account TO saldo_commissions, saldo_adjustments;
REVOKE INSERT ON customer FROM saldo_commissions, saldo_adjustments;
GRANT INSERT (merchant, id, kind) ON customer TO saldo_commissions, saldo_adjustments;
REVOKE INSERT ON batch FROM saldo_commissions, saldo_adjustments, saldo_directory, saldo_withdrawals, saldo_notifier;
GRANT INSERT (worker) ON batch
    TO saldo_commissions, saldo_adjustments, saldo_directory, saldo_withdrawals, saldo_notifier;

-- A worker writes its own rows only. By triggers and not by row security, which would be asked at every read too: one
-- comparison for each row that is changed. Of a batch, however many commands it has, that is two rows of `batch`, and the
-- rows of commands that had been parked. What is added to `inbox`, the hot path, is not looked at. A login acts for a worker
-- when it is a member of that worker's role. The owner may, too: migrations, and whoever restores a copy.
-- Understood here and now: nobody's search_path can give its words another meaning.
CREATE FUNCTION acts_for(worker text) RETURNS boolean LANGUAGE sql STABLE
    RETURN pg_has_role('saldo_' || worker, 'MEMBER') OR pg_has_role('saldo_owner', 'MEMBER');

CREATE FUNCTION refuse_foreign() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'this row of % is another worker''s', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER own_added BEFORE INSERT ON batch
    FOR EACH ROW WHEN (NOT acts_for(NEW.worker)) EXECUTE FUNCTION refuse_foreign();
CREATE TRIGGER own_changed BEFORE UPDATE ON batch
    FOR EACH ROW WHEN (NOT acts_for(OLD.worker)) EXECUTE FUNCTION refuse_foreign();
CREATE TRIGGER own_added BEFORE INSERT ON waiting
    FOR EACH ROW WHEN (NOT acts_for(NEW.worker)) EXECUTE FUNCTION refuse_foreign();
CREATE TRIGGER own_removed BEFORE DELETE ON waiting
    FOR EACH ROW WHEN (NOT acts_for(OLD.worker)) EXECUTE FUNCTION refuse_foreign();
-- A row of `inbox` does not name its worker, but the command's type does. A type that is not listed is nobody's.
CREATE TRIGGER own_changed BEFORE UPDATE ON inbox
    FOR EACH ROW WHEN (NOT acts_for(CASE split_part(OLD.type, '.', 1)
        WHEN 'commission' THEN 'commissions'
        WHEN 'adjustment' THEN 'adjustments'
        WHEN 'withdrawal' THEN 'withdrawals'
        WHEN 'customer' THEN 'directory'
        WHEN 'payout-method' THEN 'directory'
        WHEN 'preferences' THEN 'directory'
        ELSE 'owner' END)) EXECUTE FUNCTION refuse_foreign();

-- As `append_only` is: also for a session that replays replication.
ALTER TABLE batch ENABLE ALWAYS TRIGGER own_added;
ALTER TABLE batch ENABLE ALWAYS TRIGGER own_changed;
ALTER TABLE waiting ENABLE ALWAYS TRIGGER own_added;
ALTER TABLE waiting ENABLE ALWAYS TRIGGER own_removed;
ALTER TABLE inbox ENABLE ALWAYS TRIGGER own_changed;
ALTER TABLE inbox ENABLE ALWAYS TRIGGER outcome_once;
