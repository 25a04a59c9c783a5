-- What operators ask for. Runs as saldo_owner with search_path = saldo.

-- `saldo events republish` asks for the batches of some hours. They are written one after the other, so their times lie
-- together: block ranges find them at almost no cost to the insert.
CREATE INDEX batch_created ON batch USING brin (created_at) WITH (pages_per_range = 16, autosummarize = on);
