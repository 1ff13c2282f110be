//! `ipam configure`. Source: `calicoctl.md` §6.5 of the contract.

use super::failed;
use crate::cli::pflag_bool;
use crate::io::{Failure, Io};
use ipam::{Ipam, IpamConfig};
use model::ipam::VmAddressPersistence;

/// The options given, as typed.
#[derive(Debug, Default)]
pub struct Asked<'a> {
    /// `--strictaffinity`
    pub strict_affinity: Option<&'a str>,
    /// `--max-blocks-per-host`
    pub max_blocks_per_host: Option<&'a str>,
    /// `--kubevirt-ip-persistence`
    pub vm_address_persistence: Option<&'a str>,
    /// `--ip-cooldown-seconds`
    pub ip_cooldown_seconds: Option<&'a str>,
}

/// Changes what is asked, and says so.
///
/// # Errors
/// No option, a value that is none, values that do not agree.
pub async fn run(ipam: &Ipam, asked: &Asked<'_>, io: &mut Io) -> Result<(), Failure> {
    let changes = asked.changes()?;
    let mut config = ipam.config().await.map_err(failed)?;
    changes.iter().for_each(|change| change.apply(&mut config));
    if config.max_blocks_per_host > 0 && !config.strict_affinity {
        return Err(Failure::message("error: MaxBlocksPerHost requires StrictAffinity to be enabled"));
    }
    ipam.set_config(config).await.map_err(failed)?;
    changes.iter().try_for_each(|change| io.line(&change.said()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    StrictAffinity(bool),
    MaxBlocksPerHost(i64),
    VmAddressPersistence(VmAddressPersistence),
    CooldownSeconds(i64),
}

impl Asked<'_> {
    fn changes(&self) -> Result<Vec<Change>, Failure> {
        let refuse = |text: &str| Failure::message(text);
        let mut changes = Vec::new();
        if let Some(text) = self.strict_affinity {
            let value = pflag_bool(text)
                .map_err(|_| refuse("invalid value. Use true or false to set strictaffinity"))?;
            changes.push(Change::StrictAffinity(value));
        }
        if let Some(text) = self.max_blocks_per_host {
            let value =
                text.parse().map_err(|_| refuse("invalid value for maxblockhost. Use a valid number"))?;
            changes.push(Change::MaxBlocksPerHost(value));
        }
        if let Some(text) = self.vm_address_persistence {
            changes.push(Change::VmAddressPersistence(match text {
                "Enabled" => VmAddressPersistence::Enabled,
                "Disabled" => VmAddressPersistence::Disabled,
                _ => {
                    return Err(refuse(
                        "invalid value for --kubevirt-ip-persistence. Use Enabled or Disabled",
                    ));
                }
            }));
        }
        if let Some(text) = self.ip_cooldown_seconds {
            let value = text
                .parse()
                .map_err(|_| refuse("invalid value for --ip-cooldown-seconds. Use a valid number"))?;
            changes.push(Change::CooldownSeconds(value));
        }
        if changes.is_empty() {
            return Err(refuse("at least one configuration option must be specified"));
        }
        Ok(changes)
    }
}

impl Change {
    fn apply(self, config: &mut IpamConfig) {
        match self {
            Change::StrictAffinity(value) => config.strict_affinity = value,
            Change::MaxBlocksPerHost(value) => config.max_blocks_per_host = value,
            Change::VmAddressPersistence(value) => config.vm_address_persistence = value,
            Change::CooldownSeconds(value) => config.ip_cooldown_seconds = value,
        }
    }

    fn said(self) -> String {
        let (name, value) = match self {
            Change::StrictAffinity(value) => ("StrictAffinity", value.to_string()),
            Change::MaxBlocksPerHost(value) => ("MaxBlocksPerHost", value.to_string()),
            Change::VmAddressPersistence(value) => ("KubeVirtVMAddressPersistence", format!("{value:?}")),
            Change::CooldownSeconds(value) => ("IPCooldownSeconds", value.to_string()),
        };
        format!("Successfully set {name} to: {value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(asked: Asked<'_>) -> String {
        match asked.changes() {
            Err(Failure::Message(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(refused(Asked::default()), "at least one configuration option must be specified");
        assert_eq!(
            refused(Asked { strict_affinity: Some("maybe"), ..Asked::default() }),
            "invalid value. Use true or false to set strictaffinity"
        );
        assert_eq!(
            refused(Asked { max_blocks_per_host: Some("many"), ..Asked::default() }),
            "invalid value for maxblockhost. Use a valid number"
        );
        assert_eq!(
            refused(Asked { vm_address_persistence: Some("yes"), ..Asked::default() }),
            "invalid value for --kubevirt-ip-persistence. Use Enabled or Disabled"
        );
    }

    #[test]
    fn what_is_said() {
        let asked = Asked {
            strict_affinity: Some("TRUE"),
            max_blocks_per_host: Some("-1"),
            vm_address_persistence: Some("Disabled"),
            ip_cooldown_seconds: Some("9999"),
        };
        let changes = asked.changes().expect("changes");
        let said: Vec<String> = changes.iter().map(|change| change.said()).collect();
        assert_eq!(
            said,
            [
                "Successfully set StrictAffinity to: true",
                "Successfully set MaxBlocksPerHost to: -1",
                "Successfully set KubeVirtVMAddressPersistence to: Disabled",
                "Successfully set IPCooldownSeconds to: 9999",
            ]
        );
        let mut config = IpamConfig::default();
        changes.iter().for_each(|change| change.apply(&mut config));
        assert!(config.strict_affinity && config.auto_allocate_blocks);
        assert_eq!((config.max_blocks_per_host, config.ip_cooldown_seconds), (-1, 9999));
    }
}
