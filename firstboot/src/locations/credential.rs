//! The credential `firstboot.config` of systemd (<https://systemd.io/CREDENTIALS/>): set by the operator of
//! the virtual machine or container.
//!
//! | order | location | set by |
//! |---|---|---|
//! | 1 | `$CREDENTIALS_DIRECTORY`, `/run/credentials/firstboot.service`, `/run/credentials/@system` | systemd, decrypted where it was encrypted |
//! | 2 | SMBIOS type 11: `io.systemd.credential:firstboot.config=TEXT`, `io.systemd.credential.binary:firstboot.config=BASE64` | the hypervisor |
//! | 3 | fw_cfg: `opt/io.systemd.credentials/firstboot.config` | QEMU |
//!
//! The last two are read here too, because not every init passes them on.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::LocationContext;
use crate::document::{Document, UserData};
use crate::error::{ErrorKind, Failure, Result};
use crate::evidence::{fw_cfg, smbios};
use crate::host::root::Root;
use crate::paths;

/// The credential's name.
pub const NAME: &str = "firstboot.config";

/// Where systemd puts credentials: those of the agent's unit, and those that the system was started with.
const FOLDERS: &[&str] = &[paths::CREDENTIALS, paths::SYSTEM_CREDENTIALS];
const TEXT: &str = "io.systemd.credential:";
const BINARY: &str = "io.systemd.credential.binary:";
const ITEM: &str = "opt/io.systemd.credentials/firstboot.config";

pub(super) fn find(context: &LocationContext, notices: &mut Vec<String>) -> Result<Option<UserData>> {
    let root = context.root;
    for file in candidates(root) {
        if let Some(document) = Document::read_file(&file)? {
            return Ok(UserData::new(document, format!("the credential {NAME}")));
        }
    }
    if let Some(document) = of_strings(&smbios::oem_strings(root))? {
        return Ok(UserData::new(document, format!("smbios type 11: {NAME}")));
    }
    Ok(fw_cfg::item(root, ITEM, notices)?.and_then(|document| UserData::new(document, ITEM)))
}

fn candidates(root: &Root) -> Vec<PathBuf> {
    let named = std::env::var_os("CREDENTIALS_DIRECTORY").filter(|_| root.is_machine());
    named
        .into_iter()
        .map(|folder| Path::new(&folder).join(NAME))
        .chain(FOLDERS.iter().map(|folder| root.path(Path::new(folder).join(NAME))))
        .collect()
}

/// Finds the credential among the strings of structures of type 11; the first one counts.
pub fn of_strings(strings: &[Vec<u8>]) -> Result<Option<Document>> {
    for string in strings {
        if let Some(text) = value(string, TEXT) {
            return Ok(Document::new(Zeroizing::new(text.to_vec())));
        }
        if let Some(text) = value(string, BINARY) {
            let wrong = || {
                Failure::new(
                    ErrorKind::Source,
                    format!("the string {BINARY}{NAME} of SMBIOS type 11 is no base64"),
                )
            };
            return Document::from_base64(text).ok_or_else(wrong).map(Some);
        }
    }
    Ok(None)
}

fn value<'a>(string: &'a [u8], kind: &str) -> Option<&'a [u8]> {
    string.strip_prefix(kind.as_bytes())?.strip_prefix(NAME.as_bytes())?.strip_prefix(b"=")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::CommandLine;
    use crate::host::files;
    use crate::net::Deadline;

    fn found(contents: &[(&str, &[u8])]) -> Result<Option<UserData>> {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        contents
            .iter()
            .for_each(|(path, bytes)| files::write(&root.path(path), bytes, 0o600).unwrap());
        find(
            &LocationContext {
                root: &root,
                command_line: &CommandLine::default(),
                deadline: Deadline::after(crate::locations::LIMIT),
                fetch: &|_, _| panic!("no network"),
            },
            &mut Vec::new(),
        )
    }

    #[test]
    fn the_first_place_counts() {
        let strings = b"\x0b\x05\0\0\x02vendor\0io.systemd.credential.binary:firstboot.config=c21iaW9z\0\0";
        let all: [(&str, &[u8]); 4] = [
            ("/run/credentials/firstboot.service/firstboot.config", b"unit"),
            ("/run/credentials/@system/firstboot.config", b"system"),
            ("/sys/firmware/dmi/entries/11-0/raw", strings),
            ("/sys/firmware/qemu_fw_cfg/by_name/opt/io.systemd.credentials/firstboot.config/raw", b"qemu"),
        ];
        for (position, expected) in ["unit", "system", "smbios", "qemu"].iter().enumerate() {
            let found = found(&all[position..]).unwrap().unwrap();
            assert_eq!(found.document.bytes(), expected.as_bytes());
        }
        assert!(found(&[]).unwrap().is_none());
        assert!(found(&[("/run/credentials/firstboot.service/firstboot.other", b"x")]).unwrap().is_none());
    }

    #[test]
    fn strings_of_other_credentials_are_none_of_ours() {
        let find_in = |text: &str| {
            of_strings(&[text.as_bytes().to_vec()])
                .map(|found| found.map(|document| document.bytes().to_vec()))
        };
        for (text, expected) in [
            ("io.systemd.credential:firstboot.config=a=b", Some("a=b")),
            ("io.systemd.credential:firstboot.configs=a", None),
            ("io.systemd.credential:passwd=firstboot.config=a", None),
            ("firstboot.config=a", None),
            ("io.systemd.credential.binary:firstboot.config=YQ==", Some("a")),
        ] {
            assert_eq!(find_in(text).unwrap(), expected.map(|text| text.as_bytes().to_vec()), "{text}");
        }
        let failure = find_in("io.systemd.credential.binary:firstboot.config=canary!").unwrap_err();
        assert!(failure.kind == ErrorKind::Source && !failure.message.contains("canary"), "{failure}");
    }
}
