//! The random numbers of a sample: xoshiro256** (D. Blackman and S. Vigna, 2018), seeded through SplitMix64.
//!
//! It is written out here because its stream is part of the contract: the same seed gives the same sessions, whatever
//! becomes of a library.

use std::f64::consts::TAU;

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: [u64; 4],
}

impl Random {
    /// Returns the stream of a seed; each number of a stream has one of its own, independent of all others.
    pub(super) fn new(seed: u64, stream: u64) -> Random {
        let mut mixed = split_mix(seed).1 ^ split_mix(stream.wrapping_mul(0xd134_2543_de82_ef95)).1;
        let mut state = [0; 4];
        for word in &mut state {
            (mixed, *word) = split_mix(mixed);
        }
        Random { state }
    }

    pub(super) fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Returns a number from 0 up to `limit`, which it is always below; `limit` is above 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        debug_assert!(limit > 0);
        // The high half of the product is uniform but for a bias of `limit` in 2^64, which no sample can show.
        ((u128::from(self.next_u64()) * u128::from(limit)) >> 64) as u64
    }

    /// Returns a number from 0 up to `limit`, for ranges of IPv6 that 64 bits cannot count.
    pub(super) fn below_wide(&mut self, limit: u128) -> u128 {
        match u64::try_from(limit) {
            Ok(limit) => u128::from(self.below(limit)),
            Err(_) => ((u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())) % limit,
        }
    }

    /// Returns a number from `least` to `most`, both included.
    pub(super) fn between(&mut self, least: i64, most: i64) -> i64 {
        least + self.below((most - least) as u64 + 1) as i64
    }

    /// Returns a number from 0 to below 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Returns a number from `least` to below `most`.
    pub(super) fn within(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.unit()
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// Returns a waiting time of a process without memory.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Returns two independent numbers of the normal distribution with mean 0.
    pub(super) fn normal_pair(&mut self, deviation: f64) -> (f64, f64) {
        let radius = deviation * (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let (sin, cos) = (TAU * self.unit()).sin_cos();
        (radius * cos, radius * sin)
    }
}

/// One step of SplitMix64: the next state, and its output.
fn split_mix(state: u64) -> (u64, u64) {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (state, mixed ^ (mixed >> 31))
}

/// Things with weights, drawn in proportion.
#[derive(Clone, Debug)]
pub(super) struct Weighted<T> {
    items: Vec<T>,
    /// The sum of the weights up to and with each item.
    sums: Vec<u64>,
}

impl<T> Weighted<T> {
    /// Returns the items, or none where nothing has a weight.
    pub(super) fn new(items: impl IntoIterator<Item = (T, u64)>) -> Option<Weighted<T>> {
        let mut weighted = Weighted { items: Vec::new(), sums: Vec::new() };
        let mut sum = 0u64;
        for (item, weight) in items {
            if weight > 0 {
                sum += weight;
                weighted.items.push(item);
                weighted.sums.push(sum);
            }
        }
        (sum > 0).then_some(weighted)
    }

    pub(super) fn pick(&self, random: &mut Random) -> &T {
        let sum = self.sums.last().copied().unwrap_or_default();
        let drawn = random.below(sum);
        &self.items[self.sums.partition_point(|sum| *sum <= drawn)]
    }

    pub(super) fn items(&self) -> &[T] {
        &self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of the reference implementations in C, from the state 1, 2, 3, 4 and from the seed 1234567.
    #[test]
    fn the_streams_are_those_of_the_papers() {
        let mut random = Random { state: [1, 2, 3, 4] };
        let found: Vec<u64> = (0..5).map(|_| random.next_u64()).collect();
        assert_eq!(found, [11520, 0, 1509978240, 1215971899390074240, 1216172134540287360]);
        let mut state = 1_234_567;
        let found: Vec<u64> = (0..3)
            .map(|_| {
                let (next, output) = split_mix(state);
                state = next;
                output
            })
            .collect();
        assert_eq!(found, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let first = |seed, stream| Random::new(seed, stream).next_u64();
        assert_eq!(first(1, 1), first(1, 1));
        let mut seen: Vec<u64> =
            (0..100).flat_map(|seed| (0..100).map(move |stream| first(seed, stream))).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 10_000);
    }

    #[test]
    fn draws_keep_their_bounds_and_their_means() {
        let mut random = Random::new(7, 7);
        let count = 100_000;
        let mut weights = [0u32; 3];
        let (mut units, mut waits, mut squares) = (0.0, 0.0, 0.0);
        let weighted = Weighted::new([(0, 1), (9, 0), (1, 2), (2, 7)]).expect("there are weights");
        for _ in 0..count {
            assert!((-3..=5).contains(&random.between(-3, 5)));
            let wide = random.below_wide(1 << 70);
            assert!(wide < 1 << 70);
            weights[*weighted.pick(&mut random)] += 1;
            units += random.unit();
            waits += random.exponential(4.0);
            let (x, y) = random.normal_pair(3.0);
            squares += x * x + y * y;
        }
        let count = f64::from(count);
        for (found, expected) in weights.iter().zip([0.1, 0.2, 0.7]) {
            assert!((f64::from(*found) / count - expected).abs() < 0.01, "{weights:?}");
        }
        assert!((units / count - 0.5).abs() < 0.01);
        assert!((waits / count - 4.0).abs() < 0.1);
        assert!((squares / count - 18.0).abs() < 0.4);
        assert!(Weighted::new([((), 0)]).is_none());
    }
}
