use std::cell::RefCell;

use zeroize::Zeroizing;

use super::*;
use crate::error::{Class, Failure};
use crate::host::files;

const CONFIG: &[u8] = b"apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ntoken: canary\n";
const FW_CFG: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/org.kiln.firstboot/config/raw";
const ETC: &str = "/etc/firstboot/config.yaml";
const RUN: &str = "/run/firstboot/config.yaml";

/// A search below a folder with `files`, and the URLs that were fetched.
fn search(contents: &[(&str, &[u8], u32)], command_line: &str) -> (Result<Search>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    contents.iter().for_each(|(path, bytes, mode)| files::write(&root.path(path), bytes, *mode).unwrap());
    let fetched = RefCell::new(Vec::new());
    let fetch = |url: &str| {
        fetched.borrow_mut().push(url.to_owned());
        if url.contains("down") { Err(Failure::new(Class::Unreachable, "no route")) } else { Ok(document(CONFIG)) }
    };
    let search = find(&Surroundings { root: &root, command_line, fetch: &fetch });
    (search, fetched.into_inner())
}

fn document(bytes: &[u8]) -> Document {
    Document::new(Zeroizing::new(bytes.to_vec())).unwrap()
}

#[test]
fn the_first_source_that_has_something_wins() {
    let all = [(ETC, CONFIG, 0o600), (RUN, CONFIG, 0o600), (FW_CFG, CONFIG, 0o400)];
    for (contents, line, expected) in [
        (&all[..], "quiet firstboot.config=https://u:p@host/a?t=1", Some(("url", "https://host/a"))),
        (&all[..], "quiet", Some(("file", ETC))),
        (&all[1..], "quiet", Some(("file", RUN))),
        (&all[2..], "quiet", Some(("qemu-fw-cfg", "opt/org.kiln.firstboot/config"))),
        (&[], "quiet", None),
    ] {
        let (search, fetched) = search(contents, line);
        let found = search.unwrap().found;
        assert_eq!(found.as_ref().map(|found| (found.source, found.detail.as_str())), expected);
        assert!(found.is_none_or(|found| found.document.bytes() == CONFIG && !format!("{found:?}").contains("canary")));
        assert_eq!(fetched.len(), usize::from(line.contains("https")), "the network is for the command line only");
    }
}

#[test]
fn a_url_that_fails_is_not_replaced_by_another_source() {
    let digest: String = ring::digest::digest(&ring::digest::SHA256, CONFIG).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let wrong = "0".repeat(64);
    for (line, expected) in [
        (format!("firstboot.config=http://host/a firstboot.config-sha256={digest}"), Ok(())),
        (format!("firstboot.config=https://host/a firstboot.config-sha256={wrong}"), Err(Class::Untrusted)),
        ("firstboot.config=http://host/a".to_owned(), Err(Class::Source)),
        ("firstboot.config=https://down/a".to_owned(), Err(Class::Unreachable)),
    ] {
        let (search, _) = search(&[(ETC, CONFIG, 0o600)], &line);
        match (search, expected) {
            (Ok(search), Ok(())) => assert_eq!(search.found.unwrap().source, "url"),
            (Err(failure), Err(class)) => assert!(failure.class == class && !failure.message.contains("canary"), "{line}: {failure}"),
            (search, _) => panic!("{line}: {search:?}"),
        }
    }
}

#[test]
fn empty_and_open_files_are_remarked_on() {
    let (found, _) = search(&[(ETC, b"\n", 0o600), (RUN, CONFIG, 0o644), (FW_CFG, b"", 0o400)], "");
    let found = found.unwrap();
    assert_eq!(found.found.unwrap().detail, RUN);
    assert_eq!(found.remarks.len(), 2, "{:?}", found.remarks);
    assert!(found.remarks[0].contains("is empty") && found.remarks[1].contains("chmod 600"));
    let (found, _) = search(&[(FW_CFG, b" ", 0o400)], "");
    assert!(found.unwrap().remarks[0].contains("is empty"));
}

#[test]
fn a_file_that_is_too_long_ends_the_search() {
    let (found, _) = search(&[(ETC, &vec![b'x'; document::LIMIT + 1], 0o600), (FW_CFG, CONFIG, 0o400)], "");
    assert_eq!(found.unwrap_err().class, Class::Source);
}
