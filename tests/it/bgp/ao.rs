//! TCP-AO (RFC 5925) as an operator meets it: sessions are signed, or the kernel that cannot is named. Never in the clear.

use super::daemon::Setup;
use super::*;
use ocicat_tests::router::Kind;
use ocicat_tests::speaker::Speaker;

/// A speaker of ours that signs as well.
const SIGNED: Place = Place(2);
/// A BIRD that we want to sign, and that does not.
const UNSIGNED: Place = Place(3);
/// A BIRD that nobody asks for signatures.
const PLAIN: Place = Place(4);

/// What the kernel's configuration says, where it can be read.
fn kernel_has_ao() -> Option<bool> {
    let text = tool("zcat", &["/proc/config.gz"]).ok()?;
    Some(text.lines().any(|line| line == "CONFIG_TCP_AO=y"))
}

fn established(speaker: &Speaker, address: &str) -> bool {
    speaker.peer(address).is_ok_and(|peer| peer["state"] == "Established")
}

#[test]
fn tcp_ao_signs_or_the_kernel_that_lacks_it_is_named() {
    let (ao, password) =
        ("bgp.ocicat.io/tcp-ao: '7,7'", ", password: {secretKeyRef: {name: bgp, key: word}}");
    on_one_link(&[US, SIGNED, UNSIGNED, PLAIN], || {
        let [unsigned, plain] = [UNSIGNED, PLAIN].map(|place| Setup::external(Kind::Bird, place));
        let ours = resources("")
            + &peers(SIGNED, US_AS, ao, password)
            + &peers(UNSIGNED, unsigned.asn, ao, password)
            + &peers(PLAIN, plain.asn, "", "");
        let theirs = (resources("") + &peers(US, US_AS, ao, password))
            .replace("10.0.0.1/24", "10.0.0.2/24")
            .replace("fd00::1/64", "fd00::2/64");
        let us = Speaker::start(&US.netns(), "us", &ours, &[])?;
        us.set_secret("bgp", "word", "secret")?;
        let them = Speaker::start(&SIGNED.netns(), "us", &theirs, &[])?;
        them.set_secret("bgp", "word", "secret")?;
        let _daemons = [unsigned.start()?, plain.start()?];
        us.wait_established(&PLAIN.both().each_ref().map(String::as_str))?;
        let lacks =
            ["this kernel has no TCP_AO_ADD_KEY", "bgp.ocicat.io/tcp-ao needs", "the session stays down"];
        let told = |text: &str| lacks.iter().all(|part| text.contains(part));
        let up = || SIGNED.both().iter().all(|address| established(&us, address));
        wait_for("signed sessions, or why there are none", PATIENCE, || {
            (up() || told(&us.log())).then_some(())
        })?;
        if let Some(has) = kernel_has_ao() {
            assert_eq!((up(), told(&us.log())), (has, !has), "{}", us.log());
        }
        if !up() {
            // Who asks for a session is told as well as who reads the log.
            for address in [SIGNED, UNSIGNED].iter().flat_map(|place| place.both()) {
                wait_for("the reason beside the session", PATIENCE, || {
                    us.peer(&address)
                        .is_ok_and(|peer| peer["lastEnd"].as_str().is_some_and(told))
                        .then_some(())
                })?;
            }
        }
        // Whoever does not sign gets no session, however often it tries.
        let clear = wait_for("a session in the clear", Duration::from_secs(4), || {
            UNSIGNED.both().iter().any(|address| established(&us, address)).then_some(())
        });
        assert!(clear.is_err(), "a neighbour without a signature was taken:\n{}", us.log());
        Ok(())
    });
}
