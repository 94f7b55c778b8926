//! The table `[metadata]`: the trust policy that the agent will read, checked by the agent's rules.

use contract::trust_policy::TrustPolicyFile;

use super::compose::Composition;
use super::source::{Step, error_in};
use crate::error::Result;

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
