//! Random choices that a seed alone repeats.

use std::time::{SystemTime, UNIX_EPOCH};

/// Names the seed of a failed test.
const SEED_VARIABLE: &str = "TAMIZ_SEED";

/// The seed of a test. It is printed where the test fails.
pub struct Seed(u64);

impl Seed {
    /// Takes the seed of the environment variable `TAMIZ_SEED`, or another one each time.
    pub fn choose() -> Self {
        let given = std::env::var(SEED_VARIABLE).ok();
        let given = given
            .map(|text| text.parse().unwrap_or_else(|error| panic!("{SEED_VARIABLE} is {text:?}: {error}")));
        Self(given.unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            // Short enough to be typed.
            u64::from(since.subsec_nanos())
        }))
    }

    /// Returns the choices of this seed for a purpose; those of another purpose are independent of them.
    pub fn random(&self, purpose: &str) -> Random {
        let mixed = purpose.bytes().fold(self.0, |state, byte| Random(state ^ u64::from(byte)).next());
        Random(mixed)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{SEED_VARIABLE}={} repeats this test", self.0);
        }
    }
}

/// A generator of random numbers: SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number
/// generators", 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Makes a generator that always gives the same numbers.
    pub fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below a bound, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        // The bias of the remainder is one in 2^64 divided by the bound.
        (self.next() % bound as u64) as usize
    }

    /// Tells true in so many of a hundred cases.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// Returns one of several.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// Returns random bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// Brings things into a random order.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for end in (1..things.len()).rev() {
            things.swap(end, self.below(end + 1));
        }
    }
}
