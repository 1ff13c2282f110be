//! Another AS number than the node's towards a neighbour, and a bound of what it may announce, as the neighbour sees them.

use super::daemon::Setup;
use super::*;
use ocicat_tests::router::Kind;
use ocicat_tests::speaker::Speaker;

const THEM: Place = Place(2);

#[test]
fn a_neighbour_knows_us_by_the_as_it_is_told() {
    const OTHER: u32 = 65099;
    on_one_link(&[US, THEM], || {
        let setup = Setup { remote_as: OTHER, ..Setup::external(Kind::Bird, THEM) };
        let them = setup.start()?;
        let all = resources("") + &peers(THEM, setup.asn, "", &format!(", localASNumber: {OTHER}"));
        let us = Speaker::start(&US.netns(), "us", &all, &[])?;
        for family in Family::ALL {
            wait_until("what they told", &setup.told(family), || Ok(plain(us.routes(family)?)));
            let path = || {
                let heard = them.learnt(family, &US.address(family)).ok()?;
                Some(heard.get(&our_block(family))?.first()?.as_path.clone())
            };
            assert_eq!(wait_for("our block", PATIENCE, path)?, OTHER.to_string());
        }
        Ok(())
    });
}

#[test]
fn a_neighbour_that_announces_too_much_is_told_so() {
    on_one_link(&[US, THEM], || {
        let setup = Setup::external(Kind::Bird, THEM);
        let them = setup.start()?;
        let bounded = |limit: u32| {
            let limit = format!("bgp.ocicat.io/max-prefixes: '{limit}'");
            resources("") + &peers(THEM, setup.asn, &limit, "")
        };
        let us = Speaker::start(&US.netns(), "us", &bounded(1), &[])?;
        for address in THEM.both() {
            wait_for("the end of the session", PATIENCE, || {
                let end = us.peer(&address).ok()?["lastEnd"].as_str()?.to_lowercase();
                end.contains("maximum number of prefixes").then_some(())
            })?;
        }
        wait_for("the reason at the other side", PATIENCE, || {
            them.log().to_lowercase().contains("maximum number of prefixes").then_some(())
        })?;
        // One more is allowed, and that is all there are.
        us.set_resources(&bounded(2))?;
        for family in Family::ALL {
            wait_until("everything", &setup.told(family), || Ok(plain(us.routes(family)?)));
        }
        Ok(())
    });
}
