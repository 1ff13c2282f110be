//! Who is measured, and how each is configured for the same work: every neighbour by its own entry, passive where the
//! daemon can be, everything accepted both ways, nothing written to the kernel unless asked for.

use super::generator::Speaker;
use crate::usage;
use anyhow::{Result, bail};
use ocicat_tests::node::PLUGINS;
use ocicat_tests::process::{Background, tool};
use ocicat_tests::router::{Kind, Router};
use ocicat_tests::sandbox::{add_netns, del_netns};
use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Namespace of whoever is measured.
pub const NETNS: &str = "router";

/// Where it listens.
pub const ROUTER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 254), 179);

/// Its AS number.
pub const ROUTER_AS: u32 = 64512;

/// One of those who are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// [`super::null`].
    Null,
    /// BIRD 2.
    Bird,
    /// FRR's `bgpd` without `zebra`.
    Frr,
    /// GoBGP.
    Gobgp,
    /// `ocicat bgpd`.
    Ocicat,
}

impl Subject {
    /// All.
    pub const ALL: [Self; 5] = [Self::Null, Self::Bird, Self::Frr, Self::Gobgp, Self::Ocicat];

    /// Name in tables and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bird => "bird",
            Self::Frr => "frr",
            Self::Gobgp => "gobgp",
            Self::Ocicat => "ocicat",
        }
    }
}

/// What a scenario needs of the router.
#[derive(Debug)]
pub struct Shape {
    /// Its neighbours.
    pub speakers: Vec<Speaker>,
    /// They are clients of a reflector.
    pub reflector: bool,
    /// Routes go into the kernel.
    pub kernel: bool,
}

/// A running subject.
#[derive(Debug)]
pub struct Running {
    pids: Vec<u32>,
    _router: Option<Router>,
    _program: Option<Background>,
    _directory: Option<TempDir>,
}

impl Running {
    /// Peak of resident memory of all its processes, in MB (10^6 bytes).
    ///
    /// # Errors
    /// It has ended.
    pub fn peak(&self) -> Result<f64> {
        usage::memory(&self.pids, "VmHWM")
    }

    /// See [`usage::cpu`].
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&self) -> Result<f64> {
        usage::cpu(&self.pids)
    }
}

/// A fresh namespace for the router, joined to the caller's by a veth pair. Neighbours at 10.0.1.x are on its link, those
/// at 10.1.x.y behind 10.0.0.253.
pub fn wire() -> Result<()> {
    let ip = |line: &str| tool("ip", &line.split_whitespace().collect::<Vec<_>>());
    del_netns(NETNS)?;
    let _ = ip("link del gen");
    add_netns(NETNS)?;
    ip(&format!("link add gen type veth peer name uplink netns {NETNS}"))?;
    ip("addr add 10.0.0.253/16 dev gen")?;
    ip("link set gen up")?;
    ip("route add local 10.0.1.0/24 dev gen table local")?;
    ip("route add local 10.1.0.0/16 dev gen table local")?;
    ip(&format!("-n {NETNS} addr add {}/16 dev uplink", ROUTER.ip()))?;
    ip(&format!("-n {NETNS} link set uplink up"))?;
    ip(&format!("-n {NETNS} route add 10.1.0.0/16 via 10.0.0.253"))?;
    Ok(())
}

/// Starts a subject in [`NETNS`].
///
/// # Errors
/// It does not start.
pub fn start(subject: Subject, shape: &Shape) -> Result<Running> {
    let daemon = |kind, configuration: String| -> Result<Running> {
        let router = Router::start(kind, Some(NETNS), &configuration)?;
        Ok(Running { pids: router.pids(), _router: Some(router), _program: None, _directory: None })
    };
    match subject {
        Subject::Null => {
            let mut command = inside(&std::env::current_exe()?);
            command.arg("bgp-null");
            program(command, None)
        }
        Subject::Bird => daemon(Kind::Bird, bird(shape)?),
        Subject::Frr if shape.kernel => daemon(Kind::Frr, frr(shape)?),
        Subject::Frr => daemon(Kind::FrrAlone, frr(shape)?),
        Subject::Gobgp if shape.kernel => bail!("GoBGP writes no routes without FRR's zebra"),
        Subject::Gobgp => daemon(Kind::Gobgp, gobgp(shape)?),
        Subject::Ocicat => {
            let directory = tempfile::Builder::new().prefix("ocicat-bench").tempdir()?;
            fs::write(directory.path().join("resources.yaml"), ocicat(shape)?)?;
            let mut command = inside(&Path::new(PLUGINS).join("ocicat"));
            command.args(["bgpd", "--node", "router", "--resources"]).arg(directory.path());
            if !shape.kernel {
                command.arg("--no-fib");
            }
            program(command, Some(directory))
        }
    }
}

fn inside(program: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", NETNS]).arg(program);
    command
}

fn program(command: Command, directory: Option<TempDir>) -> Result<Running> {
    let program = Background::start_logging(command, Path::new("/run/bench-subject.log"))?;
    Ok(Running { pids: vec![program.pid()], _router: None, _program: Some(program), _directory: directory })
}

fn bird(shape: &Shape) -> Result<String> {
    let mut text = format!(
        "router id {0};\nprotocol device {{}}\nprotocol direct {{ ipv4; }}\n\
         protocol static {{ ipv4; route 10.1.0.0/16 via 10.0.0.253; }}\n",
        ROUTER.ip()
    );
    if shape.kernel {
        text += "protocol kernel { ipv4 { export where source = RTS_BGP; }; }\n";
    }
    text += "template bgp neighbours {\n local 10.0.0.254 as 64512; passive yes; hold time 240;\n \
             ipv4 { import all; export where source = RTS_BGP; };\n";
    if shape.reflector {
        text += " rr client;\n";
    }
    text += "}\n";
    for (n, speaker) in shape.speakers.iter().enumerate() {
        let Speaker { address, asn, .. } = speaker;
        writeln!(text, "protocol bgp n{n} from neighbours {{ neighbor {address} as {asn}; }}")?;
    }
    Ok(text)
}

fn frr(shape: &Shape) -> Result<String> {
    let mut text = format!(
        "log stdout critical\nrouter bgp {ROUTER_AS}\n bgp router-id {}\n no bgp ebgp-requires-policy\n no bgp network import-check\n \
         coalesce-time 0\n neighbor all peer-group\n neighbor all passive\n",
        ROUTER.ip()
    );
    for Speaker { address, asn, .. } in &shape.speakers {
        writeln!(text, " neighbor {address} remote-as {asn}\n neighbor {address} peer-group all")?;
    }
    if shape.reflector {
        text += " address-family ipv4 unicast\n  neighbor all route-reflector-client\n exit-address-family\n";
    }
    Ok(text)
}

fn gobgp(shape: &Shape) -> Result<String> {
    let mut text = format!("[global.config]\nas = {ROUTER_AS}\nrouter-id = '{}'\n", ROUTER.ip());
    for Speaker { address, asn, .. } in &shape.speakers {
        writeln!(
            text,
            "[[neighbors]]\n[neighbors.config]\nneighbor-address = '{address}'\npeer-as = {asn}\n\
             [neighbors.transport.config]\npassive-mode = true\n[neighbors.timers.config]\nhold-time = 240"
        )?;
        if shape.reflector {
            writeln!(
                text,
                "[neighbors.route-reflector.config]\nroute-reflector-client = true\n\
                 route-reflector-cluster-id = '{}'",
                ROUTER.ip()
            )?;
        }
    }
    Ok(text)
}

/// Calico's resources: no mesh, one BGPPeer a neighbour, one BGPFilter that accepts everything both ways.
fn ocicat(shape: &Shape) -> Result<String> {
    let head = "apiVersion: projectcalico.org/v3\nkind:";
    let cluster = if shape.reflector { ", routeReflectorClusterID: 244.0.0.1" } else { "" };
    let mut text = format!(
        "{head} Node\nmetadata: {{name: router}}\n\
         spec: {{bgp: {{ipv4Address: {}/16, asNumber: {ROUTER_AS}{cluster}}}}}\n---\n\
         {head} BGPConfiguration\nmetadata: {{name: default}}\nspec: {{nodeToNodeMeshEnabled: false}}\n---\n\
         {head} BGPFilter\nmetadata: {{name: all}}\nspec: {{importV4: [{{action: Accept}}], exportV4: [{{action: Accept}}]}}\n",
        ROUTER.ip()
    );
    for (n, Speaker { address, asn, .. }) in shape.speakers.iter().enumerate() {
        writeln!(
            text,
            "---\n{head} BGPPeer\nmetadata: {{name: n{n}}}\n\
             spec: {{node: router, peerIP: {address}, asNumber: {asn}, filters: [all]}}"
        )?;
    }
    Ok(text)
}
