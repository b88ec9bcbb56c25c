//! Seeded ledgers and engines of a given size, and what is done to them.

pub mod counted;

mod cell;
mod served;

pub use cell::{Cell, Size};
pub use served::{Served, main_cell, record};

/// The server's allocator: what is measured here is what the server does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whether a benchmark runs as a test, which `cargo bench` alone does not ask for: all is done once then.
pub fn is_test() -> bool {
    let told = |flag: &str| std::env::args().any(|argument| argument == flag);
    !told("--bench") || told("--test")
}

/// The sizes to measure; as a test, a small one.
pub fn sizes<T>(measured: impl IntoIterator<Item = T>, tested: T) -> Vec<T> {
    if is_test() { vec![tested] } else { measured.into_iter().collect() }
}
