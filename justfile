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

# How long everything takes, of `engine`, `journal`, `ledger` or `recovery`; `just bench ledger admit --quick` is a part, soon.
bench WHICH *ARGS:
    cargo bench -p headgate-benches --bench {{WHICH}} -- {{ARGS}}

# Whether anything takes more instructions than is recorded: `check`, `record`, or `run NAME TIMES`. Needs valgrind.
counts *ARGS="check":
    cargo run --profile counts --locked --quiet -p headgate-benches --bin counts -- {{ARGS}}

# Random streams against the naive model, so many of them.
streams RUNS="20000":
    HEADGATE_RUNS={{RUNS}} cargo test --release -p headgate-ledger --test model -- the_ledger_says

# Every interleaving of what is made of atomics.
loom:
    RUSTFLAGS="--cfg loom" cargo test -p headgate-sync --lib --release --target-dir target/loom

# Measures everything, and writes it down in benches/RESULTS.md: half an hour, `--quick` minutes. `--peer NAME=TARGET` takes a
# server of others beside it, which you have started; `--only PART,…` some of it.
results *ARGS:
    cargo build --release --locked -p headgate-scheduler -p headgate-loadtest
    target/release/headgate-loadtest results {{ARGS}}

# How fast a server is that is driven over gRPC: see `headgate-loadtest --help`.
loadtest *ARGS:
    cargo run --release -p headgate-loadtest -- {{ARGS}}

# Servers killed under load, so many of them.
crashes ROUNDS="60":
    HEADGATE_TEST_CRASH_ROUNDS={{ROUNDS}} cargo test -p headgate-scheduler --lib every_answer_survives

# Any bytes against what reads them (configuration, scenario, message, record, snapshot, trace), for so many seconds. Takes
# a nightly toolchain, and cargo-fuzz.
fuzz TARGET SECONDS="300":
    HEADGATE_FUZZ_SEEDS="{{justfile_directory()}}/scheduler/fuzz/corpus" cargo test -p headgate-scheduler --lib --locked -- --ignored fuzz::tests::seeds
    cargo +nightly fuzz run --fuzz-dir scheduler/fuzz --sanitizer none {{TARGET}} -- -max_total_time={{SECONDS}} -timeout=10

# Known vulnerabilities in what is depended on; needs the network.
advisories:
    cargo deny check advisories
