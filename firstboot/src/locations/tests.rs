use std::cell::RefCell;

use zeroize::Zeroizing;

use super::*;
use crate::document::LIMIT;
use crate::error::{ErrorKind, Failure};
use crate::host::files;

const CONFIG: &[u8] = b"apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\ntoken: canary\n";
const ETC: &str = "/etc/firstboot/config.yaml";
const RUN: &str = "/run/firstboot/config.yaml";

/// What one search came to: what was found, its notices, the URLs that were fetched.
struct Searched {
    found: Result<Option<(&'static str, UserData)>>,
    notices: Vec<String>,
    fetched: Vec<String>,
}

fn search(contents: &[(&str, &[u8], u32)], command_line: &str) -> Searched {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path());
    contents
        .iter()
        .for_each(|(path, bytes, mode)| files::write(&root.path(path), bytes, *mode).unwrap());
    let fetched = RefCell::new(Vec::new());
    let fetch = |url: &str, _| {
        fetched.borrow_mut().push(url.to_owned());
        if url.contains("down") {
            Err(Failure::new(ErrorKind::Unreachable, "no route"))
        } else {
            Ok(document(CONFIG))
        }
    };
    let mut notices = Vec::new();
    let found = find(
        &LocationContext {
            root: &root,
            command_line: &CommandLine::parse(command_line),
            deadline: Deadline::after(super::LIMIT),
            fetch: &fetch,
        },
        &|_| true,
        &mut notices,
    );
    Searched { found, notices, fetched: fetched.into_inner() }
}

fn document(bytes: &[u8]) -> Document {
    Document::new(Zeroizing::new(bytes.to_vec())).unwrap()
}

#[test]
fn the_first_place_that_has_something_wins() {
    let all = [(ETC, CONFIG, 0o600), (RUN, CONFIG, 0o600)];
    for (contents, line, expected) in [
        (&all[..], "quiet firstboot.config=https://u:p@host/a?t=1", Some(("url", "https://host"))),
        (&all[..], "quiet", Some(("file", ETC))),
        (&all[1..], "quiet", Some(("file", RUN))),
        (&[], "quiet", None),
    ] {
        let Searched { found, fetched, .. } = search(contents, line);
        let found = found.unwrap();
        assert_eq!(found.as_ref().map(|(place, found)| (*place, found.origin.as_str())), expected);
        assert!(found.is_none_or(
            |(_, found)| found.document.bytes() == CONFIG && !format!("{found:?}").contains("canary")
        ));
        assert_eq!(
            fetched.len(),
            usize::from(line.contains("https")),
            "the network is for the command line only"
        );
    }
}

#[test]
fn a_url_that_fails_is_not_replaced_by_another_place() {
    let digest: String = ring::digest::digest(&ring::digest::SHA256, CONFIG)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let wrong = "0".repeat(64);
    for (line, expected) in [
        (format!("firstboot.config=http://host/a firstboot.config-sha256={digest}"), Ok(())),
        (
            format!("firstboot.config=https://host/a firstboot.config-sha256={wrong}"),
            Err(ErrorKind::Untrusted),
        ),
        ("firstboot.config=http://host/a".to_owned(), Err(ErrorKind::Source)),
        ("firstboot.config=https://down/a".to_owned(), Err(ErrorKind::Unreachable)),
    ] {
        match (search(&[(ETC, CONFIG, 0o600)], &line).found, expected) {
            (Ok(found), Ok(())) => assert_eq!(found.unwrap().0, "url"),
            (Err(failure), Err(class)) => {
                assert!(failure.kind == class && !failure.message.contains("canary"), "{line}: {failure}")
            }
            (found, _) => panic!("{line}: {found:?}"),
        }
    }
}

#[test]
fn empty_and_open_files_get_a_notice() {
    let searched = search(&[(ETC, b"\n", 0o600), (RUN, CONFIG, 0o644)], "");
    assert_eq!(searched.found.unwrap().unwrap().1.origin, RUN);
    assert_eq!(searched.notices.len(), 2, "{:?}", searched.notices);
    assert!(searched.notices[0].contains("is empty") && searched.notices[1].contains("chmod 600"));
}

#[test]
fn a_file_that_is_too_long_ends_the_search() {
    assert_eq!(
        search(&[(ETC, &vec![b'x'; LIMIT + 1], 0o600)], "").found.unwrap_err().kind,
        ErrorKind::Source
    );
}
