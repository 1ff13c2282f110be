//! The same story with each daemon: routes both ways, a route that goes, a session that flaps, a refresh.

use super::daemon::Setup;
use super::*;
use ocicat_tests::router::table::bird_protocol;
use ocicat_tests::router::{Kind, Router};
use ocicat_tests::speaker::Speaker;

const THEM: Place = Place(2);
/// How long two daemons of others may take to find together.
const A_PAIR: Duration = Duration::from_secs(40);

/// What a daemon shall know of our node.
fn ours(setup: &Setup<'_>, family: Family) -> Table {
    let internal = setup.asn == US_AS;
    let entry = Entry {
        next_hop: US.address(family),
        as_path: if internal { String::new() } else { US_AS.to_string() },
        // `bgp.md` §6 of the contract: 2147483647 − 1024.
        local_pref: internal.then_some(2_147_482_623),
        ..Entry::default()
    };
    table([(our_block(family), entry)])
}

/// Both tables are what they shall be.
fn agree(setup: &Setup<'_>, us: &Speaker, them: &Router) {
    for family in Family::ALL {
        let name = format!("{:?} {family:?}", setup.kind);
        wait_until(&format!("{name}: what we know"), &setup.told(family), || Ok(plain(us.routes(family)?)));
        let wanted = ours(setup, family);
        let internal = setup.asn == US_AS;
        wait_until(&format!("{name}: what it knows"), &wanted, || {
            let found = them.learnt(family, &US.address(family))?;
            // A daemon gives what came from outside a preference of its own.
            Ok(if internal { found } else { plain(found) })
        });
    }
}

fn story(setup: Setup<'_>) {
    on_one_link(&[US, THEM], || {
        let them = setup.start()?;
        let all = resources("") + &peers(THEM, setup.asn, "", "");
        let us = Speaker::start(&US.netns(), "us", &all, &[])?;
        us.wait_established(&THEM.both().each_ref().map(String::as_str))?;
        agree(&setup, &us, &them);

        // It asks for everything again.
        match setup.kind {
            Kind::Bird => {
                let counted = |them: &Router| {
                    let said =
                        them.query(&format!("show protocols all {}", bird_protocol("10.0.0.1"))).unwrap();
                    let line = said.lines().find(|line| line.contains("Import updates:")).unwrap_or_default();
                    line.split_whitespace().nth(2).and_then(|n| n.parse::<u32>().ok()).unwrap_or_default()
                };
                let before = counted(&them);
                them.query(&format!("reload in {}", bird_protocol("10.0.0.1")))?;
                wait_for("the refreshed routes", PATIENCE, || (counted(&them) > before).then_some(()))?;
            }
            Kind::Gobgp => drop(them.query("neighbor 10.0.0.1 softresetin")?),
            Kind::FrrAlone | Kind::Frr => drop(them.query("clear bgp ipv4 unicast 10.0.0.1 soft in")?),
        }
        agree(&setup, &us, &them);

        // A block of ours goes and comes back.
        us.set_resources(
            &all.replace("state: confirmed, cidr: 10.244.0.0/26", "state: confirmed, cidr: 10.244.9.0/26"),
        )?;
        let moved: Vec<String> = vec!["10.244.9.0/26".to_owned()];
        wait_for("the block that moved", PATIENCE, || {
            let found = them.learnt(Family::Ipv4, "10.0.0.1").ok()?;
            found.keys().eq(&moved).then_some(())
        })?;
        us.set_resources(&all)?;
        agree(&setup, &us, &them);

        // It goes, and with it what it told; it returns.
        drop(them);
        for family in Family::ALL {
            wait_until("what it told goes with it", &Table::new(), || us.routes(family));
        }
        let them = setup.start()?;
        agree(&setup, &us, &them);
        Ok(())
    });
}

#[test]
fn external_bird() {
    story(Setup::external(Kind::Bird, THEM));
}

#[test]
fn external_frr() {
    story(Setup::external(Kind::FrrAlone, THEM));
}

#[test]
fn external_gobgp() {
    story(Setup::external(Kind::Gobgp, THEM));
}

#[test]
fn internal_bird() {
    story(Setup::internal(Kind::Bird, THEM));
}

#[test]
fn internal_frr() {
    story(Setup::internal(Kind::FrrAlone, THEM));
}

#[test]
fn internal_gobgp() {
    story(Setup::internal(Kind::Gobgp, THEM));
}

/// The harness reads three daemons alike: what one originates, the other tells in the same words.
#[test]
fn the_daemons_agree_about_each_other() {
    on_one_link(&[US, THEM], || {
        for kind in [Kind::FrrAlone, Kind::Gobgp] {
            let there = Setup::external(kind, THEM);
            // one side connects: two daemons that both do can refuse each other for longer than the test waits
            let here = Setup { remote: THEM, remote_as: there.asn, ..Setup::external(Kind::Bird, US) };
            let there = Setup { remote_as: here.asn, passive: true, ..there };
            // no program of ours takes part: a pair that does not find together, as FRR and BIRD at times do not in IPv6, says
            // nothing about how we read them, so another pair is asked
            let mut left = 4;
            loop {
                left -= 1;
                let (them, bird) = (there.start()?, here.start()?);
                let agreed = Family::ALL.into_iter().try_for_each(|family| {
                    wait_for(&format!("what BIRD knows of {kind:?}"), A_PAIR, || {
                        let found = plain(bird.learnt(family, &THEM.address(family)).ok()?);
                        (found == there.told(family)).then_some(())
                    })?;
                    wait_for(&format!("what {kind:?} knows of BIRD"), A_PAIR, || {
                        let found = plain(them.learnt(family, &US.address(family)).ok()?);
                        (found == here.told(family)).then_some(())
                    })
                });
                match agreed {
                    Ok(()) => break,
                    Err(error) if left == 0 => return Err(error),
                    Err(_) => {}
                }
            }
        }
        Ok(())
    });
}
