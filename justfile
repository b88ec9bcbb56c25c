# A handful of entry points; `just` lists them.

_default:
    @just --list

# Starts a server with example tenants in ./headgate-data.
serve *ARGS:
    cargo run --release -- serve {{ARGS}}

# All tests.
test:
    cargo test --workspace --locked

# Everything that must hold before a change lands.
ci:
    .ci/run

# Benchmarks of the ledger.
bench *ARGS:
    cargo bench -p headgate-benches --bench ledger -- {{ARGS}}

# Random streams against the naive model, so many of them.
streams RUNS="20000":
    HEADGATE_RUNS={{RUNS}} cargo test --release -p headgate-ledger --test model -- the_ledger_says

# Known vulnerabilities in what is depended on; needs the network.
advisories:
    cargo deny check advisories
