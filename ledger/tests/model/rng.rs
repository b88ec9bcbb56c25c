//! A seeded source of numbers (splitmix64), and where its seed comes from.

use std::ops::RangeInclusive;

#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn within(&mut self, range: RangeInclusive<i64>) -> i64 {
        let width = (range.end() - range.start() + 1) as u64;
        range.start() + (self.next() % width) as i64
    }

    /// In so many of a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[(self.next() % among.len() as u64) as usize]
    }
}

/// `HEADGATE_SEED` alone where it is set; else the first `runs` seeds, or `HEADGATE_RUNS` of them.
pub(crate) fn seeds(runs: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    match number("HEADGATE_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("HEADGATE_RUNS").unwrap_or(runs)).collect(),
    }
}
