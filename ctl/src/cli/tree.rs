//! The command tree as data: one struct a command, from which parser and help follow.
//! Source: `calicoctl.md` §1, §3, §5, §6, §8 and §10 of the contract.

use super::{DatastoreCommand, StoreArgs};
use crate::bgp::BgpCommand;
use crate::cni_install::CniCommand;
use crate::felix_command::FelixArgs;
use crate::lab::LabCommand;
use crate::status_command::StatusArgs;
use crate::version;
use crate::why::WhyArgs;
use bgpd::DEFAULT_SECRETS;
use bgpd::client::DEFAULT_SOCKET;
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// Where calicoctl looks for its configuration unless told otherwise.
pub const DEFAULT_CONFIG: &str = "/etc/calico/calicoctl.cfg";

/// The tree under our own name.
#[derive(Debug, Parser)]
#[command(name = "ocicat", version = version::BUILD, about = "Networking and network policy for Linux workloads, spoken in Calico's API")]
pub struct OcicatRoot {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The tree as `calicoctl`.
#[derive(Debug, Parser)]
#[command(name = "calicoctl", about = "Manage Calico's network and security policy, addresses and nodes")]
pub struct CalicoctlRoot {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Option<Admin>,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Verbosity of the log on standard error: panic, fatal, error, warn, info or debug
    #[arg(short, long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Context of the kubeconfig to use
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Go on though client and cluster are of different versions
    #[arg(long, global = true)]
    pub allow_version_mismatch: bool,
}

/// All commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What calicoctl has too.
    #[command(flatten)]
    Admin(Admin),
    /// What only we have.
    #[command(flatten)]
    House(House),
}

/// Our own commands.
#[derive(Debug, Subcommand)]
pub enum House {
    /// Run a whole node with datastore and workloads on this machine
    Lab {
        /// What to do with it.
        #[command(subcommand)]
        command: LabCommand,
    },
    /// Run the BGP speaker of a node, or of a router without one
    Bgpd(BgpdArgs),
    /// Run the node agent: policy and routes of this node; or ask a running one
    Felix(FelixArgs),
    /// Show this node on one page: its parts, datastore, policy, sessions, and what is wrong
    Status(StatusArgs),
    /// Look at a running BGP speaker
    Bgp {
        /// What to look at.
        #[command(subcommand)]
        command: Option<BgpCommand>,
    },
    /// Tell which policy rule decides about a packet between two workloads or addresses
    Why(WhyArgs),
    /// Install the CNI plugin and its configuration, or take them away; or be the plugin
    Cni {
        /// What to do.
        #[command(subcommand)]
        command: CniCommand,
    },
}

/// Commands that calicoctl has too.
#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Create resources from a file or standard input
    Create {
        /// Which.
        #[command(flatten)]
        files: FileArgs,
        /// Count resources that exist already as done
        #[arg(long)]
        skip_exists: bool,
        /// Where from.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Create resources, or replace those that exist
    Apply {
        /// Which.
        #[command(flatten)]
        files: FileArgs,
        /// Where from.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Replace resources that exist
    Replace {
        /// Which.
        #[command(flatten)]
        files: FileArgs,
        /// Where from.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Delete resources by kind and name, or those in a file
    Delete {
        /// KIND NAME...
        #[arg(value_name = "KIND NAME")]
        words: Vec<String>,
        /// Which.
        #[command(flatten)]
        files: FileArgs,
        /// Count resources that do not exist as done
        #[arg(short, long)]
        skip_not_exists: bool,
        /// Where from.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Show resources
    Get {
        /// KIND [NAME...]
        #[arg(value_name = "KIND [NAME]")]
        words: Vec<String>,
        /// Which.
        #[command(flatten)]
        files: FileArgs,
        /// All namespaces
        #[arg(short = 'A', long, short_alias = 'a')]
        all_namespaces: bool,
        /// ps (table), wide, yaml, json, custom-columns=A,B
        #[arg(short, long, default_value = "ps", value_name = "FORMAT")]
        output: String,
        /// Leave out what belongs to the cluster: uid, versions, times, namespace
        #[arg(long)]
        export: bool,
        /// Where from.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Change some fields of a resource
    Patch {
        /// KIND NAME
        #[arg(value_name = "KIND NAME")]
        words: Vec<String>,
        /// The change, as a JSON document
        #[arg(short, long, default_value = "", hide_default_value = true, value_name = "JSON")]
        patch: String,
        /// Accepted and without effect: a patch is always a strategic merge patch
        #[arg(short = 't', long = "type", default_value = "strategic", value_name = "TYPE")]
        kind_of_patch: String,
        /// Where from.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Set or remove a label of a resource
    Label {
        /// KIND NAME KEY=VALUE, or KIND NAME KEY --remove
        #[arg(value_name = "KIND NAME KEY[=VALUE]")]
        words: Vec<String>,
        /// Replace the value of a label that exists
        #[arg(long)]
        overwrite: bool,
        /// Remove the label
        #[arg(long)]
        remove: bool,
        /// Where from.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Check resources in a file without a datastore
    Validate {
        /// Which.
        #[command(flatten)]
        files: FileArgs,
        /// Where from.
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Show, release and configure addresses
    Ipam {
        /// What to do.
        #[command(subcommand)]
        command: Option<IpamCommand>,
    },
    /// Look at this node
    Node {
        /// What to look at.
        #[command(subcommand)]
        command: Option<NodeCommand>,
    },
    /// Manage the datastore
    Datastore {
        /// With `--data-dir` alone: serve one.
        #[command(flatten)]
        serve: StoreArgs,
        /// What to do.
        #[command(subcommand)]
        command: Option<DatastoreCommand>,
    },
    /// Show the versions of this program and of the cluster
    Version {
        /// Only this program's
        #[arg(long)]
        client: bool,
        /// Ask again and again at this interval and print changes
        #[arg(long, value_name = "DURATION")]
        poll: Option<String>,
        /// Where from.
        #[command(flatten)]
        config: ConfigArgs,
    },
}

/// Which documents.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// File or directory, may be given several times; - is standard input
    #[arg(short, long, value_name = "FILE")]
    pub filename: Vec<String>,
    /// Go into sub-directories
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Nothing in the file is not an error
    #[arg(long)]
    pub skip_empty: bool,
}

/// Which datastore.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// File with the connection settings; without it the environment is used
    #[arg(short, long, default_value = DEFAULT_CONFIG, value_name = "FILE")]
    pub config: String,
}

/// Which datastore and namespace.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Where from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Namespace of namespaced resources that name none
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
}

/// `ipam`.
#[derive(Debug, Subcommand)]
pub enum IpamCommand {
    /// Show how addresses are used
    Show {
        /// Who has this address
        #[arg(long, value_name = "IP")]
        ip: Option<String>,
        /// Show the blocks of each pool too
        #[arg(long)]
        show_blocks: bool,
        /// Show addresses that nodes took from blocks of others
        #[arg(long)]
        show_borrowed: bool,
        /// Show the IPAM settings
        #[arg(long)]
        show_configuration: bool,
        /// Where from.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Change the IPAM settings
    Configure {
        /// Nodes use addresses of their own blocks only
        #[arg(long, value_name = "true|false")]
        strictaffinity: Option<String>,
        /// How many blocks a node may own
        #[arg(long, value_name = "N")]
        max_blocks_per_host: Option<String>,
        /// Virtual machines keep their address
        #[arg(long, value_name = "Enabled|Disabled")]
        kubevirt_ip_persistence: Option<String>,
        /// How long a released address rests
        #[arg(long, value_name = "N")]
        ip_cooldown_seconds: Option<String>,
        /// Where from.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Release an address that nothing uses any more
    Release {
        /// The address
        #[arg(long, value_name = "IP")]
        ip: Option<String>,
        /// Where from.
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// An unknown word.
    #[command(external_subcommand)]
    Unknown(Vec<OsString>),
}

/// `node`.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Show this node's BGP sessions
    Status {
        /// Socket of the speaker
        #[arg(long, default_value = DEFAULT_SOCKET, value_name = "PATH")]
        socket: PathBuf,
        /// ps (table) or json
        #[arg(short, long, default_value = "ps", value_name = "FORMAT")]
        output: String,
    },
    /// Be this node's agent: register the node, then policy, routes and BGP
    Run(Box<NodeRunArgs>),
    /// An unknown word.
    #[command(external_subcommand)]
    Unknown(Vec<OsString>),
}

/// `node run`. The options are calicoctl's; each stands for one of Calico's variables.
#[derive(Debug, Args)]
pub struct NodeRunArgs {
    /// Name of the node (NODENAME); else /var/lib/calico/nodename, or HOSTNAME
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// IPv4 address (IP): ADDRESS[/LENGTH], autodetect or none
    #[arg(long, value_name = "IP")]
    pub ip: Option<String>,
    /// IPv6 address (IP6): ADDRESS[/LENGTH], autodetect or none
    #[arg(long, value_name = "IP6")]
    pub ip6: Option<String>,
    /// AS number (AS)
    #[arg(long = "as", value_name = "AS_NUM")]
    pub as_number: Option<String>,
    /// How the IPv4 address is found (IP_AUTODETECTION_METHOD)
    #[arg(long, value_name = "METHOD")]
    pub ip_autodetection_method: Option<String>,
    /// How the IPv6 address is found (IP6_AUTODETECTION_METHOD)
    #[arg(long, value_name = "METHOD")]
    pub ip6_autodetection_method: Option<String>,
    /// bird: routes are exchanged by BGP; none: they are not (CALICO_NETWORKING_BACKEND)
    #[arg(long, value_name = "BACKEND")]
    pub backend: Option<String>,
    /// Make no default pools (NO_DEFAULT_POOLS)
    #[arg(long)]
    pub no_default_ippools: bool,
    /// File with variables, a NAME=value a line; it need not exist. The environment wins over it
    #[arg(long, default_value = "/etc/calico/calico.env", value_name = "PATH")]
    pub file: PathBuf,
    /// File with Felix's parameters; it need not exist
    #[arg(long, default_value = "/etc/calico/felix.cfg", value_name = "PATH")]
    pub felix_config: PathBuf,
    /// Where passwords of BGP peers are: DIR/SECRET/KEY, as Secrets are mounted
    #[arg(long, default_value = DEFAULT_SECRETS, value_name = "DIR")]
    pub secrets: PathBuf,
    /// etcd: as ETCD_ENDPOINTS or the file named by -c say; embedded: one in this process, for a node alone
    #[arg(long, default_value = "etcd", value_name = "etcd|embedded")]
    pub datastore: String,
    /// Where the embedded datastore is
    #[arg(long, default_value = node::DATA, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Print what would be decided, and why, and end
    #[arg(long)]
    pub explain: bool,
    /// Where from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `bgpd`.
#[derive(Debug, Args)]
pub struct BgpdArgs {
    /// Name of the node; else NODENAME, /var/lib/calico/nodename, or HOSTNAME
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Read Calico's resources from the YAML and JSON files in this directory, and follow them, instead of etcd
    #[arg(long, value_name = "DIR")]
    pub resources: Option<PathBuf>,
    /// Put nothing into the kernel
    #[arg(long)]
    pub no_fib: bool,
    /// Answer `ocicat bgp` and `ocicat node status` at this socket
    #[arg(long, default_value = DEFAULT_SOCKET, value_name = "PATH")]
    pub socket: PathBuf,
    /// Where passwords are: DIR/SECRET/KEY, as Secrets are mounted
    #[arg(long, default_value = DEFAULT_SECRETS, value_name = "DIR")]
    pub secrets: PathBuf,
    /// Where from.
    #[command(flatten)]
    pub config: ConfigArgs,
}
