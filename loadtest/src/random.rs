//! Numbers that are drawn: the same for the same seed, on every machine.

/// A generator: xoshiro256++ by Blackman and Vigna, seeded by SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Random([u64; 4]);

impl Random {
    /// The generator of a seed; those with another number beside it draw apart from each other.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut state = seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95);
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ mixed >> 31
        }))
    }

    pub(crate) fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let drawn = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        drawn
    }

    /// A number from 0 to below `bound`, which is above 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from 0 to below 1.
    pub(crate) fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number from an exponential distribution of mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.part()).ln()
    }

    /// A number from the standard normal distribution.
    pub(crate) fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (std::f64::consts::TAU * self.part()).cos()
    }
}

/// Draws places by their weights, in constant time (Walker's alias method, as by Vose).
#[derive(Clone, Debug)]
pub(crate) struct Weighted {
    kept: Vec<f64>,
    other: Vec<u32>,
}

impl Weighted {
    /// Of weights that are not negative, and not all zero.
    pub(crate) fn new(weights: &[f64]) -> Self {
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        let mut kept: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
        let mut other: Vec<u32> = (0..weights.len() as u32).collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            (0..weights.len() as u32).partition(|at| kept[*at as usize] < 1.0);
        while let (Some(less), Some(&more)) = (small.pop(), large.last()) {
            other[less as usize] = more;
            kept[more as usize] -= 1.0 - kept[less as usize];
            if kept[more as usize] < 1.0 {
                large.pop();
                small.push(more);
            }
        }
        // What is left on either side is 1 but for rounding.
        for at in small.into_iter().chain(large) {
            kept[at as usize] = 1.0;
        }
        Self { kept, other }
    }

    /// Zipf's law: the nth of them has the weight n to the power of -`skew`.
    pub(crate) fn zipf(count: usize, skew: f64) -> Vec<f64> {
        (1..=count).map(|rank| (rank as f64).powf(-skew)).collect()
    }

    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        if self.kept.len() == 1 {
            return 0;
        }
        let at = random.below(self.kept.len() as u64) as usize;
        if random.part() < self.kept[at] { at } else { self.other[at] as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::{Random, Weighted};

    #[test]
    fn a_seed_draws_the_same_and_another_something_else() {
        let draw = |seed, stream| {
            let mut random = Random::new(seed, stream);
            (0..5).map(|_| random.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn means_are_what_they_should_be() {
        let mut random = Random::new(7, 0);
        let mean =
            |draw: &mut dyn FnMut(&mut Random) -> f64| (0..100_000).map(|_| draw(&mut random)).sum::<f64>() / 100_000.0;
        let mut mean = mean;
        for (name, got, expected) in [
            ("part", mean(&mut Random::part), 0.5),
            ("exponential", mean(&mut Random::exponential), 1.0),
            ("normal", mean(&mut Random::normal), 0.0),
            ("square of normal", mean(&mut |random| random.normal().powi(2)), 1.0),
        ] {
            assert!((got - expected).abs() < 0.02, "{name}: {got}");
        }
    }

    #[test]
    fn places_are_drawn_by_their_weights() {
        let weights = Weighted::zipf(4, 1.0);
        let (weighted, total) = (Weighted::new(&weights), weights.iter().sum::<f64>());
        let (mut random, mut drawn) = (Random::new(3, 0), [0.0; 4]);
        for _ in 0..100_000 {
            drawn[weighted.draw(&mut random)] += 1.0 / 100_000.0;
        }
        for (at, weight) in weights.iter().enumerate() {
            assert!((drawn[at] - weight / total).abs() < 0.01, "{at}: {drawn:?}");
        }
    }
}
