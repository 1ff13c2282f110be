//! Graceful restart (RFC 4724) in both roles with every daemon: routes stay where they are while one side is gone.

use super::daemon::Setup;
use super::*;
use ocicat_tests::router::Kind;
use ocicat_tests::speaker::Speaker;

const THEM: Place = Place(2);

fn setup(kind: Kind) -> Setup<'static> {
    Setup { graceful_restart: true, ..Setup::external(kind, THEM) }
}

/// What the kernel of our node has of the speaker.
fn kernel() -> String {
    let netns = US.netns();
    let show = |family: &str| tool("ip", &["-n", &netns, family, "route", "show", "proto", "81"]).unwrap();
    show("-4") + &show("-6")
}

fn is_established(us: &Speaker) -> bool {
    Family::ALL
        .iter()
        .all(|family| us.peer(&THEM.address(*family)).is_ok_and(|peer| peer["state"] == "Established"))
}

fn we_help(kind: Kind) {
    on_one_link(&[US, THEM], || {
        let setup = setup(kind);
        let them = setup.start()?;
        let us = Speaker::start(&US.netns(), "us", &(resources("") + &peers(THEM, setup.asn, "", "")), &[])?;
        for family in Family::ALL {
            wait_until("before", &setup.told(family), || Ok(plain(us.routes(family)?)));
        }
        let before = kernel();
        drop(them);
        wait_for("the end of the sessions", PATIENCE, || (!is_established(&us)).then_some(()))?;
        for family in Family::ALL {
            assert_eq!(plain(us.routes(family)?), setup.told(family), "{kind:?}: kept while it is away");
        }
        assert_eq!(kernel(), before);
        // It comes back with all but one of its routes, which goes when it has told all.
        let them = setup.start()?;
        let [_, poor] = THEM.routes(Family::Ipv4);
        match kind {
            Kind::Bird => drop(them.query("disable static_ipv4")?),
            Kind::Gobgp => drop(them.query(&format!("global rib del {poor}"))?),
            Kind::FrrAlone | Kind::Frr => drop(them.query(&format!(
                "configure terminal\nrouter bgp {}\naddress-family ipv4 unicast\nno network {poor}",
                setup.asn
            ))?),
        }
        wait_for("what it no longer has", PATIENCE, || {
            us.routes(Family::Ipv4).ok().filter(|table| !table.contains_key(&poor)).map(|_| ())
        })?;
        wait_until("after", &setup.told(Family::Ipv6), || Ok(plain(us.routes(Family::Ipv6)?)));
        wait_for("both sessions again", PATIENCE, || is_established(&us).then_some(()))
    });
}

fn it_helps(kind: Kind) {
    on_one_link(&[US, THEM], || {
        let setup = setup(kind);
        let them = setup.start()?;
        let mut us =
            Speaker::start(&US.netns(), "us", &(resources("") + &peers(THEM, setup.asn, "", "")), &[])?;
        let ours = |family| {
            let entry =
                Entry { next_hop: US.address(family), as_path: US_AS.to_string(), ..Entry::default() };
            table([(our_block(family), entry)])
        };
        let knows = |family: Family| Ok(plain(them.learnt(family, &US.address(family))?));
        for family in Family::ALL {
            wait_until("before", &ours(family), || knows(family));
            wait_until("before", &setup.told(family), || Ok(plain(us.routes(family)?)));
        }
        wait_for("routes in the kernel", PATIENCE, || kernel().contains("10.102.1.0/24").then_some(()))?;
        let before = kernel();
        us.kill();
        wait_for("the end of the connections", PATIENCE, || (connections(THEM) == 0).then_some(()))?;
        for family in Family::ALL {
            assert_eq!(knows(family)?, ours(family), "{kind:?}: kept while we are away");
        }
        assert_eq!(kernel(), before, "the kernel routes on");
        us.launch()?;
        // Looked at again and again: it must never be without them.
        wait_for("both sessions again, and all that it told", PATIENCE, || {
            for family in Family::ALL {
                assert_eq!(knows(family).unwrap(), ours(family), "{kind:?}: kept until we told it again");
            }
            let told = |family| plain(us.routes(family).unwrap_or_default()) == setup.told(family);
            (is_established(&us) && Family::ALL.into_iter().all(told)).then_some(())
        })?;
        assert_eq!(kernel(), before);
        Ok(())
    });
}

#[test]
fn we_keep_what_a_restarting_bird_told() {
    we_help(Kind::Bird);
}

#[test]
fn we_keep_what_a_restarting_frr_told() {
    we_help(Kind::FrrAlone);
}

#[test]
fn we_keep_what_a_restarting_gobgp_told() {
    we_help(Kind::Gobgp);
}

#[test]
fn a_bird_keeps_what_we_told() {
    it_helps(Kind::Bird);
}

#[test]
fn an_frr_keeps_what_we_told() {
    it_helps(Kind::FrrAlone);
}

#[test]
fn a_gobgp_keeps_what_we_told() {
    it_helps(Kind::Gobgp);
}
