# Shortcuts; `just` alone lists them. Everything here is also a plain command: just is not needed.

_list:
    @{{ just_executable() }} --list --unsorted

# Saldo on this machine: installs, builds, starts, demonstrates, stays up (--once, --fresh)
up *options:
    deploy/local/up {{ options }}

# All checks and tests, or the steps named: format, lint, monitoring, test, faults, speed, queries, demo
test *steps:
    tests/run {{ steps }}

# Formatting and clippy alone
lint:
    tests/run format lint

# The end-to-end tests, or those whose names contain NAME, with servers of their own
e2e *name:
    deploy/local/servers cargo test --workspace --test '*' {{ name }}

# Everything around the workers breaks: [--minutes N] [--seed S] [--rate N] [--verbose]
faults *options:
    cargo build -p tests --bins
    deploy/local/servers --unstarted cargo run -q -p tests --bin faults -- {{ options }}

# The benchmark, with servers of its own; figures and plots go to target/bench: [--rounds N] [--only CASE,…]
bench *options:
    cargo build --release
    cargo build --release -p bench
    deploy/local/servers target/release/bench {{ options }}

# Query metadata for builds without a database: after changing a query or a migration
prepare:
    schemas/database/prepare

# JSON Schemas, event examples and the broker's definitions: after changing the types they are written from
schemas:
    SALDO_WRITE_SCHEMAS=1 cargo test -q -p contract -p worker
