//! Metadata: evidence → platform → facts and user data, with notices for the operator.

use std::time::Duration;

use crate::document::{Document, UserData};
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::{CommandLine, Evidence};
use crate::facts::Facts;
use crate::host::root::Root;
use crate::instance_data::InstanceData;
use crate::locations::{self, LocationContext};
use crate::net::Deadline;
use crate::platforms::detect::{Detection, detect};
use crate::platforms::{Platform, PlatformData, ReadContext};
use crate::trust_policy::TrustPolicy;

/// The kernel argument that limits the time for reading the platform's metadata, and for fetching a config
/// that a location names, in seconds each.
pub const DEADLINE: &str = "firstboot.source-deadline";

/// Everything known about this machine before its node config is parsed.
#[derive(Debug, Default)]
pub struct Metadata {
    /// The platform; none when there is no evidence of any.
    pub platform: Option<&'static Platform>,
    /// The evidence for it.
    pub seen: String,
    /// Other platforms with signs of the same strength, with those signs.
    pub others: Vec<(&'static str, String)>,
    /// Facts, with their sources.
    pub facts: Facts,
    /// What templates in the user data can ask for.
    pub instance_data: InstanceData,
    /// The user data or config that counts, and the name of its platform or location.
    pub user_data: Option<(&'static str, UserData)>,
    /// Notices for the operator; never a secret.
    pub notices: Vec<String>,
}

/// Gathers facts and config from local evidence, locations and the platform, as far as the trust policy
/// allows.
pub fn gather(
    root: &Root,
    policy: &TrustPolicy,
    fetch: &dyn Fn(&str, Deadline) -> Result<Document>,
) -> Result<Metadata> {
    let evidence = Evidence::of(root);
    let detection = detect(&evidence, policy.platform.as_deref())?;
    gather_at(&evidence, detection, policy, None, fetch)
}

/// The same, once the platform is known. `bound_to` is the only platform or location whose config counts on
/// a machine that has joined with it.
pub fn gather_at(
    evidence: &Evidence,
    detection: Detection,
    policy: &TrustPolicy,
    bound_to: Option<&str>,
    fetch: &dyn Fn(&str, Deadline) -> Result<Document>,
) -> Result<Metadata> {
    let mut metadata = Metadata::default();
    let root = evidence.root();
    let command_line = &evidence.command_line;
    let deadline = deadline(command_line, locations::LIMIT)?;
    let context = LocationContext { root, command_line, deadline, fetch };
    let counts = |name: &str| bound_to.is_none_or(|only| only == name);
    let is_allowed = |place: &str| policy.allows_config(place) && counts(place);
    let named = locations::find(&context, &is_allowed, &mut metadata.notices)
        .map_err(|failure| failure.after(&metadata.notices))?;
    metadata.platform = detection.platform;
    metadata.seen = detection.seen.clone();
    for (name, seen) in &detection.others {
        metadata
            .notices
            .push(format!("the machine also looks like {name} ({seen}), which is ignored"));
    }
    metadata.others = detection.others;
    if let Some(platform) = detection.platform {
        metadata.facts.platform.add(platform.name.to_owned(), detection.seen);
        let name = platform.name;
        let data = if policy.allows(name) {
            read(evidence, platform, fetch, &mut metadata.notices)
        } else {
            Ok(PlatformData::default())
        };
        let data = match named {
            Some(_) => without_facts(platform, data, &mut metadata.notices),
            None => data.map_err(|failure| failure.after(&metadata.notices))?,
        };
        let data = restrict(data, name, policy, &mut metadata.notices);
        metadata.facts.merge(data.facts);
        metadata.instance_data = data.instance_data;
        metadata.user_data = data.user_data.filter(|_| counts(name)).map(|user_data| (name, user_data));
    }
    metadata.instance_data.complete(&metadata.facts, root);
    if let Some(named) = named {
        let beaten = metadata.user_data.replace(named);
        if let Some((source, _)) = beaten {
            metadata
                .notices
                .push(format!("the user data of {source} is not used: a location has a node config"));
        }
    }
    Ok(metadata)
}

/// Removes what the trust policy does not allow.
fn restrict(
    mut data: PlatformData,
    name: &str,
    policy: &TrustPolicy,
    notices: &mut Vec<String>,
) -> PlatformData {
    let by = "because of the image's trust policy";
    if !policy.allows_facts(name) {
        notices.push(format!("the facts of {name} are not accepted, {by}"));
        data.facts = Facts::default();
        data.instance_data = InstanceData::default();
    }
    if !policy.allows_config(name) && data.user_data.take().is_some() {
        notices.push(format!("the user data of {name} is not accepted, {by}"));
    }
    data
}

fn read(
    evidence: &Evidence,
    platform: &Platform,
    fetch: &dyn Fn(&str, Deadline) -> Result<Document>,
    notices: &mut Vec<String>,
) -> Result<PlatformData> {
    let deadline = deadline(&evidence.command_line, platform.deadline)?;
    let mut context = ReadContext { evidence, deadline, notices: Vec::new(), fetch, service: None };
    let data = (platform.read)(&mut context);
    notices.append(&mut context.notices);
    data.map_err(|failure| failure.doing(format!("reading the metadata of {}", platform.name)))
}

/// The end of the time that the kernel command line allows, else of `limit`.
fn deadline(command_line: &CommandLine, limit: Duration) -> Result<Deadline> {
    let Some(seconds) = command_line.value(DEADLINE) else { return Ok(Deadline::after(limit)) };
    seconds.parse().map(|seconds| Deadline::after(Duration::from_secs(seconds))).map_err(|_| {
        let message = format!("the kernel command line: {DEADLINE} is no number of seconds");
        Failure::new(ErrorKind::Source, message)
    })
}

/// A machine with a config can do without the platform's facts; a template that needs a missing fact reports
/// that.
fn without_facts(platform: &Platform, data: Result<PlatformData>, notices: &mut Vec<String>) -> PlatformData {
    data.unwrap_or_else(|failure| {
        notices.push(format!("warning: no facts from {}: {failure}", platform.name));
        PlatformData::default()
    })
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
mod tests;
