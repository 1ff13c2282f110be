//! The verdict of iptables' form of a program is the evaluator's, packet by packet.

use super::accumulated::Ruleset;
use super::interpreter::{Context, Left, chain};
use crate::evaluate::evaluate;
use crate::form::{Direction, Origin, Program, Scope, Verdict};
use crate::iptables::{Renderer, Table};
use crate::log_prefix;
use crate::settings::Settings;
use crate::tests::random::{Case, Members, Random, case, packet};
use crate::tests::seen::Seen;
use crate::tests::state::policy_alone;
use felix_calc::policy::{Profile, Tier};
use model::net::Family;
use std::sync::Arc;

const PROGRAMS: u64 = 1_000;
const PACKETS: usize = 20;
/// Without the tier: these policies are in others than they say.
const PREFIX: &str = "%k/%p";

const KINDS: [(Scope, Direction, Table, &str); 10] = [
    (Scope::Workload, Direction::Ingress, Table::Filter, "cali-tw-cali1"),
    (Scope::Workload, Direction::Egress, Table::Filter, "cali-fw-cali1"),
    (Scope::Host, Direction::Ingress, Table::Filter, "cali-fh-eth0"),
    (Scope::Host, Direction::Egress, Table::Filter, "cali-th-eth0"),
    (Scope::Host, Direction::Egress, Table::Mangle, "cali-th-eth0"),
    (Scope::Forward, Direction::Ingress, Table::Filter, "cali-fhfw-eth0"),
    (Scope::Forward, Direction::Egress, Table::Filter, "cali-thfw-eth0"),
    (Scope::PreDnat, Direction::Ingress, Table::Mangle, "cali-fh-eth0"),
    (Scope::Untracked, Direction::Ingress, Table::Raw, "cali-fh-eth0"),
    (Scope::Untracked, Direction::Egress, Table::Raw, "cali-th-eth0"),
];

/// What the renderer says to a program, of a workload and of a host.
pub fn rendered(members: &Members, tiers: &[Tier], profiles: &[(Arc<str>, Arc<Profile>)]) -> Ruleset {
    let settings = Settings { log_prefix: PREFIX.to_owned(), ..Settings::default() };
    policy_alone::<Renderer>(settings, members, tiers, profiles)
}

fn prefix(origin: &Origin) -> String {
    format!("{}: ", log_prefix::of(PREFIX, origin))
}

#[test]
fn the_verdict_of_iptables_is_the_evaluators() {
    let mut seen = Seen::default();
    let mut pairs = 0;
    let settings = Settings::default();
    let marks = settings.iptables.marks;
    for seed in 0..PROGRAMS {
        let mut random = Random(seed);
        let Case { tiers, profiles, members } = case(&mut random);
        let ruleset = rendered(&members, &tiers, &profiles);
        for (scope, direction, table, name) in KINDS {
            let program = Program::new(scope, direction, &tiers, &profiles);
            let there = ruleset.chains.contains_key(&(Family::V4, table, name.into()));
            if !there {
                // no policy is about it, not even a staged one
                assert!(!scope.has_profiles() && program.tiers.is_empty(), "seed {seed}: {name}");
                continue;
            }
            seen.program(&program);
            // what is forwarded passes where no policy is about any of it
            let other = match direction {
                Direction::Ingress => Direction::Egress,
                Direction::Egress => Direction::Ingress,
            };
            let governed = [direction, other].iter().any(|way| {
                tiers.iter().any(|tier| crate::form::governing(scope, *way, tier).next().is_some())
            });
            for _ in 0..PACKETS {
                let packet = packet(&mut random);
                let decision = evaluate(&program, &packet, &members);
                seen.decision(scope, &decision);
                let mut context = Context::new(&packet);
                // marks of an earlier hook decide nothing here
                context.mark = random.next() as u32 & (marks.verdict() | marks.scratch());
                let left = chain(&ruleset, table, name, &mut context);
                let accepted = context.mark & marks.accept != 0;
                let expected = match decision.verdict {
                    Verdict::Allow => (Left::End, true),
                    Verdict::Deny => (Left::Dropped, false),
                    _ => (Left::End, scope == Scope::Forward && !governed),
                };
                let what = format!("seed {seed}: {name}, {packet:?}, {:#?}", decision.path);
                assert_eq!((left, accepted && left == Left::End), expected, "{what}");
                let logged: Vec<String> = decision
                    .path
                    .iter()
                    .filter(|(_, verdict)| *verdict == Verdict::Log)
                    .map(|(origin, _)| prefix(origin))
                    .collect();
                assert_eq!(context.logged, logged, "{what}");
                let early = scope == Scope::Untracked && decision.verdict == Verdict::Allow;
                assert_eq!(context.untracked, early, "{what}");
                pairs += 1;
            }
        }
    }
    let missing = seen.missing();
    assert!(missing.is_empty(), "never seen: {missing:?}");
    assert!(pairs >= 100_000, "{pairs} pairs only: {seen:#?}");
}
