//! Our node as a route reflector of daemons (RFC 4456).

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
