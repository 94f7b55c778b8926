//! Detection: the one platform that local evidence proves. Nothing is sent.
//!
//! ```text
//! evidence (SMBIOS, command line, labels, channels of the hypervisor) ─► signs of every platform ─► the one platform
//! ```
//!
//! The strongest sign wins: a pin, then the firmware, then the hypervisor's name of itself, then the label of
//! a disc, then that of another disk, then a channel of the hypervisor. Weaker signs are not even looked for.
//! A machine without evidence sends no request: on unknown hardware anyone on the link could answer at a
//! link-local address (CVE-2024-6174).

use contract::suggest;

use super::{ALL, Platform};
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::{Evidence, Strength};

/// The kernel argument that pins the platform.
pub const PIN: &str = "firstboot.platform";

/// The platform, and the evidence for it.
#[derive(Debug, Default)]
pub struct Detection {
    /// None when there is no evidence of any platform.
    pub platform: Option<&'static Platform>,
    /// The sign that proved it, for people.
    pub seen: String,
    /// Other platforms that signs of the same strength point to, with those signs.
    pub others: Vec<(&'static str, String)>,
}

/// Detects the platform. The image's trust policy may pin one (`pinned`); it takes precedence over the kernel
/// argument.
pub fn detect(evidence: &Evidence, pinned: Option<&str>) -> Result<Detection> {
    if let Some(pinned) = pinned_by(evidence, pinned) {
        return pinned;
    }
    for strength in Strength::ALL {
        let mut seen = ALL
            .iter()
            .filter_map(|platform| Some((*platform, recognize(platform, strength, evidence)?)));
        if let Some((platform, first)) = seen.next() {
            let others = seen.map(|(platform, seen)| (platform.name, seen)).collect();
            let detection = Detection { platform: Some(platform), seen: first, others };
            return if strength == Strength::Label { only(detection) } else { Ok(detection) };
        }
    }
    Ok(Detection::default())
}

/// Any of several labelled disks may be a tenant's volume, so none of them counts.
fn only(detection: Detection) -> Result<Detection> {
    let Some((_, other)) = detection.others.first() else { return Ok(detection) };
    let message = format!("disks of two platforms are attached: {}, and {other}", detection.seen);
    Err(Failure::new(ErrorKind::Source, message).help(format!(
        "detach one, attach the machine's own as a CD-ROM, or pin the platform with {PIN}=NAME"
    )))
}

/// The platform of a machine that has joined on `platform`. Unless a platform is pinned, no sign counts
/// again: disks with any label may be there by now.
pub fn detect_again(evidence: &Evidence, pinned: Option<&str>, platform: &str) -> Result<Detection> {
    pinned_by(evidence, pinned).unwrap_or_else(|| {
        let platform = ALL.iter().copied().find(|known| known.name == platform);
        Ok(Detection { platform, seen: "the machine joined on it".to_owned(), ..Detection::default() })
    })
}

fn pinned_by(evidence: &Evidence, pinned: Option<&str>) -> Option<Result<Detection>> {
    let by_argument =
        evidence.command_line.value(PIN).map(|name| (name, format!("the kernel argument {PIN}")));
    let by_policy = pinned.map(|name| (name, "the image's policy".to_owned()));
    by_policy.or(by_argument).map(|(name, by)| pin(name, &by))
}

/// `none` pins that there is no platform.
fn pin(name: &str, by: &str) -> Result<Detection> {
    let seen = format!("{by} pins it");
    if name == "none" {
        return Ok(Detection { seen, ..Detection::default() });
    }
    match ALL.iter().find(|platform| platform.name == name) {
        Some(platform) => Ok(Detection { platform: Some(platform), seen, others: Vec::new() }),
        None => {
            let names = ALL.iter().map(|platform| platform.name);
            let meant = suggest::did_you_mean(name, names.clone());
            Err(Failure::new(
                ErrorKind::Source,
                format!("{by} pins a platform that is not known: {name:?}{meant}"),
            )
            .help(format!("known are {}, and none", names.collect::<Vec<_>>().join(", "))))
        }
    }
}

/// The platforms that the firmware names, whatever is pinned.
pub fn in_firmware(evidence: &Evidence) -> impl Iterator<Item = &'static Platform> {
    ALL.iter()
        .copied()
        .filter(|platform| recognize(platform, Strength::Firmware, evidence).is_some())
}

/// The sign of a platform at one strength; none when a sign of a look-alike is there.
fn recognize(platform: &Platform, strength: Strength, evidence: &Evidence) -> Option<String> {
    let sign = platform.signs.iter().find_map(|sign| sign.proves(strength, evidence))?;
    platform.look_alikes.iter().all(|sign| sign.seen(evidence).is_none()).then_some(sign)
}
