use super::*;

fn workload(interface: &str) -> Arc<Endpoint> {
    Arc::new(Endpoint::Workload(Workload { interface: interface.into(), ..Workload::default() }))
}

fn key(name: &str) -> EndpointKey {
    EndpointKey::Workload("default".into(), name.into())
}

fn host(interface: HostInterface) -> Host {
    Host { interface, expected: Box::default(), ports: Box::default(), profiles: Box::default() }
}

#[test]
fn a_status_is_told_once_and_one_that_is_down_is_looked_at_again() {
    let mut endpoints = Endpoints::default();
    endpoints.set(&key("a"), Some(&workload("cali1")));
    endpoints.check(|_, _| Status::Down);
    assert_eq!(endpoints.take(), [(key("a"), Some(Status::Down))]);
    endpoints.check(|_, _| Status::Down);
    assert_eq!(endpoints.take(), []);
    endpoints.check(|_, _| Status::Up);
    assert_eq!(endpoints.take(), [(key("a"), Some(Status::Up))]);
    assert_eq!((endpoints.count(Status::Up), endpoints.count(Status::Down)), (1, 0));
    endpoints.check(|_, _| Status::Down);
    assert_eq!(endpoints.take(), [], "nothing happened to it");
    endpoints.interface_changed("cali1", true);
    endpoints.check(|_, _| Status::Down);
    assert_eq!(endpoints.take(), [(key("a"), Some(Status::Down))]);
    endpoints.set(&key("a"), None);
    endpoints.check(|_, _| Status::Up);
    assert_eq!(endpoints.take(), [(key("a"), None)]);
}

#[test]
fn workloads_are_found_by_the_interface_they_have_now() {
    let mut endpoints = Endpoints::default();
    endpoints.set(&key("a"), Some(&workload("cali1")));
    endpoints.set(&key("b"), Some(&workload("cali1")));
    assert_eq!(endpoints.workloads_of("cali1").count(), 2);
    let before = endpoints.set(&key("a"), Some(&workload("cali2"))).unwrap();
    assert_eq!(as_workload(&before).map(|workload| &*workload.interface), Some("cali1"));
    assert_eq!((endpoints.workloads_of("cali1").count(), endpoints.workloads_of("cali2").count()), (1, 1));
    endpoints.set(&key("a"), None);
    assert_eq!(endpoints.workloads_of("cali2").count(), 0);
}

#[test]
fn a_host_endpoint_is_up_with_all_its_interfaces_and_wrong_without_any() {
    let named = host(HostInterface::ByAddress);
    assert_eq!(of_host(&named, [].into_iter()), Status::Error);
    assert_eq!(of_host(&named, [true, true].into_iter()), Status::Up);
    assert_eq!(of_host(&named, [true, false].into_iter()), Status::Down);
    assert_eq!(of_host(&named, [false, true].into_iter()), Status::Down);
    assert_eq!(of_host(&host(HostInterface::All), [].into_iter()), Status::Up);
}

#[test]
fn what_the_kernel_refuses_is_down_for_those_it_concerns_and_looked_at_for_nobody_else() {
    let mut endpoints = Endpoints::default();
    for name in ["a", "b"] {
        endpoints.set(&key(name), Some(&workload(name)));
    }
    endpoints.check(|_, _| Status::Up);
    endpoints.take();
    endpoints.set_refused(Refused { all: false, endpoints: [key("a")].into() });
    // whatever is said of b meanwhile
    endpoints.check(|of, _| if *of == key("b") { Status::Down } else { Status::Up });
    assert_eq!(endpoints.take(), [(key("a"), Some(Status::Down))]);
    endpoints.set_refused(Refused { all: true, ..Refused::default() });
    endpoints.check(|_, _| Status::Up);
    assert_eq!(endpoints.take(), [(key("b"), Some(Status::Down))]);
    endpoints.set_refused(Refused::default());
    endpoints.check(|_, _| Status::Up);
    assert_eq!(endpoints.take(), [(key("a"), Some(Status::Up)), (key("b"), Some(Status::Up))]);
}
