//! What was not yet told of a set's members.

use super::Member;

/// Members that came (`true`) and went, one after the other. They come mostly in order, so that a list is quicker to
/// fill and to sort than a map is.
#[derive(Debug, Default)]
pub struct Log {
    entries: Vec<(Member, bool)>,
    /// What was left when it was last put together.
    kept: usize,
}

impl Log {
    /// Fewer are not worth being put together.
    const FEW: usize = 1024;

    /// A member came, or went.
    pub fn push(&mut self, member: Member, came: bool) {
        self.entries.push((member, came));
        // a member that comes and goes for long must not fill the memory
        if self.entries.len() >= Self::FEW.max(2 * self.kept) {
            self.put_together();
            self.kept = self.entries.len();
        }
    }

    /// Whether this member is not as it was at first.
    pub fn differs(&self, member: Member) -> bool {
        self.entries.iter().filter(|(other, _)| *other == member).count() % 2 == 1
    }

    /// One entry a member, in order, where it is not as it was at first.
    fn put_together(&mut self) {
        self.entries.sort_by_key(|entry| entry.0);
        let runs = self.entries.chunk_by(|a, b| a.0 == b.0);
        // it comes and goes in turn: after an even number of times it is as before
        self.entries = runs.filter(|run| run.len() % 2 == 1).filter_map(<[_]>::last).copied().collect();
    }

    /// Members that are there and were not at first (`true`), and those that were and are not, in order.
    pub fn outcome(mut self) -> Vec<(Member, bool)> {
        self.put_together();
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn what_came_and_went_is_not_told(there in any::<[bool; 40]>(), turns in prop::collection::vec(0u8..40, 0..5000)) {
            let member = |last: usize| Member::Port(std::net::Ipv4Addr::LOCALHOST.into(), 6, u16::try_from(last).unwrap());
            let mut now = there;
            let mut log = Log::default();
            for turn in turns {
                let turn = usize::from(turn);
                now[turn] = !now[turn];
                log.push(member(turn), now[turn]);
                prop_assert!(log.entries.len() <= Log::FEW);
            }
            let expected: Vec<(Member, bool)> =
                (0..40).filter(|at| there[*at] != now[*at]).map(|at| (member(at), now[at])).collect();
            prop_assert_eq!(log.outcome(), expected);
        }
    }
}
