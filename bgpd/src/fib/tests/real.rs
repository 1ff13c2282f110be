//! The kernel itself: what is sent must be what is read back, or every look would find a difference.

use super::*;
use kernel::{Netlink, Netns};

async fn apply(kernel: &Netlink, ops: Vec<Op>) {
    for result in kernel.apply(ops, true).await {
        result.unwrap();
    }
}

async fn flush(fib: &mut Fib, kernel: &Netlink) -> Outcome {
    let (ops, sent) = fib.batch(1000, at(0));
    let results = kernel.apply(ops, false).await;
    fib.done(sent, results, at(0))
}

async fn read(kernel: &Netlink) -> Vec<Route> {
    let filter = RouteFilter { table: Some(route::MAIN), protocol: Some(PROTOCOL), ..RouteFilter::default() };
    kernel.routes(filter).await.unwrap()
}

#[test]
fn every_form_is_read_back_as_it_was_sent() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: the kernel is not asked");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ns");
    let netns = Netns::create_at(&path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kernel = Netlink::open(&netns).unwrap();
        let pair = VethPair { name: "a".into(), peer_name: "b".into(), queues: 1, ..VethPair::default() };
        apply(&kernel, vec![Op::up("lo"), Op::AddVeth(pair), Op::up("a"), Op::up("b")]).await;
        let link = kernel.link("a").await.unwrap().unwrap().index;
        for (net, prefix) in [("192.0.2.1", 24), ("fd00::1", 64)] {
            let net = IpNet { addr: ip(net), prefix };
            apply(&kernel, vec![Op::AddAddress { link, net, nodad: true }]).await;
        }
        let mut fib = Fib::new();
        let onlink = Hop { onlink: true, ..hop("198.51.100.1", link) };
        let forms = [
            ("10.1.0.0/26", 1024, Target::via([hop("192.0.2.9", link)])),
            ("10.1.1.0/26", 1024, Target::via([hop("192.0.2.9", link), hop("192.0.2.8", link)])),
            ("10.1.2.0/26", 1024, Target::via([hop("fd00::9", link)])),
            ("10.1.3.0/26", 1024, Target::via([hop("fd00::9", link), hop("192.0.2.8", link)])),
            ("10.1.4.0/26", 1024, Target::via([onlink])),
            ("10.1.5.0/26", 1024, Target::Blackhole),
            ("10.1.6.0/26", 0, Target::Blackhole),
            ("fd01::/122", 1024, Target::via([hop("fd00::9", link)])),
            ("fd01:1::/122", 512, Target::via([hop("fd00::9", link), hop("fd00::8", link)])),
            ("fd01:2::/122", 1024, Target::Blackhole),
            ("fd01:3::/122", 0, Target::Blackhole),
            ("0.0.0.0/0", 1024, Target::via([hop("192.0.2.9", link)])),
            ("::/0", 1024, Target::via([hop("fd00::9", link)])),
        ];
        for (to, metric, target) in &forms {
            fib.set(prefix(to), *metric, target.clone());
        }
        let outcome = flush(&mut fib, &kernel).await;
        assert_eq!((outcome.carried_out, outcome.refused), (forms.len(), vec![]));
        settle(&mut fib);
        fib.read_back(&read(&kernel).await);
        assert!(fib.is_in_sync(), "{:#?}", fib.batch(100, at(0)).0);

        // Each form becomes each other in place.
        for turn in 1..forms.len() {
            for (number, (to, metric, _)) in forms.iter().enumerate() {
                let (other, _, target) = &forms[(number + turn) % forms.len()];
                if to.contains(':') == other.contains(':') {
                    fib.set(prefix(to), *metric, target.clone());
                }
            }
            let outcome = flush(&mut fib, &kernel).await;
            assert_eq!(outcome.refused, Vec::<String>::new());
            fib.read_back(&read(&kernel).await);
            assert!(fib.is_in_sync(), "{:#?}", fib.batch(100, at(0)).0);
        }
        for (to, ..) in &forms {
            fib.remove(prefix(to));
        }
        assert_eq!(flush(&mut fib, &kernel).await.refused, Vec::<String>::new());
        assert_eq!(read(&kernel).await, vec![]);
    });
    Netns::delete_at(&path).unwrap();
}
