//! Parameters that no FelixConfiguration can set: those that say where the datastore is, and a few for debugging.

use super::parameter::{Parameter, boolean, free, given, seconds, words};
use super::syntax::Syntax;

pub(super) const PARAMETERS: &[Parameter] = &[
    words(&["etcdv3", "kubernetes"], "etcdv3", "datastore driver (normally set by env DATASTORE_TYPE)")
        .fatal()
        .required()
        .named("DatastoreType")
        .local(),
    given(Syntax::HostPort, "127.0.0.1:2379", "legacy host:port if no endpoints").named("EtcdAddr").local(),
    given(Syntax::Path, "", "etcd CA").named("EtcdCaFile").local(),
    given(Syntax::Path, "", "etcd client cert").named("EtcdCertFile").local(),
    given(Syntax::Urls, "", "etcd URLs").named("EtcdEndpoints").local(),
    given(Syntax::Path, "", "etcd client key").named("EtcdKeyFile").local(),
    words(&["http", "https"], "http", "legacy scheme for EtcdAddr").required().named("EtcdScheme").local(),
    given(Syntax::Hostname, "", "node name override; default lower-cased OS hostname")
        .named("FelixHostname")
        .local(),
    given(Syntax::HostPort, "", "Typha host:port; skips service discovery").named("TyphaAddr").local(),
    given(Syntax::Path, "", "CA for Typha server").named("TyphaCAFile").local(),
    free("", "required server certificate CN").named("TyphaCN").local(),
    given(Syntax::Path, "", "client cert").named("TyphaCertFile").local(),
    free("kube-system", "namespace of Typha service").named("TyphaK8sNamespace").local(),
    free("", "Typha service name; set ⇒ use Typha").named("TyphaK8sServiceName").local(),
    given(Syntax::Path, "", "client key").named("TyphaKeyFile").local(),
    seconds("30", "close if silent this long").named("TyphaReadTimeout").local(),
    free("", "required server URI SAN").named("TyphaURISAN").local(),
    seconds("10", "write deadline").named("TyphaWriteTimeout").local(),
    free("", "test").named("DebugBPFCgroupV2").local(),
    given(
        Syntax::Path,
        "felix-cpu-<timestamp>.pprof",
        "profile on SIGUSR2; default in the directory for temporary files",
    )
    .named("DebugCPUProfilePath"),
    seconds("0", "test").named("DebugPanicAfter"),
    boolean("false", "test").named("DebugSimulateDataRace"),
];
