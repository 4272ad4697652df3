//! Sets of small numbers.

/// A set of numbers below a bound that all sets of its kind share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Words that a set of numbers below `bound` takes; at least one.
    pub(super) fn words_for(bound: usize) -> usize {
        bound.div_ceil(64).max(1)
    }

    /// The empty set.
    pub(super) fn none(bound: usize) -> Self {
        Self(vec![0; Self::words_for(bound)])
    }

    pub(super) fn insert(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }

    pub(super) fn contains(&self, number: usize) -> bool {
        self.0[number / 64] >> (number % 64) & 1 == 1
    }

    /// Takes a number out that is in, puts one in that is not.
    pub(super) fn toggle(&mut self, number: usize) {
        self.0[number / 64] ^= 1 << (number % 64);
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a | b).collect())
    }

    pub(super) fn minus(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & !b).collect())
    }

    /// The smallest number that is in all three sets.
    pub(super) fn first_common(&self, second: &Self, third: &Self) -> Option<usize> {
        let words = self.0.iter().zip(&second.0).zip(&third.0).map(|((a, b), c)| a & b & c);
        let (index, word) = words.enumerate().find(|(_, word)| *word != 0)?;
        Some(index * 64 + word.trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(numbers: &[usize]) -> Bits {
        let mut set = Bits::none(200);
        numbers.iter().for_each(|number| set.insert(*number));
        set
    }

    #[test]
    fn the_first_common_number_is_the_smallest_also_across_words() {
        let all = bits(&[3, 64, 130, 199]);
        assert_eq!(all.first_common(&bits(&[130, 199]), &bits(&[4, 64, 130, 199])), Some(130));
        assert_eq!(all.first_common(&bits(&[64]), &bits(&[3])), None);
    }

    #[test]
    fn sets_are_joined_and_parted() {
        assert_eq!(bits(&[1, 70]).union(&bits(&[2, 70])), bits(&[1, 2, 70]));
        assert_eq!(bits(&[1, 70]).minus(&bits(&[2, 70])), bits(&[1]));
        let mut set = bits(&[5]);
        set.toggle(5);
        set.toggle(150);
        assert_eq!(set, bits(&[150]));
        assert!(set.contains(150) && !set.contains(5));
    }
}
