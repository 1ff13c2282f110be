//! What only the in-memory kernel can do: fail on demand and lose a namespace.

use super::*;
use crate::Namespaces;
use crate::memory::Fault;

#[test]
fn planned_faults_strike_as_planned() {
    block_on(async {
        let world = World::new().unwrap();
        let kernel: Arc<dyn Kernel> = Arc::new(world.host());
        world.plan(Fault::on_op(|op| matches!(op, Op::AddVeth(_)), Errno::ENOMEM));
        world.plan(Fault::nth(1, Errno::EBUSY));
        let ops = vec![
            Op::up("lo"),
            Op::AddVeth(veth("a", "b", None)),
            Op::down("lo"),
            Op::AddVeth(veth("a", "b", None)),
        ];
        let results = kernel.apply(ops, false).await;
        let errnos: Vec<Option<i32>> =
            results.iter().map(|r| r.as_ref().err().and_then(KernelError::errno)).collect();
        assert_eq!(errnos, [None, Some(Errno::ENOMEM as i32), Some(Errno::EBUSY as i32), None]);
        assert_eq!(world.log().len(), 4);
    });
}

#[test]
fn a_fault_can_strike_several_times_and_be_called_off() {
    block_on(async {
        let world = World::new().unwrap();
        let kernel = world.host();
        world.plan(Fault::on_op(|_| true, Errno::EINTR).after(1).times(2));
        let results = kernel.apply(vec![Op::up("lo"), Op::up("lo"), Op::up("lo"), Op::up("lo")], false).await;
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true]);
        world.plan(Fault::on_sysctl("ip_forward", "Read-only file system"));
        world.clear_faults();
        let write = || vec![("net/ipv4/ip_forward".to_string(), "1".to_string())];
        assert!(kernel.set_sysctls(write()).await[0].is_ok());
        world.plan(Fault::on_sysctl("ip_forward", "Read-only file system"));
        let error = kernel.set_sysctls(write()).await.remove(0).unwrap_err().to_string();
        assert_eq!(error, "sysctl net/ipv4/ip_forward: Read-only file system");
        assert!(kernel.set_sysctls(write()).await[0].is_ok());
    });
}

#[test]
fn a_vanished_namespace_takes_its_links_and_their_peers() {
    block_on(async {
        let world = World::new().unwrap();
        let host: Arc<dyn Kernel> = world.current().unwrap();
        let pod = world.add("/run/netns/pod").unwrap();
        ok(&host, vec![Op::AddVeth(veth("cali1", "eth0", Some(pod.netns()))), Op::up("cali1")]).await;
        let link = find(&host, "cali1").await;
        ok(&host, vec![Op::AddRoute(on_link("10.0.0.5/32", link.index))]).await;
        assert!(world.open("/run/netns/pod").is_ok());
        assert!(world.vanish("/run/netns/pod") && !world.vanish("/run/netns/pod"));
        assert_eq!(host.link("cali1").await.unwrap(), None);
        assert_eq!(routes(&host).await, []);
        let error = world.open("/run/netns/pod").err().unwrap().to_string();
        assert!(error.contains("/run/netns/pod: does not exist"), "{error}");
        assert!(pod.links().await.is_err());
        assert!(matches!(pod.apply(vec![Op::up("lo")], false).await[0], Err(KernelError::Namespace { .. })));
        let again = world.add("/run/netns/pod").unwrap();
        assert!(!again.netns().is_same(pod.netns()), "a new one of the old name is another one");
        assert!(pod.links().await.is_err() && again.links().await.is_ok());
        let late = Op::AddVeth(veth("cali1", "eth0", Some(pod.netns())));
        assert!(host.apply(vec![late], false).await[0].is_err());
        assert_eq!(host.link("cali1").await.unwrap(), None);
    });
}

#[test]
fn in_memory_namespaces_cannot_be_entered_nor_mixed_with_real_ones() {
    let world = World::new().unwrap();
    let host = world.host();
    assert!(host.netns().run(|| ()).unwrap_err().to_string().contains("in-memory"));
    let real = Netns::current().unwrap();
    assert!(!real.is_same(host.netns()) && host.netns().is_same(host.netns()));
    block_on(async {
        let mixed = host.apply(vec![Op::AddVeth(veth("a", "b", Some(&real)))], false).await;
        assert_eq!(mixed[0].as_ref().unwrap_err().errno(), Some(Errno::EINVAL as i32));
    });
    assert!(world.add("/proc/self/ns/net").is_err(), "taken");
}
