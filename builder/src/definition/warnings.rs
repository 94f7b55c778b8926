//! What a definition says that will probably fail when the lock is written, and what changes nothing.

use std::collections::BTreeSet;

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
    warnings.extend(unauthenticated_mirrors(composed));
    warnings.extend(left_to_hosts(plan, registry));
    warnings.extend(left_to_vendor(plan));
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
            Origin::Url { checksum: Some(Checksum::File(address)), .. } if address.starts_with("http://") => {
                let (layer, name) = (&layer.name, &artifact.name);
                Some(format!("{layer}/{name}: nobody vouches for a checksum without TLS: {address}"))
            }
            _ => None,
        })
    })
}

/// Mirrors of registries that anybody on the way can change.
fn unauthenticated_mirrors(composed: &Composition) -> impl Iterator<Item = String> {
    composed.file.registries.iter().flat_map(|(host, registry)| {
        let mirrors = registry.mirrors.iter().flatten();
        mirrors
            .filter(|mirror| mirror.starts_with("http://"))
            .map(move |mirror| format!("{host}: nobody vouches for images of a mirror without TLS: {mirror}"))
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

/// What layers have that an output without the base does not bring.
fn left_to_hosts(plan: &ImagePlan, registry: &dyn Registry) -> Option<String> {
    let output = plan.outputs.iter().find(|output| registry.leaves_base_out(output))?;
    let packages = packages(plan);
    let whole = plan.layers.iter().filter(|layer| !layer.extension).map(|layer| layer.name.as_str());
    let lists = [("the layers", whole.collect::<Vec<_>>()), ("the packages", Vec::from_iter(packages))];
    let missing: Vec<String> = lists
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(kind, names)| format!("{kind} {}", names.join(", ")))
        .collect();
    let missing = missing.join("; ");
    (!missing.is_empty()).then(|| format!("the output {output} leaves this to its hosts: {missing}"))
}

/// What layers name for a base of packages, and a vendor's release does not take.
fn left_to_vendor(plan: &ImagePlan) -> Option<String> {
    let BasePlan::Vendor(vendor) = &plan.base else { return None };
    let packages = Vec::from_iter(packages(plan));
    (!packages.is_empty()).then(|| {
        let (name, packages) = (&vendor.distribution, packages.join(", "));
        format!("a release of {name} takes no packages, and must have what the layers name: {packages}")
    })
}

/// The packages that the layers name, each once.
fn packages(plan: &ImagePlan) -> BTreeSet<&str> {
    plan.layers.iter().flat_map(|layer| layer.packages.iter().map(String::as_str)).collect()
}
