//! Distributions of whole numbers of any unit, in fixed buckets.

/// The number of bounded buckets: 1, 2, 5, 10, 20, 50 and so on up to 10^12.
const BOUNDED: usize = 37;

/// The upper bound of each bounded bucket.
const BOUNDS: [u64; BOUNDED] = bounds();

const fn bounds() -> [u64; BOUNDED] {
    let mut bounds = [0; BOUNDED];
    let (mut place, mut decade) = (0, 1);
    while place < BOUNDED {
        bounds[place] = decade * [1, 2, 5][place % 3];
        place += 1;
        if place % 3 == 0 {
            decade *= 10;
        }
    }
    bounds
}

/// How whole numbers are distributed: how many there are, of which size about, and their sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// How many are within each bound, and not within the one before; then those beyond the last.
    counts: [u64; BOUNDED + 1],
    sum: u128,
}

impl Default for Numbers {
    fn default() -> Self {
        Self { counts: [0; BOUNDED + 1], sum: 0 }
    }
}

impl Numbers {
    /// Notes a number so many times.
    pub fn note_many(&mut self, number: u64, count: u64) {
        let bucket = BOUNDS.partition_point(|bound| *bound < number);
        self.counts[bucket] = self.counts[bucket].saturating_add(count);
        self.sum = self.sum.saturating_add(u128::from(number) * u128::from(count));
    }

    /// How many were noted.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Their sum.
    pub fn sum(&self) -> f64 {
        self.sum as f64
    }

    /// The upper bound of each bucket, and how many are in this bucket alone.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        BOUNDS.iter().map(|bound| *bound as f64).chain([f64::INFINITY]).zip(self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_in_the_first_bucket_that_it_is_within() {
        assert!(BOUNDS.is_sorted());
        assert_eq!((BOUNDS[0], BOUNDS[3], BOUNDS[BOUNDED - 1]), (1, 10, 1_000_000_000_000));
        let mut numbers = Numbers::default();
        numbers.note_many(0, 1);
        numbers.note_many(5, 2);
        numbers.note_many(6, 3);
        numbers.note_many(u64::MAX, 1);
        let filled: Vec<_> = numbers.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(1.0, 1), (5.0, 2), (10.0, 3), (f64::INFINITY, 1)]);
        assert_eq!((numbers.count(), numbers.sum()), (7, (28 + u128::from(u64::MAX)) as f64));
    }
}
