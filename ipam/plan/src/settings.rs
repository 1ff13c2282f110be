//! The settings of address management (`ipam.md` §2 of the contract).

use crate::PlanError;
use crate::plan::Plan;
use crate::scene::Scene;
use model::ipam::IpamConfig;
use model::key::Key;
use mvcc::{Op, PutRequest, Txn};

/// The settings in force.
pub fn config() -> Plan<Result<IpamConfig, PlanError>> {
    Plan::new(|port| async move { Ok(Scene::read(&port, Vec::new()).await?.0.config) })
}

/// Changes the settings, whatever they are by now.
pub fn set_config(config: IpamConfig) -> Plan<Result<(), PlanError>> {
    Plan::new(|port| async move {
        check(&config)?;
        let put = PutRequest::new(Key::IpamConfig.path(), config.encode());
        let txn = Txn { success: vec![Op::Put(put)], ..Txn::default() };
        port.write(txn, "config").await;
        Ok(())
    })
}

fn check(config: &IpamConfig) -> Result<(), PlanError> {
    if !config.strict_affinity && !config.auto_allocate_blocks {
        return Err(PlanError::NeitherStrictNorAuto);
    }
    if config.max_blocks_per_host > 0 && !config.strict_affinity {
        return Err(PlanError::LimitWithoutStrict);
    }
    Ok(())
}
