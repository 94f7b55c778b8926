//! The table `[metadata]`: the trust policy that the agent will read, checked by the agent's rules.

use contract::trust_policy::TrustPolicyFile;

use super::compose::Composition;
use super::source::{Step, error_in};
use crate::error::Result;

/// Keeps systemd from taking units and more from the hypervisor's credentials (SMBIOS, fw_cfg).
const NO_CREDENTIALS: &str = "systemd.import_credentials=no";

/// The kernel arguments that a policy needs.
pub fn kernel_arguments(policy: Option<&TrustPolicyFile>) -> Vec<String> {
    let is_needed = policy.is_some_and(TrustPolicyFile::bars_credentials);
    is_needed.then(|| NO_CREDENTIALS.to_owned()).into_iter().collect()
}

/// The policy that goes into the image, if the definition has one.
pub fn resolve_metadata(composed: &Composition) -> Result<Option<TrustPolicyFile>> {
    let Some(table) = composed.file.metadata.clone() else { return Ok(None) };
    let file = TrustPolicyFile {
        platform: table.platform,
        facts: table.facts,
        config: table.config,
        secrets: table.secrets,
        signed_by: table.signed_by,
        rejoin: table.rejoin,
        guard: table.guard,
    };
    file.check().map_err(|wrong| {
        let path: Vec<Step> = ["metadata", wrong.key]
            .map(Step::from)
            .into_iter()
            .chain(wrong.index.map(Step::from))
            .collect();
        error_in(&composed.sources, &path, &wrong.message).help(wrong.help)
    })?;
    Ok(Some(file))
}
