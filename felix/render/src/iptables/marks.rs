//! Bits of a packet's mark: what chains tell each other about it (`felix.md` §4.2 of the contract).

/// Which bit means what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Policy let the packet through.
    pub accept: u32,
    /// The next tier decides.
    pub pass: u32,
    /// Policy denied it. Never cleared: such a packet goes nowhere.
    pub drop: u32,
    /// All blocks of conditions so far hold; the packet comes from a workload; it is within its rate.
    pub scratch0: u32,
    /// The block of conditions at hand holds.
    pub scratch1: u32,
}

impl Marks {
    /// Bits that are needed.
    pub const NEEDED: u32 = 5;

    /// The lowest bits of a mask (`iptablesMarkMask`); `None` where it has fewer than [`Marks::NEEDED`].
    pub fn of(mask: u32) -> Option<Self> {
        let mut rest = mask;
        let mut next = || {
            let bit = rest & rest.wrapping_neg();
            rest &= !bit;
            Some(bit).filter(|bit| *bit != 0)
        };
        Some(Marks { accept: next()?, pass: next()?, drop: next()?, scratch0: next()?, scratch1: next()? })
    }

    /// Both bits that say what policy decided and may be decided anew.
    pub fn verdict(&self) -> u32 {
        self.accept | self.pass
    }

    /// Both bits of blocks of conditions.
    pub fn scratch(&self) -> u32 {
        self.scratch0 | self.scratch1
    }
}

impl Default for Marks {
    /// Those of Calico's default mask, `0xffff0000`.
    fn default() -> Self {
        Marks { accept: 0x10000, pass: 0x20000, drop: 0x40000, scratch0: 0x80000, scratch1: 0x10_0000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_the_lowest_of_the_mask() {
        assert_eq!(Marks::of(0xffff_0000), Some(Marks::default()));
        let sparse = Marks::of(0x8000_0155).unwrap();
        assert_eq!((sparse.accept, sparse.pass, sparse.drop), (1, 4, 0x10));
        assert_eq!((sparse.scratch0, sparse.scratch1), (0x40, 0x100));
        assert_eq!(Marks::of(0xf0), None);
        assert_eq!(Marks::of(0), None);
        assert!((0..64).all(|mask: u32| Marks::of(mask).is_some() == (mask.count_ones() >= Marks::NEEDED)));
    }
}
