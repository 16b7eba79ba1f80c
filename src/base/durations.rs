//! How long the same thing took, over and over: counted by powers of two, in fixed memory.

/// How many counts there are; the last one is of all that took longer than the one before it says.
pub const BUCKETS: usize = 18;
/// The first bucket ends at 16 us, so the last but one ends at 2^20 us, about a second.
const FIRST_BITS: u32 = 4;

/// Lengths of time, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durations {
    counts: [u64; BUCKETS],
    sum_us: u64,
    longest_us: u64,
}

impl Durations {
    /// None yet.
    pub const EMPTY: Durations = Durations { counts: [0; BUCKETS], sum_us: 0, longest_us: 0 };

    /// Counts one.
    pub fn record(&mut self, us: u64) {
        // 2^n is in the bucket that ends there.
        let bits = u64::BITS - us.saturating_sub(1).leading_zeros();
        let bucket = (bits.saturating_sub(FIRST_BITS) as usize).min(BUCKETS - 1);
        self.counts[bucket] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
        self.longest_us = self.longest_us.max(us);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All together.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// The longest of all.
    pub fn longest_us(&self) -> u64 {
        self.longest_us
    }

    /// What a bucket's counts took at most, which is what its neighbour's took at least; the last one has no end.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        (0..BUCKETS)
            .map(|index| ((index + 1 < BUCKETS).then(|| 1 << (FIRST_BITS as usize + index)), self.counts[index]))
    }

    /// So many percent of them took no longer than this: the end of a bucket, so up to twice as much as it may be.
    pub fn within_us(&self, percent: u64) -> u64 {
        let wanted = (self.count() * percent).div_ceil(100);
        let mut seen = 0;
        for (end_us, count) in self.buckets() {
            seen += count;
            if seen >= wanted {
                return end_us.map_or(self.longest_us, |end_us| end_us.min(self.longest_us));
            }
        }
        self.longest_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_in_the_bucket_that_ends_at_it_or_above() {
        for us in [0, 1, 15, 16, 17, 32, 33, 1 << 20, (1 << 20) + 1, u64::MAX] {
            let mut durations = Durations::EMPTY;
            durations.record(us);
            let mut begin_us = 0;
            for (end_us, count) in durations.buckets() {
                let inside = (us == 0 && begin_us == 0 || us > begin_us) && end_us.is_none_or(|end_us| us <= end_us);
                assert_eq!(count, u64::from(inside), "{us} and the bucket from {begin_us} to {end_us:?}");
                begin_us = end_us.unwrap_or(u64::MAX);
            }
        }
    }

    #[test]
    fn a_share_is_bounded_by_a_bucket_or_by_the_longest() {
        let mut durations = Durations::EMPTY;
        assert_eq!((durations.count(), durations.within_us(99)), (0, 0));
        (0..99).for_each(|_| durations.record(20));
        durations.record(5_000);
        assert_eq!((durations.within_us(50), durations.within_us(99), durations.within_us(100)), (32, 32, 5_000));
        durations.record(5_000_000);
        assert_eq!((durations.within_us(99), durations.within_us(100)), (8_192, 5_000_000));
        assert_eq!((durations.count(), durations.sum_us(), durations.longest_us()), (101, 5_006_980, 5_000_000));
    }
}
