//! Random numbers that can be had again: a test that uses them prints its seed.

/// A small seeded sequence (SplitMix64, public domain, by Sebastiano Vigna).
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.draw() % limit
    }
}

/// The seed in `AOS_SEED`, else `usual`; printed, so that a failure can be had again.
pub fn seed_from_environment(usual: u64) -> u64 {
    let seed = match std::env::var("AOS_SEED") {
        Ok(seed) => seed
            .parse()
            .unwrap_or_else(|_| panic!("AOS_SEED={seed}: must be a whole number")),
        Err(_) => usual,
    };
    println!("seed {seed}; run again with AOS_SEED={seed}");
    seed
}
