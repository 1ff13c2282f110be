//! The one list of places where ours differs from the recording on purpose.
//!
//! A run fails on every difference that is not here, and on every line here that no longer holds.

use super::compare::Part;

/// A difference on purpose.
#[derive(Debug)]
pub struct Difference {
    /// Path of the case.
    pub case: &'static str,
    /// Number of the step, from 1.
    pub step: usize,
    /// What differs.
    pub part: Part,
    /// Why.
    pub reason: &'static str,
}

const fn differs(case: &'static str, step: usize, part: Part, reason: &'static str) -> Difference {
    Difference { case, step, part, reason }
}

const HANGS: &str = "upstream never gives up on a datastore that does not answer; ours says so and ends";
const PANICS: &str = "upstream panics; ours says what is wrong";
const TEMPLATE: &str = "upstream's template checker panics over its own table; ours prints what is meant";
const POINTER: &str = "upstream prints a pointer; ours prints the setting";
const OVERFLOW: &str = "upstream overflows on pools of 2^63 addresses and more, and prints a negative count of free ones";
const STRUCT: &str = "upstream prints a Go struct where ours names the resource";

/// All of them.
pub const DIFFERENCES: &[Difference] = &[
    differs("ctl/get/caliconodestatus", 3, Part::Exit, TEMPLATE),
    differs("ctl/get/caliconodestatus", 3, Part::Stdout, TEMPLATE),
    differs("ctl/get/caliconodestatus", 3, Part::Stderr, TEMPLATE),
    differs("ctl/get/stagedkubernetesnetworkpolicy", 11, Part::Exit, TEMPLATE),
    differs("ctl/get/stagedkubernetesnetworkpolicy", 11, Part::Stdout, TEMPLATE),
    differs("ctl/get/stagedkubernetesnetworkpolicy", 11, Part::Stderr, TEMPLATE),
    differs("ctl/get/workloadendpoint", 11, Part::Exit, TEMPLATE),
    differs("ctl/get/workloadendpoint", 11, Part::Stdout, TEMPLATE),
    differs("ctl/get/workloadendpoint", 11, Part::Stderr, TEMPLATE),
    differs("ctl/ipam/configure", 7, Part::Stdout, POINTER),
    differs("ctl/ipam/show", 9, Part::Stdout, OVERFLOW),
    differs("ctl/ipam/show", 10, Part::Stdout, OVERFLOW),
    differs("ctl/ipam/show", 17, Part::Stdout, OVERFLOW),
    differs("ctl/ipam/show", 12, Part::Stdout, POINTER),
    differs("errors/NetworkPolicy/kubernetes-name", 2, Part::Stderr, STRUCT),
    differs("errors/command/unknown", 3, Part::Exit, PANICS),
    differs("errors/command/unknown", 3, Part::Stderr, PANICS),
    differs("errors/command/unknown", 4, Part::Exit, PANICS),
    differs("errors/command/unknown", 4, Part::Stderr, PANICS),
    differs("errors/datastore/bad-endpoint", 1, Part::Exit, HANGS),
    differs("errors/datastore/bad-endpoint", 1, Part::Stdout, HANGS),
    differs("errors/datastore/bad-endpoint", 2, Part::Exit, HANGS),
    differs("errors/datastore/bad-endpoint", 2, Part::Stderr, HANGS),
    differs("errors/datastore/etcd-away", 1, Part::Exit, HANGS),
    differs("errors/datastore/etcd-away", 1, Part::Stderr, HANGS),
    differs("errors/datastore/etcd-away", 2, Part::Exit, HANGS),
    differs("errors/datastore/etcd-away", 2, Part::Stderr, HANGS),
];
