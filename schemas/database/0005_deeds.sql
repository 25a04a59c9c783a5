-- What operators did with dead letters. Runs as saldo_owner with search_path = saldo.

-- Written and committed before it is done: a deed that stands here may not have been done, never the other way round.
CREATE TABLE deed (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    role text NOT NULL DEFAULT session_user,
    -- Who says to be sitting there.
    actor text NOT NULL CHECK (length(actor) BETWEEN 1 AND 128),
    kind text NOT NULL CHECK (kind IN ('replay', 'discard', 'reveal')),
    -- The letter: its queue, its name, why it was dead.
    queue text NOT NULL CHECK (length(queue) BETWEEN 1 AND 255),
    letter bytea NOT NULL CHECK (length(letter) = 16),
    reason text CHECK (length(reason) <= 128),
    -- What it says to be, as far as that can be read: nobody has checked any of it.
    type text CHECK (length(type) <= 128),
    merchant text CHECK (length(merchant) <= 128),
    source text CHECK (length(source) <= 256),
    command_id text CHECK (length(command_id) <= 128),
    routing_key text CHECK (length(routing_key) <= 255),
    -- SHA-256 of the body as it lay there; null where it may hold payout details in clear, which could be guessed from it.
    fingerprint bytea CHECK (length(fingerprint) = 32),
    -- As whom a replay was to be published.
    user_id text CHECK (length(user_id) BETWEEN 1 AND 255),
    -- What the actor gave as the reason, and what was known of the command then.
    note text CHECK (length(note) <= 1000)
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON deed
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON deed
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE deed ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE deed ENABLE ALWAYS TRIGGER append_only_whole;

-- When and as whom says the database.
GRANT SELECT ON deed TO saldo_operator;
GRANT INSERT (actor, kind, queue, letter, reason, type, merchant, source, command_id, routing_key, fingerprint, user_id,
    note) ON deed TO saldo_operator;
