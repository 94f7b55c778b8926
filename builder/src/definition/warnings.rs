//! What a definition says that will probably fail when the lock is written, and what changes nothing.

use contract::suggest::nearest;

use super::compose::Composition;
use super::plan::{BasePlan, Checksum, ImagePlan, Origin, PackagesPlan};
use super::registry::Registry;
use crate::at;

/// The warnings about a definition, one line each.
pub(super) fn warnings(plan: &ImagePlan, composed: &Composition, registry: &dyn Registry) -> Vec<String> {
    let mut warnings: Vec<String> = untried_suite(&plan.base, registry).into_iter().collect();
    warnings.extend(unauthenticated_checksums(plan));
    warnings.extend(unused_options(plan, composed));
    warnings
}

fn untried_suite(base: &BasePlan, registry: &dyn Registry) -> Option<String> {
    let BasePlan::Packages(PackagesPlan { distribution, suite, .. }) = base else { return None };
    let tried = registry.suites(distribution);
    if tried.contains(&suite.as_str()) {
        return None;
    }
    let meant = nearest(suite, tried.iter().copied()).map(|near| format!("; did you mean {near}?"));
    let (list, meant) = (tried.join(", "), meant.unwrap_or_default());
    Some(format!("Kiln was not tried with the release \"{suite}\" of {distribution}, but with {list}{meant}"))
}

/// Addresses of checksum files that locking passes over.
fn unauthenticated_checksums(plan: &ImagePlan) -> impl Iterator<Item = String> {
    plan.layers.iter().flat_map(|layer| {
        layer.artifacts.iter().filter_map(move |artifact| match &artifact.origin {
            Origin::Url { checksum: Checksum::File(address), .. } if address.starts_with("http://") => {
                let (layer, name) = (&layer.name, &artifact.name);
                Some(format!("{layer}/{name}: nobody vouches for a checksum without TLS: {address}"))
            }
            _ => None,
        })
    })
}

/// Options of outputs that are not written, unless the outputs were chosen over them.
fn unused_options(plan: &ImagePlan, composed: &Composition) -> impl Iterator<Item = String> {
    let unused = |name: &&String| {
        !plan.outputs.contains(name) && composed.goes_with("outputs", &at!["output", name.as_str()])
    };
    let written = plan.outputs.join(", ");
    plan.output_options
        .keys()
        .filter(unused)
        .map(move |name| format!("the options of the output {name} change nothing: outputs names {written}"))
}
