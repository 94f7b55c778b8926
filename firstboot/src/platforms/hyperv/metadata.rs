//! Facts and user data: pairs that the host's administrator gives the machine. Where no pair has a config, a
//! NoCloud disk is read.
//!
//! | pair | meaning |
//! |---|---|
//! | `firstboot.config`, or `firstboot.config.0`, `.1` … | the user-data, whole or in parts |
//! | `ignition.config`, or `ignition.config.0`, `.1` … | the same, by Ignition's name |

use std::time::{Duration, Instant};

use crate::document::{Document, UserData};
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::Field;
use crate::facts::Facts;
use crate::host::root::Root;
use crate::host::{kvp, pools};
use crate::platforms::format::disk;
use crate::platforms::{PlatformData, ReadContext, nocloud};

const KEYS: &[&str] = &["firstboot.config", "ignition.config"];
/// The pool that the host's administrator fills.
const GIVEN: u8 = 0;
/// The pool in which the host describes the machine.
const ABOUT: u8 = 3;
/// How long the daemon may take to fill its files.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn read(context: &mut ReadContext) -> Result<PlatformData> {
    let mut data = PlatformData::default();
    wait(context.root());
    match pools::read(context.root(), GIVEN)? {
        Some(pairs) => data.user_data = user_data(&pairs)?,
        None => context.notice(pools::missing(context.root(), GIVEN)),
    }
    facts(context, &mut data.facts)?;
    if data.user_data.is_none() && !context.evidence.disks(nocloud::LABEL).is_empty() {
        let disk = disk::only_disk(context, nocloud::LABEL)?;
        let found = nocloud::read_disk(context, &disk)?;
        data.facts.merge(found.facts);
        data.user_data = found.user_data;
        data.instance_data = found.instance_data;
    }
    Ok(data)
}

/// Waits for the daemon, which may start at the same time as the agent.
fn wait(root: &Root) {
    let begin = Instant::now();
    while root.is_machine() && pools::is_awaited(root, GIVEN) && begin.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn user_data(pairs: &[kvp::Pair]) -> Result<Option<UserData>> {
    for key in KEYS {
        let Some(bytes) = kvp::joined(pairs, key)? else { continue };
        let document = Document::new(bytes).ok_or_else(|| {
            Failure::new(ErrorKind::Source, format!("the pair {key} of Hyper-V is too long"))
        })?;
        if let Some(found) = UserData::new(document, format!("the pair {key} of Hyper-V")) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn facts(context: &ReadContext, facts: &mut Facts) -> Result<()> {
    let pairs = pools::read(context.root(), ABOUT)?.unwrap_or_default();
    let text = |name: &str| {
        let pair = pairs.iter().find(|pair| pair.key == name && !pair.value.is_empty())?;
        Some(String::from_utf8_lossy(&pair.value).into_owned())
    };
    let source = "the pairs of Hyper-V's host";
    facts
        .instance_id
        .add_some(text("VirtualMachineId").map(|id| id.to_ascii_lowercase()), source);
    facts.fact("name").add_some(text("VirtualMachineName"), source);
    facts
        .fact("host")
        .add_some(text("PhysicalHostNameFullyQualified").or_else(|| text("HostName")), source);
    let uuid = context.evidence.field(Field::ProductUuid).map(str::to_ascii_lowercase);
    facts.instance_id.add_some(uuid, "smbios product_uuid");
    Ok(())
}

pub(super) fn scrub(root: &Root) -> Result<Option<String>> {
    let is_ours = |key: &str| {
        let rest = KEYS.iter().find_map(|name| key.strip_prefix(name));
        rest.is_some_and(|rest| {
            rest.is_empty() || rest.strip_prefix('.').is_some_and(|number| number.parse::<usize>().is_ok())
        })
    };
    let count = pools::overwrite(root, GIVEN, is_ours)?;
    Ok((count > 0)
        .then(|| format!("overwrote the config in {count} pairs of Hyper-V; the host still has its copy")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files;
    use crate::host::pools;
    use crate::metadata::gather;
    use crate::trust_policy::TrustPolicy;

    const DMI: [(&str, &[u8]); 3] = [
        ("/sys/class/dmi/id/sys_vendor", b"Microsoft Corporation\n"),
        ("/sys/class/dmi/id/product_name", b"Virtual Machine\n"),
        ("/sys/class/dmi/id/product_uuid", b"AAAAAAAA-1111-2222-3333-444444444444\n"),
    ];

    fn root_with(pool: &[(&str, &str)], about: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        DMI.iter().for_each(|(path, bytes)| files::write(&root.path(path), bytes, 0o444).unwrap());
        for (number, entries) in [(GIVEN, pool), (ABOUT, about)] {
            let bytes: Vec<u8> =
                entries.iter().flat_map(|(key, value)| kvp::record(key, value).unwrap()).collect();
            files::write(&pools::path(&root, number), &bytes, 0o644).unwrap();
        }
        (folder, root)
    }

    #[test]
    fn pairs_are_read_and_overwritten() {
        let about = [
            ("VirtualMachineId", "BBBBBBBB-1111-2222-3333-444444444444"),
            ("VirtualMachineName", "worker 1"),
        ];
        let (_folder, root) = root_with(
            &[
                ("other", "x"),
                ("firstboot.config.0", "can"),
                ("firstboot.config.1", "ary"),
                ("ignition.config", "{}"),
            ],
            &about,
        );
        let metadata = gather(&root, &TrustPolicy::default(), &|_, _| panic!("no network")).unwrap();
        let (source, user_data) = metadata.user_data.unwrap();
        assert_eq!(
            (source, user_data.document.bytes(), user_data.origin.as_str()),
            ("hyperv", &b"canary"[..], "the pair firstboot.config of Hyper-V")
        );
        let facts = ["instance-id", "name"].map(|name| metadata.facts.text(name));
        assert_eq!(facts, [Some("bbbbbbbb-1111-2222-3333-444444444444"), Some("worker 1")]);
        assert!(scrub(&root).unwrap().unwrap().contains("3 pairs"));
        let metadata = gather(&root, &TrustPolicy::default(), &|_, _| panic!("no network")).unwrap();
        assert!(metadata.user_data.is_none(), "what was overwritten is no config");
    }

    #[test]
    fn a_machine_without_the_daemon_is_told_so() {
        let (_folder, root) = root_with(&[], &[]);
        std::fs::remove_file(pools::path(&root, GIVEN)).unwrap();
        let metadata = gather(&root, &TrustPolicy::default(), &|_, _| panic!("no network")).unwrap();
        assert!(
            metadata.user_data.is_none() && metadata.notices[0].contains("hyperv-daemons"),
            "{:?}",
            metadata.notices
        );
        assert_eq!(metadata.facts.text("instance-id"), Some("aaaaaaaa-1111-2222-3333-444444444444"));
        assert_eq!(scrub(&root).unwrap(), None);
    }
}
