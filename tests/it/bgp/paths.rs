//! Several paths of one prefix on one session (RFC 7911), told and heard.

use super::daemon::Setup;
use super::*;
use ocicat_tests::router::{Kind, Router};
use ocicat_tests::speaker::Speaker;

/// The prefix that two neighbours tell.
const SAME: &str = "10.99.0.0/24";

/// Starts a BIRD that tells [`SAME`] instead of its first route.
fn teller(setup: &Setup<'_>) -> Result<Router> {
    let [rich, _] = setup.place.routes(Family::Ipv4);
    Router::start(Kind::Bird, Some(&setup.place.netns()), &setup.bird().replace(&rich, SAME))
}

/// Two neighbours tell us the same prefix; a third, which takes several paths, hears of both from us.
fn told(kind: Kind) {
    let (first, second, third) = (Place(2), Place(3), Place(4));
    on_one_link(&[US, first, second, third], || {
        let tellers = [Setup::external(Kind::Bird, first), Setup::external(Kind::Bird, second)];
        let mut all = resources("") + &everything_leaves();
        let mut running = Vec::new();
        for setup in &tellers {
            running.push(teller(setup)?);
            all.push_str(&peers(setup.place, setup.asn, "", ""));
        }
        let hearer = Setup { add_path: true, ..Setup::external(kind, third) };
        let hears = hearer.start()?;
        all.push_str(&peers(third, hearer.asn, "bgp.ocicat.io/add-path: both", EVERYTHING));
        let us = Speaker::start(&US.netns(), "us", &all, &[])?;
        us.wait_established(&["10.0.0.2", "10.0.0.3", "10.0.0.4"])?;
        let paths = vec![format!("{US_AS} {}", tellers[0].asn), format!("{US_AS} {}", tellers[1].asn)];
        let heard = || -> Option<Vec<String>> {
            let table = hears.learnt(Family::Ipv4, "10.0.0.1").ok()?;
            let mut found: Vec<String> = table.get(SAME)?.iter().map(|entry| entry.as_path.clone()).collect();
            found.sort();
            Some(found)
        };
        wait_for("both paths", PATIENCE, || (heard()? == paths).then_some(()))
            .unwrap_or_else(|error| panic!("{kind:?}: {error:#}: {:?}", heard()));
        // One teller goes: one path is left.
        drop(running.pop());
        wait_for("one path", PATIENCE, || (heard()? == paths[..1]).then_some(()))?;
        Ok(())
    });
}

#[test]
fn a_bird_hears_of_several_paths() {
    told(Kind::Bird);
}

#[test]
fn an_frr_hears_of_several_paths() {
    told(Kind::FrrAlone);
}

#[test]
fn a_gobgp_hears_of_several_paths() {
    told(Kind::Gobgp);
}

/// A daemon that two neighbours tell the same prefix tells us both paths.
fn heard(kind: Kind) {
    let (hub, first, second) = (Place(2), Place(3), Place(4));
    on_one_link(&[US, hub, first, second], || {
        let from = |place| Setup { remote: hub, remote_as: 65002, ..Setup::external(Kind::Bird, place) };
        let tellers = [from(first), from(second)];
        let others = tellers.map(|setup| (setup.place, setup.asn));
        let tells = Setup { add_path: true, others: &others, ..Setup::external(kind, hub) };
        let tells_us = tells.start()?;
        let mut running = tellers.iter().map(teller).collect::<Result<Vec<_>>>()?;
        let us = Speaker::start(&US.netns(), "us", &(resources("") + &peers(hub, tells.asn, "", "")), &[])?;
        us.wait_established(&hub.both().each_ref().map(String::as_str))?;
        assert_eq!(us.peer("10.0.0.2")?["session"]["addPathReceive"], true);
        // AS path and whether there is an identifier of each path.
        let known = || -> Option<Vec<(String, bool)>> {
            let explanation = us.ask(&["explain", SAME]).ok()?;
            let lines = explanation["lines"].as_array()?.iter().filter_map(|line| line.as_str());
            let mut found: Vec<_> = lines
                .filter(|line| line.starts_with("path from"))
                .map(|line| {
                    let path = line.split("AS path ").nth(1).and_then(|rest| rest.split(',').next());
                    (path.unwrap_or_default().to_owned(), line.contains("(path identifier "))
                })
                .collect();
            found.sort();
            Some(found)
        };
        let wanted: Vec<_> = tellers.iter().map(|t| (format!("{} {}", tells.asn, t.asn), true)).collect();
        wait_for("both paths", PATIENCE, || (known()? == wanted).then_some(())).unwrap_or_else(|error| {
            panic!("{kind:?}: {error:#}: {:?}\n{}", us.ask(&["explain", SAME]), tells_us.log())
        });
        // One teller goes: its path is withdrawn by its identifier, the other one stays.
        drop(running.pop());
        wait_for("one path", PATIENCE, || (known()? == wanted[..1]).then_some(()))?;
        Ok(())
    });
}

#[test]
fn a_bird_tells_of_several_paths() {
    heard(Kind::Bird);
}

#[test]
fn an_frr_tells_of_several_paths() {
    heard(Kind::FrrAlone);
}

#[test]
fn a_gobgp_tells_of_several_paths() {
    heard(Kind::Gobgp);
}
