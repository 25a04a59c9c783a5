-- Roles and schema, made before the migrations run; safe to run again. Roles belong to the whole server, so
-- several databases can meet here at once: one that another made in between is as good as one made here.
--
--   saldo_owner        owns everything, cannot log in; `saldo migrate` becomes it
--   saldo_commissions, saldo_adjustments, saldo_directory, saldo_withdrawals   a worker each
--   saldo_notifier     tells people what became of withdrawals
--   saldo_operator     the command line: reads everything but what is sealed
--   saldo_treasurer    reveals payout details, and encrypts them with another key
--
-- Roles that log in have no password until the deployment sets one.
DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('saldo_owner', 'NOLOGIN'), ('saldo_commissions', 'LOGIN'), ('saldo_adjustments', 'LOGIN'),
            ('saldo_directory', 'LOGIN'), ('saldo_withdrawals', 'LOGIN'), ('saldo_notifier', 'LOGIN'),
            ('saldo_operator', 'LOGIN'), ('saldo_treasurer', 'LOGIN')
        ) AS roles (name, login)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted.name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I %s', wanted.name, wanted.login);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
    -- Since Postgres 16 the creator of a role is a member that may not become it.
    IF NOT pg_has_role(current_user, 'saldo_owner',
                       CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END) THEN
        EXECUTE format('GRANT saldo_owner TO %I', current_user);
    END IF;
    IF to_regnamespace('saldo') IS NULL THEN
        CREATE SCHEMA saldo AUTHORIZATION saldo_owner;
    END IF;
END
$$;
