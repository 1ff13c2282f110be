use super::*;
use crate::testing::block_on;
use kernel::memory::{Fault, MemoryKernel, World};
use kernel::{Op, VethPair};

async fn kernel() -> (World, MemoryKernel) {
    let world = World::new().unwrap();
    let kernel = world.add("node").unwrap();
    let pair = VethPair { name: "cali1".into(), peer_name: "far".into(), queues: 1, ..VethPair::default() };
    kernel.apply(vec![Op::AddVeth(pair)], false).await.remove(0).unwrap();
    (world, kernel)
}

const NEEDS: Needs = Needs { link: 1, ipv6: true, spoofing: false };

async fn value(kernel: &MemoryKernel, key: &str) -> String {
    kernel.sysctl(key).await.unwrap()
}

#[test]
fn an_interface_gets_calicos_parameters_with_the_hosts_rp_filter() {
    block_on(async {
        let (_, kernel) = kernel().await;
        kernel.set_sysctls(vec![(DEFAULT_RP_FILTER.into(), "2".into())]).await.remove(0).unwrap();
        let mut sysctls = Sysctls::open(&kernel).await;
        let name: Arc<str> = "cali1".into();
        sysctls.set(&name, Some(NEEDS));
        assert!(!sysctls.is_applied("cali1"));
        assert_eq!(sysctls.apply(&kernel, Duration::ZERO).await, [name.clone()].into());
        assert!(sysctls.is_applied("cali1") && sysctls.apply(&kernel, Duration::ZERO).await.is_empty());
        for (key, wanted) in [
            ("net/ipv4/conf/cali1/route_localnet", "1"),
            ("net/ipv4/conf/cali1/proxy_arp", "1"),
            ("net/ipv4/conf/cali1/forwarding", "1"),
            ("net/ipv4/conf/cali1/rp_filter", "2"),
            ("net/ipv4/neigh/cali1/proxy_delay", "0"),
            ("net/ipv6/conf/cali1/proxy_ndp", "1"),
            ("net/ipv6/conf/cali1/forwarding", "1"),
            ("net/ipv6/conf/cali1/accept_ra", "0"),
        ] {
            assert_eq!(value(&kernel, key).await, wanted, "{key}");
        }
        sysctls.set(&name, Some(Needs { spoofing: true, ..NEEDS }));
        assert!(!sysctls.is_applied("cali1"));
        sysctls.apply(&kernel, Duration::ZERO).await;
        assert_eq!(value(&kernel, "net/ipv4/conf/cali1/rp_filter").await, "0");
        // a new link of the name begins anew
        sysctls.set(&name, None);
        assert!(!sysctls.is_applied("cali1"));
    });
}

#[test]
fn each_parameter_may_be_refused_and_is_tried_again() {
    block_on(async {
        for key in ["route_localnet", "proxy_delay", "proxy_arp", "cali1/rp_filter", "proxy_ndp"] {
            let (world, kernel) = kernel().await;
            world.plan(Fault::on_sysctl(key, "planned"));
            let mut sysctls = Sysctls::open(&kernel).await;
            sysctls.set(&"cali1".into(), Some(NEEDS));
            sysctls.apply(&kernel, Duration::ZERO).await;
            assert!(!sysctls.is_applied("cali1"), "{key}");
            let next = sysctls.next_try().expect("another try");
            sysctls.apply(&kernel, next).await;
            assert!(sysctls.is_applied("cali1") && sysctls.next_try().is_none(), "{key}");
        }
    });
}

#[test]
fn what_may_fail_may_fail_and_the_host_is_made_to_forward_once() {
    block_on(async {
        let (world, kernel) = kernel().await;
        world.plan(Fault::on_sysctl("accept_ra", "planned"));
        world.plan(Fault::on_sysctl("ip_forward", "planned"));
        let mut sysctls = Sysctls::open(&kernel).await;
        sysctls.set(&"cali1".into(), Some(NEEDS));
        sysctls.apply(&kernel, Duration::ZERO).await;
        assert!(sysctls.is_applied("cali1"));
        sysctls.apply_host(&kernel, true, Duration::ZERO).await;
        assert_eq!(value(&kernel, "net/ipv4/ip_forward").await, "0");
        sysctls.apply_host(&kernel, true, sysctls.next_try().unwrap()).await;
        assert_eq!(value(&kernel, "net/ipv4/ip_forward").await, "1");
        assert_eq!(sysctls.next_try(), None);
        let (_, other) = self::kernel().await;
        let mut sysctls = Sysctls::open(&other).await;
        sysctls.apply_host(&other, false, Duration::ZERO).await;
        assert_eq!(value(&other, "net/ipv4/ip_forward").await, "0", "ipForwarding: Disabled");
    });
}
