//! Our node as a route reflector of daemons, and as the client of theirs (RFC 4456).

use super::daemon::Setup;
use super::*;
use ocicat_tests::router::Kind;
use ocicat_tests::speaker::Speaker;

const CLUSTER: &str = "244.0.0.1";

#[test]
fn clients_hear_of_each_other_with_originator_and_cluster() {
    let (bird, frr, gobgp) = (Place(2), Place(3), Place(4));
    on_one_link(&[US, bird, frr, gobgp], || {
        let setups = [
            Setup::internal(Kind::Bird, bird),
            Setup::internal(Kind::FrrAlone, frr),
            Setup::internal(Kind::Gobgp, gobgp),
        ];
        let daemons = setups.iter().map(Setup::start).collect::<Result<Vec<_>>>()?;
        let mut all = resources(&format!(", routeReflectorClusterID: {CLUSTER}")) + &everything_leaves();
        for setup in &setups {
            all.push_str(&peers(setup.place, US_AS, "", EVERYTHING));
        }
        let us = Speaker::start(&US.netns(), "us", &all, &[])?;
        for setup in &setups {
            us.wait_established(&setup.place.both().each_ref().map(String::as_str))?;
        }
        for (setup, daemon) in setups.iter().zip(&daemons) {
            for family in Family::ALL {
                // Everybody else's routes, as their originators told them, and our block.
                let others = setups.iter().filter(|other| other.place != setup.place);
                let mut wanted: Table = others
                    .flat_map(|other| {
                        let told = other.told(family).into_iter();
                        told.map(|(prefix, mut paths)| {
                            for path in &mut paths {
                                path.originator = Some(other.place.address(Family::Ipv4));
                                path.clusters = vec![CLUSTER.to_owned()];
                            }
                            (prefix, paths)
                        })
                    })
                    .collect();
                let block = Entry { next_hop: US.address(family), ..Entry::default() };
                wanted.insert(our_block(family), vec![block]);
                let what = format!("what {:?} knows of {family:?}", setup.kind);
                wait_until(&what, &wanted, || Ok(plain(daemon.learnt(family, &US.address(family))?)));
            }
        }
        Ok(())
    });
}

/// A daemon reflects: we hear of its other client, the other client of us, each by the originator's next hop.
fn client_of(kind: Kind) {
    let (reflector, client) = (Place(2), Place(3));
    on_one_link(&[US, reflector, client], || {
        let others = [(client, US_AS)];
        let reflects = Setup { reflects: true, others: &others, ..Setup::internal(kind, reflector) };
        let plain_client = Setup { remote: reflector, ..Setup::internal(Kind::Bird, client) };
        let (running, beside) = (reflects.start()?, plain_client.start()?);
        let us = Speaker::start(&US.netns(), "us", &(resources("") + &peers(reflector, US_AS, "", "")), &[])?;
        us.wait_established(&reflector.both().each_ref().map(String::as_str))?;
        for family in Family::ALL {
            let mut wanted = reflects.told(family);
            wanted.extend(plain_client.told(family));
            wait_until(&format!("what {kind:?} reflected to us"), &wanted, || Ok(plain(us.routes(family)?)));
            let block = Entry {
                next_hop: US.address(family),
                originator: Some(US.address(Family::Ipv4)),
                clusters: vec!["10.9.9.9".to_owned()],
                ..Entry::default()
            };
            let heard = || {
                let mut found = plain(beside.learnt(family, &reflector.address(family))?);
                found.retain(|prefix, _| *prefix == our_block(family));
                Ok(found)
            };
            wait_until(
                &format!("what {kind:?} reflected of us"),
                &table([(our_block(family), block)]),
                heard,
            );
        }
        // Where it comes from is told, so that it can be known again if it returns.
        let [theirs, _] = client.routes(Family::Ipv4);
        let lines = us.ask(&["explain", &theirs])?.to_string();
        assert!(lines.contains(&format!("reflected from {}", client.address(Family::Ipv4))), "{lines}");
        // The other client's routes go with it.
        drop(beside);
        for family in Family::ALL {
            let all = reflects.told(family);
            wait_until("what is left", &all, || Ok(plain(us.routes(family)?)));
        }
        drop(running);
        Ok(())
    });
}

#[test]
fn a_bird_reflects_us() {
    client_of(Kind::Bird);
}

#[test]
fn an_frr_reflects_us() {
    client_of(Kind::FrrAlone);
}

#[test]
fn a_gobgp_reflects_us() {
    client_of(Kind::Gobgp);
}
