//! For each field of a rule, and its negation, both backends and the evaluator give one verdict.

use super::random::{Case, Random, case, packet};
use super::seen::Seen;
use crate::evaluate::evaluate;
use crate::form::{Direction, Program, Scope, Verdict};
use crate::iptables::{self, Marks, Table};
use crate::nft;

const PROGRAMS: u64 = 400;
const PACKETS: usize = 20;

/// Direction, and the chain in either ruleset.
const CHAINS: [(Direction, &str, &str); 2] =
    [(Direction::Ingress, "to-cali1", "cali-tw-cali1"), (Direction::Egress, "from-cali1", "cali-fw-cali1")];

#[test]
fn both_backends_and_the_evaluator_agree_about_every_field() {
    let mut seen = Seen::default();
    let accept = Marks::default().accept;
    for seed in 0..PROGRAMS {
        // programs that no other test has
        let mut random = Random(seed ^ 0x5eed_0000);
        let Case { tiers, profiles, members } = case(&mut random);
        let nftables = nft::tests::verdicts::rendered(&members, &tiers, &profiles);
        let xtables = iptables::tests::verdicts::rendered(&members, &tiers, &profiles);
        for (direction, of_nftables, of_iptables) in CHAINS {
            let program = Program::new(Scope::Workload, direction, &tiers, &profiles);
            seen.program(&program);
            for _ in 0..PACKETS {
                let packet = packet(&mut random);
                let evaluated = evaluate(&program, &packet, &members).verdict;
                let by_nftables = {
                    use nft::tests::interpreter::{Context, Left, chain};
                    match chain(&nftables, of_nftables, &mut Context::new(&packet)) {
                        Left::Accepted => Verdict::Allow,
                        Left::Dropped => Verdict::Deny,
                        Left::End => Verdict::Pass,
                    }
                };
                let by_iptables = {
                    use iptables::tests::interpreter::{Context, Left, chain};
                    let mut context = Context::new(&packet);
                    match chain(&xtables, Table::Filter, of_iptables, &mut context) {
                        Left::End if context.mark & accept != 0 => Verdict::Allow,
                        Left::Dropped => Verdict::Deny,
                        _ => Verdict::Pass,
                    }
                };
                let expected = (evaluated, evaluated);
                assert_eq!((by_nftables, by_iptables), expected, "seed {seed}, {direction}: {packet:?}");
            }
        }
    }
    assert_eq!(seen.missing_fields(), Vec::<String>::new());
}
