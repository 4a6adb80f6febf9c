//! Random numbers of edges, from a seed.

/// SplitMix64: a counter through a mixing function, so that the numbers of one task never repeat.
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
#[derive(Debug)]
pub(crate) struct Edges(u64);

impl Edges {
    /// The numbers of one launch of one task.
    pub(crate) fn new(seed: u64, task: u32, incarnation: u32) -> Self {
        let stream = (u64::from(task) << 32) | u64::from(incarnation);
        Self(mix(seed ^ mix(stream)))
    }

    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

#[inline]
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
