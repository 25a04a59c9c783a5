-- What is mailed, and what became of it. Runs as saldo_owner with search_path = saldo.

-- A state that a withdrawal entered and that the notifier has dealt with, whether anybody is told of it or not. No
-- withdrawal enters a state twice.
CREATE TABLE notice (
    withdrawal bytea NOT NULL REFERENCES withdrawal,
    state text NOT NULL CHECK (state IN ('requested', 'approved', 'paid', 'rejected', 'cancelled')),
    noticed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (withdrawal, state)
);

-- What happened before there was a notifier is nobody's news; a request that still waits for an answer is, if the sweep
-- looks back that far.
INSERT INTO notice (withdrawal, state)
SELECT t.withdrawal, t.state FROM withdrawal_transition t JOIN withdrawal w ON w.key = t.withdrawal
WHERE NOT (w.state = 'requested' AND t.state = 'requested');

-- One mail to one address.
CREATE TABLE mail (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    merchant text NOT NULL REFERENCES merchant,
    kind text NOT NULL CHECK (kind IN ('admin-requested', 'admin-digest', 'customer-requested', 'customer-approved',
        'customer-paid', 'customer-rejected', 'customer-cancelled')),
    recipient text NOT NULL CHECK (length(recipient) BETWEEN 3 AND 254),
    -- due: to be sent, again or for the first time; sent and failed are the end, unless an operator has it sent again.
    state text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'sent', 'failed')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Whoever attempts it sets this ahead first: that is the lease. A digest collects until then.
    next_attempt_at timestamptz NOT NULL,
    -- For how long it is tried, once and again when an operator has it sent again; and until when that is.
    patience interval NOT NULL,
    give_up_at timestamptz NOT NULL,
    -- Grows when it is leased: who settles an attempt names it, so that one that took too long settles nothing.
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    attempted_at timestamptz,
    ended_at timestamptz,
    -- The mail server's last status, and its last words or what happened in their place, without addresses.
    status smallint CHECK (status BETWEEN 200 AND 599),
    answer text CHECK (length(answer) <= 400),
    -- How often an operator had it sent again: another mail then, to whoever recognises mails.
    resent integer NOT NULL DEFAULT 0 CHECK (resent >= 0),
    CHECK ((state = 'due') = (ended_at IS NULL))
) WITH (fillfactor = 80);

-- The dispatcher asks for what is due, the longest waiting first; most mails are not due for long.
CREATE INDEX mail_due ON mail (next_attempt_at, id) WHERE state = 'due';
-- And then for a merchant's.
CREATE INDEX mail_due_of ON mail (merchant, next_attempt_at, id) WHERE state = 'due';
-- Lists are of a merchant, or of what has failed, newest first.
CREATE INDEX mail_merchant ON mail (merchant, id);
CREATE INDEX mail_failed ON mail (id) WHERE state = 'failed';
-- How many an address got lately, and the digest that is open for it.
CREATE INDEX mail_recipient ON mail (merchant, recipient, created_at);

-- What a mail tells of: each address is told of each state at most once.
CREATE TABLE delivery (
    withdrawal bytea NOT NULL,
    state text NOT NULL,
    audience text NOT NULL CHECK (audience IN ('admin', 'customer')),
    recipient text NOT NULL,
    mail_id bigint NOT NULL REFERENCES mail,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (withdrawal, state, audience, recipient),
    FOREIGN KEY (withdrawal, state) REFERENCES notice
);

CREATE INDEX delivery_mail ON delivery (mail_id);

-- The sweep looks for recent states without a notice. They are recorded in the order of time, or nearly.
CREATE INDEX withdrawal_transition_recorded ON withdrawal_transition USING brin (recorded_at)
    WITH (pages_per_range = 16, autosummarize = on);

-- The notifier reads what it tells of and writes what it tells; that a mail failed is an event like any other.
GRANT USAGE ON SCHEMA saldo TO saldo_notifier;
GRANT SELECT ON _sqlx_migrations, merchant, customer, account, withdrawal, withdrawal_transition, inbox, batch,
    notice, mail, delivery TO saldo_notifier;
GRANT INSERT ON notice, mail, delivery, batch, inbox TO saldo_notifier;
GRANT UPDATE (state, next_attempt_at, attempts, attempted_at, ended_at, status, answer) ON mail TO saldo_notifier;
GRANT UPDATE (published_at) ON batch TO saldo_notifier;

-- An operator looks, and has mails sent again.
GRANT SELECT ON notice, mail, delivery TO saldo_operator;
GRANT UPDATE (state, next_attempt_at, give_up_at, ended_at, recipient, resent) ON mail TO saldo_operator;
