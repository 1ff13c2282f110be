//! The one list of places where ours differs from the recording on purpose.
//!
//! A run fails on every difference that is not here, and on every line here that no longer holds.

use super::compare::Part;
use serde_json::Value;

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

/// A difference in every dump of the kernel.
#[derive(Debug)]
pub struct Everywhere {
    /// Why.
    pub reason: &'static str,
    /// Takes it out of one object of `ip -j`, which is null afterwards if nothing is left; false where it is not there.
    pub strip: fn(&mut Value) -> bool,
}

/// What every ADD does on purpose beyond the recording.
pub const EVERYWHERE: &[Everywhere] = &[Everywhere {
    reason: "gateways are permanent neighbours, so that the first packet waits for no ARP and no proxy has to answer",
    strip: |object| {
        let gateway = ["169.254.1.1", "fe80::ecee:eeff:feee:eeee"].iter().any(|one| object["dst"] == *one);
        let ours = gateway && object["state"][0] == "PERMANENT" && object["lladdr"] == "ee:ee:ee:ee:ee:ee";
        if ours {
            *object = Value::Null;
        }
        ours
    },
}];

const HANGS: &str = "upstream never gives up on a datastore that does not answer; ours says so and ends";
const PANICS: &str = "upstream panics; ours says what is wrong";
const TEMPLATE: &str = "upstream's template checker panics over its own table; ours prints what is meant";
const HALF: &str =
    "upstream leaks the IPv4 address of a dual-stack ADD whose IPv6 fails; ours gives both or nothing";
const NAMED: &str = "upstream gives the kernel's word alone; ours says of which interface in which namespace";
const UNSORTED: &str = "upstream lists headings in the order of a hash map; ours in that of the table";
const POINTER: &str = "upstream prints a pointer; ours prints the setting";
const OVERFLOW: &str =
    "upstream overflows on pools of 2^63 addresses and more, and prints a negative count of free ones";
const NEWER: &str = "upstream speaks CNI up to 1.0.0; ours 1.1.0 too, with STATUS and GC";
const STRUCT: &str = "upstream prints a Go struct; ours names the resource or shows it as JSON";

/// All of them.
pub const DIFFERENCES: &[Difference] = &[
    differs("cni/bad/interface-name", 3, Part::Stdout, NAMED),
    differs("cni/verbs", 2, Part::Stdout, NEWER),
    differs("cni/verbs", 5, Part::Exit, NEWER),
    differs("cni/verbs", 5, Part::Stdout, NEWER),
    differs("cni/verbs", 7, Part::Exit, NEWER),
    differs("cni/verbs", 7, Part::Stdout, NEWER),
    differs("cni/verbs", 8, Part::Stdout, NEWER),
    differs("cni/verbs", 11, Part::Exit, NEWER),
    differs("cni/verbs", 11, Part::Stdout, NEWER),
    differs("cni/verbs", 13, Part::Exit, NEWER),
    differs("cni/verbs", 13, Part::Stdout, NEWER),
    differs("cni/version-1.1.0", 2, Part::Exit, NEWER),
    differs("cni/version-1.1.0", 2, Part::Etcd, NEWER),
    differs("cni/version-1.1.0", 2, Part::Stdout, NEWER),
    differs("cni/version-1.1.0", 2, Part::Kernel, NEWER),
    differs("cni/version-1.1.0", 3, Part::Exit, NEWER),
    differs("cni/version-1.1.0", 3, Part::Etcd, NEWER),
    differs("cni/version-1.1.0", 3, Part::Stdout, NEWER),
    differs("cni/version-1.1.0", 3, Part::Kernel, NEWER),
    differs("cni/version-unknown", 2, Part::Stdout, NEWER),
    differs("cni/version-unknown", 3, Part::Stdout, NEWER),
    differs("ctl/get/caliconodestatus", 3, Part::Exit, TEMPLATE),
    differs("ctl/get/caliconodestatus", 3, Part::Stdout, TEMPLATE),
    differs("ctl/get/caliconodestatus", 3, Part::Stderr, TEMPLATE),
    differs("ctl/get/caliconodestatus", 8, Part::Exit, TEMPLATE),
    differs("ctl/get/caliconodestatus", 8, Part::Stdout, TEMPLATE),
    differs("ctl/get/caliconodestatus", 8, Part::Stderr, TEMPLATE),
    differs("ctl/get/stagedkubernetesnetworkpolicy", 11, Part::Exit, TEMPLATE),
    differs("ctl/get/stagedkubernetesnetworkpolicy", 11, Part::Stdout, TEMPLATE),
    differs("ctl/get/stagedkubernetesnetworkpolicy", 11, Part::Stderr, TEMPLATE),
    differs("ctl/get/stagedkubernetesnetworkpolicy", 15, Part::Exit, TEMPLATE),
    differs("ctl/get/stagedkubernetesnetworkpolicy", 15, Part::Stdout, TEMPLATE),
    differs("ctl/get/stagedkubernetesnetworkpolicy", 15, Part::Stderr, TEMPLATE),
    differs("ctl/get/workloadendpoint", 11, Part::Exit, TEMPLATE),
    differs("ctl/get/workloadendpoint", 11, Part::Stdout, TEMPLATE),
    differs("ctl/get/workloadendpoint", 11, Part::Stderr, TEMPLATE),
    differs("ctl/get/workloadendpoint", 15, Part::Exit, TEMPLATE),
    differs("ctl/get/workloadendpoint", 15, Part::Stdout, TEMPLATE),
    differs("ctl/get/workloadendpoint", 15, Part::Stderr, TEMPLATE),
    differs("ctl/ipam/configure", 7, Part::Stdout, POINTER),
    differs("ctl/ipam/show", 9, Part::Stdout, OVERFLOW),
    differs("ctl/ipam/show", 10, Part::Stdout, OVERFLOW),
    differs("ctl/ipam/show", 17, Part::Stdout, OVERFLOW),
    differs("ctl/ipam/show", 12, Part::Stdout, POINTER),
    differs("errors/NetworkPolicy/kubernetes-name", 2, Part::Stderr, STRUCT),
    differs("ipam/configure", 1, Part::Stdout, POINTER),
    differs("ipam/configure", 10, Part::Stdout, POINTER),
    differs("ipam/dual-stack-half", 2, Part::Etcd, HALF),
    differs("ipam/dual-stack-half", 4, Part::IpamKeys, HALF),
    differs("ipam/strict-affinity", 9, Part::Stdout, POINTER),
    differs("errors/command/unknown", 9, Part::Stderr, UNSORTED),
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
